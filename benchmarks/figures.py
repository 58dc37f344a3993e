"""Figures that a benchmark hands to ``make bench`` beside what it prints."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path

FILE_VARIABLE = "BENCH_FIGURES"


def note(figures: Mapping[str, float]) -> None:
    """Keep figures by name for ``make bench``; a benchmark that is run by itself only prints them."""
    path = os.environ.get(FILE_VARIABLE)
    if path:
        Path(path).write_text(json.dumps({name: float(value) for name, value in figures.items()}), encoding="utf-8")
