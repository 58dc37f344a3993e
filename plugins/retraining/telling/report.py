"""The report of a run: one HTML page that says what was added, how challenger and champion compare, and why it was decided so.

The page needs nothing else: styles and plots (SVG) are inside, there is no script, and it follows the reader's light or dark setting. Its
size is bounded: of many test rows a fixed sample is plotted, of many files and reasons the largest are listed. All numbers of a group are
of all rows. The same input gives the same page.
"""

from __future__ import annotations

import csv
import heapq
import math
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

from retraining.contract.plain_text import plain
from retraining.telling.gate_table import NONE, confidence, guards, measures, number
from retraining.telling.report_data import data_section, refused_section
from retraining.telling.report_html import STYLE, as_text, section_of, table_of
from retraining.telling.report_plots import difference_plot, group_plot, scatter_plot

SAMPLE_ROWS = 2000
WORST_ROWS = 8
MAX_GROUPS = 40
REASON_LENGTH = 2000
#: Nothing is loaded and no script runs, whatever text found its way into the page.
POLICY = "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">"
_GOLDEN = 0x9E3779B97F4A7C15  # 2^64 divided by the golden ratio: multiples of it spread evenly (Knuth, TAOCP 6.4)
_WORD = (1 << 64) - 1


def summarise_rows(lines: Iterable[str], sample: int = SAMPLE_ROWS) -> dict[str, Any]:
    """Read the evaluation's rows once, in constant memory.

    Args:
        lines: of ``rows.csv``, header ``row,truth,challenger,champion,group`` and possibly more; ``champion`` is empty when there is none.
        sample: how many rows to keep for plotting; which ones depends on their positions alone, spread evenly over the file.

    Returns:
        ``{"n", "points": [[truth, challenger, champion | None], ...] in file order, "groups": {name: {"n", "challenger", "champion"}}
        with root mean squared errors, "worst": rows with the largest errors of the challenger}``. Rows with a number that is not finite
        are left out.

    Raises:
        ValueError: the header is another one, or a row has no number where one belongs.

    """
    reader = csv.DictReader(lines)
    if list(reader.fieldnames or ())[:5] != ["row", "truth", "challenger", "champion", "group"]:
        raise ValueError(f"rows.csv has the header {reader.fieldnames}, expected row,truth,challenger,champion,group")
    count = 0
    kept: list[tuple[int, int, tuple[float, float, float | None]]] = []
    worst: list[tuple[float, int, dict[str, Any]]] = []
    sums: dict[str, list[float]] = {}
    for index, row in enumerate(reader):
        truth, challenger = float(row["truth"]), float(row["challenger"])
        champion = float(row["champion"]) if row["champion"] else None
        if not all(math.isfinite(value) for value in (truth, challenger, champion or 0.0)):
            continue
        count += 1
        entry = (-((index * _GOLDEN) & _WORD), index, (truth, challenger, champion))
        if len(kept) < sample:
            heapq.heappush(kept, entry)
        elif entry[0] > kept[0][0]:
            heapq.heapreplace(kept, entry)
        error = abs(challenger - truth)
        if len(worst) < WORST_ROWS or error > worst[0][0]:
            item = (error, -index, {**row, "error": challenger - truth})
            (heapq.heappush if len(worst) < WORST_ROWS else heapq.heapreplace)(worst, item)
        if not row["group"]:  # the model has no groups
            continue
        total = sums.setdefault(row["group"], [0, 0.0, 0.0, 0])
        total[0] += 1
        total[1] += (challenger - truth) ** 2
        if champion is not None:
            total[2] += (champion - truth) ** 2
            total[3] += 1
    return {
        "n": count,
        "points": [list(point) for _, _, point in sorted(kept, key=lambda item: item[1])],
        "groups": {
            name: {
                "n": int(n),
                "challenger": math.sqrt(squares / n),
                "champion": math.sqrt(others / scored) if scored else None,
            }
            for name, (n, squares, others, scored) in sorted(sums.items())
        },
        "worst": [item for _, _, item in sorted(worst, key=lambda entry: (-entry[0], -entry[1]))],
    }


