"""The rows of one version of a data set as a table of DuckDB on this machine.

The log says which objects make up the version; DuckDB reads them by the names of their columns. Nothing is written to the bucket.
"""

from __future__ import annotations

import importlib
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from retraining.aws.clients import client
from retraining.aws.platform_parameter import reach_platform
from retraining.dataset.log import DatasetLog
from retraining.dataset.state import LogState
from retraining.settings.access import AwsAccess
from retraining.settings.environment import platform_parameter

READERS = 16  # objects that are fetched at once
EXPECTED = (BotoCoreError, ClientError, LookupError, RuntimeError)
"""What reading a version fails with when it is no mistake of this code."""


class RowsError(RuntimeError):
    """The rows cannot be read or asked; the message says why."""


@dataclass(frozen=True)
class VersionRows:
    """A version that is open: its number, the name of its table, the connection, and the folder below which it can write."""

    version: int
    table: str
    db: Any
    folder: Path


@contextmanager
def version_rows(model: str, number: int | None) -> Iterator[VersionRows]:
    """Open the rows of a version, the newest by default; they are gone from this machine afterwards.

    Raises:
        LookupError: there is no such version, or its rows were erased.
        RowsError: the version has no row, or DuckDB is not installed.

    """
    s3, bucket, state = version_of(model, number)
    with tempfile.TemporaryDirectory() as made:
        folder, table = Path(made), table_name(model)
        _fetch(s3, bucket, state, folder / "data")
        with _view(table, folder) as db:
            yield VersionRows(state.latest, table, db, folder)


def version_of(model: str, number: int | None) -> tuple[Any, str, LogState]:
    """Return an S3 client, the bucket, and the state of the log as of a version, the newest by default.

    Raises:
        LookupError: there is no such version, or its rows were erased.

    """
    access = AwsAccess()
    bucket = reach_platform(platform_parameter(model), access).bucket
    s3 = client("s3", access)
    state = DatasetLog(s3, bucket, f"{model}/").read()
    return s3, bucket, state.readable_at(state.latest if number is None else number)


def table_name(model: str) -> str:
    """Return the name of a model's table."""
    return model.replace("-", "_")


def _fetch(s3: Any, bucket: str, state: LogState, folder: Path) -> None:
    """Bring the Parquet objects of the newest version of ``state`` to ``folder/NUMBER/split=S/``, in the order of the log."""
    wanted = [
        (output.key, folder / f"{number:06d}" / "/".join(output.key.rsplit("/", 2)[1:]))
        for number, version in enumerate(state.current)
        for output in version.data
    ]
    if not wanted:
        raise RowsError(f"dataset version {state.latest} has no row")

    def bring(item: tuple[str, Path]) -> None:
        key, path = item
        path.parent.mkdir(parents=True, exist_ok=True)
        s3.download_file(bucket, key, str(path))

    with ThreadPoolExecutor(READERS) as pool:
        list(pool.map(bring, wanted))


@contextmanager
def _view(table: str, folder: Path) -> Iterator[Any]:
    """Open the files below ``folder/data`` as a table of DuckDB, which can read and write below ``folder`` and nowhere else."""
    try:
        duckdb = importlib.import_module("duckdb")
    except ImportError as error:
        raise RowsError("DuckDB is not in this environment: use `make query`, or install duckdb") from error
    with duckdb.connect() as db:
        db.execute("SET autoinstall_known_extensions = false; SET TimeZone = 'UTC'")
        db.execute(
            f"CREATE VIEW \"{table}\" AS SELECT * FROM read_parquet('{folder}/data/*/*/*.parquet', union_by_name = true, "
            "hive_partitioning = true, hive_types = {'split': VARCHAR})"
        )
        db.execute(f"SET allowed_directories = ['{folder}']; SET enable_external_access = false")
        yield db
