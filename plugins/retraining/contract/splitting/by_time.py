"""The split by time: the newest rows are for the test, those before them for validation, all older ones train.

Two boundaries say it: times from which a row counts as test and as validation. They are the same for all rows of a version, so that each
train row is older than each validation row, and that older than each test row. Boundaries only move forward: a row may grow old and train,
but no row that has trained comes back to the test.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any, Final, NamedTuple

from retraining.contract.rules import Column
from retraining.contract.values import Value, form, parsed

BY_TIME: Final = "time"
TIMES: Final = ("date", "timestamp", "int")
"""Types of a column that a split can go by."""
VALIDATION, TEST = "validation", "test"
_KEYS = ("by", "column")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Boundaries(NamedTuple):
    """Times as numbers, see ``as_number``, from which rows are validation and test."""

    validation: int
    test: int


def shares_of(split: Mapping[str, Any]) -> dict[str, int]:
    """Return the percent of rows per split, without what else a ``split`` section says."""
    return {name: int(share) for name, share in split.items() if name not in _KEYS}


def as_number(value: Value) -> int:
    """Return a time as a whole number: days of a date and microseconds of an instant since 1970, a number itself."""
    if isinstance(value, date) and not isinstance(value, datetime):
        return (value - _EPOCH.date()).days
    return int(form(value))


def as_text(kind: str, number: int) -> str:
    """Return the number of a time as the text of a cell of its type."""
    if kind == "date":
        return (_EPOCH.date() + timedelta(days=number)).isoformat()
    if kind == "timestamp":
        return (_EPOCH + timedelta(microseconds=number)).isoformat().replace("+00:00", "Z")
    return str(number)


def boundaries_in(column: Column, document: Mapping[str, Any]) -> Boundaries | None:
    """Read boundaries as a version records them; None when there are none, or they are those of another column.

    Args:
        column: the column that the split goes by.
        document: ``column``, ``validation_from`` and ``test_from``.

    """
    if document.get("column") != column.name:
        return None
    found = [parsed(column.type, str(document.get(f"{name}_from"))) for name in (VALIDATION, TEST)]
    if None in found:
        return None
    return Boundaries(*(as_number(value) for value in found if value is not None))


def as_document(column: Column, boundaries: Boundaries) -> dict[str, str]:
    """Return boundaries as a version records them."""
    texts = {f"{name}_from": as_text(column.type, number) for name, number in boundaries._asdict().items()}
    return {"column": column.name, **texts}


def boundaries_of(
    rows: int,
    shares: Mapping[str, int],
    nth: Callable[[int], int],
    before: Callable[[int], int | None],
    standing: Boundaries | None,
) -> Boundaries:
    """Return the boundaries of measured rows. Test has at least its share, as rows of one time stay together; validation what is before it.

    Args:
        rows: their number, 1 or more.
        shares: percent of rows per split.
        nth: the time of a row by its place from 0, the oldest first.
        before: the newest time before another one, None when there is none.
        standing: the boundaries so far, which do not move back.

    """
    newest = -(-rows * shares[TEST] // 100)
    test = nth(rows - newest)
    validation = nth(rows - min(rows, -(-rows * (shares[TEST] + shares[VALIDATION]) // 100)))
    if validation >= test:
        older = before(test)
        validation = test if older is None else older
    if standing is None:
        return Boundaries(validation, test)
    return Boundaries(max(validation, standing.validation), max(test, standing.test))


def boundaries_of_times(
    times: Sequence[int], shares: Mapping[str, int], standing: Boundaries | None = None
) -> Boundaries:
    """Return the boundaries of rows whose times are in memory."""
    ordered = sorted(times)
    return boundaries_of(
        len(ordered),
        shares,
        ordered.__getitem__,
        lambda time: max((other for other in ordered if other < time), default=None),
        standing,
    )


def place_by_time(time: int, boundaries: Boundaries) -> str | None:
    """Return the split of a measured row other than train, None when it trains."""
    return TEST if time >= boundaries.test else VALIDATION if time >= boundaries.validation else None
