"""An incident of the watch over a model: its document, what it says, what it asks of people, and whether it wakes the retraining."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from retraining.judging.drift import Finding


def incident(
    number: int,
    version: str,
    at: str,
    findings: Sequence[Finding],
    reference: Mapping[str, Any],
    units: Mapping[str, str],
    history: Sequence[Mapping[str, Any]] = (),
) -> dict[str, Any]:
    """Return the document of an incident that opens.

    Args:
        number: of the incident, from 1.
        version: of the model.
        at: when.
        findings: what changed, the strongest first.
        reference: profile of the model's own rows.
        units: of columns.
        history: of the looks, for what labels say.

    """
    return {
        "number": number,
        "model_version": version,
        "opened_at": at,
        "closed_at": None,
        "why_closed": None,
        "told": [],
        "changes": [
            {
                "column": finding.column,
                "direction": finding.direction,
                "words": finding.words(),
                "sentence": sentence(
                    finding, reference[finding.column], _unit(reference, finding.column, units), history
                ),
                "since": finding.since,
                "rows": finding.rows,
                "rows_needed": finding.rows_needed,
                "share_of_evidence": round(finding.evidence, 3),
                "labelled": "measure" in reference[finding.column],
            }
            for finding in findings
        ],
    }


def sentence(finding: Finding, column: Mapping[str, Any], unit: str, history: Sequence[Mapping[str, Any]] = ()) -> str:
    """Say what changed and by how much, in the unit of the column; what labels say by the looks that had some."""
    if "measure" in column:
        return _labelled_sentence(finding, column, unit, history)
    seen = f"in {finding.rows:,} rows since {finding.since}"
    if finding.kind in ("share", "missing"):
        hits = column["missing"] if finding.kind == "missing" else column["counts"].get(finding.value, 0)
        before = hits / max(1, column["n"])
        return f"{finding.words()}: {before + finding.effect:.1%} {seen}, {before:.1%} of the training rows"
    if finding.kind == "spread":
        return f"{finding.words()} {seen} than the training rows"
    if "of" in column:
        by = abs(quantile(column, min(max(0.5 + finding.effect, 0.0), 1.0)) - quantile(column, 0.5))
        return f"{finding.words()}, by about {by:.3g}{f' {unit}' if unit else ''} {seen}"
    before, now = quantile(column, 0.5), quantile(column, min(max(0.5 + finding.effect, 0.0), 1.0))
    change = f", {now / before - 1:+.1%}" if before else ""
    named = f" {unit}" if unit else ""
    return f"{finding.words()}: a middle value of about {now:.4g}{named} {seen}, {before:.4g} among the training rows{change}"


@dataclass(frozen=True)
class LiveScore:
    """What labels say of a model in service, in the unit of its target where it has one."""

    measure: str
    """What it is: RMSE, log loss, bias ..."""
    rows: int
    """That have a label."""
    now: float
    before: float
    """On the validation rows."""


def live_score(column: Mapping[str, Any], history: Sequence[Mapping[str, Any]], since: str = "") -> LiveScore | None:
    """Return the mean loss, or the bias, of the looks that had labels; None when there was none.

    Args:
        column: profile of the loss or the error on the validation rows, see ``inside.watching.scores``.
        history: of the looks.
        since: time from which on looks count.

    """
    totals = [entry["labelled"] for entry in history if entry.get("labelled") and entry["at"] >= since]
    rows = sum(entry["rows"] for entry in totals)
    if not rows:
        return None
    before = column["sum"] / max(1, column["n"] - column["missing"])
    now = sum(entry["loss" if column.get("worse") else "error"] for entry in totals) / rows
    if column.get("worse") and "in" in column:  # squares have no unit of their own
        before, now = before**0.5, now**0.5
    return LiveScore(column["measure"], rows, now, before)


def _labelled_sentence(
    finding: Finding, column: Mapping[str, Any], unit: str, history: Sequence[Mapping[str, Any]]
) -> str:
    seen = f"in {finding.rows:,} labelled rows since {finding.since}"
    score = live_score(column, history, finding.since)
    if finding.kind == "spread" or score is None:
        return f"{finding.words()} {seen} than on the validation rows"
    named = f" {unit}" if unit else ""
    if not column.get("worse"):
        return f"{finding.words()}: {score.measure} {score.now:+.4g}{named} {seen}, {score.before:+.4g} on the validation rows"
    change = f", {score.now / score.before - 1:+.1%}" if score.before else ""
    return f"{finding.words()}: {score.measure} {score.now:.4g}{named} {seen}, {score.before:.4g} on the validation rows{change}"


def _unit(reference: Mapping[str, Any], column: str, units: Mapping[str, str]) -> str:
    known = reference[column]
    return units.get(known.get("of") or known.get("in") or column, "")


def quantile(column: Mapping[str, Any], share: float) -> float:
    """Return a quantile of a profile's number, to the width of a bin."""
    edges, counts = column["edges"], column["counts"]
    if not edges:
        return column["sum"] / max(1, column["n"] - column["missing"])
    wanted, below = share * sum(counts), 0
    for at, count in enumerate(counts):
        if below + count >= wanted and count:
            low, high = edges[max(0, at - 1)], edges[min(at, len(edges) - 1)]
            return float(low + (high - low) * (wanted - below) / count)
        below += count
    return float(edges[-1])


def what_happened(incident: Mapping[str, Any]) -> str:
    """Say in one sentence, without its stop, what an incident is about."""
    words = " and ".join(change["words"] for change in incident["changes"][:3])
    version = incident["model_version"]
    if all(change.get("labelled") for change in incident["changes"]):
        return f"Model {version} answers otherwise than on its validation rows, labels say: {words}"
    return f"The requests have left the rows that model {version} was trained on: {words}"


def is_labelled(incident: Mapping[str, Any]) -> bool:
    """Tell whether labels tell of a change of an incident."""
    return any(change.get("labelled") for change in incident["changes"])


def what_to_do(wakes: bool, retraining: str, labelled: bool = False) -> str:
    """Say what an incident asks of people.

    Args:
        wakes: whether it starts the retraining.
        retraining: name of that DAG.
        labelled: whether labels tell of it.

    """
    if wakes:
        return f"There are data that no model was judged on: {retraining} is started. It closes the incident if its model takes over"
    if labelled:
        return (
            "Look whether the labels are right, and whether an instrument or a sender changed. If the world changed, upload the labelled "
            "rows, all inputs and the target, below new/: a model that is trained on them closes the incident. Retraining on the data that "
            "is there would bring nothing new"
        )
    return (
        "Look whether an instrument or a sender changed. If the world changed, label such rows and upload them below new/: a model that is "
        "trained on them closes the incident. Retraining on the data that is there would bring nothing new"
    )


def wakes_retraining(
    unjudged: bool, incidents: Sequence[Mapping[str, Any]], now: datetime, cooldown_days: float
) -> bool:
    """Tell whether an incident wakes the retraining: there are data that no model was judged on, and no incident did so of late."""
    if not unjudged:
        return False
    woke = [datetime.fromisoformat(item["woke_at"]) for item in incidents if item.get("woke_at")]
    return not woke or now - max(woke) >= timedelta(days=cooldown_days)
