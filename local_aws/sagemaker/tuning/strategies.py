"""How the next trial of a tuning job is chosen: at random, or near the good ones.

What SageMaker calls Bayesian is a Gaussian process of its own; here a tree of Parzen estimators (Bergstra and others, "Algorithms for
Hyper-Parameter Optimization", 2011) answers for it, which asks for the same and needs no library: the best of the trials and the
others each give a density over every range, and of some places drawn from the first the one goes on where it is highest against the second.
"""

from __future__ import annotations

import math
import random
from collections.abc import Sequence

from local_aws.sagemaker.tuning.ranges import Range

Place = tuple[float, ...]
"""A share of each range."""

#: Trials at random before there is anything to go by.
AT_RANDOM = 8
GOOD_SHARE = 0.15
DRAWS = 24
#: Standard deviation of the density around a trial, as a share of a range.
WIDTH = 0.12
#: How often a place is drawn again whose values an earlier trial had, the last half of them at random.
REDRAWS = 60


class Search:
    """The trials of one tuning job, and where the next should be."""

    def __init__(self, strategy: str, ranges: Sequence[Range], seed: int | str) -> None:
        self._bayesian = strategy == "Bayesian"
        self._ranges = tuple(ranges)
        self._random = random.Random(seed)
        self._tried: set[tuple[str, ...]] = set()
        self._scores: list[tuple[float, Place]] = []

    def next(self) -> tuple[Place, dict[str, str]]:
        """Return the next trial, and the values of the hyperparameters there; new ones as long as there are any to be found."""
        for draw in range(REDRAWS):
            place = self._place() if 2 * draw < REDRAWS else self._anywhere()
            values = tuple(one.at(share) for one, share in zip(self._ranges, place, strict=True))
            if values not in self._tried:
                break
        self._tried.add(values)
        return place, {one.name: value for one, value in zip(self._ranges, values, strict=True)}

    def learn(self, place: Place, score: float) -> None:
        """Note what came of a trial; small scores are good."""
        self._scores.append((score, place))

    def _place(self) -> Place:
        if not self._bayesian or len(self._scores) < AT_RANDOM:
            return self._anywhere()
        ordered = [place for _, place in sorted(self._scores)]
        count = max(1, math.ceil(GOOD_SHARE * len(ordered)))
        good, others = ordered[:count], ordered[count:]
        return max((self._near(good) for _ in range(DRAWS)), key=lambda place: self._promise(place, good, others))

    def _anywhere(self) -> Place:
        return tuple(self._random.random() for _ in self._ranges)

    def _near(self, good: Sequence[Place]) -> Place:
        """Draw a place from the density of the good trials, which is even between them."""
        found = []
        for index, one in enumerate(self._ranges):
            pick = self._random.randrange(len(good) + 1)
            share = self._random.random()
            if pick < len(good) and one.values:
                share = (int(good[pick][index] * len(one.values)) + share) / len(one.values)
            elif pick < len(good):
                share = self._random.gauss(good[pick][index], WIDTH)
                share = share if 0 <= share < 1 else self._random.random()
            found.append(min(share, math.nextafter(1, 0)))
        return tuple(found)

    def _promise(self, place: Place, good: Sequence[Place], others: Sequence[Place]) -> float:
        return sum(
            math.log(_density(one, share, [other[index] for other in good]))
            - math.log(_density(one, share, [other[index] for other in others]))
            for index, (one, share) in enumerate(zip(self._ranges, place, strict=True))
        )


def _density(one: Range, share: float, trials: Sequence[float]) -> float:
    """Return the density of trials at a place of a range; one trial more is spread evenly."""
    if one.values:
        bins = len(one.values)
        near: float = bins * sum(int(trial * bins) == int(share * bins) for trial in trials)
    else:
        near = sum(math.exp(-(((share - trial) / WIDTH) ** 2) / 2) for trial in trials) / (
            WIDTH * math.sqrt(2 * math.pi)
        )
    return (1 + near) / (1 + len(trials))
