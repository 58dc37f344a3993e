"""What the columns of a dataset version hold, by split: ``python -m retraining.command.profile MODEL --version 3 --into FOLDER``.

The merge has counted it and stored it beside the log. Of a version without that DuckDB reads the Parquet files, in constant memory.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from retraining.command.dataset_views import aligned
from retraining.command.piped import until_nobody_reads
from retraining.command.version_rows import EXPECTED, version_of, version_rows
from retraining.contract.plain_text import plain, plain_lines
from retraining.contract.profiling.version_profile import OTHER
from retraining.dataset.outputs import SPLITS, stored_profile
from retraining.judging.compared_profiles import RANGES
from retraining.telling.profiling.figures import QUANTILES, figures_of
from retraining.telling.profiling.page import profile_page, shown

ADDED = ("row_hash", "source", "split")  # columns of the data set that are none of the contract's
TOP = 10  # texts that are counted by name


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the profile and write it as page and JSON; 1 with the reason when it cannot be made."""
    parser = argparse.ArgumentParser(
        prog="python -m retraining.command.profile", description="Say what the columns of a dataset version hold."
    )
    parser.add_argument("model")
    parser.add_argument("--version", type=int, help="number of the version (default: the newest)")
    parser.add_argument("--into", type=Path, default=Path(), help="folder for page and JSON")
    chosen = parser.parse_args(arguments)
    try:
        profile = stored(chosen.model, chosen.version) or computed(chosen.model, chosen.version)
    except EXPECTED as error:
        sys.stderr.write(f"error: {plain_lines(error)}\n")
        return 1
    chosen.into.mkdir(parents=True, exist_ok=True)
    place = chosen.into / f"{chosen.model}-version-{profile['version']}"
    document = json.dumps(profile, indent=1, ensure_ascii=False, allow_nan=False)
    place.with_suffix(".json").write_text(document + "\n", encoding="utf-8")
    place.with_suffix(".html").write_text(profile_page(profile), encoding="utf-8")
    sys.stdout.write(f"{table_of_profile(profile)}\npage: {place}.html\nJSON: {place}.json\n")
    return 0


def stored(model: str, number: int | None) -> dict[str, Any] | None:
    """Return the figures of the profile that is stored with a version, None when none is.

    Raises:
        LookupError: there is no such version, or its rows were erased.

    """
    s3, bucket, state = version_of(model, number)
    found = stored_profile(s3, bucket, state.versions[-1]) if state.versions else None
    return {"model": model, "version": state.latest, **figures_of(found)} if found else None


def computed(model: str, number: int | None) -> dict[str, Any]:
    """Return the figures of a version from its rows.

    Raises:
        LookupError: there is no such version, or its rows were erased.
        RowsError: the version has no row, or DuckDB is not installed.

    """
    with version_rows(model, number) as rows:
        return {"model": model, "version": rows.version, **profile_of(rows.db, rows.table)}


def profile_of(db: Any, table: str) -> dict[str, Any]:
    """Return rows per split, and by column its type and per split its figures; numbers are counted in ranges of the training rows.

    Args:
        db: a DuckDB connection.
        table: a table with a column ``split``.

    """
    counted = dict(db.execute(f'SELECT split, count(*) FROM "{table}" GROUP BY split').fetchall())
    splits = {split: counted[split] for split in SPLITS if split in counted}
    columns = {}
    for name, kind, *_ in db.execute(f'DESCRIBE "{table}"').fetchall():
        if name not in ADDED:
            numeric = kind in ("BIGINT", "DOUBLE", "INTEGER")
            found = _of_numbers(db, table, name) if numeric else _of_values(db, table, name, kind)
            columns[name] = {"type": kind.lower(), "splits": {split: found[split] for split in splits}}
    return {"splits": splits, "columns": columns}


