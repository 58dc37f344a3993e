"""What a request asks for: its rows, read from the body and held against the contract before the endpoint is asked, and whether to explain.

What is sent on is typed by the contract: a number is a number however it was written, a missing value is null.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, NoReturn

from lambda_functions.prediction_api.model import Model
from lambda_functions.prediction_api.refusal import RefusalError
from retraining.contract.plain_text import meant, plain, plain_name, plain_names
from retraining.contract.rules import Column
from retraining.contract.values import BLANKS, parsed

MOST_BYTES = 1024 * 1024
"""Of a body: a thousand rows of a wide model, and far below what Lambda and SageMaker take."""
MOST_ROWS, MOST_CELLS = 1000, 200_000
"""Of a request: judging so many cells takes seconds, and API Gateway waits half a minute."""
MOST_EXPLAINED = 10
"""Rows of a request that asks why: a row may take 1.5 s, and the endpoint is given 20 s."""
MOST_PROBLEMS = 100
"""That an answer lists; rows after them are not looked at."""
MOST_UNKNOWN = 5
"""Columns of a row that are told as unknown."""
MOST_ALLOWED = 50
"""Values that an answer lists; the OpenAPI document has all of them."""
VALUE_LENGTH = 60
"""Characters of a value that an answer repeats."""
EXAMPLE = '{"rows": [{"COLUMN": VALUE, ...}, ...]}'
FIELDS = ("rows", "explain")
KINDS = {
    "string": "a text",
    "double": "a number",
    "int": "a whole number",
    "boolean": "true or false",
    "date": "a date, YYYY-MM-DD",
    "timestamp": "a timestamp with zone, YYYY-MM-DDThh:mm:ssZ",
}


class Question(NamedTuple):
    """What is asked: typed values by column name, and whether to say what moved each answer."""

    rows: list[dict[str, Any]]
    explain: bool = False


def read_question(body: bytes, content_type: str, model: Model) -> Question:
    """Return what a request asks.

    Raises:
        RefusalError: 413 for too much of it, 415 for another content type, 400 for no list of rows, 422 for rows that break the contract.

    """
    if content_type.split(";")[0].strip().lower() != "application/json":
        raise RefusalError(415, "content_type", "Send JSON, with the header Content-Type: application/json.")
    if len(body) > MOST_BYTES:
        raise too_large()
    rows, explain = _asked(_document(body))
    most, done = (min(MOST_EXPLAINED, most_rows(model)), "explained") if explain else (most_rows(model), "answered")
    if len(rows) > most:
        raise RefusalError(
            413, "too_many_rows", f"The request has {len(rows):,} rows, at most {most:,} are {done} at once."
        )
    problems: list[dict[str, Any]] = []
    typed = []
    for number, row in enumerate(rows, start=1):
        found, values = _judged(row, model)
        problems += [{"row": number, **problem} for problem in found]
        typed.append(values)
        if len(problems) >= MOST_PROBLEMS:
            break
    if problems:
        raise RefusalError(
            422,
            "contract",
            f"Rows break the data contract of {model.name}: {len(problems):,} problem(s) in the first {len(typed):,} of "
            f"{len(rows):,} row(s).",
            problems[:MOST_PROBLEMS],
        )
    return Question(typed, explain)


def most_rows(model: Model) -> int:
    """Return how many rows of a model are answered at once: fewer of a wide one."""
    return min(MOST_ROWS, max(1, MOST_CELLS // max(1, len(model.contract.feature_columns))))


def too_large() -> RefusalError:
    """Return the refusal of a body that is too large."""
    return RefusalError(413, "too_large", f"The body is larger than {MOST_BYTES:,} bytes: send fewer rows at once.")


def expected(column: Column) -> str:
    """Return in words what a column takes."""
    limits = []
    if column.min is not None:
        limits.append(f"{'above' if column.exclusive_min else 'at least'} {column.min:.15g}")
    if column.max is not None:
        limits.append(f"{'below' if column.exclusive_max else 'at most'} {column.max:.15g}")
    of = "of " if limits and limits[0].startswith("at ") else ""
    kind = f"{KINDS[column.type]} {of}{' and '.join(limits)}".strip()
    words = f"one of {plain_names(column.allowed, MOST_ALLOWED)}" if column.allowed else kind
    words += f", in {column.unit}" if column.unit else ""
    return f"{words}, or null" if column.nullable else words


def _document(body: bytes) -> Any:
    try:
        return json.loads(body.decode("utf-8-sig"), object_pairs_hook=_once, parse_constant=_no_number)
    except UnicodeDecodeError:
        problem = "it is not UTF-8"
    except RecursionError:
        problem = "it is nested too deeply"
    except ValueError as error:
        problem = plain(error, 120)
    raise RefusalError(400, "not_json", f"The body is not JSON: {problem}. Send {EXAMPLE}.")


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return an object; of a name that stands in it twice nobody knows which value is meant."""
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(
            f"{plain_name(next(name for name in names if names.count(name) > 1))!r} stands twice in an object"
        )
    return found


