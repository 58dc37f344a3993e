"""The plots of a run's report as SVG text. Colours are classes of the page's style; coordinates are rounded, so that pages stay small."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape
from statistics import NormalDist

MEAN_BINS = 24
MIN_BIN_ROWS = 3
FEW_POINTS = 300
LAYERS = 8  # dots of one path do not darken each other, those of several do
GOLDEN_RATIO = 0.6180339887498949


def ticks(low: float, high: float, wanted: int = 6) -> list[float]:
    """Return round numbers between ``low`` and ``high``, about ``wanted`` of them."""
    span = high - low
    if not span > 0 or not math.isfinite(span):
        return [low]
    rough = span / wanted
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 2.5, 5, 10) if factor * power >= rough * 0.999)
    first = math.ceil(low / step - 1e-9)
    return [round(index * step, 12) for index in range(first, math.floor(high / step + 1e-9) + 1)]


def scatter_plot(points: Sequence[tuple[float, float]], low: float, high: float, series: str, target: str) -> str:
    """Return predictions over true values on a square with equal axes from ``low`` to ``high``; ``series`` is also a class of the style."""
    size, left, top = 400.0, 46.0, 30.0
    pad = (high - low) * 0.04 or 1.0
    low, high = low - pad, high + pad

    def at(value: float) -> float:
        return (value - low) / (high - low) * size

    def place(x: float, y: float) -> str:
        return f"{left + at(x):.1f} {top + size - at(y):.1f}"

    grid = ""
    for tick in ticks(low, high):
        x, y = left + at(tick), top + size - at(tick)
        grid += (
            f'<path class="axis" d="M{x:.1f} {top}v{size}M{left} {y:.1f}h{size}"/>'
            f'<text x="{x:.1f}" y="{top + size + 16}" text-anchor="middle">{tick:g}</text>'
            f'<text x="{left - 6}" y="{y + 4:.1f}" text-anchor="end">{tick:g}</text>'
        )
    opacity = 0.7 if len(points) <= FEW_POINTS else 0.3
    places = [place(x, y) for x, y in _beside(points)]
    layers = "".join(_dots(places[start::LAYERS], series, opacity) for start in range(LAYERS))
    line = "L".join(place(x, y) for x, y in _means(points, low, high))
    mean = f'<path class="mean {series}" d="M{line}"/>' if line else ""
    name = escape(target)
    return (
        f'<svg viewBox="0 0 {left + size + 10:.0f} {top + size + 40:.0f}" role="img" '
        f'aria-label="{series}: predicted {name} over true {name}">'
        f'<text class="strong" x="{left}" y="16">{series.capitalize()}</text>{grid}'
        f'<path class="ideal" d="M{left} {top + size}L{left + size} {top}"/>'
        f"{layers}{mean}"
        f'<text x="{left + size}" y="{top + size + 34}" text-anchor="end">true {name}</text>'
        f'<text x="{left + size}" y="16" text-anchor="end">predicted {name}, upwards</text></svg>'
    )


def difference_plot(difference: float, standard_error: float, required_odds: float) -> str:
    """Return the paired difference with its range of one and two standard errors, zero, and the line that it must stay left of."""
    width, height, base = 880.0, 118.0, 62.0
    limit = -standard_error * NormalDist().inv_cdf(min(max(required_odds / (1 + required_odds), 1e-6), 1 - 1e-6))
    ends = [0.0, limit, difference - 2 * standard_error, difference + 2 * standard_error]
    pad = (max(ends) - min(ends)) * 0.12 or 1.0
    low, high = min(ends) - pad, max(ends) + pad

    def at(value: float) -> str:
        return f"{(value - low) / (high - low) * width:.1f}"

    def bar(errors: int, thickness: int) -> str:
        ends = f"M{at(difference - errors * standard_error)} {base}H{at(difference + errors * standard_error)}"
        return f'<path class="challenger" stroke-width="{thickness}" stroke-linecap="round" d="{ends}"/>'

    axis = "".join(
        f'<path class="axis" d="M{at(tick)} 24V90"/>'
        f'<text x="{at(tick)}" y="106" text-anchor="middle">{f"{tick:+g}" if tick else "0"}</text>'
        for tick in ticks(low, high, 8)
        if 0.02 * width < float(at(tick)) < 0.98 * width
    )
    roomy = float(at(limit)) > 240
    return (
        f'<svg viewBox="0 0 {width:.0f} {height:.0f}" role="img" '
        f'aria-label="difference {difference:+.4g}, standard error {standard_error:.4g}">'
        f'<rect class="zone" x="0" y="24" width="{at(limit)}" height="66"/>{axis}<path class="ideal" d="M{at(0.0)} 20V92"/>'
        f'<path class="limit" d="M{at(limit)} 16V92"/>'
        f'<text x="{float(at(limit)) + (-6 if roomy else 6):.1f}" y="14" text-anchor="{"end" if roomy else "start"}">'
        f"promote when the dot is left of this line</text>{bar(2, 3)}{bar(1, 7)}"
        f'<circle class="challenger-fill" cx="{at(difference)}" cy="{base}" r="8"/>'
        f'<text class="strong" x="{at(difference)}" y="{base - 16}" text-anchor="middle">{difference:+.4g}</text></svg>'
    )


def group_plot(groups: Sequence[tuple[str, float, float | None]], limit: float | None, metric: str) -> str:
    """Return one pair of bars per group: a metric of the challenger and, where there is one, of the champion."""
    left, width, row = 84.0, 330.0, 46.0
    top = 26.0
    values = [value for _, challenger, champion in groups for value in (challenger, champion) if value is not None]
    high = max([*values, limit or 0.0]) * 1.12 or 1.0
    height = top + row * len(groups)

    def at(value: float) -> float:
        return value / high * width

    axis = "".join(
        f'<path class="axis" d="M{left + at(tick):.1f} {top}V{height}"/>'
        f'<text x="{left + at(tick):.1f}" y="{height + 16}" text-anchor="middle">{tick:g}</text>'
        for tick in ticks(0.0, high, 5)
    )
    bars = ""
    for index, (name, challenger, champion) in enumerate(groups):
        y = top + row * index + 6
        label = escape(name if len(name) <= 12 else name[:11] + "…")
        pairs = [("challenger", challenger), *([("champion", champion)] if champion is not None else [])]
        bars += f'<text class="strong" x="{left - 8}" y="{y + (20 if len(pairs) > 1 else 11)}" text-anchor="end">{label}</text>'
        for at_pair, (series, value) in enumerate(pairs):
            bar_y = y + 17 * at_pair
            bars += (
                f'<rect class="{series}-fill" x="{left}" y="{bar_y}" width="{at(value):.1f}" height="14" rx="2">'
                f"<title>{escape(name)}, {series}: {value:.4g}</title></rect>"
                f'<text x="{left + at(value) + 5:.1f}" y="{bar_y + 11}">{value:.3g}</text>'
            )
    line = ""
    if limit is not None:
        x = left + at(limit)
        line = (
            f'<path class="limit" d="M{x:.1f} {top - 6}V{height}"/>'
            f'<text x="{x:.1f}" y="{top - 10}" text-anchor="middle">limit {limit:g}</text>'
        )
    key = '<circle class="challenger-fill" cx="8" cy="10" r="5"/><text x="18" y="14">challenger</text>'
    if any(champion is not None for _, _, champion in groups):
        key += '<circle class="champion-fill" cx="98" cy="10" r="5"/><text x="108" y="14">champion</text>'
    head = f'<svg viewBox="0 0 {left + width + 20:.0f} {height + 24:.0f}" role="img" aria-label="{escape(metric)} by group">'
    return f"{head}{axis}{bars}{line}{key}</svg>"


def share_bar(parts: Sequence[tuple[str, int]]) -> str:
    """Return a bar cut by the parts' counts, with a key that also gives the numbers; names are classes of the style."""
    width, total = 880.0, sum(count for _, count in parts)
    x, bar, key = 0.0, "", ""
    for at, (name, count) in enumerate(parts):
        share = count / total * width if total else 0.0
        if share:
            bar += f'<rect class="{name}" x="{x:.1f}" y="0" width="{max(share - 1.5, 1.0):.1f}" height="22" rx="2"/>'
        x += share
        percent = f" ({count / total:.1%})" if total else ""
        key += (
            f'<circle class="{name}" cx="{8 + 230 * at}" cy="42" r="5"/>'
            f'<text x="{18 + 230 * at}" y="46">{name}: {count:,}{percent}</text>'
        )
    return f'<svg viewBox="0 0 {width:.0f} 56" role="img" aria-label="rows accepted, duplicate, quarantined">{bar}{key}</svg>'


def _dots(places: Sequence[str], series: str, opacity: float) -> str:
    drawn = "".join(f"M{place}h0" for place in places)
    return f'<path class="points {series}" opacity="{opacity}" d="{drawn}"/>' if drawn else ""


def _beside(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Move points with whole true values sideways by less than 0.3, always in the same way, to tell them apart."""
    if not all(float(x).is_integer() for x, _ in points):
        return list(points)
    return [(x + (index * GOLDEN_RATIO % 1 - 0.5) * 0.6, y) for index, (x, y) in enumerate(points)]


def _means(points: Sequence[tuple[float, float]], low: float, high: float) -> list[tuple[float, float]]:
    """Return the mean point of the rows in each of equal bins of the true value; bins with few rows are left out."""
    bins: dict[int, list[tuple[float, float]]] = {}
    for x, y in points:
        bins.setdefault(int((x - low) / (high - low) * MEAN_BINS), []).append((x, y))
    return [
        (math.fsum(x for x, _ in members) / len(members), math.fsum(y for _, y in members) / len(members))
        for _, members in sorted(bins.items())
        if len(members) >= MIN_BIN_ROWS
    ]
