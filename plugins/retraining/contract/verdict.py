"""The verdict of the merge on one file, without Spark: merged, refused or ignored, with counts, the first bad lines and what to do."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from retraining.contract.layout import inspect
from retraining.contract.names import ignored_reason
from retraining.contract.plain_text import message, plain_name
from retraining.contract.reader import Line, read
from retraining.contract.refusal import FileRefused
from retraining.contract.rules import KEY_DIGITS, SOURCES, Column, Contract
from retraining.contract.unpacking import Open

MERGED, REFUSED, IGNORED = "merged", "refused", "ignored"
FIRST_LINES = 10
_REMEMBERED = 2_000_000  # rows whose repetition inside the file is noticed
_FACTORS = (200.0, 1000.0, 100.0, 10.0, 25.4, 2.54, 453.6, 0.001, 0.01, 0.1)
_SAMPLE = 500
_OFTEN = 0.05  # share of a file's rows that repeat others of it


@dataclass
class Verdict:
    """The verdict on one file.

    Attributes:
        file: key or path.
        outcome: merged, refused or ignored.
        rows: rows found; 0 when the file was refused before its rows.
        accepted: rows that are merged.
        duplicate: rows that the file holds already.
        quarantined: rejected rows; all of a refused file.
        reasons: how often each reason was given.
        first: the first rejected lines.
        columns: contract name to heading, or to position from 1.
        reason: why the file is refused or ignored.
        remedy: what to do.
        remark: what is worth a thought though the file is merged.

    """

    file: str
    outcome: str = MERGED
    rows: int = 0
    accepted: int = 0
    duplicate: int = 0
    quarantined: int = 0
    reasons: Counter[str] = field(default_factory=Counter)
    first: list[dict[str, Any]] = field(default_factory=list)
    columns: dict[str, str | int] = field(default_factory=dict)
    reason: str | None = None
    remedy: str | None = None
    remark: str | None = None

    def refuse(self, reason: str, remedy: str) -> Verdict:
        """Refuse the file: nothing of it is merged."""
        self.outcome, self.reason, self.remedy = REFUSED, message(reason), message(remedy)
        self.quarantined, self.accepted, self.duplicate = self.rows, 0, 0
        return self

    def as_json(self) -> dict[str, Any]:
        """Return the object that `make check-file JSON=1` prints."""
        return {
            "file": self.file,
            "outcome": self.outcome,
            "rows": self.rows,
            "accepted": self.accepted,
            "duplicate": self.duplicate,
            "quarantined": self.quarantined,
            "refused": self.reason if self.outcome == REFUSED else None,
            "reasons": dict(self.reasons.most_common()),
            "first": self.first,
            "columns": self.columns,
            "reason": self.reason,
            "remedy": self.remedy,
            "remark": self.remark,
        }


def judge_file(
    open_file: Open,
    key: str,
    size: int,
    contract: Contract,
    split: Mapping[str, Any],
    source: str = SOURCES[0],
    beyond_budget: bool = False,
    first_lines: int = FIRST_LINES,
) -> Verdict:
    """Say what the merge would do with one file, history aside.

    Args:
        open_file: opens the stored bytes.
        key: S3 key or path.
        size: bytes stored.
        contract: what rows and file must be.
        split: percent of rows per split.
        source: survey or synthetic.
        beyond_budget: take the good rows however many are bad.
        first_lines: how many rejected lines to describe.

    """
    verdict = Verdict(key)
    if reason := ignored_reason(key, size):
        verdict.outcome, verdict.reason = IGNORED, reason
        return verdict
    seen: set[int] = set()
    guess = UnitGuess(contract)
    bad = 0
    try:
        layout = inspect(open_file, key, contract)
        verdict.columns = dict(layout.columns)
        for line in () if layout.empty else read(open_file, key, contract, layout, split, source):
            verdict.rows += 1
            guess.see(line)
            if line.reasons:
                bad += 1
                verdict.reasons.update(line.reasons)
                if len(verdict.first) < first_lines:
                    verdict.first.append(described(line, contract))
                continue
            if not contract.keep_duplicates and len(seen) < _REMEMBERED:
                key_of_row = int(str(line.row_hash)[: KEY_DIGITS + 1], 16)
                if key_of_row in seen:
                    verdict.duplicate += 1
                    continue
                seen.add(key_of_row)
            verdict.accepted += 1
    except FileRefused as refusal:
        verdict.rows, verdict.first = 0, []
        verdict.reasons.clear()
        return verdict.refuse(refusal.reason, refusal.remedy)
    verdict.quarantined = bad
    if not beyond_budget and (said := over_budget(bad, verdict.rows, contract, verdict.reasons)):
        return verdict.refuse(said, mending(contract, guess))
    verdict.remark = repeats_remark(verdict.duplicate, verdict.rows - bad, contract)
    return verdict


def over_budget(bad: int, rows: int, contract: Contract, reasons: Mapping[str, int]) -> str | None:
    """Say that a file has more bad rows than the contract's budget, None when it is within."""
    if not bad or bad / rows <= contract.max_share:
        return None
    worst = sorted(reasons.items(), key=lambda item: (-item[1], item[0]))[:3]
    listed = ", ".join(f"{reason} ({count:,})" for reason, count in worst)
    return (
        f"{bad:,} of {rows:,} rows ({bad / rows:.1%}) break the contract, the budget of a file is {contract.max_share:.1%}; "
        f"most frequent: {listed}"
    )


