"""Says how far each column moves a model's answers, and how that depends on the column's value."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from retraining.telling.explaining.plots import dependence_plot, importance_plot
from retraining.telling.gate_table import number
from retraining.telling.report_html import LISTED, as_text, more, section_of, table_of

BARS = 12
PLOTS = 4


def explanation_section(found: Mapping[str, Any] | None, target: str) -> str:
    """Return what the challenger goes by; empty when the evaluation did not find it out.

    Args:
        found: ``overview.json`` of the evaluation.
        target: name of the predicted column.

    """
    if not found or not found["columns"]:
        return ""
    classes, of, columns = len(found["outputs"]) > 1, found["of"], found["columns"]
    if not classes:
        what = f"The mean answer is {number(found['base'])} {as_text(target)}; each column moves an answer up or down from there"
    elif of is not None:
        what = f"The mean probability of {as_text(of)} is {number(found['base'])}; each column moves it up or down from there"
    else:
        what = "Each column moves probability from some classes to others"
    how = "" if found["exact"] else " The moves are estimated by sampling."
    note = (
        f"{what}. The bar is the mean size of the move on {number(found['rows'])} test rows, with its 95 % interval.{how} "
        f"Moves are Shapley values against {number(found['background'])} training rows: what the model goes by, not what causes "
        f"{as_text(target)}. Columns that go together share what they say."
    )
    table = [
        [as_text(column["name"]), number(column["mean"]), number(column["low"]), number(column["high"])]
        for column in columns[:LISTED]
    ]
    head = "<th>Column</th><th>Mean move</th><th>from</th><th>to</th>"
    content = (
        f'<p class="note">{note}</p><div class="pair"><figure>{importance_plot(columns[:BARS])}</figure>'
        f"<div>{table_of(head, table)}{more(columns)}</div></div>"
    )
    drawn = [one for one in found["dependence"][:PLOTS] if one["points"]]
    if drawn:
        upwards = f"probability of {of}" if classes else target
        figures = "".join(f"<figure>{dependence_plot(one['name'], one['points'], upwards)}</figure>" for one in drawn)
        content += f'<div class="pair">{figures}</div><p class="note">A dot is a test row: its value to the right, the move upwards.</p>'
    return section_of("What the model goes by", content)
