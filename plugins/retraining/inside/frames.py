"""Rows as a typed frame: what training, evaluation and service hand to a model, in one form.

Columns go by name. A number is a float, and a missing one is NaN; a text stays the text that came, ``02`` is not 2 and ``NA`` is a value,
and a missing one is NaN, too.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from retraining.inside.job_file import Column, Job


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
    """Yield path and rows of each file of a channel: Parquet by the names of its columns, else CSV without header by the job's order.

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


def request_frame(rows: Sequence[Mapping[str, Any]], columns: Sequence[Column], first: int = 1) -> pd.DataFrame:
    """Return the rows of a request as a frame.

    Args:
        rows: values by column name; an empty text and None are missing.
        columns: what the model needs.
        first: number of the first row, for messages.

    Raises:
        ValueError: a value is missing, or is of the wrong kind; the message names row, column and value.

    """
    made = {}
    for column in columns:
        convert = _number if column.is_number else _text
        values = [convert(row[column.name], number, column) for number, row in enumerate(rows, start=first)]
        made[column.name] = _series(values, column)
    return pd.DataFrame(made)


def _number(value: Any, row: int, column: Column) -> float:
    if isinstance(value, str):
        value = value.strip()
    if value is None or value == "":
        return _missing(row, column)
    try:
        if isinstance(value, bool) or (isinstance(value, str) and "_" in value):
            raise ValueError
        number = float(value)
    except (ValueError, TypeError, OverflowError):
        raise ValueError(f"row {row}: {column.name} is {_shown(value)}, not a finite number") from None
    if math.isnan(number) and column.nullable:
        return math.nan
    if not math.isfinite(number):
        raise ValueError(f"row {row}: {column.name} is {_shown(value)}, not a finite number")
    if column.type == "int" and not number.is_integer():
        raise ValueError(f"row {row}: {column.name} is {_shown(value)}, not a whole number")
    return number


def _text(value: Any, row: int, column: Column) -> Any:
    if value is None or value == "" or (isinstance(value, float) and math.isnan(value)):
        return _missing(row, column)
    if not isinstance(value, str):
        raise ValueError(f"row {row}: {column.name} is {_shown(value)}, expected a text (in quotes)")
    text = value.strip()
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ValueError(f"row {row}: {column.name} is {_shown(value)}, which is no Unicode text") from None
    return text if text else _missing(row, column)


def _missing(row: int, column: Column) -> float:
    if not column.nullable:
        kind = "a number" if column.is_number else "a text"
        raise ValueError(f"row {row}: {column.name} is missing, expected {kind}")
    return math.nan


def _shown(value: Any) -> str:
    try:
        text = ascii(value)
    except ValueError:  # an integer of more digits than Python writes
        return "a number of thousands of digits"
    return text if len(text) <= 60 else f"{text[:57]}..."


def _read_csv(path: Path, job: Job) -> pd.DataFrame:
    """Read a CSV file without header. All values come as texts, so that nothing is guessed."""
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
    texts.columns = names
    short = np.flatnonzero(texts.isna().any(axis=1))
    if short.size:
        raise ValueError(f"{path}, line {short[0] + 1}: fewer values than the {len(names)} columns")
    return pd.DataFrame({c.name: _series(_typed(texts[c.name], c, path), c) for c in job.columns})


def _series(values: Any, column: Column) -> pd.Series:
    return pd.Series(values, dtype=float if column.is_number else object)  # pandas 3 would make its own type of texts


def _typed(texts: pd.Series, column: Column, path: Path) -> np.ndarray:
    values = texts.to_numpy(dtype=object, copy=True)
    empty = values == ""
    values[empty] = "nan" if column.is_number else np.nan
    if not column.is_number:
        return values
    try:
        return values.astype(float)
    except ValueError as error:
        line, text = next((line, text) for line, text in enumerate(texts, start=1) if not _is_number(text))
        raise ValueError(f"{path}, line {line}: {column.name} is {text!r}, not a number") from error


def _is_number(text: str) -> bool:
    try:
        float(text or "nan")
    except ValueError:
        return False
    return True


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
        if column.is_number:
            made[column.name] = _series(found[column.name].to_numpy(dtype=float, na_value=np.nan), column)
        else:
            values = found[column.name].to_numpy(dtype=object, copy=True)
            values[pd.isna(values)] = np.nan
            made[column.name] = _series(values, column)
    return pd.DataFrame(made)


def _check_target(frame: pd.DataFrame, path: Path, job: Job) -> None:
    target, values = job.target_column, frame[job.target].to_numpy()
    bad = ~np.isfinite(values) if target.is_number else pd.isna(values)
    if np.any(bad):
        at = int(np.flatnonzero(bad)[0])
        kind = "a finite number" if target.is_number else "a text"
        raise ValueError(f"{path}, line {at + 1}: {job.target} is {values.tolist()[at]!r}, not {kind}")
