"""What a model folder should say about a file: task, contract, split, group and gate, each with the reason that goes beside it."""

from __future__ import annotations

import math
import re
import unicodedata
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from retraining.command.new_model import columns as looks
from retraining.command.new_model.columns import Column, columns_of
from retraining.command.new_model.sheet import NewModelError, Sheet
from retraining.command.new_model.suspicions import suspicion
from retraining.contract.names import heading
from retraining.contract.plain_text import plain
from retraining.contract.rules import RESERVED, Contract

FEWEST_ROWS = 100
FEWEST_OF_A_CLASS = 10
MOST_CLASSES = 50
CLASS_CODES = 10
"""Whole numbers from 0 or 1 on with at most so many values are taken for the codes of classes."""
SPLITS = ((300, (50, 20, 30)), (1_000, (60, 20, 20)), (10_000, (75, 10, 15)), (math.inf, (85, 5, 10)))
"""Percent for training, validation and test by number of rows: of few rows the test needs a larger share."""
TASKS = ("regression", "count", "binary", "multiclass")


@dataclass(frozen=True)
class Declared:
    """A column of the contract to be, and why it is as it is."""

    entry: dict[str, Any]
    note: str


@dataclass(frozen=True)
class Proposal:
    """What goes into ``model.yaml``."""

    task: str
    task_note: str
    columns: tuple[Declared, ...]
    target: str
    ignored: tuple[tuple[str, str], ...]
    """Headings that are passed over, and why."""
    suspected: tuple[tuple[str, str], ...]
    """Columns of a file without header that should be taken out of it, and why."""
    csv: dict[str, Any]
    missing: tuple[str, ...]
    has_header: bool
    rows: int
    repeated: int
    bad_share: float
    """Budget of bad rows."""
    split: tuple[int, int, int]
    group: str | None
    guards: dict[str, float]
    guard_note: str
    whole: bool

    def contract(self) -> dict[str, Any]:
        """Return the section ``contract``."""
        return {
            "columns": [column.entry for column in self.columns],
            "target": self.target,
            "bad_rows": {"max_share": self.bad_share},
            **({"ignore": [name for name, _ in self.ignored]} if self.ignored else {}),
            **({"csv": self.csv} if self.csv else {}),
            **({"missing": list(self.missing)} if self.missing else {}),
        }


def propose(sheet: Sheet, task: str | None = None) -> Proposal:
    """Return what the file suggests.

    Args:
        sheet: the file.
        task: what the user says it is; None to go by the target.

    Raises:
        NewModelError: no model can be made of it.

    """
    found, (decimal, thousands) = columns_of(sheet.headings, sheet.rows)
    target = found[sheet.target]
    kept = [row for row in sheet.rows if row[sheet.target] in target.counts]
    if len(kept) < FEWEST_ROWS:
        raise NewModelError(
            f"{len(kept)} rows have a value of {plain(target.heading)}: at least {FEWEST_ROWS} are needed to train, to choose and to test"
        )
    task, task_note = _task(target, task)
    truth = [row[sheet.target] for row in sheet.rows]
    declared, ignored, suspected, names = [], [], [], {name: "" for name in RESERVED}
    for place, column in enumerate(found):
        cells = [row[place] for row in sheet.rows]
        why = None if column is target else suspicion(column, cells, target, truth, task in ("binary", "multiclass"))
        if why and sheet.has_header:
            ignored.append((column.heading, why))
            continue
        if why:
            suspected.append((column.heading, why))
        name = _name(column.heading, names)
        names[name] = column.heading
        declared.append(_target_column(column, name, task) if column is target else _declared(column, name))
    _refuse_equal_headings(found)
    if len(declared) < 2:
        listed = "; ".join(f"{plain(name)}: {why}" for name, why in ignored)
        raise NewModelError(f"no column is left to learn from ({listed})")
    entries = {column.entry["name"]: column for column in declared}
    target_name = next(name for name, given in names.items() if given == target.heading and name in entries)
    without = 1 - len(kept) / len(sheet.rows)
    if without > 0.5:
        raise NewModelError(
            f"{without:.0%} of the rows have no {plain(target.heading)}: fill it in, or name another target"
        )
    csv: dict[str, Any] = {
        **({} if sheet.delimiter == "," or sheet.has_header else {"delimiter": sheet.delimiter}),
        **({} if decimal == "." else {"decimal": decimal}),
        **({"thousands": thousands} if thousands else {}),
        **({"multiline": True} if sheet.multiline else {}),
    }
    lacking = len(sheet.rows) - len(kept)
    if lacking:
        told = f"; {lacking:,} rows have none and are set aside"
        declared = [replace(one, note=one.note + told) if one.entry["name"] == target_name else one for one in declared]
    proposal = Proposal(
        task=task,
        task_note=task_note,
        columns=tuple(declared),
        target=target_name,
        ignored=tuple(ignored),
        suspected=tuple(suspected),
        csv=csv,
        missing=tuple(sorted({word for column in found for word in column.words})),
        has_header=sheet.has_header,
        rows=len(sheet.rows),
        repeated=0,
        bad_share=max(0.02, math.ceil((without + sheet.odd_rows / len(sheet.rows)) * 150) / 100),
        split=next(shares for limit, shares in SPLITS if len(kept) < limit),
        group=_group(declared, target_name),
        guards=_guards(target, task)[0],
        guard_note=_guards(target, task)[1],
        whole=sheet.whole,
    )
    left = {name for name, _ in ignored}
    places = [place for place, column in enumerate(found) if not (sheet.has_header and column.heading in left)]
    return replace(proposal, repeated=looks.repeated(sheet.rows, Contract.of(proposal.contract()), places))


