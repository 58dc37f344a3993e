"""The part of a report that says what data came in: refused files first, then rows, reasons, files, and what the crawler saw."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from retraining.telling.gate_table import number
from retraining.telling.report_html import LISTED, as_text, more, section_of, table_of
from retraining.telling.report_plots import share_bar


def refused_section(summary: Mapping[str, Any]) -> str:
    """Return the refused files with reason and remedy; empty when there is none."""
    lines = summary.get("refused") or []
    if not lines:
        return ""
    items = "".join(f"<li>{as_text(line)}</li>" for line in lines)
    title = f"{number(summary['files_refused'])} refused file{'' if summary['files_refused'] == 1 else 's'}"
    return section_of(title, f"<ul class='bad'>{items}</ul><p class='note'>No row of them was merged.</p>")


def data_section(merge: Mapping[str, Any] | None, summary: Mapping[str, Any]) -> str:
    """Return what was added: rows by split, reasons of quarantine, files."""
    splits: Mapping[str, int] = summary["rows_by_split"]
    if merge is None:
        total = ", ".join(f"{number(count)} {as_text(name)}" for name, count in splits.items())
        return section_of("What data was added", f"<p>Nothing was merged; the dataset version has {total} rows.</p>")
    parts = [
        ("accepted", int(merge["rows_accepted"])),
        ("duplicate", int(merge["rows_duplicate"])),
        ("quarantined", int(merge["rows_quarantined"])),
    ]
    added: Mapping[str, int] = merge["rows_by_split"]
    by_split = [
        [as_text(name), number(added.get(name, 0), sign=True), number(splits.get(name, 0))]
        for name in ("train", "validation", "test")
    ]
    reasons = sorted(merge["reasons"].items(), key=lambda item: (-item[1], item[0]))
    files = sorted(merge["files"], key=lambda item: (not _refusal(item), -int(item["rows"] or 0), item["key"]))
    by_reason = [[as_text(name), number(count)] for name, count in reasons[:LISTED]]
    by_file = [
        [
            f'<span title="{as_text(item["key"])}">{as_text(item["key"].rsplit("/", 1)[-1])}</span>'
            + (f' <span class="bad">refused: {as_text(_refusal(item))}</span>' if _refusal(item) else ""),
            *(number(item[name]) for name in ("rows", "accepted", "duplicate", "quarantined")),
        ]
        for item in files[:LISTED]
    ]
    shares = share_bar(parts)
    rejected = (
        table_of("<th>Reason of quarantine</th><th>Rows</th>", by_reason) + more(reasons)
        if reasons
        else "<p>No row was quarantined.</p>"
    )
    return section_of(
        "What data was added",
        f"<figure>{shares}</figure>"
        f'<div class="pair"><div>{table_of("<th>Split</th><th>Added</th><th>Now</th>", by_split)}</div><div>{rejected}</div></div>'
        + table_of("<th>File</th><th>Rows</th><th>Accepted</th><th>Duplicate</th><th>Quarantined</th>", by_file)
        + more(files)
        + _remarks(files)
        + _crawl(summary.get("crawl") or {}),
    )


def _refusal(item: Mapping[str, Any]) -> str:
    """Return why a file was refused, with the remedy; empty for other files."""
    if item.get("outcome", "refused") != "refused":
        return ""
    return " ".join(str(part) for part in (item.get("reason") or item.get("refused"), item.get("remedy")) if part)


def _remarks(files: Sequence[Mapping[str, Any]]) -> str:
    """Return what is worth a thought about files that were merged."""
    said = [f"{as_text(item['key'])}: {as_text(item['remark'])}" for item in files if item.get("remark")]
    items = "".join(f"<li>{line}</li>" for line in said[:LISTED])
    return f"<ul class='note'>{items}</ul>{more(said)}" if said else ""


def _crawl(crawl: Mapping[str, Any]) -> str:
    """Return what the crawler saw; it decides nothing."""
    notes = [f"the crawl failed: {crawl['warning']}"] if crawl.get("warning") else crawl.get("notes") or []
    if not notes:
        return ""
    items = "".join(f"<li>{as_text(note)}</li>" for note in notes)
    return f"<p class='note'>What the crawler saw beside the contract; it decides nothing:</p><ul class='note'>{items}</ul>"
