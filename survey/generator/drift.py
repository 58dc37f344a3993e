"""Drift on purpose: what a survey of another season, another instrument or another place would look like.

One drift is one text:

    shell_weight*1.2        a column times a factor
    rings+3   rings-1.5     a column plus a number; of the target this shifts the relation that the model has learnt
    sex=M:0.8,F:0.1,I:0.1   another mix of a string column
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from retraining.contract.rules import Contract

_FORM = re.compile(r"\s*(?P<column>\w+)\s*(?P<sign>[*+=-])\s*(?P<rest>.+?)\s*")


@dataclass(frozen=True)
class Shift:
    """``column * factor + offset``."""

    column: str
    factor: float = 1.0
    offset: float = 0.0


@dataclass(frozen=True)
class Mix:
    """Another mix of a string column: share by value, adding up to 1."""

    column: str
    shares: tuple[tuple[str, float], ...]


def parse(text: str, contract: Contract) -> Shift | Mix:
    """Read one drift.

    Raises:
        ValueError: the text has none of the forms above, or its column cannot drift like this.
        LookupError: the contract has no such column.

    """
    match = _FORM.fullmatch(text)
    if not match:
        raise ValueError(
            f"drift {text!r} is none of COLUMN*FACTOR, COLUMN+NUMBER, COLUMN-NUMBER, COLUMN=VALUE:SHARE,..."
        )
    column, sign, rest = contract.column(match["column"]), match["sign"], match["rest"]
    if sign == "=":
        if column.numeric:
            raise ValueError(
                f"drift {text!r}: {column.name} is a number; a mix applies to {', '.join(contract.categorical)}"
            )
        shares = _shares(text, rest)
        strange = [value for value, _ in shares if column.allowed and value not in column.allowed]
        if strange:
            raise ValueError(
                f"drift of {column.name}: the contract does not allow {strange[0][:40]!r}; it allows {', '.join(column.allowed)}"
            )
        return Mix(column.name, shares)
    if not column.numeric:
        raise ValueError(f"drift {text!r}: {column.name} is text; give a mix such as {column.name}=M:0.8,F:0.2")
    try:
        value = float(rest)
    except ValueError as error:
        raise ValueError(f"drift {text!r}: {rest!r} is not a number") from error
    if sign == "*":
        return Shift(column.name, factor=value)
    return Shift(column.name, offset=value if sign == "+" else -value)


def _shares(text: str, rest: str) -> tuple[tuple[str, float], ...]:
    try:
        pairs = [part.split(":") for part in rest.split(",")]
        shares = tuple((value.strip(), float(share)) for value, share in pairs)
    except ValueError as error:
        raise ValueError(f"drift {text!r}: a mix is VALUE:SHARE,VALUE:SHARE") from error
    if any(share < 0 for _, share in shares) or abs(sum(share for _, share in shares) - 1) > 1e-6:
        raise ValueError(f"drift {text!r}: the shares must not be negative and must add up to 1")
    return shares


def remix(frame: pd.DataFrame, mixes: Sequence[Mix], rows: int, rng: np.random.Generator) -> pd.DataFrame:
    """Draw ``rows`` of ``frame`` in the wanted mix, without repeating a row while there are enough of its value.

    Raises:
        ValueError: a value of the mix does not occur among the rows.

    """
    for mix in mixes:
        counts = rng.multinomial(rows, [share for _, share in mix.shares])
        chosen: list[int] = []
        for (value, _), count in zip(mix.shares, counts, strict=True):
            places = np.flatnonzero((frame[mix.column] == value).to_numpy())
            if count and not len(places):
                raise ValueError(f"drift of {mix.column}: no row has the value {value!r}")
            chosen += rng.choice(places, count, replace=count > len(places)).tolist() if count else []
        frame = frame.iloc[rng.permutation(np.asarray(chosen, dtype=int))].reset_index(drop=True)
    return frame


def shift(frame: pd.DataFrame, shifts: Sequence[Shift], contract: Contract) -> pd.DataFrame:
    """Apply the shifts in order; int columns are rounded. Values may leave the contract's range: that is for the merge to find."""
    drifted = frame.copy()
    for drift in shifts:
        values = drifted[drift.column].to_numpy(dtype=float) * drift.factor + drift.offset
        whole = contract.column(drift.column).type == "int"
        drifted[drift.column] = np.round(values).astype("int64") if whole else np.round(values, 4)
    return drifted
