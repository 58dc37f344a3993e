"""Reads ``prices.yaml``: the prices, and what is assumed of things that nobody knows before they ran."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import yaml

from deploy.cost.items import exact

FILE = Path(__file__).with_name("prices.yaml")


@dataclass(frozen=True)
class Prices:
    """What is written in prices.yaml."""

    region: str
    known: str
    prices: Mapping[str, Any]
    dpus: Mapping[str, Any]
    assumed: Mapping[str, Any]

    def price(self, name: str, size: str | None = None) -> Decimal | None:
        """Return a price in USD, None for a size that has none, such as an instance type.

        Raises:
            KeyError: there is no such kind of price at all.

        """
        found = self.prices[name] if size is None else self.prices[name].get(size)
        return None if found is None else exact(found)

    def minutes(self, work: str) -> Decimal:
        """Return how long a piece of work is assumed to be billed for."""
        return exact(self.assumed["minutes"][work])


@functools.cache
def read() -> Prices:
    """Return the prices."""
    return Prices(**yaml.safe_load(FILE.read_text(encoding="utf-8")))
