"""Worlds of daily retrainings for ``bench_gate``: which artifact a day brings, what each costs on every row, how good it truly is.

A path is one world and seed: ``DAYS`` batches, an artifact a day trained on what has arrived, its loss on every test row and its true
risk. Artifacts do not depend on the champion, so all rules run on the same paths and their differences are paired.

Rows are semi-synthetic abalone: inputs are real rows with 3 % jitter, the expected rings are those of a boosting model trained on all real
rows, the noise is a real out-of-fold error of a row of about the same size. So rows never repeat and the truth is known. One world is a
classifier with log loss.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from sklearn.datasets import load_breast_cancer
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits

from benchmarks.abalone_data import Data, features, fit_on_one_core, out_of_fold, shipped

TEST_SHARE = 0.10
TRAIN_SHARE = 0.85
TRUTH_ROWS = 2000
RANDOM_FEATURES = 40
BAD_DAYS, TWEAKED_DAYS = 0.05, 0.10


class Path(NamedTuple):
    """One world and seed over its days."""

    losses: np.ndarray
    """Of each day's artifact on each test row, shape (days, rows); rows in order of arrival."""
    arrived: np.ndarray
    """Day on which each test row arrived, shape (rows,); it is also the number of its file."""
    risk: np.ndarray
    """True risk of each day's artifact on that day and on each later one, shape (days, days): [artifact, day]; RMSE or log loss."""
    training_rows: np.ndarray
    """Rows that each day's artifact has learnt from, shape (days,)."""


class Recipe(NamedTuple):
    """What happens in a world."""

    name: str
    days: int = 365
    first: int = 1000
    daily: int = 100
    accidents: bool = True
    """Whether some days bring a tweaked hyperparameter or a bad training."""
    drift: str = ""
    """``slow``, ``sudden``, ``shift``, ``clusters`` or ``poison``."""
    window: int | None = None
    """Train on the batches of so many days only."""
    decay: float = 0.0
    """Share by which the answers get worse each day: a pipeline that decays."""
    learner: str = "ridge"


WORLDS = (
    Recipe("stationary", accidents=False),
    Recipe("mixed"),
    Recipe("slow drift", drift="slow"),
    Recipe("sudden drift", drift="sudden"),
    Recipe("shift", drift="shift"),
    Recipe("shift, window", drift="shift", window=60),
    Recipe("poisoned batch", drift="poison"),
    Recipe("clusters", drift="clusters"),
    Recipe("decaying", decay=0.0004),
    Recipe("tiny", first=400, daily=20),
    Recipe("boosting", days=120, learner="boosting"),
    Recipe("shipped pipeline", days=40, first=400, daily=80, learner="shipped"),
    Recipe("classifier", days=150, first=200, daily=20, learner="classifier"),
)


class Truth:
    """Where rows come from: real inputs with jitter, and the expected target of each."""

    def __init__(self, data: Data) -> None:
        self._data = data
        model, _ = fit_on_one_core(_boosting, data, np.arange(len(data.target)))
        self._mean = model.predict
        predicted = out_of_fold(_boosting, data, folds=5)
        order = np.argsort(predicted)
        self._levels, self._errors = predicted[order], (data.target - predicted)[order]

    def draw(self, rng: np.random.Generator, rows: int, small: float = 0.5) -> tuple[pd.DataFrame, np.ndarray]:
        """Return inputs and their expected targets; ``small`` is the share of animals from the smaller half."""
        lengths = self._data.inputs["length"].to_numpy()
        weight = np.where(lengths <= np.median(lengths), small, 1 - small)
        frame = self._data.inputs.iloc[rng.choice(len(weight), rows, p=weight / weight.sum())].reset_index(drop=True)
        for column in frame.columns.drop("sex"):
            frame[column] = frame[column] * np.exp(rng.normal(0, 0.03, rows))
        return frame, self._mean(frame)

    def noise(self, rng: np.random.Generator, expected: np.ndarray) -> np.ndarray:
        """Return a real out-of-fold error for each row, of a row with about the same expected target."""
        place = np.searchsorted(self._levels, expected) + rng.integers(-50, 51, len(expected))
        return self._errors[np.clip(place, 0, len(self._errors) - 1)]


def _boosting() -> Any:
    return make_pipeline(
        features.RatioFeatures(), HistGradientBoostingRegressor(max_iter=120, learning_rate=0.06, random_state=0)
    )


def path_of(recipe: Recipe, truth: Truth, seed: int) -> Path:
    """Return the path of a world and seed."""
    return _classifier_path(recipe, seed) if recipe.learner == "classifier" else _abalone_path(recipe, truth, seed)


