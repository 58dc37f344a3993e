"""The report of a run: one HTML page that says what was added, how challenger and champion compare, and why it was decided so.

The page needs nothing else: styles and plots (SVG) are inside, there is no script, and it follows the reader's light or dark setting. Its
size is bounded: of many test rows a fixed sample is plotted, of many files and reasons the largest are listed. All numbers of a group are
of all rows. The same input gives the same page.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from retraining.contract.plain_text import plain
from retraining.telling.explaining.section import explanation_section
from retraining.telling.gate_table import NONE, conditions, label, measures, number, odds_text
from retraining.telling.report_classes import class_sections
from retraining.telling.report_data import data_section, refused_section
from retraining.telling.report_html import LISTED, STYLE, as_text, section_of, table_of
from retraining.telling.report_plots import difference_plot, group_plot, scatter_plot

MAX_GROUPS = 40
REASON_LENGTH = 2000
#: Nothing is loaded and no script runs, whatever text found its way into the page.
POLICY = "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">"


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
    explanation: Mapping[str, Any] | None = None,
) -> str:
    """Return the report as an HTML page of well below a megabyte.

    Args:
        summary: the run's summary, as ``summary.json`` has it.
        analysis: what ``analyze_results`` returned.
        decision: ``decision``, ``reason`` and the gate's ``numbers``.
        rows: what ``report_rows.summarise_rows`` returned.
        merge: the merge's report, None when the run merged nothing.
        lineage: name, value and, where there is one, https link.
        target: name of the predicted column.
        group: name of the column that errors are reported by.
        created_at: time of the report.
        explanation: what the evaluation found out about what the challenger goes by, if it did.

    """
    title = f"{summary['model']}: {summary['decision']} ({summary['run_key']})"
    sections = [
        _header(summary, decision, created_at),
        refused_section(summary),
        _figures(summary, analysis, decision),
        _comparison(analysis, decision),
        *(class_sections(analysis, target) if analysis.get("curves") else [_predictions(rows, target)]),
        _groups(analysis, decision, summary["metric"], group),
        explanation_section(explanation, target),
        _candidates(summary),
        _search(summary),
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
    metric = summary["metric"]
    cards = [
        (
            f"{label(metric)} of the challenger",
            number(analysis["challenger"][metric]),
            f"on {number(analysis['n'])} test rows",
        ),
        (
            f"{label(metric)} of the champion",
            number(champion[metric]) if champion else NONE,
            "on the same rows" if champion else "no champion yet",
        ),
        (
            "Odds of the challenger",
            odds_text(numbers.get("odds")),
            f"to be the better model; {odds_text(numbers['required_odds'])} is enough"
            if numbers.get("odds") is not None
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
    if numbers.get("standard_error"):
        plot = difference_plot(numbers["difference"], numbers["standard_error"], numbers["required_odds"])
        parts.append(
            f"<figure>{plot}<figcaption>Mean loss of the challenger minus that of the champion on the same rows, with the range of "
            f"one and two standard errors. {_weighing(numbers)} The challenger is promoted when the dot is left of the line."
            "</figcaption></figure>"
        )
    elif numbers.get("difference") is not None:
        parts.append("<p>Both models lose the same on every row.</p>")
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


def _weighing(numbers: Mapping[str, Any]) -> str:
    """Return how much the rows count, and how often they have been looked at, in sentences."""
    files, looks = numbers["files"], numbers.get("looks")
    worth = f"{number(numbers['n'])} rows of {number(files)} arrival{'s' if files != 1 else ''}"
    if numbers["weight"] < 0.995 * numbers["n"]:
        days = numbers["policy"]["half_life_days"]
        worth += (
            f", weighed by age (half after {days:g} days), together worth {number(round(numbers['weight']))} new ones"
        )
    seen = ""
    if looks is not None:
        seen = (
            " No other run has judged a model on just these rows."
            if looks == 1
            else f" {number(looks)} runs have judged a model on just these rows: the best of many looks better than it is."
        )
    return f"Judged on {worth}.{seen}"


def _guards(numbers: Mapping[str, Any]) -> str:
    found = conditions(numbers)
    with_champion = any(guard.champion is not None for guard in found)
    rows = [
        [
            as_text(guard.name),
            number(guard.value, sign=guard.signed),
            as_text(guard.limit),
            f'<span class="{"good" if guard.passed else "bad"}">{"✓ passed" if guard.passed else "✕ failed"}</span>',
            *(
                [
                    f'<span class="{"" if guard.champion_passed else "bad"}">{number(guard.champion, sign=guard.signed)}</span>'
                ]
                if with_champion
                else []
            ),
        ]
        for guard in found
    ]
    head = "<th>Guard</th><th>Value</th><th>Limit</th><th></th>" + ("<th>Champion</th>" if with_champion else "")
    return table_of(head, rows) if rows else ""


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


def _groups(analysis: Mapping[str, Any], decision: Mapping[str, Any], metric: str, group: str) -> str:
    groups: Mapping[str, Any] = analysis.get("groups") or {}
    largest = sorted(groups.items(), key=lambda item: (-item[1]["n"], item[0]))[:MAX_GROUPS]
    if not largest:
        return ""
    limit = decision.get("numbers", {}).get("policy", {}).get("worst_group", {}).get(metric)
    bars = [(name, found["challenger"][metric], (found["champion"] or {}).get(metric)) for name, found in largest]
    plot = group_plot(bars, limit, label(metric))
    second = "bias" if metric == "rmse" else "accuracy"
    table = [
        [
            as_text(name),
            number(found["n"]),
            number(found["challenger"][metric]),
            number((found["champion"] or {}).get(metric)),
            number(found["challenger"].get(second), sign=second == "bias"),
        ]
        for name, found in largest
    ]
    head = f"<th>Group</th><th>Rows</th><th>Challenger</th><th>Champion</th><th>{label(second)} of the challenger</th>"
    more = len(groups) - len(largest)
    note = f"<p class='note'>and {number(more)} smaller groups</p>" if more > 0 else ""
    content = f'<div class="pair"><figure>{plot}</figure>{table_of(head, table)}</div>{note}'
    return section_of(f"{label(metric)} by {group}", content)


def _candidates(summary: Mapping[str, Any]) -> str:
    """Return how the candidates of the run compare on the validation rows; empty when there was nothing to choose between."""
    found: Sequence[Mapping[str, Any]] = summary.get("candidates") or []
    if len(found) < 2:
        return ""
    table = [
        [
            as_text(item["name"]),
            number(item.get("value")),
            "✓ goes on to the test rows" if item["chosen"] else as_text(item.get("left_out") or ""),
        ]
        for item in found
    ]
    head = f"<th>Candidate</th><th>{as_text(summary['selection_metric'])}</th><th></th>"
    return section_of("Candidates", table_of(head, table) + "<p class='note'>Measured on the validation rows.</p>")


def _search(summary: Mapping[str, Any]) -> str:
    """Return the leaderboard of the search for hyperparameters, and why its best trial goes on or not; empty without a search."""
    search: Mapping[str, Any] | None = summary.get("search")
    if not search:
        return ""
    trials: Sequence[Mapping[str, Any]] = search["trials"]
    shown = [trial for trial in trials if trial["name"] != search["best"]][: LISTED - 1]
    board = [*(trial for trial in trials if trial["name"] == search["best"]), *shown]
    names = sorted({name for trial in board for name in trial["hyperparameters"]})
    table = [
        [
            as_text(trial["name"]),
            *(_shown(trial["hyperparameters"].get(name, NONE)) for name in names),
            number(trial["value"]),
        ]
        for trial in board
    ]
    counts = search["counts"]
    total = sum(counts.values())
    ended = ", ".join(f"{number(count)} {state}" for state, count in counts.items() if count)
    content = f"<p>The best of {number(total)} trials ({ended}): {as_text(search['why'])}.</p>"
    if search["difference"] is not None:
        content += (
            f"<p>Mean loss of the best trial minus that of {as_text(search['against'])}: {number(search['difference'], sign=True)}, "
            f"standard error {number(search['standard_error'])}.</p>"
        )
    heads = "".join(f"<th>{as_text(name)}</th>" for name in [*names, summary["selection_metric"]])
    hidden = counts.get("completed", 0) - len(board)
    note = f" {number(hidden)} more trials completed with less good values." if hidden > 0 else ""
    note = (
        "<p class='note'>Measured on the validation rows; the test rows judge only the one that goes on. The best of many looks better "
        f"than it is.{note}</p>"
    )
    return section_of("Search for hyperparameters", content + table_of(f"<th>Trial</th>{heads}", table) + note)


def _worst(rows: Mapping[str, Any], target: str, group: str) -> str:
    if not rows["worst"]:
        return ""
    table = [
        [
            as_text(item["row"]),
            as_text(item.get("group") or NONE),
            _shown(item["truth"]),
            _shown(item["challenger"], item.get("probability_challenger")),
            _shown(item["champion"], item.get("probability_champion")) if item["champion"] else NONE,
            number(item["loss"]),
        ]
        for item in rows["worst"]
    ]
    head = f"<th>Row</th><th>{as_text(group)}</th><th>True {as_text(target)}</th><th>Challenger</th><th>Champion</th><th>Loss</th>"
    return section_of("Rows that cost the challenger most", table_of(head, table, numeric_from=2))


def _shown(value: str, probability: str | None = None) -> str:
    """Return a prediction for people: a number in four digits, a class with its probabilities."""
    if probability is not None:
        shares = probability.split(" ")[:3]
        return f"{as_text(value)} ({', '.join(number(float(share)) for share in shares)})"
    try:
        return number(float(value))
    except ValueError:
        return as_text(value)


def _lineage(lineage: Sequence[tuple[str, str, str | None]]) -> str:
    rows = []
    for name, value, link in lineage:
        safe = bool(link) and str(link).startswith("https://")
        shown = f"<code>{as_text(value)}</code>"
        rows.append([as_text(name), f'<a href="{escape(plain(link, REASON_LENGTH))}">{shown}</a>' if safe else shown])
    return section_of("Lineage", table_of("", rows, numeric_from=9))
