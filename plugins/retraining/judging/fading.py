"""How much a test row counts by the age of the file that it came in: old rows fade, the newest count one."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime


def file_weights(arrivals: Sequence[str | None], half_life_days: float | None) -> list[float]:
    """Return the weight of the rows of each file.

    Args:
        arrivals: when each file arrived, ISO 8601; None where nobody knows, which counts as the oldest of the others.
        half_life_days: age against the newest file at which a row counts half; None for no fading.

    """
    if half_life_days is None:
        return [1.0] * len(arrivals)
    known = [datetime.fromisoformat(arrival) for arrival in arrivals if arrival]
    if not known:
        return [1.0] * len(arrivals)
    newest, oldest = max(known), min(known)
    ages = [
        (newest - (datetime.fromisoformat(arrival) if arrival else oldest)).total_seconds() / 86400
        for arrival in arrivals
    ]
    return [max(2.0 ** (-age / half_life_days), 1e-30) for age in ages]
