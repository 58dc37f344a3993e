"""The data set as a table of the Glue catalogue: a projection of the log that each commit brings up to date; the log stays the truth.

A partition is the rows that one version added to one split. Its keys ``first_version`` and ``last_version`` say in which versions they
stand, so that ``where 3 between first_version and last_version`` is version 3, exactly. Nothing is copied or rewritten.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any

from retraining.contract.plain_text import plain
from retraining.dataset.records import ContractRecord
from retraining.dataset.state import LogState

TABLE = "dataset"
OPEN = 2**31 - 1  # last_version of rows that stand in the newest version and those to come
_AT_ONCE = 100  # partitions of one BatchCreatePartition
_COMMENT = 255  # characters that Glue takes
_VERSION, _ERASED = (
    "dataset_version",
    "erased_versions",
)  # parameters of the table: what it shows, and what it no longer shows
_TYPES = {"int": "bigint", "double": "double", "boolean": "boolean", "date": "date", "timestamp": "timestamp"}
_KEYS = [
    {"Name": "first_version", "Type": "int", "Comment": "first dataset version that has the row"},
    {"Name": "last_version", "Type": "int", "Comment": f"last one; {OPEN} while the newest has it"},
    {"Name": "split", "Type": "string", "Comment": "train, validation or test"},
]


class CatalogueError(RuntimeError):
    """The catalogue does not take the table; the message says why."""


NOT_SHOWN = (LookupError, CatalogueError)
"""What keeping the table up to date fails with."""


def not_shown(database: str, model: str, error: Exception) -> str:
    """Return what to say when the table could not be brought up to date: nothing depends on it but queries of people."""
    return (
        f"{database}.{TABLE} does not show the newest version: {plain(str(error))}; the data set itself is complete, and "
        f"`make dataset-log MODEL={model} COMMAND=rebuild-catalog` makes the table anew"
    )


def keep_catalogue(glue: Any, database: str, bucket: str, state: LogState) -> int:
    """Bring the table ``dataset`` up to the newest version; returns the number of partitions that were added.

    One look, one addition and one note when a version only adds rows. The whole table is made anew when there is none, when a version
    begins anew or was erased, or when the columns are others.

    Args:
        glue: a boto3 Glue client.
        database: the model's database.
        bucket: the data bucket.
        state: the log.

    Raises:
        LookupError: the log has no version that records its contract.
        CatalogueError: Glue does not answer, or refuses.

    """
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        return _kept(glue, database, bucket, state)
    except (BotoCoreError, ClientError) as error:
        raise CatalogueError(str(error)) from error


def _kept(glue: Any, database: str, bucket: str, state: LogState) -> int:
    table = _table(bucket, state)
    try:
        there = glue.get_table(DatabaseName=database, Name=TABLE)["Table"]
    except glue.exceptions.EntityNotFoundException:
        return rebuild_catalogue(glue, database, bucket, state)
    noted = there.get("Parameters", {})
    shown = int(noted[_VERSION]) if noted.get(_VERSION, "").isdecimal() else 0  # a table of that name, but not this one
    anew = any(version.starts_anew for version in state.versions if version.version > shown)
    if anew or shown > state.latest or _erased(state) != noted.get(_ERASED) or _columns(there) != _columns(table):
        return rebuild_catalogue(glue, database, bucket, state)
    return _add(glue, database, bucket, state, shown)


def rebuild_catalogue(glue: Any, database: str, bucket: str, state: LogState) -> int:
    """Make the table ``dataset`` anew from the log; returns the number of its partitions.

    Arguments are those of ``keep_catalogue``; errors of Glue are botocore's, or a CatalogueError for a partition.
    """
    table = _table(bucket, state)
    with suppress(glue.exceptions.EntityNotFoundException):
        glue.delete_table(DatabaseName=database, Name=TABLE)
    glue.create_table(DatabaseName=database, TableInput=table)
    return _add(glue, database, bucket, state, 0)


def _add(glue: Any, database: str, bucket: str, state: LogState, shown: int) -> int:
    """Add the partitions of the versions after ``shown``, and note the newest only then: what ends half-way is repeated by the next."""
    table = _table(bucket, state)
    partitions = [
        {
            "Values": [str(first), str(last), split],
            "StorageDescriptor": {**table["StorageDescriptor"], "Location": f"s3://{bucket}/{folder}"},
        }
        for first, last, split, folder in partitions_of(state)
        if first > shown
    ]
    for start in range(0, len(partitions), _AT_ONCE):
        answer = glue.batch_create_partition(
            DatabaseName=database, TableName=TABLE, PartitionInputList=partitions[start : start + _AT_ONCE]
        )
        for failed in answer.get("Errors", []):
            said = failed.get("ErrorDetail", {})
            if said.get("ErrorCode") != "AlreadyExistsException":
                raise CatalogueError(
                    f"Glue does not take the partition {'/'.join(failed['PartitionValues'])} of {database}.{TABLE}: "
                    f"{said.get('ErrorCode')}: {said.get('ErrorMessage')}; run the command again"
                )
    if shown < state.latest:
        noted = {**table["Parameters"], _VERSION: str(state.latest)}
        glue.update_table(DatabaseName=database, TableInput={**table, "Parameters": noted})
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


def _table(bucket: str, state: LogState) -> dict[str, Any]:
    """Return the table as Glue takes it, with no version noted yet."""
    contracts = [version.contract for version in state.versions if version.contract is not None]
    if not contracts:
        raise LookupError("the dataset log has no version yet: there is nothing to put into the catalogue")
    return {
        "Name": TABLE,
        "Description": "The rows of every dataset version; version N is: where N between first_version and last_version",
        "TableType": "EXTERNAL_TABLE",
        "Parameters": {"classification": "parquet", "EXTERNAL": "TRUE", _VERSION: "0", _ERASED: _erased(state)},
        "PartitionKeys": _KEYS,
        "StorageDescriptor": {**_storage(contracts[-1]), "Location": f"s3://{bucket}/"},
    }


def _erased(state: LogState) -> str:
    return ",".join(map(str, sorted(state.erased))) or "none"


def _columns(table: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    columns = table["StorageDescriptor"]["Columns"]
    return [(column["Name"], column["Type"], column.get("Comment") or "") for column in columns]


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