def render(
    *,
    summary: Mapping[str, Any],
    analysis: Mapping[str, Any],
    decision: Mapping[str, Any],
    rows: Mapping[str, Any],
    merge: Mapping[str, Any] | None,
    lineage: Sequence[tuple[str, str, str | None]],
    target: str,
    group: str,
    created_at: str,
) -> str:
    """Return the report as an HTML page of well below a megabyte.

    Args:
        summary: the run's summary, as ``summary.json`` has it.
        analysis: what ``analyze_results`` returned.
        decision: ``decision``, ``reason`` and the gate's ``numbers``.
        rows: what ``summarise_rows`` returned.
        merge: the merge's report, None when the run merged nothing.
        lineage: name, value and, where there is one, https link.
        target: name of the predicted column.
        group: name of the column that errors are reported by.
        created_at: time of the report.

    """
    title = f"{summary['model']}: {summary['decision']} ({summary['run_key']})"
    sections = [
        _header(summary, decision, created_at),
        refused_section(summary),
        _figures(summary, analysis, decision),
        _comparison(analysis, decision),
        _predictions(rows, target),
        _groups(rows, analysis, decision, group),
        data_section(merge, summary),
        _worst(rows, target, group),
        _lineage(lineage),
    ]
    body = "\n".join(section for section in sections if section)
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f"{POLICY}\n"
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="color-scheme" content="light dark">\n'
        f"<title>{as_text(title)}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<main>\n{body}\n</main>\n</body>\n</html>\n"
    )


def _header(summary: Mapping[str, Any], decision: Mapping[str, Any], created_at: str) -> str:
    word = str(summary["decision"])
    kind = "good" if word == "approved" else "warn" if word.startswith("approved") else "bad"
    mark = {"good": "✓", "warn": "○", "bad": "✕"}[kind]
    return (
        f'<header><p class="over">Retraining of <b>{as_text(summary["model"])}</b> · dataset version {as_text(summary["dataset_version"])}'
        f" · run {as_text(summary['run_key'])} · {as_text(created_at)}</p>"
        f'<h1><span class="badge {kind}">{mark} {as_text(word)}</span></h1>'
        f'<p class="reason">{escape(plain(decision["reason"], REASON_LENGTH))}</p></header>'
    )


def _figures(summary: Mapping[str, Any], analysis: Mapping[str, Any], decision: Mapping[str, Any]) -> str:
    champion, numbers = analysis.get("champion"), decision.get("numbers", {})
    cards = [
        ("RMSE of the challenger", number(analysis["challenger"]["rmse"]), f"on {number(analysis['n'])} test rows"),
        (
            "RMSE of the champion",
            number(champion["rmse"]) if champion else NONE,
            "on the same rows" if champion else "no champion yet",
        ),
        (
            "Difference",
            number(numbers.get("rmse_difference"), sign=True),
            f"at most {number(numbers['upper_bound'], sign=True)} with {confidence(numbers)} confidence"
            if numbers.get("upper_bound") is not None
            else "nothing to compare with",
        ),
        ("Rows added", number(summary["rows_accepted"]), f"of {number(summary['rows_new'])} that came"),
    ]
    return (
        '<div class="cards">'
        + "".join(
            f"<div><span>{as_text(name)}</span><strong>{as_text(value)}</strong><small>{as_text(note)}</small></div>"
            for name, value, note in cards
        )
        + "</div>"
    )


def _comparison(analysis: Mapping[str, Any], decision: Mapping[str, Any]) -> str:
    champion, numbers = analysis.get("champion"), decision.get("numbers", {})
    parts = []
    if numbers.get("upper_bound") is not None:
        plot = difference_plot(
            float(numbers["rmse_difference"]), float(numbers["upper_bound"]), float(numbers["limit"])
        )
        parts.append(
            f"<figure>{plot}<figcaption>RMSE of the challenger minus RMSE of the champion on the same rows. The bar ends at the "
            f"one-sided {confidence(numbers)} bounds; the challenger is promoted when its right end is left of the line."
            "</figcaption></figure>"
        )
    else:
        parts.append("<p>There is no champion to compare with; the guards alone decided.</p>")
    head = "<th>Measure</th><th>Challenger</th>" + ("<th>Champion</th><th>Difference</th>" if champion else "")
    table = []
    for measure in measures(analysis):
        cells = [as_text(measure.name), number(measure.challenger, sign=measure.signed)]
        if champion:
            cells.append(number(measure.champion, sign=measure.signed))
            cells.append(number(measure.difference, sign=True))
        table.append(cells)
    parts.append(f'<div class="pair">{table_of(head, table)}{_guards(numbers)}</div>')
    return section_of("Champion against challenger", "".join(parts))


