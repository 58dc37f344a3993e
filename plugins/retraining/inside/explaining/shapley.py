"""Shapley values of a model's answers: by how much each column moved the answer for a row away from the mean over background rows.

The game of a row and one background row: a coalition of columns has the row's values, the others those of the background row, and is worth
what the model answers to that mixture (interventional values: Lundberg and Lee 2017, Janzing, Minorics and Bloebaum 2020). A row's values
are the mean over all background rows, and sum to its answer minus the mean answer to them. A column in which the two rows agree plays no
part, so only the others are mixed.

Up to ``EXACT_COLUMNS`` columns every coalition is asked about. Beyond, a game of more than ``EXACT_AMONG_MANY`` differing columns is
estimated from permutations, each with its reverse (antithetic sampling: Mitchell, Cooper, Frank and Holmes 2022), with standard errors.
The permutations depend on nothing but the game's size, so that a row has the same values whatever rows are asked about beside it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from functools import lru_cache
from itertools import groupby
from math import factorial
from typing import NamedTuple

import numpy as np
import pandas as pd

EXACT_COLUMNS = 12
EXACT_AMONG_MANY = 8
"""Of a game with more columns: all its coalitions are about as many as its permutations would ask about."""
ASKED = 5_000
"""Mixtures that a row's permutations come to, if two pairs for each background row are not more."""
LEAST_PAIRS = 2
"""Of a game's permutations, so that there is an error to tell."""
CELLS = 2_000_000
"""Values in one frame that the model is asked about."""
SEED = 20_260_101

Ask = Callable[[pd.DataFrame], np.ndarray]


class Explanation(NamedTuple):
    """Why rows got their answers, in the unit of the answers: of a classification that of probabilities."""

    base: np.ndarray
    """Mean answer to the background rows, shape (outputs,)."""
    values: np.ndarray
    """Shape (rows, columns, outputs); the sum over the columns is the answer minus the base."""
    errors: np.ndarray | None
    """Standard errors of sampled values, of the same shape; None when all are exact."""


