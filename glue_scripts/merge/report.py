"""The merge's report, and its clock."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass
from typing import Any

from glue_scripts.merge.manifest import Manifest
from glue_scripts.merge.tally import Outcomes, Tally
from retraining.contract.plain_text import message
from retraining.contract.rules import SOURCES
from retraining.contract.splitting.by_time import Boundaries
from retraining.contract.verdict import IGNORED, MERGED, REFUSED, repeats_remark

SESSION = "session"  # the phase in which Spark starts


@dataclass(frozen=True)
class Merged:
    """What a merge came to.

    Attributes:
        found: counts of rows.
        outcomes: of the files.
        outputs: training CSV files by split.
        bytes_written: of everything but the report.
        boundaries: of a split by time.

    """

    found: Tally
    outcomes: Outcomes
    outputs: dict[str, list[str]]
    bytes_written: int
    boundaries: Boundaries | None = None


class Clock:
    """Seconds per phase."""

    def __init__(self) -> None:
        self._started = self._last = time.perf_counter()
        self.seconds: dict[str, float] = {}

    def lap(self, phase: str) -> None:
        """End a phase and print it."""
        now = time.perf_counter()
        self.seconds[phase] = round(now - self._last, 3)
        self._last = now
        print(f"{phase}: {self.seconds[phase]:.2f} s", flush=True)

    @property
    def total(self) -> float:
        """Seconds of the merge, without those that Spark took to start."""
        return round(time.perf_counter() - self._started - self.seconds.get(SESSION, 0.0), 3)


def report_of(manifest: Manifest, merged: Merged) -> dict[str, Any]:
    """Build the report of the rows; docs/data-contract.md describes it."""
    found, refused, ignored = merged.found, merged.outcomes.refused, merged.outcomes.ignored
    files = []
    reasons: Counter[str] = Counter()
    for number, file in enumerate(manifest.files):
        counts = found.files[number]
        duplicate = counts["in_batch"] + counts["in_history"]
        quarantined = counts["bad"] + counts["withheld"]
        refusal = refused.get(number)
        reasons.update(found.reasons[number])
        if refusal:
            reasons[f"file refused: {message(refusal.reason)}"] += 1
        files.append(
            {
                "key": file.key,
                "etag": file.etag,
                "outcome": REFUSED if refusal else IGNORED if number in ignored else MERGED,
                "rows": counts["accepted"] + duplicate + quarantined,
                "accepted": counts["accepted"],
                "duplicate": duplicate,
                "quarantined": quarantined,
                "reasons": dict(_most_common(found.reasons[number])),
                "reason": message(refusal.reason) if refusal else ignored.get(number),
                "remedy": message(refusal.remedy) if refusal else None,
                "remark": repeats_remark(counts["repeated"], counts["accepted"] + duplicate, manifest.contract),
            }
        )
    in_batch, in_history = found.total("in_batch"), found.total("in_history")
    numeric = manifest.contract.column(manifest.contract.target).numeric
    return {
        "schema_version": 2,
        "batch": manifest.batch,
        "rows_new": sum(file["rows"] for file in files),
        "rows_accepted": found.total("accepted"),
        "rows_duplicate": in_batch + in_history,
        "rows_quarantined": sum(file["quarantined"] for file in files),
        "rows_duplicate_in_batch": in_batch,
        "rows_duplicate_in_history": in_history,
        "rows_by_split": {name: found.splits[n] for n, (name, _) in enumerate(manifest.split)},
        "rows_by_source": {name: found.sources[name] for name in SOURCES},
        "max_share": manifest.contract.max_share,
        "files": files,
        "reasons": dict(_most_common(reasons)),
        "target_mean_by_split": {
            name: found.targets[n] / found.splits[n] if found.splits[n] and numeric else None
            for n, (name, _) in enumerate(manifest.split)
        },
    }


def _most_common(counts: Counter[str]) -> list[tuple[str, int]]:
    """Most frequent first, those of one frequency by name: the order does not depend on the order of counting."""
    return sorted(((name, n) for name, n in counts.items() if n), key=lambda item: (-item[1], item[0]))
