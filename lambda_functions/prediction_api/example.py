"""A row that the contract allows, made from it alone: no row of the data leaves it."""

from __future__ import annotations

from typing import Any

from lambda_functions.prediction_api.model import Model
from retraining.contract.rules import Column, Contract

FIXED = {"boolean": True, "date": "2026-01-31", "timestamp": "2026-01-31T12:00:00Z", "string": "text"}
HALVINGS = 20


def example_row(model: Model) -> dict[str, Any] | None:
    """Return a row that breaks nothing: the middle of limits, the first allowed value; None when the rules allow none that is found."""
    row = {column.name: _middle(column) for column in model.features}
    for _ in range(HALVINGS):
        if not model.contract.request_reasons(row):
            return row
        _shrink(row, model.contract)
    return None


def _middle(column: Column) -> Any:
    if not column.numeric:
        return column.allowed[0] if column.allowed else FIXED[column.type]
    low, high = column.min, column.max
    if low is None and high is None:
        value = 1.0
    elif low is None or high is None:
        value = low + 1 if low is not None else (high or 0) - 1
    else:
        value = (low + high) / 2
    if column.type == "double":
        return float(f"{value:.3g}") if column.broken_bound(float(f"{value:.3g}")) is None else value
    return int(value) if column.broken_bound(int(value)) is None else int(value) + 1


def _shrink(row: dict[str, Any], contract: Contract) -> None:
    """Halve the way of the parts of each broken rule to their lower limits."""
    for rule in contract.rules:
        values = dict.fromkeys(contract.names) | row
        if not rule.broken(values):
            continue
        for column in map(contract.column, rule.sum):
            if column.name in row:
                low = column.min if column.min is not None else 0.0
                value = low + (float(row[column.name]) - low) / 2
                row[column.name] = int(value) if column.type == "int" else float(f"{value:.3g}")
