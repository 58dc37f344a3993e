"""The plots of a classifier's report as SVG text: curves on a unit square, bars of probability bands, and the confusion of classes."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape

SIZE, LEFT, TOP = 340.0, 46.0, 30.0
SERIES = ("champion", "challenger")  # the challenger is drawn above
PARTS = ("duplicate", "accepted")  # classes of the style: grey and green

Points = Sequence[tuple[float, float]]


def unit_plot(title: str, across: str, curves: Mapping[str, Points], diagonal: bool, rows: int = 0) -> str:
    """Return curves on a square from 0 to 1, by series.

    Args:
        title: what is drawn upwards.
        across: what is drawn to the right.
        curves: points by series, ``challenger`` and maybe ``champion``.
        diagonal: whether to draw the line from corner to corner.
        rows: number of rows that a height is a share of, for a band of two standard errors around the challenger; 0 for none.

    """

    def place(x: float, y: float) -> str:
        return f"{LEFT + x * SIZE:.1f} {TOP + SIZE - min(max(y, 0.0), 1.0) * SIZE:.1f}"

    grid = "".join(
        f'<path class="axis" d="M{LEFT + tick * SIZE:.1f} {TOP}v{SIZE}M{LEFT} {TOP + SIZE - tick * SIZE:.1f}h{SIZE}"/>'
        f'<text x="{LEFT + tick * SIZE:.1f}" y="{TOP + SIZE + 16}" text-anchor="middle">{tick:g}</text>'
        f'<text x="{LEFT - 6}" y="{TOP + SIZE - tick * SIZE + 4:.1f}" text-anchor="end">{tick:g}</text>'
        for tick in (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)
    )
    drawn = f'<path class="ideal" d="M{place(0, 0)}L{place(1, 1)}"/>' if diagonal else ""
    for series in SERIES:
        points = curves.get(series) or ()
        if not points:
            continue
        if rows and series == "challenger":
            errors = [2 * math.sqrt(y * (1 - y) / rows) for _, y in points]
            upper = [place(x, y + error) for (x, y), error in zip(points, errors, strict=True)]
            lower = [place(x, y - error) for (x, y), error in zip(points, errors, strict=True)]
            drawn += f'<path class="challenger-fill" opacity="0.18" d="M{"L".join([*upper, *reversed(lower)])}Z"/>'
        drawn += f'<path class="mean {series}" d="M{"L".join(place(x, y) for x, y in points)}"/>'
    return (
        f'<svg viewBox="0 0 {LEFT + SIZE + 10:.0f} {TOP + SIZE + 40:.0f}" role="img" aria-label="{escape(title)}">'
        f'<text class="strong" x="{LEFT}" y="16">{escape(title)}</text>{grid}{drawn}'
        f'<text x="{LEFT + SIZE}" y="{TOP + SIZE + 34}" text-anchor="end">{escape(across)}</text></svg>'
    )


def histogram_plot(title: str, parts: Sequence[tuple[str, Sequence[int]]]) -> str:
    """Return bars over the bands of probability, one colour for each of two parts, beside each other.

    Args:
        title: what is counted.
        parts: name and counts by band; the first is grey, the second green.

    """
    bands = len(parts[0][1])
    high = max([*(count for _, counts in parts for count in counts), 1])
    width = SIZE / bands
    bars = ""
    for at, (name, counts) in enumerate(parts):
        for band, count in enumerate(counts):
            tall = count / high * (SIZE - 30)
            x, wide = LEFT + band * width + at * width / 2, width / 2 - 0.6
            bars += (
                f'<rect class="{PARTS[at]}" x="{x:.1f}" y="{TOP + SIZE - tall:.1f}" width="{wide:.1f}" height="{tall:.1f}">'
                f"<title>{escape(name)}, {band / bands:g} to {(band + 1) / bands:g}: {count:,}</title></rect>"
            )
    ticks = "".join(
        f'<text x="{LEFT + tick * SIZE:.1f}" y="{TOP + SIZE + 16}" text-anchor="middle">{tick:g}</text>'
        for tick in (0.0, 0.25, 0.5, 0.75, 1.0)
    )
    key = "".join(
        f'<circle class="{PARTS[at]}" cx="{LEFT + 6 + 150 * at}" cy="{TOP + 8}" r="5"/>'
        f'<text x="{LEFT + 16 + 150 * at}" y="{TOP + 12}">{escape(name[:18])}</text>'
        for at, (name, _) in enumerate(parts)
    )
    return (
        f'<svg viewBox="0 0 {LEFT + SIZE + 10:.0f} {TOP + SIZE + 40:.0f}" role="img" aria-label="{escape(title)}">'
        f'<text class="strong" x="{LEFT}" y="16">{escape(title)}</text>'
        f'<path class="axis" d="M{LEFT} {TOP + SIZE}h{SIZE}"/>{bars}{ticks}{key}'
        f'<text x="{LEFT + SIZE}" y="{TOP + SIZE + 34}" text-anchor="end">probability</text></svg>'
    )
