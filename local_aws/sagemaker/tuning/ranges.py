"""The ranges of a tuning job: what the service refuses of them, and the value at each place of a range.

A place is a share from 0 up to, but not including, 1: strategies look for good places and need to know nothing of scales.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from local_aws.shared.errors import validation_error

#: As AWS's page "Resource Limits for Automatic Model Tuning" says.
MOST_SEARCHED = 30


@dataclass(frozen=True)
class Range:
    """What one hyperparameter may be: a number from ``low`` to ``high``, or one of ``values``."""

    name: str
    values: tuple[str, ...] = ()
    low: float = 0.0
    high: float = 0.0
    whole: bool = False
    scale: str = "Linear"

    def at(self, place: float) -> str:
        """Return the value at a place as the service writes it into the hyperparameters of a training job."""
        if self.values:
            return self.values[int(place * len(self.values))]
        value = self._number(place, self.high + 1 if self.whole else self.high)
        return str(min(int(value), int(self.high))) if self.whole else repr(min(max(value, self.low), self.high))

    def _number(self, place: float, high: float) -> float:
        if self.scale == "Logarithmic":
            return self.low * (high / self.low) ** place
        if self.scale == "ReverseLogarithmic":
            return 1 - (1 - self.low) * ((1 - high) / (1 - self.low)) ** place
        return self.low + place * (high - self.low)


def read_ranges(given: Mapping[str, Any]) -> tuple[Range, ...]:
    """Return the ranges of a request's ``ParameterRanges``.

    Raises:
        ServiceError: the service would refuse them.

    """
    found = [Range(item["Name"], values=tuple(item["Values"])) for item in given.get("CategoricalParameterRanges", [])]
    for kind, whole in (("IntegerParameterRanges", True), ("ContinuousParameterRanges", False)):
        found += [_numbers(item, whole) for item in given.get(kind, [])]
    for problem in _problems(found):
        raise validation_error(problem)
    return tuple(found)


def _numbers(item: Mapping[str, Any], whole: bool) -> Range:
    try:
        low, high = (int(item[end]) if whole else float(item[end]) for end in ("MinValue", "MaxValue"))
    except ValueError:
        low = high = math.nan
    if not (math.isfinite(low) and math.isfinite(high)):
        kind = "whole numbers" if whole else "numbers"
        raise validation_error(
            f"The range of hyperparameter {item['Name']} goes from {item['MinValue']!r} to {item['MaxValue']!r}, which are no {kind}."
        )
    scale = item.get("ScalingType", "Auto")
    return Range(item["Name"], low=low, high=high, whole=whole, scale="Linear" if scale == "Auto" else scale)


def _problems(ranges: list[Range]) -> Iterator[str]:
    names = [one.name for one in ranges]
    if not names:
        yield "A tuning job needs at least one range of a hyperparameter to search."
    if len(names) > MOST_SEARCHED:
        yield f"{len(names)} hyperparameters have ranges; at most {MOST_SEARCHED} can be searched."
    for name in names:
        if names.count(name) > 1:
            yield f"Hyperparameter {name} has more than one range."
    for one in ranges:
        if one.values:
            if len(set(one.values)) < len(one.values):
                yield f"The values of categorical hyperparameter {one.name} repeat."
            continue
        shown = f"The range of hyperparameter {one.name}, {one.low:g} to {one.high:g},"
        if one.low >= one.high:
            yield f"{shown} is empty: MinValue must be less than MaxValue."
        if one.scale == "Logarithmic" and one.low <= 0:
            yield f"{shown} cannot be scaled logarithmically: all its values must be greater than 0."
        if one.scale == "ReverseLogarithmic" and (one.whole or one.low < 0 or one.high >= 1):
            yield f"{shown} cannot be scaled reverse-logarithmically: it must be continuous and within 0 <= x < 1."
