"""The manifest of a batch: what to merge and where to."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from retraining.contract.notation.training_format import CSV_WITHOUT_HEADER
from retraining.contract.rules import SOURCES, TRAIN, Column, Contract, ContractError
from retraining.contract.splitting.by_time import (
    BY_TIME,
    TEST,
    TIMES,
    VALIDATION,
    Boundaries,
    boundaries_in,
    shares_of,
)


class ManifestError(ValueError):
    """The manifest cannot be merged as it stands; the message says what to do."""


@dataclass(frozen=True)
class SourceFile:
    """One file of the batch."""

    key: str
    uri: str
    size: int
    etag: str | None
    source: str
    beyond_budget: bool = False
    """Released by a person: its good rows are taken however many are bad."""
    landed_at: str = ""
    known: bool = False
    """Whether the data set has it already."""
    origin: str = ""
    """Key under which it landed; a copy of an earlier version is read from another."""
    replaced_by: str | None = None
    """Key of a new file that takes its place, if that one is merged."""


@dataclass(frozen=True)
class Manifest:
    """What to merge and where to; see the `batches/BATCH/manifest.json` of a run."""

    batch: str
    files: tuple[SourceFile, ...]
    contract: Contract
    split: tuple[tuple[str, int], ...]
    history: tuple[str, ...]
    output: str
    quarantine: str
    report: str
    time: Column | None = None
    """What the split goes by when it goes by time."""
    training_format: str = CSV_WITHOUT_HEADER
    boundaries: Boundaries | None = None
    """Of a split by time, as they stand; of a data set that begins anew the earliest possible."""

    @property
    def begins(self) -> bool:
        """Whether the boundaries of a split by time are to be found in the rows of this batch."""
        return self.time is not None and (self.boundaries is None or not self.history)

    @property
    def newest_first(self) -> list[int]:
        """Numbers of the files, the one that landed last first."""
        numbers = range(len(self.files))
        return sorted(numbers, key=lambda n: (self.files[n].landed_at, self.files[n].key), reverse=True)

    @property
    def replacements(self) -> dict[int, int]:
        """Files of the data set by number, and the new file that each gives way to."""
        fresh = {file.origin: number for number, file in enumerate(self.files) if not file.known}
        return {
            number: fresh[file.replaced_by]
            for number, file in enumerate(self.files)
            if file.replaced_by is not None and file.replaced_by in fresh
        }

    @classmethod
    def of(cls, spec: Mapping[str, Any]) -> Manifest:
        """Build from the manifest's JSON. Files are put in key order, so the order of listing cannot matter.

        Raises:
            ManifestError: the batch is committed already, the split is not 100 %, a file is listed twice, the contract contradicts itself.

        """
        bucket = spec["bucket"]
        root = bucket.rstrip("/") if "://" in bucket or bucket.startswith("file:") else f"s3://{bucket}"
        files = tuple(
            SourceFile(
                entry["key"],
                f"{root}/{entry['key']}",
                int(entry["size"]),
                entry.get("etag"),
                entry.get("source") or SOURCES[0],
                bool(entry.get("beyond_budget")),
                entry.get("landed_at") or "",
                bool(entry.get("known")),
                entry.get("origin") or entry["key"],
                entry.get("replaced_by"),
            )
            for entry in sorted(spec["files"], key=lambda entry: entry["key"])
        )
        twice = [key for key, times in Counter(file.key for file in files).items() if times > 1]
        if twice:
            raise ManifestError(f"the manifest lists {', '.join(twice)} more than once")
        unknown = sorted({file.source for file in files} - set(SOURCES))
        if unknown:
            raise ManifestError(f"unknown source {', '.join(unknown)}: use one of {', '.join(SOURCES)}")
        split = tuple(shares_of(spec["split"]).items())
        if TRAIN not in spec["split"]:
            raise ManifestError(f"the split has no {TRAIN!r}, where synthetic rows go: {dict(split)}")
        if sum(share for _, share in split) != 100 or any(share < 0 for _, share in split):
            raise ManifestError(f"the split must add up to 100 percent, got {dict(split)}")
        if spec["batch"] in spec["history"]:
            raise ManifestError(f"batch {spec['batch']} is committed already: merging it again would empty it")
        try:
            contract = Contract.of(spec["contract"])
        except ContractError as error:
            raise ManifestError(str(error)) from error
        time = _time_of(spec["split"], contract)
        return cls(
            batch=spec["batch"],
            files=files,
            contract=contract,
            split=split,
            history=tuple(dict.fromkeys(spec["history"])),
            output=spec["output"].rstrip("/") + "/",
            quarantine=spec["quarantine"].rstrip("/") + "/",
            report=spec["report"],
            time=time,
            training_format=spec.get("training_format") or CSV_WITHOUT_HEADER,
            boundaries=boundaries_in(time, spec.get("boundaries") or {}) if time else None,
        )


def _time_of(split: Mapping[str, Any], contract: Contract) -> Column | None:
    """Return the column that a split by time goes by, None of a split by hash."""
    if split.get("by") != BY_TIME:
        return None
    column = contract.column(split["column"]) if split.get("column") in contract.position else None
    if (
        column is None
        or column.type not in TIMES
        or column.nullable
        or {TRAIN, VALIDATION, TEST} != {*shares_of(split)}
    ):
        raise ManifestError(
            f"rows cannot be split by time as {dict(split)} says: it needs a column of the contract that is a date, a timestamp or an "
            f"int and never missing, and shares for {TRAIN}, {VALIDATION} and {TEST}"
        )
    return column