def _of_numbers(db: Any, table: str, name: str) -> dict[str, dict[str, Any]]:
    # Quantiles are computed in double precision, which whole numbers beyond 2^53 leave: none lies outside of the values.
    shares = ", ".join(
        f'greatest(min("{name}"), least(max("{name}"), approx_quantile("{name}", {share}))) AS {word}'
        for word, share in QUANTILES.items()
    )
    answer = db.execute(
        f'SELECT split, count(*) AS n, count(*) - count("{name}") AS missing, min("{name}") AS min, max("{name}") AS max, '
        f'avg("{name}") AS mean, {shares} FROM "{table}" GROUP BY split'
    )
    names = [column[0] for column in answer.description]
    found = {row[0]: dict(zip(names[1:], row[1:], strict=True)) for row in answer.fetchall()}
    steps = [place / RANGES for place in range(1, RANGES)]
    first = next(split for split in SPLITS if split in found)
    [edges] = db.execute(
        f'SELECT approx_quantile(CAST("{name}" AS DOUBLE), {steps}) FROM "{table}" WHERE split = \'{first}\''
    ).fetchone()
    edges = sorted(set(edges or ()))
    for figures in found.values():
        figures |= {"edges": edges, "counts": [0] * (len(edges) + 1)}
    above = (f'CAST(CAST("{name}" AS DOUBLE) > {edge!r}::DOUBLE AS INTEGER)' for edge in edges)
    inside = " + ".join(("0", *above))  # a value at an edge belongs to the range below it
    ranged = f'SELECT split, {inside} AS place, count(*) FROM "{table}" WHERE "{name}" IS NOT NULL GROUP BY ALL'
    for split, place, count in db.execute(ranged).fetchall():
        found[split]["counts"][place] = count
    return found


def _of_values(db: Any, table: str, name: str, kind: str) -> dict[str, dict[str, Any]]:
    ordered = kind not in ("VARCHAR", "BOOLEAN")
    ends = f', CAST(min("{name}") AS VARCHAR), CAST(max("{name}") AS VARCHAR)' if ordered else ""
    found = {}
    for split, rows, present, distinct, *limits in db.execute(
        f'SELECT split, count(*), count("{name}"), approx_count_distinct("{name}"){ends} FROM "{table}" GROUP BY split'
    ).fetchall():
        found[split] = {"n": rows, "missing": rows - present, "distinct": distinct, "counts": {}}
        found[split] |= dict(zip(("min", "max"), limits, strict=False))
    first = next(split for split in SPLITS if split in found)
    [top] = db.execute(
        f'SELECT approx_top_k(CAST("{name}" AS VARCHAR), {TOP}) FROM "{table}" WHERE split = ?', [first]
    ).fetchone()
    named = f'CASE WHEN list_contains(?::VARCHAR[], CAST("{name}" AS VARCHAR)) THEN CAST("{name}" AS VARCHAR) END'
    counts = db.execute(
        f'SELECT split, {named} AS text, count(*) FROM "{table}" WHERE "{name}" IS NOT NULL GROUP BY ALL', [top or []]
    ).fetchall()
    known = {(split, text): count for split, text, count in counts}
    order = sorted(top or [], key=lambda text: (-known.get((first, text), 0), text))
    for split, figures in found.items():
        figures["counts"] = {text: known.get((split, text), 0) for text in order}
        if rest := known.get((split, None), 0):
            figures["counts"][OTHER] = rest
    return found


def table_of_profile(profile: dict[str, Any]) -> str:
    """Return the profile as a table for people: a line for each column and split."""
    head = ("column", "split", "rows", "missing", "min", "median", "mean", "max", "most frequent")
    lines = [head]
    for name, column in profile["columns"].items():
        for split, figures in column["splits"].items():
            counts = figures["counts"] if isinstance(figures["counts"], dict) else {}
            top = ", ".join(f"{plain(text, 20)} {count}" for text, count in list(counts.items())[:3] if count > 1)
            cells = (
                "" if figures.get(key) is None else shown(figures[key]) for key in ("min", "median", "mean", "max")
            )
            lines.append((name, split, str(figures["n"]), str(figures["missing"]), *cells, top))
    return aligned(lines)


if __name__ == "__main__":
    sys.exit(until_nobody_reads(main))