def _abalone_path(recipe: Recipe, truth: Truth, seed: int) -> Path:
    rng = np.random.default_rng([seed, sum(map(ord, recipe.name))])
    sizes = np.r_[recipe.first, np.full(recipe.days - 1, recipe.daily)]
    day = np.repeat(np.arange(recipe.days), sizes)
    share = 0.5 + (0.45 * day / recipe.days if recipe.drift == "shift" else 0.0 * day)
    frame, expected = truth.draw(rng, len(day), share.mean())
    if recipe.drift == "shift":
        frame, expected = _shifted(truth, rng, sizes, recipe.days)
    target = expected + truth.noise(rng, expected) + _offset(recipe, rng, day)
    clean = target.copy()
    if recipe.drift == "poison":
        wrong = (day == recipe.days // 3) & (rng.random(len(day)) < 0.5)
        target[wrong] *= 3.0
    split = rng.random(len(day))
    is_test, is_train = split < TEST_SHARE, split > 1 - TRAIN_SHARE
    inputs = _inputs(recipe, frame, seed)
    truths = [truth.draw(rng, TRUTH_ROWS, 0.5 + (0.45 * end if recipe.drift == "shift" else 0.0)) for end in (0.0, 1.0)]
    truth_inputs = [_inputs(recipe, part, seed) for part, _ in truths]
    risk = np.full((recipe.days, recipe.days), np.nan)
    losses = np.full((recipe.days, int(is_test.sum())), np.nan)
    spread = float(np.mean(truth.noise(rng, truths[0][1]) ** 2))
    learnt = np.zeros(recipe.days)
    for today in range(recipe.days):
        known = is_train & (day <= today)
        if recipe.window:
            known &= day > today - recipe.window
        cleaned = clean if today > recipe.days // 3 + 20 else target  # somebody mends the poisoned batch after 20 days
        rows = np.flatnonzero(known)
        predict = _trained(recipe, rng, inputs, cleaned, rows, seed * 1000 + today)
        learnt[today] = len(rows)
        worse = 1.0 - recipe.decay * today
        losses[today] = (predict(inputs, np.flatnonzero(is_test)) * worse - cleaned[is_test]) ** 2
        errors = [
            (predict(part, np.arange(TRUTH_ROWS)) * worse)[:, None] - expected[:, None] - _offsets(recipe)[None, :]
            for part, (_, expected) in zip(truth_inputs, truths, strict=True)
        ]
        first, last = ((error**2).mean(axis=0) for error in errors)
        late = np.arange(recipe.days) / recipe.days if recipe.drift == "shift" else np.zeros(recipe.days)
        risk[today] = np.sqrt(spread + (1 - late) * first + late * last)
    return Path(losses, day[is_test], risk, learnt)


def _shifted(truth: Truth, rng: np.random.Generator, sizes: np.ndarray, days: int) -> tuple[pd.DataFrame, np.ndarray]:
    """Return rows whose share of small animals grows day by day."""
    parts = []
    for block in np.array_split(np.arange(days), 12):
        parts.append(truth.draw(rng, int(sizes[block].sum()), 0.5 + 0.45 * float(block.mean()) / days))
    return pd.concat([frame for frame, _ in parts], ignore_index=True), np.concatenate([mean for _, mean in parts])


def _offsets(recipe: Recipe) -> np.ndarray:
    """Return by how much the truth has moved on each day, shape (days,), in rings."""
    days = np.arange(recipe.days)
    if recipe.drift == "slow":
        return 1.5 * days / recipe.days
    if recipe.drift == "sudden":
        return np.where(days >= recipe.days // 2, 1.0, 0.0)
    return np.zeros(recipe.days)


def _offset(recipe: Recipe, rng: np.random.Generator, day: np.ndarray) -> np.ndarray:
    common = rng.normal(0, 0.6, recipe.days) if recipe.drift == "clusters" else np.zeros(recipe.days)
    return (_offsets(recipe) + common)[day]


def _inputs(recipe: Recipe, frame: pd.DataFrame, seed: int) -> pd.DataFrame | np.ndarray:
    """Return what the learner sees: the shipped ratio features and random features of them, or the columns themselves."""
    if recipe.learner == "shipped":
        return frame
    ratios = np.asarray(features.RatioFeatures().fit_transform(frame), dtype=float)
    if recipe.learner == "boosting":
        return ratios
    rng = np.random.default_rng(7)
    scaled = (ratios - ratios.mean(axis=0)) / (ratios.std(axis=0) + 1e-9)
    turned = scaled @ rng.normal(0, 0.35, (ratios.shape[1], 4 * RANDOM_FEATURES))
    return np.hstack([scaled, np.tanh(turned + rng.uniform(-1, 1, turned.shape[1]))])


def _trained(
    recipe: Recipe,
    rng: np.random.Generator,
    inputs: pd.DataFrame | np.ndarray,
    target: np.ndarray,
    rows: np.ndarray,
    seed: int,
) -> Callable[..., np.ndarray]:
    """Train a day's artifact and return its prediction of rows of some inputs; by accident it is a bad one."""
    accident = rng.random() if recipe.accidents else 1.0
    scale = 0.95 if accident < BAD_DAYS / 3 else 1.0
    if accident < 2 * BAD_DAYS / 3 and scale == 1.0:
        rows = rng.choice(rows, max(60, len(rows) // 10), replace=False)
    tweaked = BAD_DAYS <= accident < BAD_DAYS + TWEAKED_DAYS
    with threadpool_limits(1):
        if recipe.learner == "shipped":
            model = shipped("linear" if 2 * BAD_DAYS / 3 <= accident < BAD_DAYS else "svr_hgb")()
            model.fit(inputs.iloc[rows], target[rows])
            return lambda frame, at: scale * model.predict(frame.iloc[at])
        if recipe.learner == "boosting":
            boosted = HistGradientBoostingRegressor(
                max_iter=60, learning_rate=0.5 if tweaked else 0.1, max_leaf_nodes=15, random_state=seed % 2**31
            ).fit(inputs[rows], target[rows])
            return lambda found, at: scale * boosted.predict(found[at])
        width = inputs.shape[1]
        plain = 2 * BAD_DAYS / 3 <= accident < BAD_DAYS
        kept = np.arange(8) if plain else np.r_[:26, 26 + rng.choice(width - 26, RANDOM_FEATURES, replace=False)]
        ridge = Ridge(100.0 if tweaked else 3.0).fit(inputs[np.ix_(rows, kept)], target[rows])
        return lambda found, at: scale * ridge.predict(found[np.ix_(at, kept)])


def _classifier_path(recipe: Recipe, seed: int) -> Path:
    """Return a path of a logistic regression with log loss, on real rows with jitter and a tenth of the labels turned."""
    rng = np.random.default_rng([seed, 99])
    table, label = load_breast_cancer(return_X_y=True)
    table = StandardScaler().fit_transform(table)
    oracle = LogisticRegression(C=0.05, max_iter=500).fit(table, label)
    sizes = np.r_[recipe.first, np.full(recipe.days - 1, recipe.daily)]
    day = np.repeat(np.arange(recipe.days), sizes)

    def draw(rows: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        inputs = table[rng.integers(0, len(table), rows)] + rng.normal(0, 0.5, (rows, table.shape[1]))
        p = 0.1 + 0.8 * oracle.predict_proba(inputs)[:, 1]
        return inputs, (rng.random(rows) < p).astype(int), p

    inputs, truth, _ = draw(len(day))
    far, _, chance = draw(TRUTH_ROWS)
    split = rng.random(len(day))
    is_test, is_train = split < TEST_SHARE, split > 1 - TRAIN_SHARE
    losses = np.empty((recipe.days, int(is_test.sum())))
    risk, learnt = np.empty((recipe.days, recipe.days)), np.zeros(recipe.days)
    for today in range(recipe.days):
        rows = np.flatnonzero(is_train & (day <= today))
        accident = rng.random() if recipe.accidents else 1.0
        if accident < BAD_DAYS:
            rows = rng.choice(rows, max(40, len(rows) // 10), replace=False)
        strength = 30.0 if BAD_DAYS <= accident < BAD_DAYS + TWEAKED_DAYS else 0.05
        kept = rng.choice(table.shape[1], 22, replace=False)
        model = make_pipeline(StandardScaler(), LogisticRegression(C=strength, max_iter=500))
        with threadpool_limits(1):
            model.fit(inputs[np.ix_(rows, kept)], truth[rows])
        p = np.clip(model.predict_proba(inputs[np.ix_(np.flatnonzero(is_test), kept)])[:, 1], 1e-12, 1 - 1e-12)
        losses[today] = -np.log(np.where(truth[is_test] == 1, p, 1 - p))
        q = np.clip(model.predict_proba(far[:, kept])[:, 1], 1e-12, 1 - 1e-12)
        risk[today] = float(np.mean(-chance * np.log(q) - (1 - chance) * np.log(1 - q)))
        learnt[today] = len(rows)
    return Path(losses, day[is_test], risk, learnt)
