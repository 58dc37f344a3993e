"""What a model answered in a job of its own before, given to an evaluation as if it answered now.

``WrittenAnswers`` are those of a champion in another image, which the library wrote down. ``TransformedAnswers`` are those of a container
of one's own, as a transform job of SageMaker leaves them: for each object of test rows a file of the same name with ``.out`` behind it,
which holds the JSON documents that the container answered, one after another.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from retraining.inside.artifact_process import ArtifactError

ANSWERS = "champion_answers.jsonl"
ANSWERED = ".out"


class WrittenAnswers:
    """What a champion answered in a job of its own, given to whoever asks the same rows in the same order."""

    role = "champion"

    def __init__(self, path: Path) -> None:
        self._lines = _lines(path)
        self._asked = ""

    def ask(self, *, rows: Sequence[Mapping[str, Any]]) -> None:
        """Say which rows the next answers are for."""
        self._asked = rows_digest(rows)

    def answers(self, name: str, rows: int) -> list[Any]:
        """Return the answers to the rows that were asked.

        Raises:
            ArtifactError: the champion did not answer, or answered other rows.

        """
        line = json.loads(next(self._lines, "{}"))
        if "failed" in line:
            raise ArtifactError(line["failed"])
        if line.get("rows") != self._asked:
            raise ArtifactError("the champion was scored on other rows than the challenger")
        return list(line["answers"])


def _lines(path: Path) -> Iterator[str]:
    """Yield a file's lines one by one: a champion answers as many rows as the data set tests."""
    with path.open(encoding="utf-8") as file:
        yield from file


def rows_digest(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return a digest of rows and their order."""
    return hashlib.sha256(json.dumps(rows, sort_keys=True).encode()).hexdigest()


class TransformedAnswers:
    """What a container of one's own answered to the objects of the test rows, which are gone through in turn."""

    def __init__(self, folder: Path, role: str, classes: Sequence[str]) -> None:
        """Take the folder of the transform job's output, the model's role, for messages, and the classes in the contract's order."""
        self.role = role
        self._folder = folder
        self._classes = list(classes)
        self._object = ""
        self._left: list[Any] = []

    def turn_to(self, name: str) -> None:
        """Go on with the rows of an object of the test rows, by its path; the one that is gone through already goes on.

        Raises:
            ArtifactError: answers to the object before are left, or there are none to this one, or what was answered is no answer.

        """
        if name == self._object:
            return
        self.close()
        path = _answered(self._folder, name)
        if path is None:
            raise ArtifactError(
                f"the {self.role} gave no answers to {name}: the transform job left no {name}{ANSWERED}"
            )
        self._object, self._left = name, self._read(path)

    def close(self) -> None:
        """See that all answers to the object were taken.

        Raises:
            ArtifactError: there are more answers than rows.

        """
        if self._left:
            raise ArtifactError(f"the {self.role} gave {len(self._left)} more answers than {self._object} has rows")

    def ask(self, **request: Any) -> None:
        """Do nothing: the rows were asked in the transform job, in the order of their object."""

    def answers(self, name: str, rows: int) -> list[Any]:
        """Return the next answers: ``predictions`` or ``probabilities``.

        Raises:
            ArtifactError: there are fewer than rows.

        """
        if len(self._left) < rows:
            raise ArtifactError(
                f"the {self.role} gave {rows - len(self._left)} answers too few for the rows of {self._object}"
            )
        taken, self._left = self._left[:rows], self._left[rows:]
        return taken

    def answer(self) -> dict[str, Any]:
        """Refuse to answer anything else: the container is not there any more.

        Raises:
            ArtifactError: always.

        """
        raise ArtifactError("it answers in a container of its own, whose code does not explain")

    def _read(self, path: Path) -> list[Any]:
        wanted = "probabilities" if self._classes else "predictions"
        found: list[Any] = []
        for document in documents(path.read_text(encoding="utf-8"), f"the {self.role}", path.name):
            answers = document.get(wanted) if isinstance(document, dict) else None
            if not isinstance(answers, list):
                raise ArtifactError(
                    f'the {self.role} answers {json.dumps(document)[:200]}, which does not have the form {{"{wanted}": [...]}}'
                )
            if self._classes and document.get("classes", self._classes) != self._classes:
                raise ArtifactError(
                    f"the {self.role} answers the classes {document['classes']}; the contract has {self._classes}, in this order"
                )
            found += answers
        return found


def documents(text: str, who: str, where: str) -> Iterator[Any]:
    """Yield the JSON documents that stand in a text one after another, with or without white space between.

    Raises:
        ArtifactError: what stands there is no JSON.

    """
    decoder, place = json.JSONDecoder(), 0
    while (place := len(text) - len(text[place:].lstrip())) < len(text):
        try:
            document, place = decoder.raw_decode(text, place)
        except ValueError as error:
            raise ArtifactError(f"{who} answers what is no JSON: {text[place : place + 100]!r} in {where}") from error
        yield document


def is_transformed(folder: Path) -> bool:
    """Tell whether a folder holds the answers of a transform job, and not an artifact."""
    return any(folder.rglob(f"*{ANSWERED}"))


def _answered(folder: Path, name: str) -> Path | None:
    """Return the answers to an object: the file that shares most of the end of its path, if one does.

    Where the service puts the answers to the objects of a manifest below its output is not documented to the letter.
    """
    wanted = f"{name}{ANSWERED}".split("/")
    shared: dict[int, list[Path]] = {}
    for path in folder.rglob(f"*{ANSWERED}"):
        same = 0
        for ours, theirs in zip(reversed(wanted), reversed(path.relative_to(folder).parts), strict=False):
            if ours != theirs:
                break
            same += 1
        shared.setdefault(same, []).append(path)
    most = max(shared, default=0)
    return shared[most][0] if most and len(shared[most]) == 1 else None
