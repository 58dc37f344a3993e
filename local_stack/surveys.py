"""The demo's surveys: real rows of the Abalone data, held back so that a later survey brings something that the first model has not seen.

The original data set that the demo loads holds the animals longer than 90 mm (0.45 in the data's unit). The surveys that follow bring the
smaller ones, in three portions. A model trained on the large ones extrapolates poorly to the small, so the first survey makes a visibly
better model; the portions after it add little, and the gate says so.
"""

from __future__ import annotations

import csv
import hashlib
import io
from pathlib import Path

LENGTH_LIMIT = 0.45
PORTIONS = (70, 85, 100)  # cumulative percent of the held-back rows per survey


def split_surveys(path: Path) -> tuple[str, list[str]]:
    """Split the Abalone CSV into the original data set (with its header) and the later surveys (without, as they arrive).

    Args:
        path: data/abalone.csv.

    Returns:
        Text of the original data set and of each survey. Every row is in exactly one of them.

    """
    with path.open(newline="", encoding="utf-8") as file:
        header, *rows = list(csv.reader(file))
    length = header.index("length")
    original = [row for row in rows if float(row[length]) > LENGTH_LIMIT]
    surveys: list[list[list[str]]] = [[] for _ in PORTIONS]
    for row in rows:
        if float(row[length]) <= LENGTH_LIMIT:
            place = int(hashlib.sha256(",".join(row).encode()).hexdigest()[:8], 16) % 100
            surveys[next(number for number, limit in enumerate(PORTIONS) if place < limit)].append(row)
    return _text([header, *original]), [_text(survey) for survey in surveys]


def _text(rows: list[list[str]]) -> str:
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="\n").writerows(rows)
    return buffer.getvalue()
