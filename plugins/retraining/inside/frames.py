"""Rows as a typed frame: what training, evaluation and service hand to a model, in one form.

Columns go by name. A number is a float, a truth value 1.0 or 0.0, and a missing one NaN. A text stays the text that came, ``02`` is not 2
and ``NA`` is a value; a date or an instant is the text of ISO 8601; a missing one is NaN, too.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from retraining.contract.rows import csv_line
from retraining.contract.rules import Column, Contract
from retraining.contract.values import BLANKS, in_points, parsed
from retraining.inside.job_file import Job, is_number


def read_frame(folder: Path, job: Job) -> pd.DataFrame:
    """Return all rows of a channel, files in the order of their paths.

    Raises:
        ValueError: there are no rows, or a file does not have the job's columns.

    """
    frames = [frame for _, frame in iterate_frames(folder, job)]
    if not frames:
        raise ValueError(f"no rows in any *.parquet or *.csv below {folder}: the channel is empty")
    return pd.concat(frames, ignore_index=True)


def iterate_frames(folder: Path, job: Job) -> Iterator[tuple[str, pd.DataFrame]]:
    """Yield path and rows of each file of a channel: Parquet by the names of its columns, else CSV by the job's order.

    The frames have the contract's columns in the contract's order.

    Raises:
        ValueError: a file does not have the job's columns, or a row no proper target.

    """
    paths = sorted(folder.rglob("*.parquet"))
    read = _read_parquet
    if not paths:
        paths, read = sorted(folder.rglob("*.csv")), _read_csv
    for path in paths:
        if path.stat().st_size == 0:  # Spark writes one for an empty partition
            continue
        frame = read(path, job)
        if len(frame):
            _check_target(frame, path, job)
            yield path.relative_to(folder).as_posix(), frame


def request_frame(rows: Sequence[Mapping[str, Any]], columns: Sequence[Column], contract: Contract) -> pd.DataFrame:
    """Return the rows of a request as a frame.

    Args:
        rows: values by column name; an empty text, None and what the contract's ``missing`` lists are missing.
        columns: what the model needs.
        contract: says what a text writes.

    Raises:
        ValueError: a value is missing, or is of the wrong kind; the message names row, column and value.

    """
    made = {}
    for column in columns:
        convert = _number if is_number(column) else _text
        values = [convert(row[column.name], number, column, contract) for number, row in enumerate(rows, start=1)]
        made[column.name] = _series(values, column)
    return pd.DataFrame(made)


def request_lines(frame: pd.DataFrame, columns: Sequence[Column]) -> list[str]:
    """Return rows of a frame as the lines of a ``text/csv`` request, which ``request_frame`` reads back as they are."""
    return [
        csv_line([_cell(value, column.type) for value, column in zip(row, columns, strict=True)])
        for row in zip(*(frame[column.name] for column in columns), strict=True)
    ]


def _cell(value: Any, kind: str) -> str:
    if pd.isna(value):
        return ""
    if isinstance(value, str):
        return value
    if kind == "boolean":
        return "true" if value else "false"
    return str(int(value)) if kind == "int" else repr(float(value))


def check_limits(frame: pd.DataFrame, columns: Sequence[Column], contract: Contract) -> None:
    """Check the rows of a request against the contract's limits, allowed values and rules.

    Raises:
        ValueError: a row breaks them; the message names row and reasons.

    """
    truths = [column.name for column in columns if column.type == "boolean"]
    for number, row in enumerate(frame.to_dict("records"), start=1):
        cells = {str(name): None if value != value else value for name, value in row.items()}  # NaN is not itself
        cells |= {name: bool(cells[name]) for name in truths if cells[name] is not None}
        if reasons := contract.request_reasons(cells):
            raise ValueError(f"row {number} breaks the contract: {'; '.join(reasons)}")


def _number(value: Any, row: int, column: Column, contract: Contract) -> float:
    if isinstance(value, str):
        text = value.strip(BLANKS)
        if contract.is_missing(column, text):
            return _missing(row, column)
        number = _as_float(_read(text, column, contract), column)
    elif value is None or value != value:
        return _missing(row, column)
    else:
        number = _as_float(value, column)
    if not math.isfinite(number):
        kind = "a finite number" if column.numeric else "a truth value"
        raise ValueError(f"row {row}: {column.name} is {_shown(value)}, not {kind}")
    if column.type == "int" and not number.is_integer():
        raise ValueError(f"row {row}: {column.name} is {_shown(value)}, not a whole number")
    return number


def _read(text: str, column: Column, contract: Contract) -> Any:
    """Return the value of a text: a number as answers are written, with a point, else as the contract's files write it."""
    value = parsed(column.type, text)
    if (
        value is None
        and column.numeric
        and (plain := in_points(text, contract.decimal, contract.thousands)) is not None
    ):
        return parsed(column.type, plain)
    return value


def _as_float(value: Any, column: Column) -> float:
    """Return the number that stands for a value in a frame, NaN when it is none of the column's type."""
    if column.type == "boolean":
        return float(value) if value in (0, 1) else math.nan
    try:
        return math.nan if isinstance(value, bool) or not isinstance(value, int | float) else float(value)
    except OverflowError:
        return math.nan