def _task(target: Column, wanted: str | None) -> tuple[str, str]:
    name, values = plain(target.heading, 40), len(target.counts)
    if not values:
        raise NewModelError(f"{name} is empty throughout: there is nothing to predict")
    if values == 1:
        raise NewModelError(
            f"every row says {plain(next(iter(target.counts)))} for {name}: there is nothing to tell apart"
        )
    if target.type in ("date", "timestamp", "other date"):
        raise NewModelError(f"{name} holds dates: predict a number of days in place of a date")
    if wanted is None:
        wanted, note = _guessed(target)
    else:
        note = "as you said"
    if wanted in ("regression", "count"):
        if not target.numeric:
            raise NewModelError(
                f"{name} holds texts, and a {wanted} predicts numbers: leave TASK out, or name another target"
            )
        if wanted == "count" and (target.type != "int" or min(target.known) < 0):
            raise NewModelError(f"{name} does not hold whole numbers from 0 on, which a count is: TASK=regression")
        return wanted, note
    fitting = "binary" if values == 2 else "multiclass"
    if wanted != fitting:
        raise NewModelError(f"{name} has {values} values: TASK={fitting}, or name another target")
    if values > MOST_CLASSES:
        raise NewModelError(
            f"{name} has {values:,} different values, more than the {MOST_CLASSES} that are taken for classes: name another target, or put "
            "them into fewer classes" + ("; TASK=regression predicts the number" if target.numeric else "")
        )
    rare = sorted(text for text, count in target.counts.items() if count < FEWEST_OF_A_CLASS)
    if rare:
        listed = ", ".join(f"{plain(text, 40)} ({target.counts[text]})" for text in rare[:10])
        raise NewModelError(
            f"{name} has classes with fewer than {FEWEST_OF_A_CLASS} rows, too few to train and to test: {listed}; deliver more rows of "
            "them, put them together, or take them out of the file"
        )
    return wanted, note


def _guessed(target: Column) -> tuple[str, str]:
    values = len(target.counts)
    if not target.numeric:
        if values > MOST_CLASSES:
            raise NewModelError(
                f"{plain(target.heading, 40)} holds {values:,} different texts: no class can be learnt of that; name another target"
            )
        return ("binary" if values == 2 else "multiclass"), f"a text with {values} values"
    numbers = set(target.known)
    low, high = min(numbers), max(numbers)
    if target.type == "int" and values == 2:
        return "binary", "two whole numbers"
    if target.type == "int" and values <= CLASS_CODES and low in (0, 1) and high - low == values - 1:
        return (
            "multiclass",
            f"{values} whole numbers without a gap, taken for codes; TASK=regression or TASK=count predicts a number",
        )
    mean = math.fsum(target.known) / len(target.known)
    if target.type == "int" and low == 0 and high <= 1000 and _above(target, 3 * mean):
        return "count", "whole numbers from 0 on with few large ones; TASK=regression predicts with squared error"
    return "regression", "a number with many values"


def _above(target: Column, limit: float) -> bool:
    return any(value > limit for value in target.known)


