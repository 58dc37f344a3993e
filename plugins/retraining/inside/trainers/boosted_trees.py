"""Fits the trainer ``xgboost``, and keeps its trees as numbers: evaluation, endpoint and batch need no XGBoost."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from retraining.inside.answers import SMALL_NUMBER_OF_ROWS
from retraining.inside.trainers.inputs import Matrix
from retraining.inside.trainers.library import library
from retraining.inside.trainers.link import Link, Summed, check_same

OBJECTIVES: Mapping[str, tuple[str, str]] = {
    "regression": ("reg:squarederror", "rmse"),
    "count": ("count:poisson", "poisson-nloglik"),
    "binary": ("binary:logistic", "logloss"),
    "multiclass": ("multi:softprob", "mlogloss"),
}
"""Objective of each task, and what says when to stop."""
LARGEST = float(np.finfo(np.float32).max)
CELLS = 200_000
"""Places in trees that are followed at once, so that they stay in the processor's cache."""


def fit(
    matrix: Matrix,
    training: tuple[np.ndarray, np.ndarray],
    watched: tuple[np.ndarray, np.ndarray],
    task: str,
    settings: Mapping[str, Any],
    seed: int,
) -> Summed:
    """Return the fitted trees.

    Args:
        matrix: which columns hold codes.
        training: matrix of shape (rows, columns), and target of shape (rows,).
        watched: the same of the validation rows, which say when to stop.
        task: of the job.
        settings: hyperparameters by XGBoost's names.
        seed: of the draws of rows and columns.

    Raises:
        RuntimeError: there is no XGBoost here, or its trees cannot be read.

    """
    xgboost = library("xgboost", "xgboost")
    link = Link(task, training[1])
    threads = 1 if len(training[1]) < SMALL_NUMBER_OF_ROWS else 0
    kinds = ["c" if codes else "q" for codes in matrix.categorical]
    given, held = (
        xgboost.DMatrix(
            as_read(values),
            label=link.encoded(target),
            base_margin=np.tile(link.start, (len(target), 1)),
            feature_types=kinds,
            enable_categorical=True,
            nthread=threads,
        )
        for values, target in (training, watched)
    )
    options = dict(settings)
    rounds, patience = options.pop("n_estimators"), options.pop("early_stopping_rounds")
    objective, metric = OBJECTIVES[task]
    options |= {"objective": objective, "eval_metric": metric, "tree_method": "hist", "seed": seed, "nthread": threads}
    if task == "multiclass":
        options["num_class"] = link.outputs
    booster = xgboost.train(
        options, given, rounds, evals=[(held, "validation")], early_stopping_rounds=patience, verbose_eval=False
    )
    kept = booster[: booster.best_iteration + 1]
    model = json.loads(kept.save_raw("json"))["learner"]["gradient_booster"]["model"]
    trees = Trees(model["trees"], link.start)
    theirs = np.asarray(kept.predict(held, output_margin=True), dtype=float).reshape(len(watched[1]), link.outputs)
    check_same(trees.sums(watched[0]), theirs, "XGBoost")
    return Summed(link, trees, booster.best_iteration + 1)


def as_read(values: np.ndarray) -> np.ndarray:
    """Return a matrix as XGBoost reads it: single precision, within its limits."""
    return np.clip(values, -LARGEST, LARGEST).astype(np.float32)


class Trees:
    """The trees of a boosting, as arrays over their nodes. A leaf leads to itself."""

    def __init__(self, trees: Sequence[Mapping[str, Any]], start: np.ndarray) -> None:
        """Take trees as XGBoost's JSON has them, in turn one for each output, and what each output starts with, shape (outputs,)."""
        sizes = [len(tree["left_children"]) for tree in trees]
        self.start = start
        self.roots = np.cumsum([0, *sizes[:-1]], dtype=np.intp)
        left, right = (self._places(trees, side) for side in ("left_children", "right_children"))
        leaf, own = left < 0, np.arange(len(left))
        self.children = np.column_stack([np.where(leaf, own, left), np.where(leaf, own, right)]).ravel()
        self.columns = np.where(leaf, 0, self._joined(trees, "split_indices").astype(np.intp))
        conditions = self._joined(trees, "split_conditions")
        self.limits = conditions.astype(np.float32)
        self.values = np.where(leaf, conditions, 0.0)
        self.gaps_right = ~self._joined(trees, "default_left").astype(bool)
        self.depth = self._depth(trees)
        self._categories(trees)

    def _joined(self, trees: Sequence[Mapping[str, Any]], name: str) -> np.ndarray:
        return np.concatenate([np.asarray(tree[name], dtype=float) for tree in trees])

    def _places(self, trees: Sequence[Mapping[str, Any]], side: str) -> np.ndarray:
        own = [np.asarray(tree[side], dtype=np.intp) for tree in trees]
        return np.concatenate([np.where(each < 0, -1, each + root) for each, root in zip(own, self.roots, strict=True)])

    def _depth(self, trees: Sequence[Mapping[str, Any]]) -> int:
        at, depth = self.roots, 0
        while len(at := at[self.children[2 * at] != at]):
            at, depth = np.concatenate([self.children[2 * at], self.children[2 * at + 1]]), depth + 1
        return depth

    def _categories(self, trees: Sequence[Mapping[str, Any]]) -> None:
        """Learn which codes go right at which nodes: ``sets`` has a line for each such node, ``set_of`` its number, -1 for a limit."""
        found = []
        for tree, root in zip(trees, self.roots, strict=True):
            parts = zip(tree["categories_nodes"], tree["categories_segments"], tree["categories_sizes"], strict=True)
            found += [(int(root) + node, tree["categories"][begin : begin + size]) for node, begin, size in parts]
        self.set_of = np.full(len(self.columns), -1, dtype=np.intp)
        width = max((max(codes, default=0) for _, codes in found), default=-1) + 2  # the last is for all codes beyond
        self.sets = np.zeros((len(found), width), dtype=bool)
        for number, (node, codes) in enumerate(found):
            self.set_of[node] = number
            self.sets[number, codes] = True

    def sums(self, values: np.ndarray) -> np.ndarray:
        """Return what the trees add up to, shape (rows, outputs), for a matrix of shape (rows, columns)."""
        cells, step = as_read(values), max(1, CELLS // len(self.roots))
        parts = [self._followed(cells[begin : begin + step]) for begin in range(0, len(cells), step)]
        return self.start + (np.concatenate(parts) if parts else np.zeros((0, len(self.start))))

    def _followed(self, cells: np.ndarray) -> np.ndarray:
        rows, columns = cells.shape
        flat, line = cells.ravel(), columns * np.arange(rows)[:, np.newaxis]
        at = np.tile(self.roots, (rows, 1))
        for _ in range(self.depth):
            cell = flat.take(line + self.columns.take(at))
            missing = np.isnan(cell)
            right = cell >= self.limits.take(at)
            number = self.set_of.take(at)
            coded = np.nonzero((number >= 0) & ~missing)
            if len(coded[0]):
                code = np.clip(cell[coded], 0, self.sets.shape[1] - 1).astype(np.intp)
                right[coded] = self.sets[number[coded], code]
            gaps = np.nonzero(missing)
            right[gaps] = self.gaps_right[at[gaps]]
            at = self.children.take(2 * at + right)
        return self.values.take(at).reshape(rows, -1, len(self.start)).sum(axis=1)
