"""Columns that should not be learnt from: numbers of rows, constants, sentences, and what gives the target away."""

from __future__ import annotations

import math
import re
from collections import Counter, defaultdict
from collections.abc import Sequence
from itertools import pairwise

from retraining.command.new_model.columns import Column

NAMES_OF_IDS = re.compile(
    r"(^|[_\W])(id|ids|uuid|guid|key|index|idx|rowid|rownames?|row|serial|no|nr)($|[_\W])|^unnamed|[a-z]Id$|ID$"
)
SAME = 0.9999
"""Correlation with a number to predict from which on a column is that number in another unit."""
FEWEST_ROWS, MOST_ROWS = 30, 20_000
"""Rows that a leak is looked for in."""


def suspicion(column: Column, cells: Sequence[str], target: Column, truth: Sequence[str], classes: bool) -> str | None:
    """Return why a column should be left out, None for one to learn from.

    Args:
        column: that is judged.
        cells: its texts.
        target: the column to predict.
        truth: its texts.
        classes: whether it is to be predicted as classes.

    """
    if not column.counts:
        return "it is empty throughout"
    if len(column.counts) == 1 and not column.gaps:
        return f"every row says {next(iter(column.counts))[:40]}: nothing to learn"
    if column.type == "other date":
        return "dates in another form than 2025-03-01, which the contract does not read"
    if _is_id(column):
        return "it numbers or names the rows: an id"
    if column.free_text:
        return "free text, of which hardly a value comes twice"
    if len(cells) < FEWEST_ROWS:
        return None
    if _gives_away_classes(column, cells, truth) if classes else _gives_away_number(column, target):
        return f"it says {target.heading[:40]} in other words: a leak"
    return None


def _is_id(column: Column) -> bool:
    if column.gaps or len(column.counts) != column.rows or column.type not in ("int", "string"):
        return False
    if NAMES_OF_IDS.search(column.heading) or not column.heading:
        return True
    if column.type == "string":
        return all(len(text.split()) == 1 and any(sign.isdigit() for sign in text) for text in column.counts)
    steps = {later - earlier for earlier, later in pairwise(column.known)}
    return len(steps) == 1 and steps <= {1.0, -1.0}


def _gives_away_classes(column: Column, cells: Sequence[str], truth: Sequence[str]) -> bool:
    """Whether the value alone tells the class: each value has one class, or the classes lie apart on the number line."""
    if column.gaps > 0.5 * column.rows:
        return False
    said: dict[str, set[str]] = defaultdict(set)
    for cell, label in zip(cells, truth, strict=True):
        if cell in column.counts:
            said[cell].add(label)
    if max(map(len, said.values())) > 1:
        return False
    labels = {label for found in said.values() for label in found}
    if len(labels) < 2:
        return False
    if len(said) <= 0.1 * len(cells):
        return True
    if not column.numeric:
        return False
    pairs = sorted((value, label) for value, label in zip(column.numbers, truth, strict=True) if value is not None)
    changes = sum(one[1] != other[1] for one, other in pairwise(pairs))
    rarest = min(Counter(label for _, label in pairs).values())
    return changes == len(labels) - 1 and rarest >= 5


def _gives_away_number(column: Column, target: Column) -> bool:
    """Whether a number is the target in another unit, or its logarithm, or rises with it throughout."""
    if not column.numeric or len(column.counts) < 10:
        return False
    pairs = [
        (one, other)
        for one, other in zip(column.numbers, target.numbers, strict=True)
        if one is not None and other is not None
    ]
    if len(pairs) < FEWEST_ROWS:
        return False
    ones, others = zip(*pairs[:MOST_ROWS], strict=True)
    return abs(_correlation(ones, others)) > SAME or abs(_correlation(_ranks(ones), _ranks(others))) > SAME


def _correlation(ones: Sequence[float], others: Sequence[float]) -> float:
    n = len(ones)
    mean, mean_other = math.fsum(ones) / n, math.fsum(others) / n
    spread = math.fsum((one - mean) ** 2 for one in ones)
    spread_other = math.fsum((other - mean_other) ** 2 for other in others)
    if not spread or not spread_other:
        return 0.0
    both = math.fsum((one - mean) * (other - mean_other) for one, other in zip(ones, others, strict=True))
    return both / math.sqrt(spread) / math.sqrt(spread_other)


def _ranks(values: Sequence[float]) -> list[float]:
    """Return the rank of each value, equal ones sharing theirs."""
    order = sorted(range(len(values)), key=values.__getitem__)
    found = [0.0] * len(values)
    start = 0
    for end in range(1, len(order) + 1):
        if end == len(order) or values[order[end]] != values[order[start]]:
            for place in order[start:end]:
                found[place] = (start + end - 1) / 2
            start = end
    return found
