"""The HTML that the parts of a report are made of: text, sections, tables, styles."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Any

from retraining.contract.plain_text import plain
from retraining.telling.gate_table import number

LISTED = 25
LONGEST_TEXT = 300


def as_text(value: Any) -> str:
    """Return a value as escaped text of bounded length."""
    return escape(plain(value, LONGEST_TEXT))


def section_of(title: str, content: str) -> str:
    """Return a section of ready HTML under a heading."""
    return f"<section><h2>{as_text(title)}</h2>{content}</section>"


def table_of(head: str, rows: Sequence[Sequence[str]], numeric_from: int = 1) -> str:
    """Return a table of ready HTML cells; cells from ``numeric_from`` on are numbers."""
    lines = []
    for row in rows:
        cells = "".join(f"<td{' class=n' if at >= numeric_from else ''}>{cell}</td>" for at, cell in enumerate(row))
        lines.append(f"<tr>{cells}</tr>")
    top = f"<thead><tr>{head}</tr></thead>" if head else ""
    wide = " class=from2" if numeric_from == 2 else ""  # the second column is a word, too
    return f'<div class="scroll"><table{wide}>{top}<tbody>{"".join(lines)}</tbody></table></div>'


def more(items: Sequence[Any]) -> str:
    """Return how many of the items are not listed."""
    return f"<p class='note'>and {number(len(items) - LISTED)} more</p>" if len(items) > LISTED else ""


STYLE = """
:root{--page:#f6f7f9;--card:#fff;--ink:#16202c;--soft:#5b6776;--line:#dfe4ea;--challenger:#2563c9;--champion:#c2700c;
--good:#14804a;--goodbg:#e0f4e8;--warn:#8a5a00;--warnbg:#fdf0d2;--bad:#b3261e;--badbg:#fce4e2;--zone:#e9f5ee}
@media (prefers-color-scheme:dark){:root{--page:#0f1419;--card:#182028;--ink:#e6ebf1;--soft:#9aa7b6;--line:#2d3843;--challenger:#6ea8ff;
--champion:#f0a447;--good:#5fd394;--goodbg:#143524;--warn:#f0c05a;--warnbg:#3a2e10;--bad:#ff8d85;--badbg:#431d1b;--zone:#15291f}}
*{box-sizing:border-box}
body{margin:0;background:var(--page);color:var(--ink);
font:15px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,"Helvetica Neue",Arial,sans-serif}
main{max-width:1060px;margin:0 auto;padding:28px 20px 60px}
.over{margin:0;color:var(--soft);font-size:13px}
h1{margin:10px 0 6px;font-size:26px}
h2{margin:0 0 14px;font-size:17px}
.badge{display:inline-block;padding:4px 14px;border-radius:8px;font-size:22px}
.badge.good{background:var(--goodbg)}.badge.warn{background:var(--warnbg)}.badge.bad{background:var(--badbg)}
.good{color:var(--good)}.warn{color:var(--warn)}.bad{color:var(--bad)}
.reason{margin:0 0 18px;font-size:16px;max-width:80ch}
section,.cards div{background:var(--card);border:1px solid var(--line);border-radius:10px}
section{padding:18px 20px;margin-top:18px}
.cards{display:grid;grid-template-columns:repeat(auto-fit,minmax(200px,1fr));gap:14px}
.cards div{padding:14px 16px}
.cards span,.cards small{display:block;color:var(--soft);font-size:13px}
.cards strong{display:block;font-size:26px;line-height:1.25;font-variant-numeric:tabular-nums}
.pair{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(380px,100%),1fr));gap:22px;align-items:start}
figure{margin:0 0 8px;overflow-x:auto}
.pair figure{max-width:520px}
figure>svg[viewBox^="0 0 880"]{min-width:640px}
figcaption,.note{color:var(--soft);font-size:13px;margin:6px 0 12px;max-width:90ch}
.scroll{overflow-x:auto}
table{border-collapse:collapse;width:100%;font-size:14px;margin-bottom:10px}
th{text-align:right;color:var(--soft);font-weight:500;font-size:13px}
th:first-child,.from2 th:nth-child(2){text-align:left}
th,td{padding:6px 10px 6px 0;border-bottom:1px solid var(--line);vertical-align:top}
td.n{text-align:right;font-variant-numeric:tabular-nums;white-space:nowrap}
code{font:13px/1.5 ui-monospace,SFMono-Regular,Menlo,Consolas,monospace;overflow-wrap:anywhere}
a{color:var(--challenger)}
svg{display:block;width:100%;height:auto}
svg text{fill:var(--soft);font-size:12px;font-family:inherit}
svg .strong{fill:var(--ink);font-weight:600}
svg .axis{stroke:var(--line)}
svg .ideal{stroke:var(--soft);stroke-width:1}
svg .points{fill:none;stroke-width:4.4;stroke-linecap:round}
svg .mean{fill:none;stroke-width:2.5;stroke-linejoin:round}
svg .challenger{stroke:var(--challenger)}svg .champion{stroke:var(--champion)}
svg .challenger-fill{fill:var(--challenger)}svg .champion-fill{fill:var(--champion)}
svg .zone{fill:var(--zone)}svg .limit{stroke:var(--bad);stroke-dasharray:4 3}
svg .accepted{fill:var(--good)}svg .duplicate{fill:var(--soft)}svg .quarantined{fill:var(--bad)}
@media print{body{background:#fff}section{break-inside:avoid}}
"""
