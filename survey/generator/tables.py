"""Rows between their forms: text cells as in files, and typed frames as the methods need them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from datetime import UTC, date, datetime
from pathlib import Path

import numpy as np
import pandas as pd

from retraining.contract.rows import row_hash
from retraining.contract.rules import Contract, cells_of

STEPS = (1.0, 0.5, 0.1, 0.05, 0.01, 0.005, 0.001, 0.0005, 0.0001)
ENDINGS = ("*.csv", "*.parquet")  # of files with rows of a data set
ON_GRID = 0.99  # share of values that must lie on a grid for it to be the instrument's


def read_training_rows(folder: Path, contract: Contract) -> pd.DataFrame:
    """Read every file of rows below ``folder``: Parquet by name, CSV, with or without header, with the target first, then contract order.

    Returns:
        Typed rows with the contract's columns in file order.

    Raises:
        ValueError: there are no rows, the contract has columns that a model is not fed, or a line has another number of cells.

    """
    order = contract.training_columns
    if ignored := [name for name in contract.names if name not in order]:
        raise ValueError(
            f"the contract ignores {', '.join(ignored)}: training files do not have them, so no rows can be made up from these files"
        )
    rows: list[list[str]] = []
    for path in sorted(found for ending in ENDINGS for found in folder.rglob(ending)):
        if path.suffix == ".parquet":
            rows += _from_parquet(path, order)
            continue
        with path.open(newline="", encoding="utf-8") as lines:
            found = cells_of(lines)
        rows += found[1:] if found[:1] == [list(order)] else found
    for position, row in enumerate(rows, start=1):
        if len(row) != len(order):
            raise ValueError(
                f"training row {position} below {folder} has {len(row)} cells, the contract has {len(order)} columns"
            )
    if not rows:
        raise ValueError(f"there are no training rows below {folder}: load a dataset version first")
    at = {name: order.index(name) for name in contract.names}
    return typed([[row[at[name]] for name in contract.names] for row in rows], contract)


def _from_parquet(path: Path, order: Sequence[str]) -> list[list[str]]:
    """Return the rows of a Parquet file as the texts that a CSV file would have."""
    columns = []
    for name in order:
        values = pd.read_parquet(path, columns=[name])[name].tolist()
        columns.append(["" if pd.isna(value) else _written(value) for value in values])
    return [list(row) for row in zip(*columns, strict=True)]


def _written(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
    return value.isoformat() if isinstance(value, date) else str(value)


def typed(rows: Sequence[Sequence[str]], contract: Contract) -> pd.DataFrame:
    """Return rows of text cells (file order, valid) as a frame: strings, float64 for double, int64 for int."""
    columns = {}
    for position, column in enumerate(contract.columns):
        cells = [row[position] for row in rows]
        if not column.numeric:
            columns[column.name] = pd.Series(cells, dtype=object)
        else:
            values = pd.Series([float(cell) for cell in cells], dtype=float)
            columns[column.name] = values if column.type == "double" else values.round().astype("int64")
    return pd.DataFrame(columns)


def cells(frame: pd.DataFrame, contract: Contract) -> list[list[str]]:
    """Return the rows of a frame as text cells in file order, numbers in their shortest form of at most nine decimals."""
    texts = []
    for column in contract.columns:
        values = frame[column.name].tolist()
        texts.append([_text(value) for value in values] if column.numeric else [str(value) for value in values])
    return [list(row) for row in zip(*texts, strict=True)]


def _text(value: float) -> str:
    if isinstance(value, int) or float(value).is_integer():
        return str(int(value))
    return f"{value:.9f}".rstrip("0").rstrip(".")


def grid_steps(frame: pd.DataFrame, contract: Contract) -> dict[str, float]:
    """Return the resolution at which each numeric column was measured: the coarsest step that nearly all values lie on.

    Without it a classifier could tell generated rows from real ones by their decimals alone.
    """
    steps = {}
    for name in contract.numeric:
        values = frame[name].to_numpy(dtype=float)
        fitting = (step for step in STEPS if np.mean(np.abs(values / step - np.round(values / step)) < 1e-6) >= ON_GRID)
        steps[name] = next(fitting, STEPS[-1])
    return steps


def snap(frame: pd.DataFrame, contract: Contract, steps: dict[str, float]) -> pd.DataFrame:
    """Return the frame with numeric columns rounded to their resolution and int columns as whole numbers."""
    snapped = frame.copy()
    for name, step in steps.items():
        decimals = max(0, math.ceil(-math.log10(step)))
        values = np.round(np.round(frame[name].to_numpy(dtype=float) / step) * step, decimals)
        snapped[name] = np.round(values).astype("int64") if contract.column(name).type == "int" else values
    return snapped[list(contract.names)]


def hashes(rows: Iterable[Sequence[str]], contract: Contract) -> set[str]:
    """Return the identities of rows of text cells."""
    return {row_hash(contract, row) for row in rows}
