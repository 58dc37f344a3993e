"""SQL over one version of a data set: ``python -m retraining.command.query MODEL "select ..." --version 3``.

The log says which objects make up the version; DuckDB reads them by the names of their columns. Nothing is written to the bucket.
"""

from __future__ import annotations

import argparse
import csv
import importlib
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from retraining.aws.clients import client
from retraining.aws.platform_parameter import reach_platform
from retraining.command.dataset_views import aligned
from retraining.command.piped import until_nobody_reads
from retraining.contract.plain_text import plain, plain_lines
from retraining.dataset.log import DatasetLog
from retraining.dataset.state import LogState
from retraining.settings.access import AwsAccess
from retraining.settings.environment import platform_parameter

READERS = 16  # objects that are fetched at once
CELL = 60  # characters of a cell that are shown


class QueryError(RuntimeError):
    """The query cannot be answered; the message says why."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Answer a query on standard output; 1 with the reason when it cannot be answered."""
    parser = argparse.ArgumentParser(
        prog="python -m retraining.command.query",
        description="Answer SQL over one version of a data set. The table has the model's name (hyphens as underscores), the "
        "contract's columns, row_hash, source, and split.",
    )
    parser.add_argument("model")
    parser.add_argument("sql", help="such as 'select sex, avg(rings) from abalone group by sex'")
    parser.add_argument("--version", type=int, help="number of the version (default: the newest)")
    parser.add_argument("--csv", action="store_true", help="whole cells as CSV instead of a table")
    chosen = parser.parse_args(arguments)
    try:
        access = AwsAccess()
        bucket = reach_platform(platform_parameter(chosen.model), access).bucket
        s3 = client("s3", access)
        with tempfile.TemporaryDirectory() as folder:
            state = version_state(DatasetLog(s3, bucket, f"{chosen.model}/").read(), chosen.version)
            fetch(s3, bucket, state, Path(folder) / "data")
            answer = answer_of(chosen.sql, table_name(chosen.model), Path(folder))
            if chosen.csv:
                sys.stdout.write(answer.read_text(encoding="utf-8"))
            else:
                sys.stdout.write(shown(answer) + "\n")
    except (BotoCoreError, ClientError, LookupError, RuntimeError) as error:
        sys.stderr.write(f"error: {plain_lines(error)}\n")
        return 1
    return 0


def version_state(state: LogState, number: int | None) -> LogState:
    """Return the log as of a version, the newest by default.

    Raises:
        LookupError: there is no such version, or its rows were erased.

    """
    return state.readable_at(state.latest if number is None else number)


def fetch(s3: Any, bucket: str, state: LogState, folder: Path) -> None:
    """Bring the Parquet objects of the newest version of ``state`` to ``folder/NUMBER/split=S/``, in the order of the log.

    Raises:
        QueryError: the version has no row.

    """
    wanted = [
        (output.key, folder / f"{number:06d}" / "/".join(output.key.rsplit("/", 2)[1:]))
        for number, version in enumerate(state.current)
        for output in version.data
    ]
    if not wanted:
        raise QueryError(f"dataset version {state.latest} has no row")

    def bring(item: tuple[str, Path]) -> None:
        key, path = item
        path.parent.mkdir(parents=True, exist_ok=True)
        s3.download_file(bucket, key, str(path))

    with ThreadPoolExecutor(READERS) as pool:
        list(pool.map(bring, wanted))


def answer_of(sql: str, table: str, folder: Path) -> Path:
    """Answer a query over the files below ``folder/data`` as a CSV file with header.

    Args:
        sql: one SELECT statement.
        table: name of the table.
        folder: takes the answer, too.

    Raises:
        QueryError: DuckDB is not installed, or refuses the query.

    """
    try:
        duckdb = importlib.import_module("duckdb")
    except ImportError as error:
        raise QueryError("DuckDB is not in this environment: use `make query`, or install duckdb") from error
    answer = folder / "answer.csv"
    with duckdb.connect() as db:
        db.execute("SET autoinstall_known_extensions = false; SET TimeZone = 'UTC'")
        db.execute(
            f"CREATE VIEW \"{table}\" AS SELECT * FROM read_parquet('{folder}/data/*/*/*.parquet', union_by_name = true, "
            "hive_partitioning = true, hive_types = {'split': VARCHAR})"
        )
        # The statement may read the version and write its answer, and no other file.
        db.execute(f"SET allowed_directories = ['{folder}']; SET enable_external_access = false")
        try:
            db.execute(f"COPY ({sql.strip().rstrip(';')}) TO '{answer}' (FORMAT csv, HEADER)")
        except duckdb.Error as error:
            raise QueryError(f"{error} (the table is called {table})") from error
    return answer


def table_name(model: str) -> str:
    """Return the name of a model's table."""
    return model.replace("-", "_")


def shown(answer: Path) -> str:
    """Return an answer as a table for people."""
    csv.field_size_limit(sys.maxsize)
    with answer.open(encoding="utf-8", newline="") as file:
        rows = [tuple(plain(cell, CELL) for cell in row) for row in csv.reader(file)]
    return f"{aligned(rows)}\n{len(rows) - 1} row(s)"


if __name__ == "__main__":
    sys.exit(until_nobody_reads(main))