def _guards(numbers: Mapping[str, Any]) -> str:
    rows = [
        [
            as_text(guard.name),
            number(guard.value, sign=guard.signed),
            as_text(guard.limit),
            f'<span class="{"good" if guard.passed else "bad"}">{"✓ passed" if guard.passed else "✕ failed"}</span>',
        ]
        for guard in guards(numbers)
    ]
    return table_of("<th>Guard</th><th>Value</th><th>Limit</th><th></th>", rows) if rows else ""


def _predictions(rows: Mapping[str, Any], target: str) -> str:
    points = rows["points"]
    if not points:
        return section_of("Predicted against true", "<p>There are no rows to show.</p>")
    values = [value for point in points for value in point if value is not None]
    low, high = min(values), max(values)
    plots = [scatter_plot([(point[0], point[1]) for point in points], low, high, "challenger", target)]
    others = [(point[0], point[2]) for point in points if point[2] is not None]
    if others:
        plots.append(scatter_plot(others, low, high, "champion", target))
    shown = "All" if len(points) == rows["n"] else f"{number(len(points))} of"
    return section_of(
        "Predicted against true",
        f'<div class="pair">{"".join(f"<figure>{plot}</figure>" for plot in plots)}</div>'
        f"<p class='note'>{shown} {number(rows['n'])} test rows. On the thin line a prediction is right; the thick line is the mean "
        "prediction for rows of about the same true value. Points with the same whole true value are spread sideways.</p>",
    )


def _groups(rows: Mapping[str, Any], analysis: Mapping[str, Any], decision: Mapping[str, Any], group: str) -> str:
    if not rows["groups"]:
        return ""
    largest = sorted(rows["groups"].items(), key=lambda item: (-item[1]["n"], item[0]))[:MAX_GROUPS]
    if not largest:
        return ""
    limit = decision.get("numbers", {}).get("policy", {}).get("max_group_rmse")
    plot = group_plot([(name, values["challenger"], values["champion"]) for name, values in largest], limit)
    biases = analysis.get("groups", {})
    table = [
        [
            as_text(name),
            number(values["n"]),
            number(values["challenger"]),
            number(values["champion"]),
            number(biases.get(name, {}).get("bias"), sign=True),
        ]
        for name, values in largest
    ]
    head = "<th>Group</th><th>Rows</th><th>Challenger</th><th>Champion</th><th>Bias of the challenger</th>"
    more = len(rows["groups"]) - len(largest)
    note = f"<p class='note'>and {number(more)} smaller groups</p>" if more > 0 else ""
    content = f'<div class="pair"><figure>{plot}</figure>{table_of(head, table)}</div>{note}'
    return section_of(f"Error by {group}", content)


def _worst(rows: Mapping[str, Any], target: str, group: str) -> str:
    if not rows["worst"]:
        return ""
    table = [
        [
            as_text(item["row"]),
            as_text(item["group"]),
            f"{float(item['truth']):g}",
            number(float(item["challenger"])),
            number(float(item["error"]), sign=True),
            number(float(item["champion"])) if item["champion"] else NONE,
        ]
        for item in rows["worst"]
    ]
    head = f"<th>Row</th><th>{as_text(group)}</th><th>True {as_text(target)}</th><th>Challenger</th><th>Error</th><th>Champion</th>"
    return section_of("Largest errors of the challenger", table_of(head, table, numeric_from=2))


def _lineage(lineage: Sequence[tuple[str, str, str | None]]) -> str:
    rows = []
    for name, value, link in lineage:
        safe = bool(link) and str(link).startswith("https://")
        shown = f"<code>{as_text(value)}</code>"
        rows.append([as_text(name), f'<a href="{escape(plain(link, REASON_LENGTH))}">{shown}</a>' if safe else shown])
    return section_of("Lineage", table_of("", rows, numeric_from=9))