class Game(ABC):
    """The coalitions of some players that are asked about, and what their worth says about each player."""

    masks: np.ndarray
    """Whether a player is in a coalition, shape (coalitions, players); neither the empty coalition nor the whole one is among them."""

    @abstractmethod
    def values(self, empty: np.ndarray, inner: np.ndarray, whole: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the players' values and the variances of these, each of shape (players, outputs).

        Args:
            empty: worth of the empty coalition, shape (outputs,).
            inner: worth of those of ``masks``, shape (coalitions, outputs).
            whole: worth of the whole coalition, shape (outputs,).

        """


class ExactGame(Game):
    """All coalitions."""

    def __init__(self, players: int) -> None:
        numbers = np.arange(2**players)
        masks = (numbers[:, None] >> np.arange(players)) & 1 == 1
        # The share of orders in which just these other players come before one.
        shares = np.array([factorial(size) * factorial(players - 1 - size) for size in range(players)], dtype=float)
        others = (masks.sum(axis=1, keepdims=True) - masks).T
        shares = (shares / factorial(players))[np.minimum(others, players - 1)]
        self._shares = [shares[at].reshape(-1, 2, 2**at)[:, 0] for at in range(players)]
        self.masks = masks[1:-1]

    def values(self, empty: np.ndarray, inner: np.ndarray, whole: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the values; their variances are 0. Who changes no coalition's worth gets 0 to the last digit."""
        worth = np.concatenate([empty[None], inner, whole[None]])
        found = np.empty((len(self._shares), worth.shape[1]))
        for at, shares in enumerate(self._shares):
            without_and_with = worth.reshape(-1, 2, 2**at, worth.shape[1])
            gains = without_and_with[:, 1] - without_and_with[:, 0]
            found[at] = np.tensordot(shares, gains, axes=2)
        return found, np.zeros_like(found)


class SampledGame(Game):
    """Permutations in pairs, the second of a pair in the reverse order of the first."""

    def __init__(self, players: int, pairs: int, seed: tuple[int, ...]) -> None:
        random = np.random.default_rng(seed)
        first = np.array([random.permutation(players) for _ in range(pairs)])
        self._orders = np.stack([first, first[:, ::-1]], axis=1)
        ranks = np.argsort(self._orders, axis=2)
        before = ranks[:, :, None, :] < np.arange(1, players)[:, None]
        self.masks = before.reshape(-1, players)

    def values(self, empty: np.ndarray, inner: np.ndarray, whole: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the means over the pairs, and the variances of these means."""
        pairs, _, players = self._orders.shape
        steps = inner.reshape(pairs, 2, players - 1, -1)
        ends = [np.broadcast_to(end, (pairs, 2, 1, end.size)) for end in (empty, whole)]
        gains = np.diff(np.concatenate([ends[0], steps, ends[1]], axis=2), axis=2)
        found = np.take_along_axis(gains, np.argsort(self._orders, axis=2)[..., None], axis=2).mean(axis=1)
        return found.mean(axis=0), found.var(axis=0, ddof=1) / pairs


def explain(ask: Ask, frame: pd.DataFrame, answers: np.ndarray, background: pd.DataFrame) -> Explanation:
    """Return why rows got their answers.

    Args:
        ask: returns the model's answers to a frame of the same columns and types: shape (rows,), or (rows, outputs).
        frame: the rows.
        answers: what the model answers to them.
        background: rows to mix them with, at least one.

    """
    names, size = [str(name) for name in frame.columns], len(background)
    whole, empty = _outputs(answers), _outputs(ask(background))
    ours, theirs = _codes(frame, background)
    columns = [frame[name].to_numpy() for name in names], [background[name].to_numpy() for name in names]
    values = np.zeros((len(frame), len(names), whole.shape[1]))
    variances = np.zeros_like(values)
    for row in range(len(frame)):
        differ = [np.flatnonzero(ours[row] != theirs[at]) for at in range(size)]
        games = [_game(len(players), len(names), size, at) for at, players in enumerate(differ)]
        own = [column[row] for column in columns[0]]
        for places in _parts(games, len(names)):
            parts = [_mixed(own, columns[1], at, differ[at], games[at].masks) for at in places]
            inner = _asked(ask, parts, background, whole.shape[1])
            for at, worth in zip(places, inner, strict=True):
                if len(differ[at]):
                    found, variance = games[at].values(empty[at], worth, whole[row])
                    values[row, differ[at]] += found / size
                    variances[row, differ[at]] += variance / size**2
    return Explanation(empty.mean(axis=0), values, np.sqrt(variances) if len(names) > EXACT_COLUMNS else None)


def asked_rows(columns: int, background: int) -> int:
    """Return to how many rows at most a model answers for the explanation of one."""
    if columns <= EXACT_COLUMNS:
        return int(background * 2**columns)
    sampled = 2 * _pairs(columns, background) * (columns - 1)
    return int(background * max(2**EXACT_AMONG_MANY, sampled))


def _pairs(players: int, background: int) -> int:
    return max(LEAST_PAIRS, ASKED // (2 * background * (players - 1)))


def _game(players: int, columns: int, background: int, place: int) -> Game:
    if players <= (EXACT_COLUMNS if columns <= EXACT_COLUMNS else EXACT_AMONG_MANY):
        return _exact_game(max(players, 1))  # of no player nothing is asked, as of one
    return SampledGame(players, _pairs(players, background), (SEED, players, place))


_exact_game = lru_cache(maxsize=EXACT_COLUMNS)(ExactGame)


def _outputs(answers: np.ndarray) -> np.ndarray:
    answers = np.asarray(answers, dtype=float)
    return answers.reshape(len(answers), -1)


def _codes(frame: pd.DataFrame, background: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """Return numbers that are equal where two rows have the same value, or none, in a column; each of shape (rows, columns)."""
    both = pd.concat([frame, background], ignore_index=True)
    codes = np.column_stack([pd.factorize(both[name])[0] for name in both.columns])
    return codes[: len(frame)], codes[len(frame) :]


def _parts(games: list[Game], columns: int) -> Iterator[list[int]]:
    """Yield the places of background rows whose mixtures are asked about together."""
    ends = np.cumsum([len(game.masks) for game in games]) * columns
    for _, part in groupby(range(len(games)), key=lambda at: int(ends[at]) // CELLS):
        yield list(part)


def _mixed(
    own: list[object], theirs: list[np.ndarray], place: int, players: np.ndarray, masks: np.ndarray
) -> list[np.ndarray]:
    """Return the columns of the mixtures of a row with one background row."""
    mixed = [np.full(len(masks), column[place], dtype=column.dtype) for column in theirs]
    for at, player in enumerate(players):
        mixed[player][masks[:, at]] = own[player]
    return mixed


def _asked(ask: Ask, parts: list[list[np.ndarray]], like: pd.DataFrame, outputs: int) -> list[np.ndarray]:
    """Return what the model answers to each of several tables, which it is asked about at once."""
    sizes = [len(part[0]) for part in parts]
    if not sum(sizes):
        return [np.empty((0, outputs)) for _ in parts]
    made = {
        name: pd.Series(np.concatenate([part[at] for part in parts]), dtype=like[name].dtype)
        for at, name in enumerate(like.columns)
    }
    return np.split(_outputs(ask(pd.DataFrame(made))), np.cumsum(sizes)[:-1])
