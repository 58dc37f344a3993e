"""What the Glue crawler saw in new files against the contract: a note for the report, never a verdict."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from retraining.contract.names import heading
from retraining.contract.plain_text import plain, plain_names
from retraining.settings.contract_keys import Column, Contract

NAMES_SHOWN = 10
NOTES_SHOWN = 20
NUMBERS = frozenset({"double", "float", "decimal", "bigint", "int", "smallint", "tinyint"})
SOURCE = "source"  # a column that a file may have beside the contract's


def crawl_note(contract: Contract, crawled: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return ``{"tables": their names, "notes": a line per odd file}`` of a crawl's result; of none, or a failed one, what it is itself."""
    if not crawled or "schemas" not in crawled:
        return dict(crawled or {})
    names = sorted(name for schema in crawled["schemas"] for name in schema["tables"])
    return {"tables": names, "notes": crawl_notes(contract, crawled["schemas"])}


def crawl_notes(contract: Contract, schemas: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return one line per crawled file that does not look like the contract.

    Args:
        contract: the contract of the model.
        schemas: ``[{"columns": [(name, type), ...], "tables": {name: S3 URI of the file}}, ...]``. A crawler that sees no header calls
            the columns ``col0``, ``col1`` and so on; those are compared by number.

    """
    odd: dict[str, str] = {}
    for schema in schemas:
        if words := _difference(contract, [(str(name), str(kind)) for name, kind in schema["columns"]]):
            odd |= {str(location): words for location in schema["tables"].values()}
    notes = [f"{plain(location.rsplit('/', 1)[-1])}: {words}" for location, words in sorted(odd.items())]
    if len(notes) > NOTES_SHOWN:
        notes[NOTES_SHOWN:] = [f"and {len(notes) - NOTES_SHOWN} more files"]
    return notes


def _difference(contract: Contract, columns: Sequence[tuple[str, str]]) -> str:
    expected = contract.columns
    if not columns:
        return "no columns were recognised"
    if all(name == f"col{position}" for position, (name, _) in enumerate(columns)):
        if len(columns) == len(expected):
            return ""
        return f"no header and {len(columns)} columns, the contract has {len(expected)}"
    seen = {heading(name): (name, kind) for name, kind in columns}
    found = {column.name: _found(column, seen) for column in expected}
    known = {heading(name) for column in expected for name in (column.name, *column.aliases)}
    known |= {heading(name) for name in (SOURCE, *contract.ignore)}
    missing = [name for name, kind in found.items() if kind is None]
    unknown = [name for plain, (name, _) in seen.items() if plain not in known]
    numeric = {column.name for column in expected if column.type in ("double", "int")}
    no_numbers = [
        f"{name} ({kind})"
        for name, kind in found.items()
        if name in numeric and kind is not None and kind.split("(")[0] not in NUMBERS
    ]
    parts = (("no column", missing), ("not in the contract:", unknown), ("not all numbers:", no_numbers))
    return "; ".join(f"{words} {plain_names(names, NAMES_SHOWN)}" for words, names in parts if names)


def _found(column: Column, seen: Mapping[str, tuple[str, str]]) -> str | None:
    """Return the type that the crawler gave to a column under any of its names."""
    names = (heading(name) for name in (column.name, *column.aliases))
    return next((seen[name][1] for name in names if name in seen), None)
