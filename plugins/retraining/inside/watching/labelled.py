"""Holds the labels of a look against the answers that the model gave: what it lost on each row, and what became of the labels."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from retraining.contract.refusal import FileRefused
from retraining.contract.rules import Contract
from retraining.inside.job_file import Job, classes_of
from retraining.inside.watching.kept_answers import ANSWERS_FILE, chunks
from retraining.inside.watching.labels import Reading, read_labels
from retraining.inside.watching.ledger import LEDGER_FILE, Ledger, Outcome
from retraining.inside.watching.scores import ERROR, LOSS, scores, sound

DAY = 86_400
TOO_LARGE = "the file is too large to be read as labels"


@dataclass(frozen=True)
class Labelled:
    """What the labels of a look say."""

    scores: pd.DataFrame
    """Loss, and error where answers are numbers, of each row that has a label now."""
    document: dict[str, Any]
    """Part ``labels`` of ``look.json``."""


def judged_labels(job: Job, contract: Contract, inputs: Path, output: Path) -> Labelled | None:
    """Read the new labels, hold them and the waiting ones against answers, and write the ledger; None when there are none.

    Args:
        job: its ``files`` are those with labels; ``label_days`` and ``as_of``.
        contract: of the model.
        inputs: folders ``labels``, ``answers`` and ``ledger``, as far as there is something in them.
        output: has the answers of this look; gets the ledger.

    """
    earlier = inputs / "ledger" / LEDGER_FILE
    if not job.files and not earlier.exists():
        return None
    ledger, outcome, reading = Ledger.read(earlier), Outcome(), Reading()
    ledger.forget(job.as_of - int(job.label_days * DAY), outcome)
    for file in job.files:
        _take(file, inputs / "labels" / file["name"], job, contract, ledger, outcome, reading)
    classes = classes_of(contract.column(contract.target), job.task)
    paths = sorted((inputs / "answers").rglob(ANSWERS_FILE)) if job.files else []

    def answers() -> Iterator[np.ndarray]:
        return chunks([*paths, output / ANSWERS_FILE], classes)

    values, found = ledger.match(answers, outcome)
    ledger.write(output / LEDGER_FILE)
    fine = sound(job.task, found) if len(found) else np.zeros(0, dtype=bool)
    made = scores(job.task, values[fine], found[fine], classes) if fine.any() else pd.DataFrame({LOSS: []}, dtype=float)
    totals = {"rows": len(made), "loss": float(made[LOSS].sum())}
    if ERROR in made:
        totals["error"] = float(made[ERROR].sum())
    print(
        f"{reading.labels:,} labels of {reading.files:,} files: {outcome.matched:,} labels have found their answer, "
        f"{outcome.waiting:,} wait for one; {len(reading.refused):,} files cannot be read"
    )
    return Labelled(made, {**asdict(reading), **asdict(outcome), "without_loss": int((~fine).sum()), "totals": totals})


def _take(
    file: Any, path: Path, job: Job, contract: Contract, ledger: Ledger, outcome: Outcome, reading: Reading
) -> None:
    """Take in the labels of a file. One that cannot be read is noted and holds no other up."""
    if reading.left:  # in their order: of two labels the first counts
        reading.left.append(file["key"])
        return
    try:
        if not path.exists():
            raise FileRefused(TOO_LARGE, "upload it in parts")
        part = Reading()
        labels = read_labels(path, file["key"], contract, job.task, job.as_of, part)
        if not ledger.has_room(len(labels)):
            reading.left.append(file["key"])
            return
        ledger.take(labels, outcome)
        reading.add(part)
    except FileRefused as refusal:
        reading.refused.append({"key": file["key"], "reason": refusal.reason, "remedy": refusal.remedy})