def _no_number(word: str) -> NoReturn:
    raise ValueError(f"{word} is no number of JSON")


def _asked(document: Any) -> tuple[list[dict[str, Any]], bool]:
    if not isinstance(document, dict) or not isinstance(document.get("rows"), list):
        raise RefusalError(400, "no_rows", f"The body is no object with a list of rows: send {EXAMPLE}.")
    if others := [name for name in document if name not in FIELDS]:
        raise RefusalError(
            400, "unknown_field", f"The body has {plain_names(others)} beside {' and '.join(FIELDS)}: send {EXAMPLE}."
        )
    explain = document.get("explain", False)
    if not isinstance(explain, bool):
        raise RefusalError(400, "not_boolean", f"The field explain is {_shown(explain)!r}: send true or false.")
    rows = document["rows"]
    if not rows:
        raise RefusalError(400, "no_rows", f"The list of rows is empty: send {EXAMPLE}.")
    for number, row in enumerate(rows, start=1):
        if not isinstance(row, dict):
            raise RefusalError(400, "no_rows", f"Row {number} is no object of values by column name: send {EXAMPLE}.")
    return rows, explain


def _judged(row: Mapping[str, Any], model: Model) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Return what is wrong with a row, and its typed values."""
    names = model.contract.feature_columns
    known = frozenset(names)
    unknown = itertools.islice((name for name in row if name not in known), MOST_UNKNOWN)
    problems = [_unknown(name, row[name], names) for name in unknown]
    cells: dict[str, Any] = {}
    for column in model.features:
        value = row.get(column.name)
        if reason := _wrong_kind(value, column):
            problems.append(_problem(column, value, reason))
            cells[column.name] = None
        else:
            cells[column.name] = value
    told = {problem["column"] for problem in problems}
    for reason in model.contract.request_reasons(cells):
        subject, _, sentence = reason.partition(": ")
        if subject in known and subject not in told:
            problems.append(_problem(model.contract.column(subject), row.get(subject), sentence))
        elif subject not in known and not told:
            problems.append({"rule": subject, "problem": sentence})
    if problems:
        return problems, {}
    return [], {column.name: _typed(cells[column.name], column, model) for column in model.features}


def _wrong_kind(value: Any, column: Column) -> str | None:
    """Return why a value of JSON can be none of a column's, whatever the contract says of it."""
    if value is None:
        return None
    if isinstance(value, str):
        try:
            value.encode()
        except UnicodeEncodeError:
            return "not a Unicode text"
        return None
    if not isinstance(value, bool | int | float):
        return "a list or an object, not a value"
    return None if column.numeric or column.type == "boolean" else "not a text: put it in quotes"


def _unknown(name: str, value: Any, names: Sequence[str]) -> dict[str, Any]:
    near = meant(name.lower().strip(), names)
    hint = f"; did you mean {near}?" if near else ""
    return {
        "column": plain_name(name),
        "value": _shown(value),
        "problem": f"no such column{hint}",
        "expected": f"columns {plain_names(names, MOST_ALLOWED)}",
    }


def _problem(column: Column, value: Any, reason: str) -> dict[str, Any]:
    told = {"column": column.name, "value": _shown(value), "problem": plain(reason), "expected": expected(column)}
    return {**told, "allowed": list(column.allowed[:MOST_ALLOWED])} if column.allowed else told


def _shown(value: Any) -> Any:
    """Return a value as an answer repeats it: short, printable, of the kind that came."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int | float) and abs(value) < 1e18:
        return value
    try:
        return plain(value if isinstance(value, str) else json.dumps(value), VALUE_LENGTH)
    except ValueError:  # an integer of more digits than Python writes
        return "a number of thousands of digits"


def _typed(value: Any, column: Column, model: Model) -> Any:
    if isinstance(value, str):
        text = value.strip(BLANKS)
        found = model.contract.value(column, text)
        return text if found is not None and not column.numeric and column.type != "boolean" else found
    if value is None:
        return None
    text = str(value).lower() if isinstance(value, bool) else str(value)
    return parsed(column.type, text)
