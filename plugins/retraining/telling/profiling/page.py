"""The profile of a dataset version as self-contained HTML: each column by split in figures, and test rows over training rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from retraining.contract.profiling.version_profile import OTHER
from retraining.telling.drift_page import histogram
from retraining.telling.gate_table import number
from retraining.telling.report_html import STYLE, as_text, section_of, table_of

NUMBERS = ("min", "p5", "p25", "median", "mean", "p75", "p95", "max")


def profile_page(profile: Mapping[str, Any]) -> str:
    """Return the page of a profile as `retraining.command.profile` makes it."""
    model, version, splits = profile["model"], profile["version"], profile["splits"]
    rows = "".join(
        f"<div><span>{as_text(split)}</span><strong>{number(count)}</strong><small>rows</small></div>"
        for split, count in splits.items()
    )
    body = [
        f"<p class='over'>{as_text(model)}, dataset version {version}</p><h1>Profile</h1><div class='cards'>{rows}</div>",
        *(section_of(f"{name} ({column['type']})", _column(column)) for name, column in profile["columns"].items()),
        "<p class='note'>Orange line: the training rows. Blue: the test rows. Numbers are shown by ranges that hold about equally many "
        "training rows. Quantiles and the number of different texts are approximate, all other figures exact.</p>",
    ]
    title = f"{as_text(model)}: dataset version {version}"
    head = f"<!doctype html><html lang='en'><meta charset='utf-8'><title>{title}</title><style>{STYLE}</style>"
    return f"{head}<main>{''.join(body)}</main></html>\n"


def _column(column: Mapping[str, Any]) -> str:
    found = column["splits"]
    names = [name for name in NUMBERS if any(name in figures for figures in found.values())]
    names += ["distinct"] if any("distinct" in figures for figures in found.values()) else []
    rows = [
        [
            as_text(split),
            number(figures["n"]),
            number(figures["missing"]),
            *("" if figures.get(name) is None else as_text(shown(figures[name])) for name in names),
        ]
        for split, figures in found.items()
    ]
    head = "".join(f"<th>{as_text(name)}</th>" for name in ("split", "rows", "missing", *names))
    known = next(iter(found.values()))["counts"]
    texts = [text for text, count in known.items() if count > 1] if isinstance(known, Mapping) else None
    if texts is not None and not set(texts) - {OTHER}:
        return f"{table_of(head, rows)}<p class='note'>Hardly any value comes twice.</p>"
    plot = f"<figure>{histogram(found['train'], found['test'])}</figure>" if {"train", "test"} <= set(found) else ""
    return f"{table_of(head, rows)}<div class='pair'>{plot}{_shares(found, texts) if texts else ''}</div>"


def _shares(found: Mapping[str, Mapping[str, Any]], texts: Sequence[str]) -> str:
    """Return the share of each split's rows that has a text, for the most frequent texts of the training rows."""
    rows = [
        [as_text(text), *(_share(figures["counts"].get(text, 0), figures["n"]) for figures in found.values())]
        for text in texts
    ]
    return table_of("".join(f"<th>{as_text(name)}</th>" for name in ("value", *found)), rows)


def _share(count: int, rows: int) -> str:
    return f"{count / rows:.1%}" if rows else ""


def shown(value: Any) -> str:
    """Return a figure as people read it."""
    return f"{value:.6g}" if isinstance(value, float) else str(value)
