"""The plots of an explanation as SVG text: how far each column moves the answers, and the moves of one column by its value."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from retraining.telling.report_plots import GOLDEN_RATIO, ticks

CATEGORIES = 8

Points = Sequence[Sequence[Any]]


def importance_plot(columns: Sequence[Mapping[str, Any]]) -> str:
    """Return a bar for each column, with the interval of its length."""
    left, width, row, top = 130.0, 290.0, 26.0, 8.0
    high = max(column["high"] for column in columns) * 1.08 or 1.0
    height = top + row * len(columns)

    def at(value: float) -> str:
        return f"{left + value / high * width:.1f}"

    axis = "".join(
        f'<path class="axis" d="M{at(tick)} {top}V{height}"/>'
        f'<text x="{at(tick)}" y="{height + 16}" text-anchor="middle">{tick:g}</text>'
        for tick in ticks(0.0, high, 4)
    )
    bars = ""
    for index, column in enumerate(columns):
        y = top + row * index + 5
        bars += (
            f'<text class="strong" x="{left - 8}" y="{y + 12}" text-anchor="end">{escape(_short(str(column["name"]), 16))}</text>'
            f'<rect class="challenger-fill" x="{left}" y="{y}" width="{max(0.5, column["mean"] / high * width):.1f}" height="15" rx="2">'
            f"<title>{escape(str(column['name']))}: {column['mean']:.4g}</title></rect>"
            f'<path class="ideal" d="M{at(column["low"])} {y + 7.5}H{at(column["high"])}"/>'
        )
    label = "mean size of each column's move"
    return f'<svg viewBox="0 0 {left + width + 20:.0f} {height + 24:.0f}" role="img" aria-label="{label}">{axis}{bars}</svg>'


def dependence_plot(name: str, points: Points, upwards: str) -> str:
    """Return the moves of a column over its values; of texts the most frequent have a place each."""
    width, height, left, top = 340.0, 200.0, 46.0, 30.0
    places, labels = _across([value for value, _ in points])
    kept = [(x, float(effect)) for x, (_, effect) in zip(places, points, strict=True) if x is not None]
    low_x, high_x = _ends([*(x for x, _ in kept), *(x for x, _ in labels)])
    low_y, high_y = _ends([y for _, y in kept])

    def across(x: float) -> float:
        return left + (x - low_x) / (high_x - low_x) * width

    def up(y: float) -> float:
        return top + (high_y - y) / (high_y - low_y) * height

    grid = "".join(
        f'<path class="axis" d="M{left} {up(tick):.1f}h{width}"/>'
        f'<text x="{left - 6}" y="{up(tick) + 4:.1f}" text-anchor="end">{tick:g}</text>'
        for tick in ticks(low_y, high_y, 5)
    )
    marks = labels or [(tick, f"{tick:g}") for tick in ticks(low_x, high_x, 5)]
    grid += "".join(
        f'<text x="{across(x):.1f}" y="{top + height + 16}" text-anchor="middle">{escape(_short(label, 9))}</text>'
        for x, label in marks
    )
    zero = f'<path class="ideal" d="M{left} {up(0.0):.1f}h{width}"/>' if low_y <= 0 <= high_y else ""
    dots = "".join(f"M{across(x):.1f} {up(y):.1f}h0" for x, y in kept)
    title = escape(_short(name, 30))
    return (
        f'<svg viewBox="0 0 {left + width + 10:.0f} {top + height + 28:.0f}" role="img" aria-label="moves of {escape(name)} by its value">'
        f'<text class="strong" x="{left}" y="16">{title}</text>{grid}{zero}<path class="points challenger" opacity="0.7" d="{dots}"/>'
        f'<text x="{left + width}" y="16" text-anchor="end">{escape(_short(upwards, 30))}, upwards</text></svg>'
    )


def _across(values: Sequence[Any]) -> tuple[list[float | None], list[tuple[float, str]]]:
    """Return where values lie across, None for what is left out, and the labels of texts with their places."""
    if not any(isinstance(value, str) for value in values):
        return [float(value) for value in values], []
    names = [name for name, _ in Counter(map(str, values)).most_common(CATEGORIES)]
    places: list[float | None] = [
        names.index(str(value)) + (index * GOLDEN_RATIO % 1 - 0.5) * 0.5 if str(value) in names else None
        for index, value in enumerate(values)
    ]
    return places, [(float(place), name) for place, name in enumerate(names)]


def _ends(values: Sequence[float]) -> tuple[float, float]:
    low, high = min(values), max(values)
    pad = (high - low) * 0.06 or abs(high) * 0.1 or 1.0
    return low - pad, high + pad


def _short(text: str, longest: int) -> str:
    return text if len(text) <= longest else f"{text[: longest - 1]}…"
