"""New files that take the place of rows or files which are in the data set: then all its files are merged again beside them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from retraining.dataset.records import FileRecord
from retraining.dataset.state import LogState
from retraining.jobs.remerge.again import current_files
from retraining.jobs.remerge.merge_again import as_landed
from retraining.settings.contract_keys import Contract


def begins_anew(contract: Contract, fresh: Sequence[FileRecord], state: LogState) -> bool:
    """Tell whether new files may change what the data set holds already: by the key of a row, or by that of a file."""
    if not fresh or not state.current:
        return False
    return bool(contract.key) or bool(_replaced(contract, fresh, state))


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
