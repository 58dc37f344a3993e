"""What a verification has done and found so far, in a file that outlives the command: a repetition goes on where it ended."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from deploy.artifacts import ROOT

FOLDER = ROOT / "build" / "verification"
FILE = "journal.json"
DONE, FAILED = "done", "failed"
AWS = "AWS"
"""The place of a verification that is no rehearsal."""


class JournalError(RuntimeError):
    """The journal of this deployment belongs to something else; nothing was changed."""


@dataclass(frozen=True)
class Place:
    """Where a verification happens: ``where`` is ``AWS``, or the address of a local account."""

    env: str
    where: str
    region: str
    account: str


class Journal:
    """The journal of one deployment's verification.

    A closed one (everything was taken down) makes room for the next attempt, whose jobs have other names.

    Args:
        folder: where it and the recorded answers lie.
        place: what it is about.

    Raises:
        JournalError: there is an open one about another account, region or address.

    """

    def __init__(self, folder: Path, place: Place) -> None:
        self.folder = folder
        self.path = folder / FILE
        self.place = place
        found = self._read()
        if found and found["place"] != vars(place) and not found["closed"]:
            theirs = found["place"]
            raise JournalError(
                f"{self.path} is of a verification in account {theirs['account']}, {theirs['region']} ({theirs['where']}), which is not "
                f"taken down yet; this shell leads to account {place.account}, {place.region} ({place.where}). Go back there, or choose "
                "another ENV"
            )
        self._begun = bool(found and not found["closed"])
        if found and not found["closed"]:
            self._document = found
        else:
            self._document = {
                "place": vars(place),
                "attempt": found["attempt"] + 1 if found else 1,
                "begun_at": now(),
                "closed": None,
                "stages": {},
                "results": {},
                "found": {},
            }

    @property
    def attempt(self) -> int:
        """Number of the verification of this name, from 1."""
        return int(self._document["attempt"])

    @property
    def begun_at(self) -> str:
        """Time of its first call, in UTC."""
        return str(self._document["begun_at"])

    @property
    def closed(self) -> str | None:
        """Time at which everything was taken down."""
        return self._document["closed"]

    @property
    def stages(self) -> Mapping[str, Mapping[str, Any]]:
        """State, time and seconds of each stage that has ended."""
        return self._document["stages"]

    @property
    def found(self) -> Mapping[str, Mapping[str, Any]]:
        """What is known of each question."""
        return self._document["found"]

    @property
    def results(self) -> Mapping[str, Any]:
        """What tasks returned, by task id; ``TASK/KEY`` of what they handed on beside it."""
        return self._document["results"]

    @property
    def begun(self) -> bool:
        """Whether anything may exist that has to be taken down."""
        return self._begun and not self.closed

    @property
    def failed(self) -> str | None:
        """The stage that failed."""
        return next((name for name, stage in self.stages.items() if stage["state"] == FAILED), None)

    def begin(self) -> None:
        """Write it for the first time."""
        if not self.begun:
            self._write()

    def end_stage(self, name: str, state: str, seconds: float, reason: str = "") -> None:
        """Note how a stage ended."""
        self._document["stages"][name] = {"state": state, "at": now(), "seconds": round(seconds, 1), "reason": reason}
        self._write()

    def keep(self, name: str, value: Any) -> None:
        """Keep what a task returned."""
        self._document["results"][name] = value
        self._write()

    def answer(self, question: str, state: str, seen: str) -> None:
        """Keep what was seen."""
        self._document["found"][question] = {"state": state, "seen": seen, "at": now()}
        self._write()

    def close(self) -> None:
        """Note that everything is taken down."""
        self._document["closed"] = now()
        self._write()

    def _read(self) -> dict[str, Any] | None:
        try:
            document = json.loads(self.path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None
        except ValueError as error:
            raise JournalError(f"{self.path} cannot be read ({error}); move it away") from error
        return dict(document)

    def _write(self) -> None:
        """Replace the file at once, so that a kill leaves the old one or the new one."""
        self._begun = True
        self.folder.mkdir(parents=True, exist_ok=True)
        beside = self.path.with_suffix(".new")
        beside.write_text(json.dumps(self._document, indent=1), encoding="utf-8")
        os.replace(beside, self.path)  # noqa: PTH105 - replaces an existing file


def now() -> str:
    """Return the time in UTC, to the second."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
