"""Which column a heading, a key or a field names; or what is wrong with a file's names."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from retraining.contract.names import heading
from retraining.contract.plain_text import MAX_NAMES, listed, meant, plain_name
from retraining.contract.refusal import FileRefused
from retraining.contract.rules import Contract


@dataclass(frozen=True)
class Named:
    """Which place of a row each contract column has.

    Attributes:
        order: place of each contract column, -1 for a nullable one that is not there.
        source_at: place of the extra column ``source``.
        columns: contract name to name in the file.

    """

    order: tuple[int, ...]
    source_at: int | None
    columns: tuple[tuple[str, str | int], ...]


def columns_by_heading(contract: Contract) -> dict[str, str]:
    """Return the contract column of each heading, in compared form, that names one."""
    return {heading(name): column.name for column in contract.columns for name in (column.name, *column.aliases)}


def known_headings(contract: Contract) -> set[str]:
    """Return the compared forms of all headings that name a contract column."""
    return set(columns_by_heading(contract))


def by_name(names: Sequence[str], contract: Contract, what: str, *, spellings: bool = False) -> Named:
    """Find the place of each contract column among the names of a file.

    Args:
        names: as the file has them.
        contract: the columns to find.
        what: has the names, for a message.
        spellings: whether the names are those of many rows, which may spell one column in several ways.

    Raises:
        FileRefused: a column is missing or named twice, or a name is that of no column.

    """
    where, ignored = columns_by_heading(contract), contract.ignored_headings
    places: dict[str, list[int]] = {}
    unknown = []
    source_at = None
    for place, name in enumerate(names):
        compared = heading(name)
        if compared in where:
            places.setdefault(where[compared], []).append(place)
        elif compared in ignored:
            continue
        elif compared == "source" and (source_at is None or spellings):
            source_at = place
        else:
            unknown.append(name or f"column {place + 1} without a name")
    lacking = [column.name for column in contract.columns if column.name not in places and not column.nullable]
    repeated = [name for name, found in places.items() if len(found) > 1 and not spellings]
    if lacking or unknown or repeated:
        refuse_names(what, lacking, unknown, repeated, len(places), names)
    order = tuple(places.get(column.name, [-1])[0] for column in contract.columns)
    columns = tuple(
        (column.name, plain_name(names[place]))
        for column, place in zip(contract.columns, order, strict=True)
        if place >= 0
    )
    return Named(order, source_at, columns)


def refuse_names(
    what: str, lacking: list[str], unknown: list[str], repeated: list[str], named: int, cells: Sequence[str]
) -> None:
    """Refuse a file whose names are not those of the contract.

    Args:
        what: has the names, such as "the header".
        lacking: contract columns without a name.
        unknown: names of no column.
        repeated: contract columns with several names.
        named: how many contract columns have a name.
        cells: all names.

    Raises:
        FileRefused: always; near names are suggested.

    """
    parts = [("lacks", lacking), ("has unknown", unknown), ("repeats", repeated)]
    said = ", ".join(f"{verb} {listed(names)}" for verb, names in parts if names)
    if not named:
        said = f"names no contract column: {listed(cells)}"
    guesses = [
        f"{plain_name(name)}: did you mean {found}?"
        for name in unknown[:100]
        if (found := meant(heading(name), [heading(wanted) for wanted in lacking]))
        and (found := next(wanted for wanted in lacking if heading(wanted) == found))
    ][:MAX_NAMES]
    remedy = []
    if lacking:
        remedy.append(f"rename the headings, or give the columns `aliases` in model.yaml ({lacking[0]}: ...)")
    if unknown and not (lacking and len(unknown) <= len(lacking)):
        names = listed([f"{name}" for name in unknown if " without a name" not in name] or ['""'])
        remedy.append(f"take columns out, or name them in the contract: `ignore: [{names}]`")
    if repeated:
        remedy.append("keep one column of each name")
    raise FileRefused(f"{what} {said}", "; ".join(remedy) + (f". {' '.join(guesses)}" if guesses else ""))
