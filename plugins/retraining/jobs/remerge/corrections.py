"""New files that change what is in the data set, or the split of its rows: then all its files are merged again beside them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from retraining.contract.rules import SYNTHETIC
from retraining.dataset.records import FileRecord
from retraining.dataset.state import LogState
from retraining.jobs.remerge.again import current_files
from retraining.jobs.remerge.merge_again import as_landed
from retraining.settings.contract_keys import Contract, Split

_OUTGROWN = 1.5  # times its share of the rows that validation and test may hold


def begins_anew(contract: Contract, split: Split, fresh: Sequence[FileRecord], state: LogState) -> bool:
    """Tell whether new files may change what the data set holds already: the rows of a key, those of a file, or the split by time."""
    if not fresh or not state.current:
        return False
    return bool(contract.key) or bool(_replaced(contract, fresh, state)) or _outgrown(split, fresh, state)


def _outgrown(split: Split, fresh: Sequence[FileRecord], state: LogState) -> bool:
    """Tell whether the boundaries of a split by time have to move forward, because validation and test would hold too many rows.

    New rows are taken for the newest, and a new file for as dense as the merged ones: how many rows it has, nobody knows yet. From one move
    to the next the data set grows by a share of itself, so all moves together cost a fixed multiple of one merge of all files.
    """
    if split.by != "time":
        return False
    counts = state.rows_by_split()
    rows, held = sum(counts.values()), counts.get("validation", 0) + counts.get("test", 0)
    size = sum(record.size for record in current_files(state))
    new = rows * sum(record.size for record in fresh if record.source != SYNTHETIC) / size if size else 0
    share = (split.validation + split.test) / 100
    return held + new > min(_OUTGROWN * share, (1 + share) / 2) * (rows + new)


def entries_beside(
    s3: Any, bucket: str, prefix: str, contract: Contract, fresh: Sequence[FileRecord], state: LogState
) -> list[dict[str, Any]]:
    """Return manifest entries of the files of the data set, as they were when they were merged.

    A file that a new one takes the place of is marked ``replaced_by``: the merge passes it over if the new one is merged.

    Args:
        s3: a boto3 S3 client.
        bucket: the data bucket.
        prefix: the model's prefix.
        contract: its policies.
        fresh: the new files.
        state: the dataset log.

    Raises:
        MergeAgainError: a file is gone and S3 has no version of it.

    """
    replaced = _replaced(contract, fresh, state)
    files = current_files(state)
    entries = as_landed(s3, bucket, [record.model_dump(mode="json") for record in files], f"{prefix}batches/landed/")
    return [
        {
            **entry,
            "known": True,
            "beyond_budget": True,  # it was merged under the budget of its time
            "landed": record.model_dump(mode="json"),
            "replaced_by": record.key if record.identity in replaced else None,
        }
        for entry, record in zip(entries, files, strict=True)
    ]


def _replaced(contract: Contract, fresh: Sequence[FileRecord], state: LogState) -> set[tuple[str, str]]:
    if contract.overwrite != "replace":
        return set()
    keys = {record.key for record in fresh}
    return {record.identity for record in current_files(state) if record.key in keys}
