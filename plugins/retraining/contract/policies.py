"""What the policies of a contract say beyond a row: what the model is fed, and when they are worth a thought."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from retraining.contract.rules import Contract

OFTEN = 0.05  # share of a file's rows that repeat others of it


def fed(document: Mapping[str, Any]) -> dict[str, Any]:
    """Return a contract as a model sees it: without the columns that `ignore` names, rules that need them, and data set policies.

    Args:
        document: the ``contract`` section of ``model.yaml``.

    """
    ignored = set(document.get("ignore") or ())
    columns = [column for column in document["columns"] if column["name"] not in ignored]
    if len(columns) == len(document["columns"]):
        return dict(document)
    rules = [rule for rule in document.get("rules") or () if not ignored & {*rule["sum"], rule["at_most"]}]
    rest = {name: value for name, value in document.items() if name not in ("ignore", "identity", "split_by")}
    return {**rest, "columns": columns, "rules": rules}


def repeats_remark(repeated: int, rows: int, contract: Contract) -> str | None:
    """Say that the rows of a file repeat so often that it matters whether they are kept, None when they do not.

    Args:
        repeated: good rows that are equal to an earlier one of the file.
        rows: good rows.
        contract: what it says about them.

    """
    if contract.keep_duplicates or not rows or repeated / rows < OFTEN:
        return None
    return (
        f"{repeated:,} of {rows:,} good rows ({repeated / rows:.1%}) are equal to others of the file and were dropped. "
        "If each is a thing of its own, set `duplicates: keep` in the contract, or give it a column that tells them apart"
    )
