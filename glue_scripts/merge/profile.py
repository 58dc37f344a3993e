"""The profile of the version that a batch makes: what the columns of its rows hold, added to the profile of the version before."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from glue_scripts.merge.manifest import Manifest
from glue_scripts.merge.storage import Storage
from retraining.contract.profiling.version_profile import OTHER, Grid, added, most_frequent
from retraining.contract.rules import Contract

QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
DIGITS = 12  # of a sum: the last ones depend on the order of adding
WITHOUT_ENDS = ("string", "boolean")  # types of columns of which no least and greatest value is told

Profile = dict[str, Any]
Count = Callable[[Sequence[str], Profile | None], Profile]
"""Counts the rows of some batches, numbers in the bins of a known profile."""


def write_profile(manifest: Manifest, storage: Storage, accepted: int, count: Count) -> int:
    """Write the profile of the version that the batch makes beside its data; returns the bytes written.

    A merge does not fail because of it: it says why there is no profile.

    Where the version before has none, the rows of all its batches are counted.

    Args:
        manifest: of the batch.
        storage: to read and write by.
        accepted: rows that the batch adds.
        count: counts rows.

    """
    try:
        known = _stored(storage, manifest.output, manifest.history[-1]) if manifest.history else None
        batches = [manifest.batch] if known or not manifest.history else [*manifest.history, manifest.batch]
        if accepted or len(batches) > 1:
            found = count(batches, known)
            known = added(known, found) if known else found
        if known is None:
            return 0
        body = (json.dumps(known, ensure_ascii=False, allow_nan=False, sort_keys=True) + "\n").encode()
        if _stored(storage, manifest.output, manifest.batch) != known:
            storage.write(_place(manifest.output, manifest.batch), body)
        return len(body)
    except Exception as error:  # whatever it is: the rows are merged, and a profile can be computed later
        print(f"the version gets no profile: {type(error).__name__}: {str(error)[:500]}", flush=True)
        return 0


def _place(output: str, batch: str) -> str:
    return f"{output}profiles/batch={batch}/profile.json"


def _stored(storage: Storage, output: str, batch: str) -> Profile | None:
    """Return the profile that a batch has left; None when it cannot be read."""
    try:
        found = json.loads(storage.read(_place(output, batch)))
    except Exception:  # boto3 is not imported here, so its errors have no name
        return None
    return dict(found) if found.get("schema_version") == 1 else None


def document(
    contract: Contract,
    grids: Mapping[str, Grid],
    ends: Mapping[str, Mapping[str, Any]],
    counts: Mapping[tuple[str, int], Counter[str]],
) -> Profile:
    """Return the profile of rows that were counted.

    Args:
        contract: of the rows; a column is meant by its place.
        grids: bins of the numbers that have a value.
        ends: by split ``n`` rows, and of each column ``present_N``, of those of numbers and times ``min_N`` and ``max_N``, of numbers
            ``sum_N``.
        counts: by split and column the rows per bin, or per text, where the rarest may be left out.

    """
    columns = {}
    for at, column in enumerate(contract.columns):
        grid = grids.get(column.name) if column.numeric else None
        splits = {}
        for split, row in ends.items():
            part: Profile = {"n": row["n"], "missing": row["n"] - row[f"present_{at}"]}
            if column.type not in WITHOUT_ENDS:
                part |= {name: row[f"{name}_{at}"] for name in ("min", "max")}
            mine = counts.get((split, at), Counter())
            if column.numeric:
                part["sum"] = float(f"{row[f'sum_{at}'] or 0.0:.{DIGITS}g}")
                part["bins"] = dict(sorted(mine.items(), key=lambda item: int(item[0])))
            else:
                rest = row[f"present_{at}"] - sum(mine.values())
                part["counts"] = most_frequent(mine + Counter({OTHER: rest}))
            splits[split] = part
        bins = {"middle": grid.middle, "scale": grid.scale} if grid else {}
        columns[column.name] = {"type": column.type, **bins, "splits": splits}
    return {"schema_version": 1, "rows": {split: row["n"] for split, row in ends.items()}, "columns": columns}
