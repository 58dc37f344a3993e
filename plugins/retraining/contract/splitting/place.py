"""Which split a good row belongs to, as the ``split`` section of a model says."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from retraining.contract.rules import TRAIN, Contract, split_of
from retraining.contract.splitting.by_time import BY_TIME, as_number, boundaries_in, place_by_time
from retraining.contract.values import Value


def place_of(
    contract: Contract, values: Sequence[Value | None], split: Mapping[str, Any], synthetic: bool = False
) -> str | None:
    """Return the split of a good row; None when it goes by time and no boundaries are known. Synthetic rows only train.

    Args:
        contract: the contract of the row.
        values: its typed values in contract order.
        split: percent of rows per split; by time also ``by``, ``column`` and the boundaries of a version, ``validation_from`` and
            ``test_from``.
        synthetic: whether the row was made, not measured.

    """
    if split.get("by") != BY_TIME:
        return split_of(contract.split_hash(values), split, synthetic)
    column = contract.column(split["column"])
    time, boundaries = values[contract.position[column.name]], boundaries_in(column, split)
    if synthetic:
        return TRAIN
    if boundaries is None or time is None:
        return None
    return place_by_time(as_number(time), boundaries) or TRAIN
