"""Small charts as inline SVG text, without a plotting library: real rows in blue, generated rows in orange."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

import numpy as np

REAL, GENERATED = "#1f6fb2", "#d9730d"
WIDTH, HEIGHT, BINS = 260, 130, 30


def histograms(real: np.ndarray, generated: np.ndarray, title: str) -> str:
    """Return two overlaid histograms of shares; arrays of shape (rows,). The axis ends where both have their outermost value."""
    low, high = float(min(real.min(), generated.min())), float(max(real.max(), generated.max()))
    if high <= low:
        high = low + 1.0
    shares = [np.histogram(values, BINS, (low, high))[0] / len(values) for values in (real, generated)]
    top = max(float(share.max()) for share in shares)
    width = WIDTH / BINS
    parts = []
    for share, colour in zip(shares, (REAL, GENERATED), strict=True):
        points = [f"M0,{HEIGHT}"]
        for place, value in enumerate(share):
            y = HEIGHT * (1 - value / top)
            points.append(f"L{place * width:.1f},{y:.1f} L{(place + 1) * width:.1f},{y:.1f}")
        points.append(f"L{WIDTH},{HEIGHT}")
        parts.append(
            f'<path d="{" ".join(points)}" fill="{colour}" fill-opacity=".22" stroke="{colour}" stroke-width="1.4"/>'
        )
    return _frame(title, "".join(parts), [(0, "start", f"{low:g}"), (WIDTH, "end", f"{high:g}")])


def bars(real: Mapping[str, float], generated: Mapping[str, float], title: str) -> str:
    """Return paired bars of the shares of values."""
    values = sorted({*real, *generated})
    top = max([*real.values(), *generated.values()]) or 1.0
    room = WIDTH / len(values)
    parts, labels = [], []
    for place, value in enumerate(values):
        for offset, (side, colour) in enumerate(((real, REAL), (generated, GENERATED))):
            height = HEIGHT * side.get(value, 0.0) / top
            x = place * room + room * (0.14 + 0.37 * offset)
            parts.append(
                f'<rect x="{x:.1f}" y="{HEIGHT - height:.1f}" width="{room * 0.34:.1f}" height="{height:.1f}" fill="{colour}"/>'
            )
        labels.append((int((place + 0.5) * room), "middle", value))
    return _frame(title, "".join(parts), labels)


def heat_map(matrix: np.ndarray, names: Sequence[str], title: str, scale: float) -> str:
    """Return a matrix of shape (names, names) as coloured cells with their numbers; blue is -scale, orange +scale."""
    cell, left, top = 44, 110, 24
    parts = [f'<text x="0" y="14" class="title">{escape(title)}</text>']
    for row, name in enumerate(names):
        y = top + row * cell * 0.6
        parts.append(f'<text x="{left - 6}" y="{y + 17:.0f}" text-anchor="end">{escape(name)}</text>')
        for column in range(len(names)):
            value = float(matrix[row, column])
            colour = GENERATED if value > 0 else REAL
            x = left + column * cell
            parts.append(
                f'<rect x="{x}" y="{y:.1f}" width="{cell - 1}" height="{cell * 0.6 - 1:.1f}" fill="{colour}" '
                f'fill-opacity="{min(1.0, abs(value) / scale):.2f}"><title>{escape(name)}, {escape(names[column])}</title></rect>'
                f'<text x="{x + cell / 2:.0f}" y="{y + 17:.0f}" text-anchor="middle">{value:+.2f}</text>'
            )
    height = top + len(names) * cell * 0.6 + 70
    for column, name in enumerate(names):
        x, y = left + (column + 0.6) * cell, top + len(names) * cell * 0.6 + 10
        parts.append(
            f'<text transform="translate({x:.0f},{y:.0f}) rotate(-35)" text-anchor="end">{escape(name)}</text>'
        )
    width = left + len(names) * cell + 10
    return f'<svg viewBox="0 0 {width} {height:.0f}" width="{width}" role="img">{"".join(parts)}</svg>'


def _frame(title: str, inside: str, labels: Sequence[tuple[int, str, str]]) -> str:
    texts = "".join(
        f'<text x="{x}" y="{HEIGHT + 14}" text-anchor="{anchor}">{escape(text)}</text>' for x, anchor, text in labels
    )
    axis = f'<line x1="0" y1="{HEIGHT}" x2="{WIDTH}" y2="{HEIGHT}" stroke="#888"/>'
    return (
        f'<svg viewBox="-6 -20 {WIDTH + 12} {HEIGHT + 40}" width="{WIDTH + 12}" role="img" aria-label="{escape(title)}">'
        f'<text x="0" y="-6" class="title">{escape(title)}</text>{inside}{axis}{texts}</svg>'
    )
