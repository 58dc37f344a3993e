"""The data set as a table of the Glue catalogue: a projection of the log, made anew by one command; the log stays the truth.

A partition is the rows that one version added to one split. Its keys ``first_version`` and ``last_version`` say in which versions they
stand, so that ``where 3 between first_version and last_version`` is version 3, exactly. Nothing is copied or rewritten.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from typing import Any

from retraining.dataset.records import ContractRecord
from retraining.dataset.state import LogState

TABLE = "dataset"
OPEN = 2**31 - 1  # last_version of rows that stand in the newest version and those to come
_AT_ONCE = 100  # partitions of one BatchCreatePartition
_COMMENT = 255  # characters that Glue takes
_TYPES = {"int": "bigint", "double": "double", "boolean": "boolean", "date": "date", "timestamp": "timestamp"}
_KEYS = [
    {"Name": "first_version", "Type": "int", "Comment": "first dataset version that has the row"},
    {"Name": "last_version", "Type": "int", "Comment": f"last one; {OPEN} while the newest has it"},
    {"Name": "split", "Type": "string", "Comment": "train, validation or test"},
]


class CatalogueError(RuntimeError):
    """The catalogue does not take the table; the message says why."""


def rebuild_catalogue(glue: Any, database: str, bucket: str, state: LogState) -> int:
    """Make the table ``dataset`` anew from the log; returns the number of its partitions.

    Args:
        glue: a boto3 Glue client.
        database: the model's database.
        bucket: the data bucket.
        state: the log.

    Raises:
        LookupError: the log has no version that records its contract.
        CatalogueError: Glue refused a partition.

    """
    contracts = [version.contract for version in state.versions if version.contract is not None]
    if not contracts:
        raise LookupError("the dataset log has no version yet: there is nothing to put into the catalogue")
    storage = _storage(contracts[-1])
    with suppress(glue.exceptions.EntityNotFoundException):
        glue.delete_table(DatabaseName=database, Name=TABLE)
    glue.create_table(
        DatabaseName=database,
        TableInput={
            "Name": TABLE,
            "Description": "The rows of every dataset version; version N is: where N between first_version and last_version",
            "TableType": "EXTERNAL_TABLE",
            "Parameters": {"classification": "parquet", "EXTERNAL": "TRUE", "dataset_version": str(state.latest)},
            "PartitionKeys": _KEYS,
            "StorageDescriptor": {**storage, "Location": f"s3://{bucket}/"},
        },
    )
    partitions = [
        {
            "Values": [str(first), str(last), split],
            "StorageDescriptor": {**storage, "Location": f"s3://{bucket}/{folder}"},
        }
        for first, last, split, folder in partitions_of(state)
    ]
    for start in range(0, len(partitions), _AT_ONCE):
        answer = glue.batch_create_partition(
            DatabaseName=database, TableName=TABLE, PartitionInputList=partitions[start : start + _AT_ONCE]
        )
        for failed in answer.get("Errors", []):
            said = failed.get("ErrorDetail", {})
            raise CatalogueError(
                f"Glue does not take the partition {'/'.join(failed['PartitionValues'])} of {database}.{TABLE}: "
                f"{said.get('ErrorCode')}: {said.get('ErrorMessage')}; run the command again"
            )
    return len(partitions)


def partitions_of(state: LogState) -> Iterator[tuple[int, int, str, str]]:
    """Yield first version, last version, split and folder of the rows that each version added; erased ones have none."""
    starts = [version.version for version in state.versions if version.starts_anew]
    for version in state.versions:
        if version.version in state.erased:
            continue
        last = next((start - 1 for start in starts if start > version.version), OPEN)
        folders = {output.key.rsplit("/", 1)[0] + "/" for output in version.data}
        for folder in sorted(folders):
            yield version.version, last, folder.rstrip("/").rsplit("split=", 1)[-1], folder


def _storage(contract: ContractRecord) -> dict[str, Any]:
    columns = [
        {"Name": column["name"], "Type": _TYPES.get(column["type"], "string"), "Comment": _comment(column)}
        for column in contract.keys["columns"]
    ]
    columns += [
        {"Name": "row_hash", "Type": "string", "Comment": "identity of the row"},
        {"Name": "source", "Type": "string", "Comment": "survey or synthetic"},
    ]
    serde = "org.apache.hadoop.hive.ql.io.parquet.serde.ParquetHiveSerDe"
    return {
        "Columns": columns,
        "InputFormat": "org.apache.hadoop.hive.ql.io.parquet.MapredParquetInputFormat",
        "OutputFormat": "org.apache.hadoop.hive.ql.io.parquet.MapredParquetOutputFormat",
        "SerdeInfo": {"SerializationLibrary": serde},
    }


def _comment(column: Any) -> str:
    words = [str(column.get("description") or ""), f"[{column['unit']}]" if column.get("unit") else ""]
    return " ".join(word for word in words if word)[:_COMMENT]
