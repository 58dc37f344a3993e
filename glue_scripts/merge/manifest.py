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
