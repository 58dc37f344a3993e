"""SQL over one version of a data set: ``python -m retraining.command.query MODEL "select ..." --version 3``."""

from __future__ import annotations

import argparse
import csv
import importlib
import sys
from collections.abc import Sequence
from pathlib import Path

from retraining.command.dataset_views import aligned
from retraining.command.piped import until_nobody_reads
from retraining.command.version_rows import EXPECTED, RowsError, VersionRows, version_rows
from retraining.contract.plain_text import plain, plain_lines

CELL = 60  # characters of a cell that are shown


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
        with version_rows(chosen.model, chosen.version) as rows:
            answer = answer_of(chosen.sql, rows)
            if chosen.csv:
                sys.stdout.write(answer.read_text(encoding="utf-8"))
            else:
                sys.stdout.write(shown(answer) + "\n")
    except EXPECTED as error:
        sys.stderr.write(f"error: {plain_lines(error)}\n")
        return 1
    return 0


def answer_of(sql: str, rows: VersionRows) -> Path:
    """Answer a query as a CSV file with header.

    Args:
        sql: one SELECT statement.
        rows: what it asks.

    Raises:
        RowsError: DuckDB refuses the query.

    """
    answer = rows.folder / "answer.csv"
    try:
        rows.db.execute(f"COPY ({sql.strip().rstrip(';')}) TO '{answer}' (FORMAT csv, HEADER)")
    except importlib.import_module("duckdb").Error as error:
        raise RowsError(f"{error} (the table is called {rows.table})") from error
    return answer


def shown(answer: Path) -> str:
    """Return an answer as a table for people."""
    csv.field_size_limit(sys.maxsize)
    with answer.open(encoding="utf-8", newline="") as file:
        rows = [tuple(plain(cell, CELL) for cell in row) for row in csv.reader(file)]
    return f"{aligned(rows)}\n{len(rows) - 1} row(s)"


if __name__ == "__main__":
    sys.exit(until_nobody_reads(main))
