"""Dirt on purpose: rows broken in each way that the contract knows, and only in ways that the merge will find."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from retraining.contract.rows import cell_reason, csv_line, line_reasons, row_reasons
from retraining.contract.rules import Column, Contract, Rule

Cells = list[str]


@dataclass(frozen=True)
class Way:
    """One way to break a row: its name, and the function that turns good cells into a bad line, or None if this row cannot be."""

    name: str
    reason: str
    spoil: Callable[[Cells], str | None]


def ways(contract: Contract) -> list[Way]:
    """Return all ways in which a row can break ``contract``, in the contract's order."""
    found: list[Way] = []
    for position, column in enumerate(contract.columns):
        for kind, cell in _bad_cells(column):
            reason = cell_reason(contract, column, cell)
            if reason:
                found.append(Way(f"{kind}:{column.name}", reason, _replace(position, cell)))
    for rule in contract.rules:
        found.append(Way(f"rule:{rule.name}", rule.reason, _break(rule, contract)))
    found += [
        Way("line:too_few_columns", "line: too few columns", lambda cells: csv_line(cells[:-1])),
        Way("line:too_many_columns", "line: too many columns", lambda cells: csv_line([*cells, "0"])),
        Way("line:unbalanced_quotes", "line: unbalanced quotes", lambda cells: '"' + csv_line(cells)),
    ]
    return found


def choose(contract: Contract, kinds: Sequence[str]) -> list[Way]:
    """Return the ways whose name is or begins with one of ``kinds`` (``missing``, ``below:height``, ``rule``); all for no kinds.

    Raises:
        ValueError: a kind matches no way.

    """
    every = ways(contract)
    for kind in kinds:
        if not any(_matches(way, kind) for way in every):
            known = sorted({way.name.split(":")[0] for way in every})
            raise ValueError(
                f"dirt kind {kind!r} is none of {', '.join(known)}, alone or with a column or rule: below:height"
            )
    return [way for way in every if not kinds or any(_matches(way, kind) for kind in kinds)]


def _matches(way: Way, kind: str) -> bool:
    return way.name == kind or way.name.startswith(f"{kind}:")


def spoil(
    rows: Sequence[Cells], share: float, kinds: Sequence[str], contract: Contract, rng: np.random.Generator
) -> tuple[list[str], dict[str, int]]:
    """Return the rows as lines, a share of them broken, and how many in which way.

    The ways take turns, so that each occurs when there are enough rows. A row that was bad before is left alone.

    Args:
        rows: text cells in file order.
        share: of all rows, from 0 to 1.
        kinds: see ``choose``.
        contract: says what is bad.
        rng: chooses rows and the order of ways.

    """
    lines = [csv_line(cells) for cells in rows]
    wanted = round(share * len(rows))
    if not wanted:
        return lines, {}
    chosen = choose(contract, kinds)
    turns = rng.permutation(len(chosen))
    counts: dict[str, int] = {}
    done = 0
    for place in rng.permutation(len(rows)):
        if done == wanted:
            break
        cells = rows[place]
        if row_reasons(contract, cells):
            continue
        for attempt in range(len(chosen)):
            way = chosen[turns[(done + attempt) % len(chosen)]]
            broken = way.spoil(list(cells))
            if broken is not None and way.reason in line_reasons(contract, broken):
                lines[place] = broken
                counts[way.name] = counts.get(way.name, 0) + 1
                done += 1
                break
    return lines, dict(sorted(counts.items()))


def _replace(position: int, cell: str) -> Callable[[Cells], str]:
    return lambda cells: csv_line([*cells[:position], cell, *cells[position + 1 :]])


def _bad_cells(column: Column) -> list[tuple[str, str]]:
    """Return (kind, cell) for every way in which one cell of the column can be bad."""
    cells = [] if column.nullable else [("missing", "")]
    if not column.numeric:
        stranger = next((text for text in ("X", "unknown", "?") if text not in column.allowed), "")
        return [*cells, ("not_allowed", stranger)] if column.allowed else cells
    cells += [("not_finite", "NaN"), ("not_a_number", "n/a"), ("decimal_comma", "0,5")]
    cells += [("out_of_range_of_type", "1e300")]
    if column.type == "int":
        cells += [("fraction", "7.5")]
    step = 1.0 if column.type == "int" else 0.01
    if column.min is not None:
        cells += [("below", f"{column.min if column.exclusive_min else column.min - step:g}")]
    if column.max is not None:
        cells += [("above", f"{column.max if column.exclusive_max else column.max + step:g}")]
    return cells


def _break(rule: Rule, contract: Contract) -> Callable[[Cells], str | None]:
    """Lower the larger side until the rule is broken and nothing else about that cell is."""
    at = contract.names.index(rule.at_most)
    parts = [contract.names.index(name) for name in rule.sum]

    def spoiled(cells: Cells) -> str | None:
        limit = sum(float(cells[part]) for part in parts) / rule.tolerance
        cells[at] = f"{0.9 * limit:.4f}"
        return None if cell_reason(contract, contract.columns[at], cells[at]) else csv_line(cells)

    return spoiled
