"""The paired comparison of two models: the weighted mean difference of their losses on the same rows, and its standard error.

Rows weigh by the age of the file that they came in, and rows of one file are no independent draws: the error is the larger one of that of
independent rows and that of independent files.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Sequence
from typing import Any

from sums import Total, Variation


class Comparison:
    """Sums per file of test rows; memory grows with the files, not with the rows.

    Args:
        weights: weight of a row by the number of its file, the newest file's is 1; None weighs all rows alike.

    """

    def __init__(self, weights: Sequence[float] | None = None) -> None:
        self._weights = weights
        self._gaps: dict[int, Variation] = {}
        self._losses: dict[int, tuple[Total, Total]] = {}

    def add(self, challenger: Sequence[float], champion: Sequence[float], files: Sequence[int]) -> None:
        """Take in a block of losses; ``files`` holds the number of each row's file."""
        gaps = list(map(operator.sub, challenger, champion))
        present = set(files)
        if len(present) == 1:
            self._add(files[0], gaps, challenger, champion)
            return
        places: dict[int, list[int]] = {number: [] for number in present}
        for place, number in enumerate(files):
            places[number].append(place)
        for number, of_file in places.items():
            take = operator.itemgetter(*of_file) if len(of_file) > 1 else lambda values, at=of_file[0]: (values[at],)
            self._add(number, take(gaps), take(challenger), take(champion))

    def _add(self, number: int, gaps: Sequence[float], challenger: Sequence[float], champion: Sequence[float]) -> None:
        if number not in self._gaps:
            if self._weights is not None and number >= len(self._weights):
                raise ValueError(f"a row is of file {number}, but the event has weights of {len(self._weights)} files")
            self._gaps[number], self._losses[number] = Variation(), (Total(), Total())
        self._gaps[number].add(gaps)
        for total, losses in zip(self._losses[number], (challenger, champion), strict=True):
            total.add(math.fsum(losses))

    def result(self) -> dict[str, Any]:
        """Return what the handler documents as ``paired``."""
        of_files = [(self._weight(number), gaps) for number, gaps in self._gaps.items()]
        n = sum(gaps.n for _, gaps in of_files)
        weight = math.fsum(w * gaps.n for w, gaps in of_files)
        mean = math.fsum(w * gaps.n * gaps.mean for w, gaps in of_files) / weight
        rows = math.fsum(w * w * (gaps.deviation + gaps.n * (gaps.mean - mean) ** 2) for w, gaps in of_files)
        files = math.fsum((w * gaps.n * (gaps.mean - mean)) ** 2 for w, gaps in of_files)
        losses = [
            math.fsum(self._weight(number) * totals[role].value for number, totals in self._losses.items()) / weight
            for role in (0, 1)
        ]
        return {
            "n": n,
            "files": len(of_files),
            "weight": weight,
            "loss_challenger": losses[0],
            "loss_champion": losses[1],
            "difference": mean,
            "standard_error": math.sqrt(max(rows, files)) / weight if n > 1 else None,
        }

    def _weight(self, number: int) -> float:
        return 1.0 if self._weights is None else self._weights[number]
