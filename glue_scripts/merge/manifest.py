"""The manifest of a batch: what to merge and where to."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from retraining.contract.rules import SOURCES, TRAIN, Contract, ContractError


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
        split = tuple((name, int(share)) for name, share in spec["split"].items())
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
        return cls(
            batch=spec["batch"],
            files=files,
            contract=contract,
            split=split,
            history=tuple(dict.fromkeys(spec["history"])),
            output=spec["output"].rstrip("/") + "/",
            quarantine=spec["quarantine"].rstrip("/") + "/",
            report=spec["report"],
        )
