"""The merge of rows that are in memory."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from glue_scripts.merge.in_memory.files import write_dataset, write_quarantine
from glue_scripts.merge.in_memory.profile import profile_of
from glue_scripts.merge.in_memory.repeats import drop_known, drop_repeated
from glue_scripts.merge.in_memory.rows import Rows
from glue_scripts.merge.in_memory.table import groups_of, numbers_of, value_name
from glue_scripts.merge.inputs import Inspected
from glue_scripts.merge.manifest import Manifest
from glue_scripts.merge.profile import write_profile
from glue_scripts.merge.report import Clock, Merged
from glue_scripts.merge.storage import Storage
from glue_scripts.merge.tally import Tally, outcomes_of
from retraining.contract.rules import TRAIN
from retraining.contract.splitting.by_time import Boundaries, as_number, boundaries_of_times, place_by_time

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


def merge_in_memory(
    manifest: Manifest,
    inspected: Inspected,
    storage: Storage,
    rows: Rows,
    mending: Callable[[int], str],
    clock: Clock,
    start: Callable[[], SparkSession],
) -> Merged:
    """Merge rows that were read.

    Args:
        manifest: what to merge and where to.
        inspected: the files.
        storage: to read and write by.
        rows: of the files that were let pass.
        mending: what to do about a file that is over its budget.
        clock: takes the time of each phase.
        start: starts Spark, which counts the rows of the history where the version before has no profile.

    """
    found = rows.found
    outcomes = outcomes_of(found, groups_of(rows.good), manifest, inspected, mending)
    clock.lap("parse")
    merged = ~np.isin(numbers_of(rows.good, "file"), sorted(outcomes.left_out))
    kept = drop_repeated(rows.good.filter(pa.array(merged)), manifest, found)
    clock.lap("deduplicate")
    kept = drop_known(kept, manifest, found, storage)
    clock.lap("history")
    boundaries = manifest.boundaries
    if manifest.begins:
        kept, boundaries = _begun(kept, manifest, found)
        clock.lap("boundaries")
    outputs, bytes_written = write_dataset(kept, manifest, storage)
    clock.lap("write")
    bad = {number: records for number, records in rows.bad.items() if number not in outcomes.gone}
    bytes_written += write_quarantine(bad, outcomes.refused, manifest, storage)
    clock.lap("quarantine")

    def count(batches: Sequence[str], known: Mapping[str, Any] | None) -> dict[str, Any]:
        if list(batches) == [manifest.batch]:
            return profile_of(kept, manifest, known)
        from glue_scripts.merge.by_spark.profile import of_batches

        return of_batches(start(), manifest, batches, known)

    bytes_written += write_profile(manifest, storage, found.total("accepted"), count)
    clock.lap("profile")
    return Merged(found, outcomes, outputs, bytes_written, boundaries)


def _begun(rows: pa.Table, manifest: Manifest, found: Tally) -> tuple[pa.Table, Boundaries | None]:
    """Find the boundaries of the accepted rows of a data set that begins, and split the rows by them; the tally is counted anew.

    The standing boundaries, if the data set began before, are the earliest possible. None when there is no measured row.
    """
    assert manifest.time is not None
    values = rows.column(value_name(manifest.contract.position[manifest.time.name])).to_pylist()
    synthetic = rows.column("synthetic").to_pylist()
    numbers = [None if made else as_number(value) for made, value in zip(synthetic, values, strict=True)]
    times = [number for number in numbers if number is not None]
    if not times:
        return rows, manifest.boundaries
    boundaries = boundaries_of_times(times, dict(manifest.split), manifest.boundaries)
    names = [name for name, _ in manifest.split]
    places = [TRAIN if number is None else place_by_time(number, boundaries) or TRAIN for number in numbers]
    at = rows.schema.get_field_index("split")
    split = pa.array([names.index(place) for place in places], rows.schema.field(at).type)
    placed = rows.set_column(at, rows.schema.field(at), split)
    found.split_anew(groups_of(placed))
    return placed, boundaries
