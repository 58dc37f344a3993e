"""The page of a model's watch as self-contained HTML: what changed, how the evidence went, each column against the training rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from retraining.judging.compared_profiles import ranges
from retraining.judging.drift import Finding
from retraining.judging.drift_incident import live_score
from retraining.telling.gate_table import number
from retraining.telling.report_html import STYLE, as_text, section_of, table_of

WIDTH, HEIGHT = 420, 120


def drift_page(
    model: str,
    version: str,
    state: Mapping[str, Any],
    look: Mapping[str, Any],
    findings: Sequence[Finding],
    incidents: Sequence[Mapping[str, Any]],
    units: Mapping[str, str],
) -> str:
    """Return the page.

    Args:
        model: its name.
        version: of the model that serves.
        state: what is kept of all looks, with ``history``.
        look: the newest one: ``reference``, ``rows`` and ``tally``.
        findings: changes with evidence, the strongest first.
        incidents: of this model, the newest last.
        units: of columns.

    """
    history = state["history"]
    level = history[-1]["level"] if history else 0.0
    last = incidents[-1] if incidents else None
    is_open = bool(last and not last["closed_at"])
    word, kind = ("drift", "bad") if is_open else ("as trained", "good")
    tally = look["tally"]
    cards = "".join(
        f"<div><span>{as_text(name)}</span><strong>{as_text(value)}</strong><small>{as_text(note)}</small></div>"
        for name, value, note in (
            ("rows looked at", number(state["rows"]), f"{number(tally['rows'])} in the newest look"),
            ("evidence", f"{level:.2g}", "of what opens an incident"),
            ("looks", number(len(history)), f"the newest at {state['looked_at']}"),
            (
                "passed over",
                number(tally["left_out"] + tally["unreadable"]),
                f"{number(tally['unreadable'])} unreadable",
            ),
            *_labels(look["reference"], history, units),
        )
    )
    body = [
        f"<p class='over'>{as_text(model)}, model {as_text(version)} in service</p>",
        f"<h1><span class='badge {kind} {kind}'>{word}</span></h1>",
        f"<p class='reason'>{as_text(_reason(last) if is_open else 'The requests look like the rows that the model was trained on.')}</p>",
        f"<div class='cards'>{cards}</div>",
        section_of("Evidence over time", evidence_plot([entry["level"] for entry in history])),
        section_of("Columns", _columns(look, history, {finding.column: finding for finding in findings}, level, units)),
        section_of("Incidents", _incidents(incidents)),
    ]
    head = f"<!doctype html><html lang='en'><meta charset='utf-8'><title>{as_text(model)}: watch</title><style>{STYLE}</style>"
    return f"{head}<main>{''.join(body)}</main></html>\n"


def _labels(
    reference: Mapping[str, Any], history: Sequence[Mapping[str, Any]], units: Mapping[str, str]
) -> list[tuple[str, str, str]]:
    """Return a card for each of what labels say: the loss, and the bias where answers are numbers."""
    made = []
    for column in reference.values():
        score = live_score(column, history) if "measure" in column else None
        if score:
            unit = f" {units[column['in']]}" if units.get(column.get("in", "")) else ""
            note = f"in {number(score.rows)} labelled rows; {score.before:.4g} on the validation rows"
            made.append((score.measure, f"{score.now:.4g}{unit}", note))
    return made


def _reason(incident: Mapping[str, Any] | None) -> str:
    return "; ".join(change["sentence"] for change in incident["changes"]) if incident else ""


def evidence_plot(levels: Sequence[float]) -> str:
    """Return a plot of the evidence of each look, on a scale of tenfold steps; the line is where an incident opens."""
    from math import log10

    low, high = -6.0, max(1.0, *(log10(max(value, 1e-6)) for value in levels)) if levels else 1.0
    width, height = 880, 160

    def place(at: int, value: float) -> tuple[float, float]:
        x = 40 + (width - 60) * (at / max(1, len(levels) - 1))
        return x, 10 + (height - 30) * (high - max(low, log10(max(value, 1e-6)))) / (high - low)

    points = [place(at, value) for at, value in enumerate(levels)]
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    dots = "".join(f"<circle class='challenger-fill' cx='{x:.1f}' cy='{y:.1f}' r='3'/>" for x, y in points)
    alarm = place(0, 1.0)[1]
    return (
        f"<figure><svg viewBox='0 0 {width} {height}' role='img' aria-label='evidence of each look'>"
        f"<line class='limit' x1='40' x2='{width - 20}' y1='{alarm:.1f}' y2='{alarm:.1f}'/>"
        f"<text x='44' y='{alarm - 5:.1f}'>an incident opens</text>"
        f"<polyline class='mean challenger' points='{path}'/>{dots}</svg>"
        "<figcaption>One point for each look, oldest left; a step of the scale is a factor of ten.</figcaption></figure>"
    )


def _columns(
    look: Mapping[str, Any],
    history: Sequence[Mapping[str, Any]],
    findings: Mapping[str, Finding],
    level: float,
    units: Mapping[str, str],
) -> str:
    order = sorted(look["reference"], key=lambda name: -findings[name].evidence if name in findings else 0.0)
    figures = []
    for name in order:
        known, seen = look["reference"][name], look["rows"].get(name)
        if seen is None:
            continue
        unit = f" ({units[name]})" if units.get(name) else ""
        note = f"<strong>{as_text(findings[name].words())}</strong>" if name in findings and level >= 1 else ""
        ranks = [entry["ranks"][name] for entry in history if name in entry.get("ranks", {})]
        figures.append(
            f"<figure><figcaption>{as_text(name + unit)} {note}</figcaption>{histogram(known, seen)}{_course(ranks)}</figure>"
        )
    return (
        f"<div class='pair'>{''.join(figures)}</div><p class='note'>Blue: the newest look. Orange line: the training rows, for the "
        "prediction, the loss and the error the validation rows. Numbers are shown by ranges that hold equally many training rows, so a "
        "flat line is no change. Below: the mean rank of each look; the middle is that of the training rows.</p>"
    )


def histogram(known: Mapping[str, Any], seen: Mapping[str, Any]) -> str:
    """Return bars of the new rows over a line of the training rows, as shares."""
    parts = ranges(known, seen)
    top = max((max(part.before, part.now) for part in parts), default=0.0) or 1.0
    step = WIDTH / max(1, len(parts))

    def y(value: float) -> float:
        return HEIGHT - 20 - (HEIGHT - 30) * value / top

    bars = "".join(
        f"<rect class='challenger-fill' opacity='.55' x='{at * step + 1:.1f}' y='{y(value):.1f}' width='{max(1.0, step - 2):.1f}' "
        f"height='{HEIGHT - 20 - y(value):.1f}'/>"
        for at, value in enumerate(part.now for part in parts)
    )
    line = " ".join(
        f"{x:.1f},{y(part.before):.1f}" for at, part in enumerate(parts) for x in (at * step, (at + 1) * step)
    )
    if "edges" in known:
        ends = [f"{known['edges'][at]:.3g}" for at in (0, -1)] if known["edges"] else ["", ""]
        words = (
            f"<text x='0' y='{HEIGHT - 4}'>{as_text(ends[0])}</text>"
            f"<text x='{WIDTH}' y='{HEIGHT - 4}' text-anchor='end'>{as_text(ends[1])}</text>"
        )
    else:
        words = "".join(
            f"<text x='{(at + 0.5) * step:.1f}' y='{HEIGHT - 4}' text-anchor='middle'>{as_text(part.label[:12])}</text>"
            for at, part in enumerate(parts)
        )
    return (
        f"<svg viewBox='0 0 {WIDTH} {HEIGHT}' role='img' aria-label='new rows and training rows'>{bars}"
        f"<polyline class='mean champion' points='{line}'/>{words}</svg>"
    )


def _course(ranks: Sequence[float]) -> str:
    if len(ranks) < 2:
        return ""
    points = " ".join(
        f"{WIDTH * at / (len(ranks) - 1):.1f},{20 - 40 * max(-0.5, min(0.5, value)):.1f}"
        for at, value in enumerate(ranks)
    )
    return (
        f"<svg viewBox='0 0 {WIDTH} 40' role='img' aria-label='mean rank of each look'>"
        f"<line class='axis' x1='0' x2='{WIDTH}' y1='20' y2='20'/><polyline class='mean challenger' points='{points}'/></svg>"
    )


def _incidents(incidents: Sequence[Mapping[str, Any]]) -> str:
    rows = [
        [
            str(item["number"]),
            as_text(item["opened_at"]),
            as_text(item["closed_at"] or "open"),
            as_text("; ".join(change["sentence"] for change in item["changes"])),
            as_text(item["why_closed"] or ""),
        ]
        for item in reversed(incidents)
    ]
    if not rows:
        return "<p class='note'>There was none.</p>"
    head = "<th>No.</th><th>opened</th><th>closed</th><th>what changed</th><th>why closed</th>"
    return table_of(head, rows, numeric_from=9)
