"""Files of rows to be scored: the contract without its target, and how a file is laid out that may or may not bring it."""

from __future__ import annotations

from dataclasses import replace

from retraining.contract.layout import Layout, inspect
from retraining.contract.refusal import FileRefused
from retraining.contract.rules import Column, Contract
from retraining.contract.unpacking import Open


def scoring_contract(contract: Contract) -> Contract:
    """Return the contract of rows that have no target yet: a column of its name is passed over."""
    target = contract.column(contract.target)
    columns = tuple(column for column in contract.columns if column.name != target.name)
    names = tuple(column.name for column in columns)
    rules = tuple(rule for rule in contract.rules if target.name not in (*rule.sum, rule.at_most))
    return replace(
        contract,
        columns=columns,
        rules=rules,
        identity=tuple(name for name in contract.identity if name != target.name) or names,
        ignore=(*contract.ignore, target.name, *target.aliases),
        position={name: number for number, name in enumerate(names)},
    )


def inspect_unscored(open_file: Open, key: str, contract: Contract) -> tuple[Contract, Layout]:
    """Say how a file of rows to be scored is laid out, and by which contract its rows are judged.

    A file without header may have the target in its place; whatever stands there is then not looked at.

    Args:
        open_file: opens the stored bytes.
        key: S3 key or path.
        contract: what the model was trained under.

    Raises:
        FileRefused: it is no file of rows of this contract, with or without the target.

    """
    without = scoring_contract(contract)
    try:
        return without, inspect(open_file, key, without)
    except FileRefused:
        anything = Column(contract.target, "string", nullable=True)
        columns = tuple(anything if column.name == contract.target else column for column in contract.columns)
        whole = replace(without, columns=columns, ignore=contract.ignore, position=contract.position)
        try:
            layout = inspect(open_file, key, whole)
        except FileRefused:
            layout = None
        if layout is None or contract.target not in dict(layout.columns):
            raise
        return whole, layout