def _text(value: Any, row: int, column: Column, contract: Contract) -> Any:
    if value is None or value != value:
        return _missing(row, column)
    if not isinstance(value, str):
        raise ValueError(f"row {row}: {column.name} is {_shown(value)}, expected a text (in quotes)")
    text = value.strip(BLANKS)
    if contract.is_missing(column, text):
        return _missing(row, column)
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ValueError(f"row {row}: {column.name} is {_shown(value)}, which is no Unicode text") from None
    return _iso(text, column) or text  # what is no date breaks the contract, which says so


def _iso(text: str, column: Column) -> str | None:
    """Return a date or an instant as ISO 8601 writes it, another text as it is; None when it is none."""
    if column.type == "string":
        return text
    found = parsed(column.type, text)
    return None if found is None else iso(found)


def iso(value: Any) -> str:
    """Return a date, or an instant in UTC, as text."""
    return value.isoformat().replace("+00:00", "Z")


def _missing(row: int, column: Column) -> float:
    if not column.nullable:
        kind = "a number" if is_number(column) else "a text"
        raise ValueError(f"row {row}: {column.name} is missing, expected {kind}")
    return math.nan


def _shown(value: Any) -> str:
    try:
        text = ascii(value)
    except ValueError:  # an integer of more digits than Python writes
        return "a number of thousands of digits"
    return text if len(text) <= 60 else f"{text[:57]}..."


def _read_csv(path: Path, job: Job) -> pd.DataFrame:
    """Read a CSV file. All values come as texts, so that nothing is guessed."""
    names = list(job.csv_columns)
    try:
        texts = pd.read_csv(
            path, header=None, dtype=str, keep_default_na=False, skipinitialspace=True, quoting=csv.QUOTE_MINIMAL
        )
    except pd.errors.EmptyDataError:
        return pd.DataFrame(columns=names)
    except (pd.errors.ParserError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} cannot be read: {error}") from error
    if texts.shape[1] != len(names):
        raise ValueError(f"{path} has {texts.shape[1]} columns, expected {len(names)}: {', '.join(names)}")
    if job.csv_header:
        if list(texts.iloc[0]) != names:
            raise ValueError(f"{path} has the header {', '.join(map(str, texts.iloc[0]))}, expected {', '.join(names)}")
        texts = texts[1:]
    texts.columns = names
    short = np.flatnonzero(texts.isna().any(axis=1))
    if short.size:
        raise ValueError(f"{path}, line {short[0] + 1 + job.csv_header}: fewer values than the {len(names)} columns")
    return pd.DataFrame({c.name: _series(_typed(texts[c.name], c, path), c) for c in job.columns})


def _series(values: Any, column: Column) -> pd.Series:
    return pd.Series(values, dtype=float if is_number(column) else object)  # pandas 3 would make its own type of texts


def _typed(texts: pd.Series, column: Column, path: Path) -> np.ndarray:
    values = texts.to_numpy(dtype=object, copy=True)
    empty = values == ""
    values[empty] = "nan" if column.numeric else np.nan
    if column.type == "string":
        return values
    try:
        return values.astype(float) if column.numeric else _parsed(values, column)
    except ValueError as error:
        line, text = next((line + 1, text) for line, text in texts.items() if not _is_one(text, column))
        kind = "a number" if column.numeric else f"a {column.type}"
        raise ValueError(f"{path}, line {line}: {column.name} is {text!r}, not {kind}") from error


def _parsed(values: np.ndarray, column: Column) -> np.ndarray:
    """Return truth values as numbers, dates and instants as texts; NaN stays.

    Raises:
        ValueError: a text writes none.

    """
    found = [value if value != value else parsed(column.type, value) for value in values]
    if None in found:
        raise ValueError
    if column.type == "boolean":
        return np.array(found, dtype=float)
    return np.array([value if value != value else iso(value) for value in found], dtype=object)


def _is_one(text: str, column: Column) -> bool:
    try:
        return text == "" or (not math.isnan(float(text)) if column.numeric else parsed(column.type, text) is not None)
    except ValueError:
        return False


def _read_parquet(path: Path, job: Job) -> pd.DataFrame:
    names = [column.name for column in job.columns]
    try:
        found = pd.read_parquet(path)
    except (OSError, ValueError) as error:
        raise ValueError(f"{path} cannot be read: {error}") from error
    missing = [name for name in names if name not in found.columns]
    if missing:
        raise ValueError(f"{path} has no column {', '.join(missing)}; it has {', '.join(map(str, found.columns))}")
    made = {}
    for column in job.columns:
        values = found[column.name]
        if is_number(column):
            made[column.name] = _series(values.to_numpy(dtype=float, na_value=np.nan), column)
            continue
        if column.type == "timestamp":
            values = pd.to_datetime(values, utc=True)
        texts = [np.nan if pd.isna(value) else value if isinstance(value, str) else iso(value) for value in values]
        made[column.name] = _series(texts, column)
    return pd.DataFrame(made)


def _check_target(frame: pd.DataFrame, path: Path, job: Job) -> None:
    target, values = job.target_column, frame[job.target].to_numpy()
    bad = ~np.isfinite(values) if is_number(target) else pd.isna(values)
    if np.any(bad):
        at = int(np.flatnonzero(bad)[0])
        kind = "a finite number" if is_number(target) else "a text"
        raise ValueError(f"{path}, line {at + 1}: {job.target} is {values.tolist()[at]!r}, not {kind}")
