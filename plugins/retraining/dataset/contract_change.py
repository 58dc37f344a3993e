"""What a change of the contract means for the rows that are stored: whether they still are what the contract says.

A change is compatible when every stored row would also be accepted, read and identified in the same way under the new contract.
Whatever this module does not know is taken for incompatible.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from retraining.aws.naming import digest
from retraining.contract.notation.training_format import PARQUET
from retraining.dataset.records import ContractRecord, Version

Keys = Mapping[str, Any]

FREE = frozenset({"bad_rows", "header", "csv", "missing", "overwrite"})
"""Keys of the contract that say how files are read from now on; what is stored does not change with them."""
FREE_OF_A_COLUMN = frozenset({"description", "unit", "aliases"})
LIMITS = frozenset({"nullable", "allowed", "min", "max", "exclusive_min", "exclusive_max"})


@dataclass(frozen=True)
class Change:
    """One difference between two contracts, in words."""

    words: str
    compatible: bool


def contract_record(contract: Keys, split: Keys) -> ContractRecord:
    """Return what a version records of its contract.

    Args:
        contract: the contract's keys as JSON values.
        split: the split's keys.

    """
    keys = {**contract, "split": dict(split)}
    return ContractRecord(digest=digest(keys), keys=keys)


def contract_changes(then: Keys, now: Keys, *, by_name: bool) -> list[Change]:
    """Compare the contract of stored rows with today's.

    Args:
        then: keys of the contract that the rows were stored under, with ``split``.
        now: keys of today's contract, with ``split``.
        by_name: whether the rows are stored and identified by column name. By position, no column can be added or moved. A data set is by
            position also where training reads Parquet: the identity of a row is made of its columns in their order.

    """
    changes = [*_columns(then, now, by_name), *_rules(then, now), *_identity(then, now, by_name), *_split(then, now)]
    changes += _ignored(then, now, by_name)
    special = {"columns", "rules", "identity", "split", "ignore"}
    for key in sorted((set(then) | set(now)) - special):
        if then.get(key) != now.get(key):
            changes.append(Change(f"{key}: {_shown(then.get(key))} became {_shown(now.get(key))}", key in FREE))
    return changes


def incompatible(changes: Sequence[Change]) -> list[str]:
    """Return the words of the changes that the stored rows do not survive."""
    return [change.words for change in changes if not change.compatible]


def _columns(then: Keys, now: Keys, by_name: bool) -> Iterator[Change]:
    before = {column["name"]: column for column in then["columns"]}
    after = {column["name"]: column for column in now["columns"]}
    for name in before.keys() - after.keys():
        yield Change(f"column {name} is gone", compatible=False)
    for name in sorted(after.keys() - before.keys()):
        filled = bool(after[name].get("nullable")) or after[name].get("default") is not None
        how = "is new" if filled else "is new, has no default and is not nullable"
        yield Change(f"column {name} {how}", compatible=by_name and filled)
    kept = [name for name in after if name in before]
    order = [name for name in before if name in after]
    if kept != order:
        moved = [name for name, other in zip(order, kept, strict=True) if name != other]
        yield Change(f"columns stand in another order: {', '.join(moved)}", compatible=by_name)
    for name in order:
        yield from _column(name, before[name], after[name])


def _column(name: str, then: Keys, now: Keys) -> Iterator[Change]:
    for key in sorted((set(then) | set(now)) - LIMITS - {"name"}):
        if then.get(key) != now.get(key):
            free = key in FREE_OF_A_COLUMN or (key == "default" and then.get("default") is None)
            yield Change(f"column {name}: {key} {_shown(then.get(key))} became {_shown(now.get(key))}", free)
    if bool(then.get("nullable")) != bool(now.get("nullable")):
        words = "may be missing now" if now.get("nullable") else "may no longer be missing"
        yield Change(f"column {name} {words}", bool(now.get("nullable")))
    if then.get("allowed") != now.get("allowed"):
        wider = now.get("allowed") is None or (
            then.get("allowed") is not None and set(then["allowed"]) <= set(now["allowed"])
        )
        yield Change(f"column {name}: allowed {_shown(then.get('allowed'))} became {_shown(now.get('allowed'))}", wider)
    for end, sign in (("min", 1.0), ("max", -1.0)):
        old, new = _limit(then, end, sign), _limit(now, end, sign)
        if old != new:
            words = f"{_limit_shown(then, end)} became {_limit_shown(now, end)}"
            yield Change(f"column {name}: {end} {words}", new <= old)


def _limit(column: Keys, end: str, sign: float) -> tuple[float, bool]:
    """Return a limit so that the smaller one admits more; an exclusive one admits less than the same number."""
    value = column.get(end)
    if value is None:
        return (float("-inf"), False)
    return (sign * float(value), bool(column.get(f"exclusive_{end}")))


def _limit_shown(column: Keys, end: str) -> str:
    if column.get(end) is None:
        return "none"
    return f"{column[end]:g}{' (exclusive)' if column.get(f'exclusive_{end}') else ''}"


def _rules(then: Keys, now: Keys) -> Iterator[Change]:
    before = {rule["name"]: rule for rule in then.get("rules", ())}
    after = {rule["name"]: rule for rule in now.get("rules", ())}
    for name in sorted(before.keys() - after.keys()):
        yield Change(f"rule {name} is gone", compatible=True)
    for name in sorted(after.keys() - before.keys()):
        yield Change(f"rule {name} is new", compatible=False)
    for name in sorted(before.keys() & after.keys()):
        old, new = dict(before[name]), dict(after[name])
        if old != new:
            looser = new.pop("tolerance", 1.0) >= old.pop("tolerance", 1.0) and old == new
            yield Change(f"rule {name} changed", compatible=looser)


def _identity(then: Keys, now: Keys, by_name: bool) -> Iterator[Change]:
    """Compare what makes a row itself. All columns are the default; a new one then joins without a word."""
    default = all(
        list(keys.get("identity", ())) == [column["name"] for column in keys["columns"]] for keys in (then, now)
    )
    old, new = list(then.get("identity", ())), list(now.get("identity", ()))
    if default or sorted(old) == sorted(new):  # the order in which they are listed means nothing
        return
    yield Change(f"identity: {_shown(old)} became {_shown(new)}", compatible=False)


def _ignored(then: Keys, now: Keys, by_name: bool) -> Iterator[Change]:
    """Compare what is ignored. Other headings are passed over from now on; a stored column leaves or joins what the model is fed."""
    old, new = set(then.get("ignore") or ()), set(now.get("ignore") or ())
    for name in sorted(old ^ new):
        words = f"{name or 'a column without a name'} is {'ignored' if name in new else 'no longer ignored'}"
        stored = name in {column["name"] for keys in (then, now) for column in keys["columns"]}
        yield Change(words, compatible=by_name or not stored)


def _split(then: Keys, now: Keys) -> Iterator[Change]:
    """Compare the split. Stored rows keep theirs, so other shares move none; but they would tear apart a group that stays together.

    By time they count when the boundaries move forward the next time.
    """
    old, new = then.get("split") or {}, now.get("split") or {}
    for key in sorted(set(old) | set(new)):
        if old.get(key) != new.get(key):
            free = key in ("train", "validation", "test") and not then.get("split_by")
            yield Change(f"split {key}: {_shown(old.get(key))} became {_shown(new.get(key))}", free)


def _shown(value: Any) -> str:
    if isinstance(value, list | tuple):
        return ", ".join(str(item) for item in value) or "nothing"
    return "nothing" if value is None or value == "" else str(value)


def other_formats(versions: Sequence[Version], wanted: str) -> list[str]:
    """Say in words which versions lack the training files of a format. Parquet is there always: it is the data set itself.

    Args:
        versions: those whose batches make up the data set.
        wanted: ``training.format`` of model.yaml.

    """
    lacking = [found for found in versions if found.training_format != wanted and any(found.rows_by_split.values())]
    if wanted == PARQUET or not lacking:
        return []
    numbers = ", ".join(str(version.version) for version in lacking)
    return [
        f"training.format is {wanted}, but version {numbers} has its training files as {lacking[-1].training_format}"
    ]
