"""The quality report of a survey file as one self-contained HTML page."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from html import escape
from typing import Any

import pandas as pd

from retraining.contract.rules import Contract

from . import charts
from .quality import correlations

#: Nothing is loaded and no script runs, whatever text found its way into the page.
POLICY = "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">"
STYLE = """
:root{color-scheme:light}
body{font:15px/1.5 system-ui,sans-serif;max-width:900px;margin:2rem auto;padding:0 1rem;color:#222;background:#fff}
table{border-collapse:collapse;margin:.5rem 0 1.5rem}td,th{padding:.2rem .8rem .2rem 0;text-align:left;border-bottom:1px solid #ddd}
td.n,th.n{text-align:right;font-variant-numeric:tabular-nums}svg{margin:0 1rem 1rem 0}svg text{font:11px system-ui,sans-serif;fill:#333}
svg text.title{font-weight:600}.real{color:#1f6fb2}.generated{color:#d9730d}
"""


def page(report: Mapping[str, Any], real: pd.DataFrame, generated: pd.DataFrame, contract: Contract) -> str:
    """Return the page.

    Args:
        report: what ``generate.run`` returns and writes as report.json.
        real: typed rows that the generator was fitted to.
        generated: typed rows of the file, drift included, before dirt.
        contract: names and types of the columns.

    """
    quality, asked = report["quality"], report["request"]
    parts = [
        f"<h1>Survey file: {report['rows']:,} rows by {escape(report['method'])}</h1>",
        f"<p>{escape(' '.join(report['notes']))}</p>" if report["notes"] else "",
        _table(("", ""), [("real rows compared with", f"{report['real_rows']:,}"), *_facts(report, asked)]),
    ]
    parts += _violation_tables(report)
    if quality:
        parts += _quality(quality, real, generated, contract)
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        f"{POLICY}"
        f"<title>Survey report</title><style>{STYLE}</style></head><body>{''.join(parts)}</body></html>"
    )


def _facts(report: Mapping[str, Any], asked: Mapping[str, Any]) -> list[tuple[str, str]]:
    facts = [
        ("rows asked for", f"{asked['rows']:,}"),
        ("rows drawn", f"{report['drawn']['rows']:,}"),
        ("seed", str(asked["seed"])),
    ]
    for name in ("drift", "dirt", "duplicates", "known_rows"):
        if asked.get(name):
            value = asked[name]
            facts.append(
                (name.replace("_", " "), ", ".join(map(str, value)) if isinstance(value, list) else str(value))
            )
    return facts


def _violation_tables(report: Mapping[str, Any]) -> list[str]:
    parts = []
    for title, found in (
        ("Contract violations in the file", report["violations"]),
        ("Contract violations as drawn", report["drawn"]),
    ):
        rows = [(reason, f"{count:,}") for reason, count in found["reasons"].items()]
        parts.append(
            f"<h2>{title}</h2><p>{found['rejected']:,} of {found['rows']:,} rows ({found['share']:.1%}) are rejected by the contract.</p>"
            + (_table(("reason", "rows"), rows) if rows else "")
        )
    return parts


def _quality(quality: Mapping[str, Any], real: pd.DataFrame, generated: pd.DataFrame, contract: Contract) -> list[str]:
    auc = quality["classifier_auc"]
    rows = []
    for name, found in quality["columns"].items():
        if "kolmogorov_smirnov" in found:
            means = found["mean"]
            numbers = (f"{found['kolmogorov_smirnov']:.3f}", f"{found['wasserstein']:.3f}")
            rows.append((name, *numbers, f"{means['real']:.4g}", f"{means['generated']:.4g}"))
        else:
            rows.append((name, f"{found['total_variation']:.3f}", "", "", ""))
    relation = quality["correlation"]
    plots = []
    for column in contract.columns:
        found = quality["columns"][column.name]
        if column.numeric:
            sides = (real[column.name].to_numpy(dtype=float), generated[column.name].to_numpy(dtype=float))
            plots.append(charts.histograms(*sides, column.name))
        else:
            plots.append(charts.bars(found["real"], found["generated"], column.name))
    difference = correlations(generated, contract) - correlations(real, contract)
    return [
        "<h2>Distance from the real rows</h2>",
        f"<p>A classifier tells generated rows from real ones with AUC <b>{auc:.3f}</b> (0.5: it cannot; 1: always).</p>"
        if auc is not None
        else "<p>Too few rows for a two-sample classifier.</p>",
        _table(("column", "KS or total variation", "Wasserstein / SD", "mean, real", "mean, generated"), rows),
        f'<h2>Columns</h2><p><b class="real">real</b> and <b class="generated">generated</b>, share of rows</p><div>{"".join(plots)}</div>',
        f"<h2>Relations</h2><p>Spearman correlations differ by {relation['mean_difference']:.3f} on average, most between "
        f"{escape(' and '.join(relation['largest_pair']))} ({relation['largest_difference']:.3f}).</p>",
        charts.heat_map(difference, contract.numeric, "generated minus real", scale=0.3),
    ]


def _table(header: Iterable[str], rows: Iterable[tuple[str, ...]]) -> str:
    """Return a table; its cells are text and are escaped here."""

    def line(cells: Iterable[str], tag: str) -> str:
        right = ' class="n"'
        listed = "".join(f"<{tag}{right if place else ''}>{escape(cell)}</{tag}>" for place, cell in enumerate(cells))
        return f"<tr>{listed}</tr>"

    return f"<table>{line(header, 'th')}{''.join(line(row, 'td') for row in rows)}</table>"
