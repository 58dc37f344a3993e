"""Scores of classifiers from counts: the memory does not grow with the rows.

AUC and precision-recall come from histograms of the log-odds that are fine enough for an error below 1e-4: rows that share a cell count as
ties. Accuracy, F1 and confusion are exact counts of labels; log loss and Brier score are exact sums.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Sequence
from itertools import accumulate
from typing import Any

from sums import Total

WIDEST = 32.0  # log-odds beyond it, probabilities within 1e-14 of 0 or 1, count as equal
FINE, COARSE = 1 << 16, 1 << 10
BANDS = 20
CURVE_POINTS = 120
MANY_CLASSES = 20


class Ranking:
    """How well a probability ranks: counts of rows with and without the class, by cell of its log-odds."""

    __slots__ = ("_cells", "_scale", "negative", "positive")

    def __init__(self, cells: int) -> None:
        self._cells, self._scale = cells, cells / (2 * WIDEST)
        self.positive, self.negative = array("Q", bytes(8 * cells)), array("Q", bytes(8 * cells))

    def add(self, probabilities: Sequence[float], is_class: Sequence[bool]) -> None:
        """Take in a block of rows."""
        positive, negative, scale, last, log = self.positive, self.negative, self._scale, self._cells - 1, math.log
        for p, hit in zip(probabilities, is_class, strict=True):
            if p <= 0.0:
                cell = 0
            elif p >= 1.0:
                cell = last
            else:
                cell = min(max(int((log(p / (1.0 - p)) + WIDEST) * scale), 0), last)
            if hit:
                positive[cell] += 1
            else:
                negative[cell] += 1

    def steps(self) -> tuple[list[int], list[int]]:
        """Return how many rows of either kind lie at or above each cell that has any, from the highest cell down."""
        occupied = [cell for cell in range(self._cells - 1, -1, -1) if self.positive[cell] or self.negative[cell]]
        return (
            list(accumulate(self.positive[cell] for cell in occupied)),
            list(accumulate(self.negative[cell] for cell in occupied)),
        )

    def auc(self) -> float | None:
        """Return the area under the ROC curve; None when one kind of rows is missing."""
        hits, misses = self.steps()
        if not hits or not hits[-1] or not misses[-1]:
            return None
        area, above, left = 0, 0, 0
        for hit, miss in zip(hits, misses, strict=True):
            area += (miss - left) * (above + hit)  # twice the trapezium
            above, left = hit, miss
        return area / (2 * hits[-1] * misses[-1])

    def average_precision(self) -> float | None:
        """Return the area under the precision-recall steps; None when no row has the class."""
        hits, misses = self.steps()
        if not hits or not hits[-1]:
            return None
        gains = (
            (hit - before) * hit / (hit + miss)
            for before, hit, miss in zip([0, *hits], hits, misses, strict=False)
            if hit > before
        )
        return math.fsum(gains) / hits[-1]

    def curve(self) -> list[list[int]]:
        """Return some points (rows with the class, rows without it) from the highest probability down, for a plot."""
        hits, misses = self.steps()
        if len(hits) > CURVE_POINTS:
            total = hits[-1] + misses[-1]
            kept, next_at = [], 0.0
            for at, (hit, miss) in enumerate(zip(hits, misses, strict=True)):
                if hit + miss >= next_at or at == len(hits) - 1:
                    kept.append([hit, miss])
                    next_at = hit + miss + total / CURVE_POINTS
            return kept
        return [list(point) for point in zip(hits, misses, strict=True)]


class ClassScores:
    """Counts and sums of one model on one set of rows.

    Args:
        classes: number of classes; of two the second is the positive one.
        fine: whether to rank finely, as for all rows, or coarsely, as for a group.

    """

    def __init__(self, classes: int, fine: bool) -> None:
        self._classes = classes
        self.n = 0
        self._confusion = [0] * (classes * classes)
        self._brier, self._loss = Total(), Total()
        self._bands = [[0, 0, 0.0] for _ in range(BANDS)]  # rows, rows that are as said, sum of probabilities
        self._rankings: list[Ranking] = []
        if classes == 2:
            self._rankings = [Ranking(FINE if fine else COARSE)]
        elif fine:
            cells = FINE // 4 if classes <= MANY_CLASSES else COARSE
            self._rankings = [Ranking(cells) for _ in range(classes)]

    def add(
        self, truth: Sequence[int], label: Sequence[int], probability: Sequence[Any], losses: Sequence[float]
    ) -> None:
        """Take in a block of rows.

        Args:
            truth: number of each row's class.
            label: number of the class that the model says.
            probability: of two classes that of the second; otherwise one list of all classes' for each row.
            losses: log loss of each row.

        """
        self.n += len(truth)
        confusion, classes = self._confusion, self._classes
        for row, column in zip(truth, label, strict=True):
            confusion[row * classes + column] += 1
        self._loss.add(math.fsum(losses))
        if classes == 2:
            self._brier.add(math.fsum((p - y) ** 2 for p, y in zip(probability, truth, strict=True)))
            self._in_bands(probability, truth)
            self._rankings[0].add(probability, truth)
            return
        self._brier.add(
            math.fsum(
                math.fsum(p * p for p in row) - 2.0 * row[y] + 1.0 for row, y in zip(probability, truth, strict=True)
            )
        )
        surest = [max(range(classes), key=row.__getitem__) for row in probability]
        self._in_bands(
            [row[at] for row, at in zip(probability, surest, strict=True)],
            [at == y for at, y in zip(surest, truth, strict=True)],
        )
        for number, ranking in enumerate(self._rankings):
            ranking.add([row[number] for row in probability], [y == number for y in truth])

    def _in_bands(self, probabilities: Sequence[float], hits: Sequence[int]) -> None:
        for p, hit in zip(probabilities, hits, strict=True):
            band = self._bands[min(int(p * BANDS), BANDS - 1)]
            band[0] += 1
            band[1] += hit
            band[2] += p

    def statistics(self) -> dict[str, float | None]:
        """Return the scores; one that these rows cannot tell, such as the AUC without rows of a class, is None."""
        k, counts = self._classes, self._confusion
        actual = [sum(counts[c * k : (c + 1) * k]) for c in range(k)]
        said = [sum(counts[c::k]) for c in range(k)]
        right = [counts[c * k + c] for c in range(k)]
        present = [c for c in range(k) if actual[c]]
        f1 = {c: 2 * right[c] / (actual[c] + said[c]) for c in range(k) if actual[c] + said[c]}
        found: dict[str, float | None] = {
            "accuracy": sum(right) / self.n,
            "balanced_accuracy": math.fsum(right[c] / actual[c] for c in present) / len(present),
            "log_loss": self._loss.value / self.n,
            "loss": self._loss.value / self.n,
            "brier": self._brier.value / self.n,
            "calibration_error": math.fsum(abs(total - hits) for _, hits, total in self._bands) / self.n,
        }
        if k == 2:
            found["f1"] = f1.get(1) if actual[1] else None
            found["auc"] = self._rankings[0].auc()
            found["pr_auc"] = self._rankings[0].average_precision()
        else:
            found["f1"] = math.fsum(f1[c] for c in present) / len(present)
            if self._rankings:
                areas = [ranking.auc() for ranking in self._rankings]
                known = [area for area in areas if area is not None]
                found["auc"] = math.fsum(known) / k if len(known) == k else None
        return found

    def curves(self) -> dict[str, Any]:
        """Return what a report draws: ``confusion`` (truth by label), ``bands`` and, of two classes, ``ranking``."""
        k = self._classes
        return {
            "confusion": [self._confusion[c * k : (c + 1) * k] for c in range(k)],
            "bands": [list(band) for band in self._bands],
            "ranking": self._rankings[0].curve() if k == 2 else None,
        }
