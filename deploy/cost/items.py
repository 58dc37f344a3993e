"""Lines and tables of a bill, exact to the digit that is shown: what is printed can be multiplied and added up again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal

Amount = Decimal | int | float | str
CENTS, TENTHS_OF_CENTS = 2, 3
QUANTITY_DIGITS = 4


def exact(amount: Amount) -> Decimal:
    """Return a number as it is written."""
    return amount if isinstance(amount, Decimal) else Decimal(str(amount))


def rounded(amount: Decimal, digits: int) -> Decimal:
    """Return a number with so many digits after the point; half of the last one goes up."""
    return amount.quantize(Decimal(1).scaleb(-digits), ROUND_HALF_UP)


def shown(amount: Decimal) -> str:
    """Return a number without zeros at its end and without an exponent."""
    text = f"{amount:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def price_shown(price: Decimal) -> str:
    """Return a price with at least two digits after the point."""
    text = shown(price)
    return text if len(text.partition(".")[2]) >= CENTS else f"{rounded(price, CENTS)}"


@dataclass(frozen=True)
class Item:
    """One line: a quantity, rounded as it is shown, times a price in USD; the price is None where nobody has written it down."""

    what: str
    quantity: Decimal
    unit: str
    price: Decimal | None

    @classmethod
    def of(cls, what: str, quantity: Amount, unit: str, price: Amount | None) -> Item:
        """Return a line; the quantity is rounded to four digits after the point."""
        known = None if price is None else exact(price)
        return cls(what, rounded(exact(quantity), QUANTITY_DIGITS), unit, known)


@dataclass(frozen=True)
class Table:
    """Lines with their total. Each line is rounded, and the total is the sum of the rounded ones."""

    title: str
    items: Sequence[Item]
    digits: int = CENTS

    def cost(self, item: Item) -> Decimal | None:
        """Return what a line costs, None without its price."""
        return None if item.price is None else rounded(item.quantity * item.price, self.digits)

    @property
    def total(self) -> Decimal:
        """The sum of all lines that have a price."""
        costs = [cost for item in self.items if (cost := self.cost(item)) is not None]
        return sum(costs, rounded(Decimal(0), self.digits))

    @property
    def unpriced(self) -> list[str]:
        """The lines without a price."""
        return [item.what for item in self.items if item.price is None]
