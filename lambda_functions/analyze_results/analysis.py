"""Everything that is kept while the rows of an evaluation stream by: scores of both models, by group too, and their comparison."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from class_scores import ClassScores
from comparison import Comparison
from number_scores import NumberScores, deviances, squared_errors
from sums import Variation

TASKS = ("regression", "count", "binary", "multiclass")
ROLES = ("challenger", "champion")
MAX_GROUPS = 1000
OTHER_GROUPS = "(other groups)"


class Analysis:
    """The analysis of one evaluation; its size does not depend on the number of rows.

    Args:
        task: one of ``TASKS``.
        classes: classes of the target in order, for tasks that have them.
        weights: weight of a row by the number of its file.

    """

    def __init__(self, task: str, classes: Sequence[str] | None, weights: Sequence[float] | None) -> None:
        self._task, self._classes = task, list(classes) if classes else None
        self.n = 0
        self._truth = Variation()
        self._scores: dict[str, Any] = {}
        self._comparison = Comparison(weights)
        self._groups: dict[str, dict[str, Any]] = {}

    def add(self, block: Mapping[str, Sequence[Any]]) -> None:
        """Take in a block of columns, as ``row_blocks.Rows`` yields them."""
        truth = block["truth"]
        losses = {role: self._losses(block, role) for role in ROLES if role in block}
        if not self._classes:
            self._truth.add(truth)
        for role, values in losses.items():
            columns = self._columns(block, role, values)
            self._scores.setdefault(role, self._new(fine=True)).add(*columns)
            if "group" in block:
                self._add_groups(role, columns, block["group"])
        if len(losses) == 2:
            files = block.get("file") or [0] * len(truth)
            self._comparison.add(losses["challenger"], losses["champion"], files)
        self.n += len(truth)

    def _new(self, fine: bool) -> Any:
        return ClassScores(len(self._classes), fine) if self._classes else NumberScores()

    def _losses(self, block: Mapping[str, Sequence[Any]], role: str) -> Sequence[float]:
        if f"loss_{role}" in block:
            return block[f"loss_{role}"]
        loss: Callable[..., list[float]] = deviances if self._task == "count" else squared_errors
        return loss(block["truth"], block[role])

    def _columns(self, block: Mapping[str, Sequence[Any]], role: str, losses: Sequence[float]) -> list[Sequence[Any]]:
        if self._classes:
            return [block["truth"], block[role], block[f"probability_{role}"], losses]
        return [block["truth"], block[role], losses]

    def _add_groups(self, role: str, columns: Sequence[Sequence[Any]], groups: Sequence[str]) -> None:
        places: dict[str, list[int]] = {}
        for place, name in enumerate(groups):
            places.setdefault(name, []).append(place)
        places.pop("", None)  # the model has no groups
        for name, of_group in places.items():
            known = name if name in self._groups or len(self._groups) < MAX_GROUPS else OTHER_GROUPS
            scores = self._groups.setdefault(known, {})
            if role not in scores:
                scores[role] = self._new(fine=False)
            scores[role].add(*([column[place] for place in of_group] for column in columns))

    def result(self) -> dict[str, Any]:
        """Return what the handler documents."""
        return {
            "task": self._task,
            "classes": self._classes,
            "n": self.n,
            **{role: self._statistics(self._scores.get(role), overall=True) for role in ROLES},
            "paired": self._comparison.result() if "champion" in self._scores else None,
            "groups": {
                name: {
                    "n": scores["challenger"].n,
                    **{role: self._statistics(scores.get(role), overall=False) for role in ROLES},
                }
                for name, scores in sorted(self._groups.items())
            },
            "curves": {role: scores.curves() for role, scores in self._scores.items()} if self._classes else None,
        }

    def _statistics(self, scores: Any, overall: bool) -> dict[str, float | None] | None:
        if scores is None:
            return None
        if self._classes:
            return scores.statistics()
        return scores.statistics(self._truth if overall else None, count=self._task == "count")