def _name(text: str, taken: dict[str, str]) -> str:
    letters = unicodedata.normalize("NFKD", text.casefold())  # "Größe (m²)" becomes grosse_m2
    letters = "".join(letter for letter in letters if not unicodedata.combining(letter))
    plain_name = re.sub(r"[^a-z0-9]+", "_", letters).strip("_")
    if not re.match(r"[a-z]", plain_name):
        plain_name = f"c_{plain_name}".rstrip("_")
    if plain_name in RESERVED:
        plain_name = f"{plain_name}_value"
    name, number = plain_name, 2
    while name in taken:
        name, number = f"{plain_name}_{number}", number + 1
    return name


def _declared(column: Column, name: str) -> Declared:
    entry: dict[str, Any] = {"name": name, "type": "string" if column.type == "other date" else column.type}
    seen = f"{len(column.counts):,} values"
    if column.numeric:
        low, high = min(column.known), max(column.known)
        if column.type == "int" and set(column.known) <= {0.0, 1.0}:
            entry |= {"min": 0, "max": 1}
        else:
            least, greatest = column.limits
            entry |= {"min": _plain(least, column.type), "max": _plain(greatest, column.type)}
        seen = f"seen {low:g} to {high:g}"
    elif column.categories:
        entry["allowed"] = list(column.categories)
    elif column.type == "string":
        seen = f"{len(column.counts):,} values, more may come"
    if column.gaps:
        entry["nullable"] = True
        seen += f"; {column.gaps:,} missing"
    return Declared(entry | _aliases(column, name), seen)


def _target_column(column: Column, name: str, task: str) -> Declared:
    if task == "binary" and column.type == "int" and set(column.known) == {0.0, 1.0}:
        entry: dict[str, Any] = {"name": name, "type": "int", "min": 0, "max": 1}
    elif task in ("binary", "multiclass"):
        classes = sorted(column.counts, key=lambda text: (-column.counts[text], text) if task == "binary" else text)
        shares = ", ".join(
            f"{plain(text, 20)} {column.counts[text] / sum(column.counts.values()):.0%}" for text in classes[:6]
        )
        entry = {"name": name, "type": "string", "allowed": classes}
        second = "; of two classes the second is what AUC and F1 are about" if task == "binary" else ""
        return Declared(entry | _aliases(column, name), f"the target: {shares}{second}")
    elif task == "count":
        entry = {"name": name, "type": "int", "min": 0, "max": _plain(column.limits[1], "int")}
    else:
        least, greatest = column.limits
        entry = {
            "name": name,
            "type": column.type,
            "min": _plain(least, column.type),
            "max": _plain(greatest, column.type),
        }
    return Declared(entry | _aliases(column, name), "the target")


def _plain(value: float, kind: str) -> float | int:
    return int(value) if kind == "int" or (float(value).is_integer() and abs(value) < 1e15) else value


def _aliases(column: Column, name: str) -> dict[str, Any]:
    positional = re.fullmatch(r"column [0-9]+", column.heading)
    return {} if heading(name) == heading(column.heading) or positional else {"aliases": [column.heading]}


def _refuse_equal_headings(found: Sequence[Column]) -> None:
    for same, count in Counter(heading(column.heading) for column in found).items():
        if count > 1:
            given = " and ".join(repr(plain(column.heading, 40)) for column in found if heading(column.heading) == same)
            raise NewModelError(f"the headings {given} are the same without case, blanks and signs: rename one")


def _group(declared: Sequence[Declared], target: str) -> str | None:
    """Return the column to report errors by: the one with fewest listed values."""
    fitting = [
        (len(column.entry["allowed"]), column.entry["name"])
        for column in declared
        if column.entry["name"] != target and 2 <= len(column.entry.get("allowed", ())) <= 10
    ]
    return min(fitting)[1] if fitting else None


def _guards(target: Column, task: str) -> tuple[dict[str, float], str]:
    """Return the limit that a model must keep: what is lost by always saying the same."""
    total = sum(target.counts.values())
    if task in ("binary", "multiclass"):
        shares = [count / total for count in target.counts.values()]
        lost = -math.fsum(share * math.log(share) for share in shares)
        return {"log_loss": _significant(lost)}, "what is lost by always saying the shares of the classes"
    mean = math.fsum(target.known) / total
    if task == "count":
        lost = math.fsum(2 * ((y * math.log(y / mean) if y else 0.0) - y + mean) for y in target.known) / total
        return {"deviance": _significant(lost)}, "what is lost by always saying the mean"
    deviation = math.sqrt(math.fsum((value - mean) ** 2 for value in target.known) / total)
    return {
        "rmse": _significant(deviation)
    }, "the standard deviation of the target: what is lost by always saying the mean"


def _significant(value: float) -> float:
    return float(f"{value:.3g}")