def repeats_remark(repeated: int, rows: int, contract: Contract) -> str | None:
    """Say that the rows of a file repeat so often that it matters whether they are kept, None when they do not.

    Args:
        repeated: good rows that are equal to an earlier one of the file.
        rows: good rows.
        contract: what it says about them.

    """
    if contract.keep_duplicates or contract.key or not rows or repeated / rows < _OFTEN:
        return None
    return (
        f"{repeated:,} of {rows:,} good rows ({repeated / rows:.1%}) are equal to others of the file and were dropped. "
        "If each is a thing of its own, set `duplicates: keep` in the contract, or give it a column that tells them apart"
    )


def mending(contract: Contract, guess: UnitGuess) -> str:
    """Say what to do about a file that is over its budget of bad rows."""
    return message(guess.said(), "Mend the rows and upload the file again, or release it to merge its good rows")


class UnitGuess:
    """Notices columns whose values are out of bounds by a constant factor, as after a mix-up of units."""

    def __init__(self, contract: Contract) -> None:
        self._contract = contract
        self._seen: dict[str, list[float]] = {
            column.name: [] for column in contract.columns if column.type == "double" and column.max is not None
        }

    def see(self, line: Line) -> None:
        """Look at a row; the first 500 count."""
        for name, values in self._seen.items():
            if line.values and len(values) < _SAMPLE:
                value = line.values[self._contract.position[name]]
                if isinstance(value, float):
                    values.append(value)

    def said(self) -> str | None:
        """Return a sentence about the columns that look scaled, None when none does."""
        found: dict[float, list[Column]] = {}
        for name, values in self._seen.items():
            column = self._contract.column(name)
            if len(values) >= 3 and _share_within(column, values, 1.0) < 0.5 and (factor := _factor(column, values)):
                found.setdefault(factor, []).append(column)
        sentences = []
        for factor, columns in found.items():
            how = f"{factor:g} times too large" if factor > 1 else f"{1 / factor:g} times too small"
            unit = f" (the contract's unit is {plain_name(columns[0].unit)})" if columns[0].unit else ""
            names = ", ".join(column.name for column in columns[:10])
            sentences.append(f"The values of {names} look {how}{unit}: another unit?")
        return " ".join(sentences) or None


def _factor(column: Column, values: list[float]) -> float | None:
    """Return the factor that brings nearly all values into bounds; what the unit itself names is tried first."""
    own = [float(number) for number in re.findall(r"[0-9]+(?:\.[0-9]+)?", column.unit)]
    for factor in (*(number for number in own if number > 1), *_FACTORS):
        if _share_within(column, values, factor) >= 0.9:
            return factor
    return None


def _share_within(column: Column, values: list[float], factor: float) -> float:
    return sum(column.broken_bound(value / factor) is None for value in values) / len(values)


def described(line: Line, contract: Contract) -> dict[str, Any]:
    """Return number, first broken column or rule, its value and the reason of a rejected line."""
    value = line.value_of(contract)
    return {
        "line": line.number,
        "column": line.subject,
        "value": None if value is None else value[:200],
        "reason": line.reasons[0],
    }
