"""What the watch over a model has seen: the evidence of each look, each column against the training rows, and the incidents."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from retraining.judging import drift_incident
from retraining.judging.compared_profiles import ranges
from retraining.judging.drift import UNCERTAINTY, VARIANCE, Detectors, Finding
from retraining.page.concurrency.sparing import Sparing
from retraining.page.known_models import KnownModel
from retraining.serving import batch, watch_records

INCIDENTS = 50
"""The newest incidents that are shown."""
VERSIONS = 50
"""Watched models that are offered, the newest ones."""
VERSION = r"^(v\d{1,9}|m[0-9a-f]{12})$"


def drift(model: KnownModel, version: str | None = None) -> dict[str, Any]:
    """Return what was seen of a model: its looks oldest first, its columns with the most changed one first, and the newest incidents.

    Args:
        model: whose watch it is.
        version: of the model; that which serves when it was watched, else the one that was watched last.

    Raises:
        LookupError: this version was never watched.

    """
    serving, versions = _serving(model), watch_records.watched(*_place(model))
    shown = version or (serving if serving in versions else next(iter(versions), None))
    found = watch_records.incidents(*_place(model), INCIDENTS)
    answer = {
        "dag": f"{model.name.replace('-', '_')}_monitor",
        "serving": serving,
        "versions": versions[:VERSIONS],
        "version": shown,
        "years_between_false_alarms": model.config.monitor.years_between_false_alarms,
        "incidents": [incident(model, document) for document in reversed(found)],
    }
    if shown is None:
        return {**answer, "watched": None, "looks": [], "columns": []}
    state, look = _seen(model, shown)
    looks = [{name: entry[name] for name in ("at", "rows", "level")} for entry in state["history"]]
    watched = {name: state[name] for name in ("deployed_at", "looked_at", "rows")}
    tally = {name: look["tally"][name] for name in ("rows", "left_out", "unreadable")} if look else None
    return {**answer, "watched": {**watched, "newest": tally}, "looks": looks, "columns": _columns(model, state, look)}


def column(model: KnownModel, version: str, name: str) -> dict[str, Any]:
    """Return a column's mean rank at each look, with two standard errors, and its newest rows beside the training rows by range.

    A rank is in percent of the training rows: 50 is as trained. ``ranges`` is empty when the newest look has expired.

    Raises:
        LookupError: this version was never watched, or has no such column.

    """
    state, look = _seen(model, version)
    known, seen = (look[part].get(name) if look else None for part in ("reference", "rows"))
    course = [
        {
            "at": entry["at"],
            "rows": _rows(entry, known),
            "rank": _percent(entry["ranks"][name]),
            "error": 100 * UNCERTAINTY * math.sqrt(VARIANCE / max(1, _rows(entry, known))),
        }
        for entry in state["history"]
        if name in entry["ranks"]
    ]
    if not course and known is None:
        raise LookupError(f"the watch over model {version} has no such column")
    compared = ranges(known, seen) if known and seen else []
    return {
        "name": name,
        "unit": _unit(model, name, known),
        "course": course,
        "ranges": [{"label": part.label, "before": part.before, "now": part.now} for part in compared],
        "missing": [_missing(known), _missing(seen)] if known and seen else None,
    }


def incident(model: KnownModel, document: Mapping[str, Any]) -> dict[str, Any]:
    """Return an incident as the page shows it."""
    named = ("number", "model_version", "opened_at", "closed_at", "why_closed")
    changes = ("column", "words", "sentence", "since", "rows", "rows_needed", "share_of_evidence")
    retraining = f"{model.name.replace('-', '_')}_retraining"
    return {
        **{name: document[name] for name in named},
        "changes": [{name: change[name] for name in changes} for change in document["changes"]],
        "what_to_do": drift_incident.what_to_do(
            bool(document.get("woke_at")), retraining, drift_incident.is_labelled(document)
        ),
    }


def open_incident(model: KnownModel) -> dict[str, Any] | None:
    """Return the incident that is open, None when none is."""
    found = watch_records.open_incident(*_place(model))
    return incident(model, found) if found else None


def _seen(model: KnownModel, version: str) -> tuple[dict[str, Any], dict[str, Any] | None]:
    """Return the state of a watched version, and its newest look as far as that is kept."""
    state = watch_records.state(*_place(model), version)
    if state is None:
        raise LookupError(f"model {version} was never watched")
    return state, watch_records.newest_look(*_place(model), state)


def _columns(model: KnownModel, state: Mapping[str, Any], look: Mapping[str, Any] | None) -> list[dict[str, Any]]:
    """Return each column with its last mean rank and what has changed, the most evidence first."""
    monitor = model.config.monitor
    detectors = Detectors(monitor.alarm, monitor.tolerance, state["detectors"])
    findings = {finding.column: finding for finding in detectors.findings()}
    reference = look["reference"] if look else {}
    ranks = state["history"][-1]["ranks"] if state["history"] else {}
    names = dict.fromkeys((*reference, *ranks, *findings))
    ordered = sorted(names, key=lambda name: -findings[name].evidence if name in findings else 0.0)
    alarmed = detectors.level >= 1
    return [
        {
            "name": name,
            "unit": _unit(model, name, reference.get(name)),
            "rank": _percent(ranks[name]) if name in ranks else None,
            "missing": _missing(look["rows"].get(name)) if look else None,
            **_told(findings.get(name) if alarmed else None),
        }
        for name in ordered
    ]


def _rows(entry: Mapping[str, Any], known: Mapping[str, Any] | None) -> int:
    """Return how many rows of a look a column has: of the loss and the error those with a label."""
    return int(entry["labelled"]["rows"] if "measure" in (known or {}) and "labelled" in entry else entry["rows"])


def _told(finding: Finding | None) -> dict[str, Any]:
    if finding is None:
        return {"change": None, "since": None, "share_of_evidence": None}
    return {"change": finding.words(), "since": finding.since, "share_of_evidence": finding.evidence}


def _missing(counted: Mapping[str, Any] | None) -> float | None:
    return counted["missing"] / max(1, counted["n"]) if counted else None


def _percent(rank: float) -> float:
    """Return a mean rank in percent; the looks keep its distance from the middle."""
    return 100 * (0.5 + rank)


def _unit(model: KnownModel, name: str, known: Mapping[str, Any] | None) -> str | None:
    """Return the unit of a column; what the others leave of one has that of the column, its effect that of the target."""
    of = (known or {}).get("of") or (known or {}).get("in") or name
    return next((column.unit for column in model.config.contract.columns if column.name == of), None)


def _serving(model: KnownModel) -> str | None:
    found = batch.scorer(Sparing(model.sagemaker), model.config.name, model.config.endpoint)
    return found.version if found else None


def _place(model: KnownModel) -> tuple[Any, str, str]:
    return model.s3, model.bucket, model.name
