"""Rows that are still text, judged without a file around them: what generators, tools and tests ask."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from typing import Any

from retraining.contract.layout import Layout
from retraining.contract.reader import TOO_FEW, TOO_MANY, judge
from retraining.contract.rules import Column, Contract
from retraining.contract.splitting.place import place_of


def csv_line(cells: Sequence[str]) -> str:
    """Return cells as one line of CSV without its end; a cell with a comma, a quote or a break in it is quoted."""
    text = io.StringIO()
    csv.writer(text).writerow(cells)
    return text.getvalue().removesuffix("\r\n")


def cell_reason(contract: Contract, column: Column, cell: str) -> str | None:
    """Return the first reason why a trimmed cell breaks its column's contract, None for a good one."""
    return contract.reason(column, cell, contract.value(column, cell))


def row_reasons(contract: Contract, cells: Sequence[str]) -> list[str]:
    """Return all reasons why a row of trimmed cells in contract order is rejected, empty for a good row."""
    if len(cells) != len(contract.columns):
        return [TOO_FEW if len(cells) < len(contract.columns) else TOO_MANY]
    return list(contract.judge(cells).reasons)


def line_reasons(contract: Contract, line: str) -> list[str]:
    """Return all reasons why a line of a file without header is rejected, empty for a good line."""
    width = len(contract.columns)
    layout = Layout(contract.delimiter or ",", order=tuple(range(width)), width=width)
    return list(judge(1, line, contract, layout, {"train": 100}).reasons)


def row_hash(contract: Contract, cells: Sequence[str]) -> str:
    """Return the identity of a good row of trimmed cells."""
    return contract.row_hash(contract.judge(cells).values)


def row_split(contract: Contract, cells: Sequence[str], split: Mapping[str, Any]) -> str | None:
    """Return the split of a good row that was measured; None by time without boundaries."""
    return place_of(contract, contract.judge(cells).values, split)
