"""Reads the rows of an evaluation for its report: a sample to plot, and the rows that cost the challenger most."""

from __future__ import annotations

import csv
import heapq
import math
from collections.abc import Iterable, Mapping
from typing import Any

SAMPLE_ROWS = 2000
WORST_ROWS = 8
_GOLDEN = 0x9E3779B97F4A7C15  # 2^64 divided by the golden ratio: multiples of it spread evenly (Knuth, TAOCP 6.4)
_WORD = (1 << 64) - 1


def summarise_rows(lines: Iterable[str], sample: int = SAMPLE_ROWS) -> dict[str, Any]:
    """Read the evaluation's rows once, in constant memory.

    Args:
        lines: of ``rows.csv``, its header first; ``champion`` is empty when there is none.
        sample: how many rows to keep for plotting; which ones depends on their positions alone, spread evenly over the file.

    Returns:
        ``{"n", "points": [[truth, challenger, champion | None], ...] in file order, "worst": rows with the largest losses of the
        challenger}``. Points are there of numbers only. Rows whose loss is not finite are left out.

    Raises:
        ValueError: the header lacks a column.

    """
    reader = csv.DictReader(lines)
    missing = [name for name in ("row", "truth", "challenger", "champion") if name not in (reader.fieldnames or ())]
    if missing:
        raise ValueError(f"rows.csv has the header {reader.fieldnames}, it lacks {', '.join(missing)}")
    numeric = "probability_challenger" not in (reader.fieldnames or ())
    count = 0
    kept: list[tuple[int, int, tuple[float, float, float | None]]] = []
    worst: list[tuple[float, int, dict[str, Any]]] = []
    for index, row in enumerate(reader):
        loss, point = _loss_and_point(row, numeric)
        if not math.isfinite(loss):
            continue
        count += 1
        if point is not None:
            entry = (-((index * _GOLDEN) & _WORD), index, point)
            if len(kept) < sample:
                heapq.heappush(kept, entry)
            elif entry[0] > kept[0][0]:
                heapq.heapreplace(kept, entry)
        if len(worst) < WORST_ROWS or loss > worst[0][0]:
            item = (loss, -index, {**row, "loss": loss})
            (heapq.heappush if len(worst) < WORST_ROWS else heapq.heapreplace)(worst, item)
    return {
        "n": count,
        "points": [list(point) for _, _, point in sorted(kept, key=lambda item: item[1])],
        "worst": [item for _, _, item in sorted(worst, key=lambda entry: (-entry[0], -entry[1]))],
    }


def _loss_and_point(row: Mapping[str, str], numeric: bool) -> tuple[float, tuple[float, float, float | None] | None]:
    """Return a row's loss and, of numbers, what is plotted."""
    if not numeric:
        return float(row["loss_challenger"]), None
    truth, challenger = float(row["truth"]), float(row["challenger"])
    champion = float(row["champion"]) if row["champion"] else None
    loss = float(row["loss_challenger"]) if row.get("loss_challenger") else (challenger - truth) ** 2
    return loss + 0.0 * (champion or 0.0), (truth, challenger, champion)
