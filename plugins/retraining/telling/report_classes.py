"""The part of a report that is about classes: confusion, ranking, calibration, and how sure the models are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from retraining.telling.class_plots import histogram_plot, unit_plot
from retraining.telling.gate_table import number
from retraining.telling.report_html import as_text, section_of, table_of

MOST_CLASSES = 12
ROLES = ("challenger", "champion")


def class_sections(analysis: Mapping[str, Any], target: str) -> list[str]:
    """Return the sections of a classifier's report.

    Args:
        analysis: what ``analyze_results`` returned, with ``curves``.
        target: name of the predicted column.

    """
    curves = {role: analysis["curves"][role] for role in ROLES if role in analysis["curves"]}
    classes: Sequence[str] = analysis["classes"]
    sections = [_ranking(curves, classes)] if len(classes) == 2 else []
    return [*sections, _calibration(curves, classes), _confusion(curves, classes, target)]


def _ranking(curves: Mapping[str, Any], classes: Sequence[str]) -> str:
    """Return the ROC and the precision-recall curve of two classes."""
    roc: dict[str, list[tuple[float, float]]] = {}
    precision: dict[str, list[tuple[float, float]]] = {}
    positive = 0
    for role, found in curves.items():
        points = found["ranking"]
        hits, misses = points[-1] if points else (0, 0)
        if not hits or not misses:
            continue
        positive = hits
        roc[role] = [(0.0, 0.0), *((miss / misses, hit / hits) for hit, miss in points)]
        precision[role] = [(hit / hits, hit / (hit + miss)) for hit, miss in points if hit]
    name = as_text(classes[1])
    if not roc:
        return section_of("Ranking", f"<p>The test rows hold no ranking: all are {name}, or none is.</p>")
    plots = (
        unit_plot("found, upwards", "wrongly found", roc, diagonal=True, rows=positive),
        unit_plot("right among those found, upwards", "found", precision, diagonal=False),
    )
    note = (
        f"Left the share of {name} that is found against the share of the others that is wrongly found (ROC), right precision against "
        f"recall, for every threshold. The band is two standard errors of {number(positive)} rows of {name}."
    )
    return section_of(f"How well {classes[1]} is told from {classes[0]}", _pair(plots, note))


def _calibration(curves: Mapping[str, Any], classes: Sequence[str]) -> str:
    """Return how often a probability comes true, and how sure the challenger is."""
    said = {
        role: [(total / rows, hits / rows) for rows, hits, total in found["bands"] if rows]
        for role, found in curves.items()
    }
    bands = curves["challenger"]["bands"]
    two = len(classes) == 2
    names = (classes[0], classes[1]) if two else ("wrong", "right")
    parts = [(names[0], [rows - hits for rows, hits, _ in bands]), (names[1], [hits for _, hits, _ in bands])]
    plots = (
        unit_plot("came true, upwards", "probability", said, diagonal=True),
        histogram_plot("rows by the challenger's probability", parts),
    )
    what = f"of {classes[1]}" if two else "of the class that a model is surest of"
    note = (
        f"Left how often the probability {as_text(what)} comes true, in 20 bands; on the thin line it says what happens. "
        "Right how many rows have which probability."
    )
    return section_of("Calibration", _pair(plots, note))


def _confusion(curves: Mapping[str, Any], classes: Sequence[str], target: str) -> str:
    """Return rows by true class and label of both models; of many classes those with most rows."""
    rows = [sum(row) for row in curves["challenger"]["confusion"]]
    shown = sorted(sorted(range(len(classes)), key=lambda at: -rows[at])[:MOST_CLASSES])
    tables = []
    for role, found in curves.items():
        head = f"<th>{role.capitalize()}: true {as_text(target)}</th>" + "".join(
            f"<th>said {as_text(classes[at])}</th>" for at in shown
        )
        lines = []
        for at in shown:
            total = max(1, sum(found["confusion"][at]))
            cells = [
                f'<span class="{"good" if at == other else ""}">{number(found["confusion"][at][other])} '
                f"({found['confusion'][at][other] / total:.0%})</span>"
                for other in shown
            ]
            lines.append([as_text(classes[at]), *cells])
        tables.append(table_of(head, lines))
    more = len(classes) - len(shown)
    note = f"<p class='note'>and {number(more)} smaller classes</p>" if more > 0 else ""
    return section_of("Confusion", f'<div class="pair">{"".join(tables)}</div>{note}')


def _pair(plots: Sequence[str], note: str) -> str:
    figures = "".join(f"<figure>{plot}</figure>" for plot in plots)
    return (
        '<p class="note">Curves: blue is the challenger, orange the champion.</p>'
        f'<div class="pair">{figures}</div><p class="note">{note}</p>'
    )
