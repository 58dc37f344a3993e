"""The outcome of an experiment as a person reads it on a terminal: what was changed, challenger against champion, the gate's decision."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from experiment.proposal import on_one_line
from experiment.sweep import shown
from retraining.telling.gate_table import conditions, label, measures, number, odds_text

NARROWEST, WIDEST = 60, 100


@dataclass(frozen=True)
class Change:
    """A setting that the experiment changed, for people."""

    path: str
    before: Any
    after: Any
    default: bool = False
    """Whether ``before`` is a default, of which the file says nothing."""


@dataclass(frozen=True)
class Outcome:
    """Everything that an experiment found out; all of it JSON-ready."""

    model: str
    key: str
    dataset_version: int
    rows_by_split: Mapping[str, int]
    changes: Sequence[Change]
    training: Sequence[Mapping[str, Any]]
    """Per candidate ``candidate``, ``name``, ``metrics``, ``seconds``, ``reused``, ``chosen``."""
    evaluation: Mapping[str, Any]
    champion: str | None
    """ARN of the champion's model package."""
    analysis: Mapping[str, Any]
    """What the Lambda ``analyze_results`` returned."""
    group: str
    decision: Mapping[str, Any]
    """``promote``, ``decision``, ``reason`` and ``numbers`` of the gate."""
    sweep: Mapping[str, Any] | None
    """The leaderboard of a sweep, as ``experiment.sweep.best_of`` returns it; None without one."""
    outputs: str
    """S3 URI below which the experiment's documents are."""

    def as_dict(self) -> dict[str, Any]:
        """Return the outcome as plain JSON types."""
        made = {name: getattr(self, name) for name in self.__dataclass_fields__}
        return {**made, "changes": [vars(change) for change in self.changes]}


def render(outcome: Outcome, width: int = 80) -> str:
    """Return the outcome as text, no line longer than ``width`` unless a name is.

    Args:
        outcome: what to show.
        width: columns of the terminal.

    """
    width = max(NARROWEST, min(width, WIDEST))
    parts = [
        _head(outcome, width),
        _sweep(outcome, width),
        _measures(outcome),
        _groups(outcome),
        _guards(outcome),
        _verdict(outcome, width),
    ]
    return "\n\n".join(part for part in parts if part)


def aligned(rows: Sequence[Sequence[str]], left: int = 1) -> str:
    """Return rows as columns that line up, the first ``left`` to the left, the others to the right."""
    widths = [max(len(row[column]) for row in rows if column < len(row)) for column in range(max(map(len, rows)))]
    lines = []
    for row in rows:
        cells = [
            cell.ljust(size) if column < left else cell.rjust(size)
            for column, (cell, size) in enumerate(zip(row, widths, strict=False))
        ]
        lines.append(f"  {'  '.join(cells)}".rstrip())
    return "\n".join(lines)


def _head(outcome: Outcome, width: int) -> str:
    rows = outcome.rows_by_split
    counts = ", ".join(f"{number(rows[split])} {split}" for split in ("train", "validation", "test") if split in rows)
    head = f"{outcome.model}, dataset version {outcome.dataset_version} ({counts} rows)"
    lines = textwrap.wrap(head, width, subsequent_indent="  ")
    lines += [_change(change) for change in outcome.changes]
    if not outcome.changes:
        lines.append("  model.yaml as it is")
    for job in outcome.training:
        metrics = ", ".join(f"{name} {number(value)}" for name, value in sorted(job["metrics"].items()))
        chosen = ", chosen" if job["chosen"] and len(outcome.training) > 1 else ""
        lines.append(f"  {job['candidate']}: {metrics or 'no metrics'}{chosen}")
    if outcome.champion:
        lines += textwrap.wrap(
            f"champion {_package(outcome.champion)}", width, initial_indent="  ", subsequent_indent="  "
        )
    else:
        lines.append("  no champion yet: there is nothing to compare with, the guards alone decide")
    return "\n".join(lines)


def _sweep(outcome: Outcome, width: int) -> str:
    """Return the leaderboard of a sweep, and why its best point goes on or not; empty without one."""
    board = outcome.sweep
    if board is None:
        return ""
    counts, points = board["counts"], len(board["trials"])
    failed = f", {counts['failed']} failed" if counts["failed"] else ""
    why = textwrap.wrap(f"The best of {points} points{failed}: {board['why']}.", width)
    return "\n".join([aligned(list(shown(board)), left=0), *why])


def _change(change: Change) -> str:
    before = "unset" if change.before is None else on_one_line(change.before)
    return f"  {change.path}: {before}{' (the default)' if change.default else ''} -> {on_one_line(change.after)}"


def _package(arn: str) -> str:
    return arn.rsplit(":model-package/", 1)[-1].replace("/", " version ")


def _measures(outcome: Outcome) -> str:
    n, numbers = outcome.analysis["n"], outcome.decision["numbers"]
    head = [f"{number(n)} validation rows", "challenger"]
    if outcome.champion:
        head += ["champion", "difference"]
    rows = [head]
    for measure in measures(outcome.analysis):
        cells = [measure.name, number(measure.challenger, sign=measure.signed)]
        if outcome.champion:
            cells += [number(measure.champion, sign=measure.signed), number(measure.difference, sign=True)]
        rows.append(cells)
    if numbers.get("odds") is not None:
        rows.append(["odds of the challenger", "", "", odds_text(numbers["odds"])])
    return aligned(rows)


def _groups(outcome: Outcome) -> str:
    groups, metric = outcome.analysis.get("groups") or {}, outcome.decision["numbers"]["metric"]
    if not groups:
        return ""
    champion = ["champion"] if outcome.champion else []
    rows = [[f"{label(metric)} by {outcome.group}", "rows", "challenger", *champion]]
    for name, found in sorted(groups.items(), key=lambda item: (-item[1]["n"], item[0])):
        cells = [name, number(found["n"]), number(found["challenger"][metric])]
        rows.append([*cells, *([number(found["champion"][metric])] if outcome.champion else [])])
    return aligned(rows)


def _guards(outcome: Outcome) -> str:
    rows = [["gate", "value", "limit", ""]]
    for guard in conditions(outcome.decision["numbers"]):
        value, verdict = number(guard.value, sign=guard.signed), "passed" if guard.passed else "FAILED"
        rows.append([guard.name, value, guard.limit, verdict])
    return aligned(rows) if len(rows) > 1 else ""


def _verdict(outcome: Outcome, width: int) -> str:
    verdict = f"{outcome.decision['decision']}: {outcome.decision['reason']}"
    lines = textwrap.wrap(verdict, width, break_long_words=False, break_on_hyphens=False)
    return "\n".join([*lines, f"documents: {outcome.outputs}"])
