"""Draws the picture of a run's report for the README: ``python docs/report_picture.py .local/report.html docs/images/report.svg``.

The plots, the style and the sentence are those of the report; only their places are new.
"""

from __future__ import annotations

import html
import re
import sys
import textwrap
from pathlib import Path

WIDTH, MARGIN = 940, 30
PLOTS = (  # label of the plot in the report, where it goes: x, y, width, height
    ("difference ", (MARGIN, 156, 880, 118)),
    ("challenger: ", (MARGIN, 290, 280, 290)),
    ("champion: ", (MARGIN + 296, 290, 280, 290)),
    ("RMSE by group", (MARGIN + 600, 300, 280, 180)),
    ("rows accepted", (MARGIN, 592, 880, 56)),
)
HEIGHT = 664


def picture(report: str) -> str:
    """Return the picture as SVG.

    Raises:
        LookupError: the report lacks one of the plots, as that of a first model does.

    """
    style = re.sub(r"svg\{display[^}]*\}", "", _found(r"<style>(.*?)</style>", report))  # sizes are those of the places
    over, word, reason = (
        html.unescape(re.sub(r"<[^>]+>", "", _found(pattern, report)))
        for pattern in (r'<p class="over">(.*?)</p>', r"<h1>(.*?)</h1>", r'<p class="reason">(.*?)</p>')
    )
    lines = "".join(
        f'<text class="strong" x="{MARGIN}" y="{104 + 20 * number}" style="font-size:15px;font-weight:400">{html.escape(line)}</text>'
        for number, line in enumerate(textwrap.wrap(reason, 118))
    )
    plots = "".join(
        f'<svg x="{x}" y="{y}" width="{width}" height="{height}" viewBox="{_box(report, label)}">{_body(report, label)}</svg>'
        for label, (x, y, width, height) in PLOTS
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}">'
        f"<title>{html.escape(reason)}</title><style>{style}svg{{font-family:system-ui,sans-serif}}</style>"
        f'<rect width="100%" height="100%" rx="12" style="fill:var(--card);stroke:var(--line)"/>'
        f'<text x="{MARGIN}" y="34">{html.escape(over)}</text>'
        f'<text x="{MARGIN}" y="72" style="font-size:24px;fill:var(--good);font-weight:600">{html.escape(word)}</text>'
        f"{lines}{plots}</svg>\n"
    )


def _found(pattern: str, text: str) -> str:
    match = re.search(pattern, text, re.DOTALL)
    if match is None:
        raise LookupError(f"the report has no {pattern}: take that of a run with a champion, such as the demo's")
    return match[1]


def _box(report: str, label: str) -> str:
    return _found(rf'<svg viewBox="([^"]+)"[^>]*aria-label="{re.escape(label)}', report)


def _body(report: str, label: str) -> str:
    return _found(rf'<svg viewBox="[^"]+"[^>]*aria-label="{re.escape(label)}[^"]*">(.*?)</svg>', report)


if __name__ == "__main__":
    Path(sys.argv[2]).write_text(picture(Path(sys.argv[1]).read_text(encoding="utf-8")), encoding="utf-8")
