"""Scores challenger and champion on the same test rows and writes what was predicted, and what it cost, row by row.

Runs as a SageMaker processing job. Each model is loaded in a process of its own, with the code inside its own ``model.tar.gz``: what is
judged is what is served, and a champion trained by older code keeps scoring.

Output: ``rows.csv`` (``COLUMNS``; of a classification also ``PROBABILITIES``, of two classes that of the second, of more all with blanks
between; what is the champion's is empty throughout when there is none, or when it cannot be scored), ``summary.json`` (figures by numpy, as
a cross-check of the analysis; ``champion_failed``: why the champion could not be scored; ``files``: what the numbers in column ``file``
stand for; ``not_explained``: why there are no explanations), ``smoke.json`` (requests and the challenger's answers, to verify an endpoint
with) and what ``explaining.overview`` writes about the challenger.

A champion that serves in another image answers in a job of its own before, in that image (``score_champion``), and a container of one's own
in a transform job; then the input ``champion`` or ``challenger`` holds answers instead of an artifact.
"""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from retraining.inside import losses
from retraining.inside.artifact_process import ArtifactError, ArtifactProcess
from retraining.inside.elsewhere.written import ANSWERS, TransformedAnswers, WrittenAnswers, is_transformed, rows_digest
from retraining.inside.explaining.overview import SampledRows, write_overview
from retraining.inside.frames import iterate_frames, request_lines
from retraining.inside.groups import group_names
from retraining.inside.job_file import Job

COLUMNS = ("row", "truth", "challenger", "champion", "group", "loss_challenger", "loss_champion", "file")
PROBABILITIES = ("probability_challenger", "probability_champion")
CHUNK_CELLS = 200_000
ROLES = ("challenger", "champion")
Asked = ArtifactProcess | WrittenAnswers | TransformedAnswers


def run(job: Job, inputs: Path, output: Path) -> int:
    """Evaluate what lies in ``inputs``: folders ``test``, ``challenger`` and, unless it is a first model, ``champion``."""
    output.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        challenger = _model(stack, inputs / "challenger", "challenger", job)
        champion = _champion(stack, inputs / "champion", job)
        summary = evaluate(job, inputs / "test", challenger, champion, output)
    _write_json(output / "summary.json", summary)
    print(json.dumps(summary))
    return 0


def score_champion(job: Job, inputs: Path, output: Path) -> int:
    """Let the champion in folder ``champion`` answer the rows in ``test``, and write ``champion_answers.jsonl``; if it cannot, why."""
    output.mkdir(parents=True, exist_ok=True)
    with (output / ANSWERS).open("w", encoding="utf-8") as file:
        try:
            with ArtifactProcess(inputs / "champion", "champion", job.artifacts.get("champion")) as champion:
                for _, frame in _chunks(inputs / "test", job):
                    rows = _records(frame, job)
                    champion.ask(rows=rows)
                    answers = champion.answers(_asked_for(job), len(rows))
                    file.write(json.dumps({"rows": rows_digest(rows), "answers": answers}) + "\n")
        except ArtifactError as error:
            print(f"the champion cannot be scored: {error}")
            file.write(json.dumps({"failed": str(error)}) + "\n")
    return 0


class Champion:
    """A champion that may turn out not to answer: then the evaluation goes on without it, and says why."""

    def __init__(self, process: Asked | None, failed: str | None) -> None:
        self.process = process
        self.failed = failed

    def give_up(self, error: Exception) -> None:
        """Go on without it."""
        self.process, self.failed = None, str(error)
        print(f"the champion cannot be scored: {error}")


def _model(stack: ExitStack, folder: Path, role: str, job: Job) -> ArtifactProcess | TransformedAnswers:
    if is_transformed(folder):
        return TransformedAnswers(folder, role, job.classes)
    return stack.enter_context(ArtifactProcess(folder, role, job.artifacts.get(role)))


def _champion(stack: ExitStack, folder: Path, job: Job) -> Champion:
    if not folder.is_dir():
        return Champion(None, None)
    if (folder / ANSWERS).is_file():
        return Champion(WrittenAnswers(folder / ANSWERS), None)
    champion = Champion(None, None)
    try:
        champion.process = _model(stack, folder, "champion", job)
    except ArtifactError as error:
        champion.give_up(error)
    return champion


def evaluate(
    job: Job, test: Path, challenger: ArtifactProcess | TransformedAnswers, champion: Champion, output: Path
) -> dict[str, Any]:
    """Score the rows with both models, write ``rows.csv`` and ``smoke.json``, and return the summary.

    Raises:
        ValueError: there are no rows, or the challenger's answer is not sound.
        ArtifactError: the challenger cannot be loaded or refuses the rows.

    """
    truth: list[np.ndarray] = []
    groups: list[pd.Series] = []
    answers: dict[str, list[np.ndarray]] = {role: [] for role in ROLES}
    files: dict[str, int] = {}
    numbers: list[np.ndarray] = []
    asked, sampled = SmokeRows(), SampledRows()
    for name, frame in _chunks(test, job):
        numbers.append(np.full(len(frame), files.setdefault(_arrival(name), len(files))))
        truth.append(losses.encoded(job.task, frame[job.target].to_numpy(), job.classes))
        if job.group:
            groups.append(frame[job.group])
        rows = _records(frame, job)
        sampled.see(rows)
        for model in (challenger, champion.process):
            _ask(model, name, rows, champion)
        answers["challenger"].append(_answer(challenger, len(frame), job))
        asked.see(frame, answers["challenger"][-1])
        if champion.process is not None:
            try:
                answers["champion"].append(_answer(champion.process, len(frame), job))
            except (ArtifactError, ValueError) as error:
                champion.give_up(error)
    for model in (challenger, champion.process):
        _close(model, champion)
    if not truth:
        raise ValueError("the test channel has no rows: nothing can be compared")
    known = np.concatenate(truth)
    scored = {"challenger": _scored(job, known, answers["challenger"], "challenger")}
    losses.check_sure(scored["challenger"], "challenger")
    if champion.process is not None:
        try:
            scored["champion"] = _scored(job, known, answers["champion"], "champion")
        except ValueError as error:
            champion.give_up(error)
    names = group_names(pd.concat(groups, ignore_index=True) if groups else None, len(known))
    _write_rows(output / "rows.csv", job, known, scored, names, np.concatenate(numbers))
    _write_json(output / "smoke.json", _smoke(asked, job, challenger))
    not_explained = write_overview(challenger, sampled.rows, job, output)
    if not_explained:
        print(f"the challenger is not explained: {not_explained}")
    summary = {**_summary(job, known, scored), "champion_failed": champion.failed, "files": list(files)}
    return {**summary, "not_explained": not_explained}


def _arrival(path: str) -> str:
    """Return what a row arrived in: the folder ``batch=...`` that its object lies in, or the object's own name."""
    parts = path.split("/")
    return next((part for part in parts if part.startswith("batch=")), parts[-1])


def _chunks(test: Path, job: Job) -> Iterator[tuple[str, pd.DataFrame]]:
    rows = max(1, CHUNK_CELLS // len(job.columns))
    for name, frame in iterate_frames(test, job):
        for start in range(0, len(frame), rows):
            yield name, frame[start : start + rows].reset_index(drop=True)


def _records(frame: pd.DataFrame, job: Job) -> list[dict[str, Any]]:
    """Return the inputs by name, a missing value as None: a champion may have been trained before a column was added."""
    inputs = frame.drop(columns=job.target)
    missing = inputs.isna()
    plain = inputs.astype(object).mask(missing, None) if missing.to_numpy().any() else inputs
    return [{str(name): value for name, value in row.items()} for row in plain.to_dict("records")]


def _ask(model: Asked | None, name: str, rows: Sequence[Mapping[str, Any]], champion: Champion) -> None:
    if model is None:
        return
    try:
        if isinstance(model, TransformedAnswers):
            model.turn_to(name)
        model.ask(rows=rows)
    except ArtifactError as error:
        if model is not champion.process:
            raise
        champion.give_up(error)


def _close(model: Asked | None, champion: Champion) -> None:
    try:
        if isinstance(model, TransformedAnswers):
            model.close()
    except ArtifactError as error:
        if model is not champion.process:
            raise
        champion.give_up(error)


def _asked_for(job: Job) -> str:
    return "probabilities" if job.classes else "predictions"


def _answer(model: Asked, rows: int, job: Job) -> np.ndarray:
    """Return the numbers that a model answers; what is none becomes NaN, and is named with its row later."""
    found = model.answers(_asked_for(job), rows)
    if job.classes:
        widths = {len(row) if isinstance(row, list) else 0 for row in found}
        if widths != {len(job.classes)}:
            raise ArtifactError(
                f"the {model.role} answers {sorted(widths)} probabilities a row for {len(job.classes)} classes"
            )
        return np.array([[_number(value) for value in row] for row in found])
    return np.array([_number(value) for value in found])


def _number(value: Any) -> float:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else math.nan


def _scored(job: Job, truth: np.ndarray, answers: list[np.ndarray], role: str) -> losses.Scored:
    try:
        return losses.scored(job.task, truth, np.concatenate(answers), job.classes, job.threshold)
    except ValueError as error:
        raise ValueError(f"the {role} does not answer soundly: {error}") from error


def _write_rows(
    path: Path,
    job: Job,
    truth: np.ndarray,
    scored: Mapping[str, losses.Scored],
    groups: np.ndarray,
    files: np.ndarray,
) -> None:
    shown = [job.classes[value] for value in truth] if job.classes else truth.tolist()
    nothing = [""] * len(truth)
    columns: list[Any] = [range(1, len(truth) + 1), _texts(shown)]
    columns += [_texts(scored[role].values) if role in scored else nothing for role in ROLES]
    columns += [groups]
    columns += [_texts(scored[role].losses) if role in scored else nothing for role in ROLES]
    columns += [files]
    if job.classes:
        columns += [_shares(scored[role]) if role in scored else nothing for role in ROLES]
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow([*COLUMNS, *(PROBABILITIES if job.classes else ())])
        writer.writerows(zip(*columns, strict=True))


def _shares(scored: losses.Scored) -> list[str]:
    """Return the probabilities of each row: of two classes that of the second, of more all of them."""
    assert scored.probabilities is not None
    if scored.probabilities.shape[1] == 2:
        return _texts(scored.probabilities[:, 1])
    return [" ".join(map(repr, row)) for row in scored.probabilities.tolist()]


def _texts(values: Any) -> list[str]:
    return [value if isinstance(value, str) else repr(float(value)) for value in values]


class SmokeRows:
    """Test rows to verify an endpoint with: the first one, the two that the challenger answers most differently, one with a gap."""

    def __init__(self) -> None:
        self.found: dict[str, tuple[pd.DataFrame, np.ndarray]] = {}
        """By what each stands for: the row, and what the challenger answered to it."""
        self._extremes: dict[str, float] = {}

    def see(self, frame: pd.DataFrame, answers: np.ndarray) -> None:
        """Look at rows and their answers, shape (rows,) or (rows, classes)."""

        def row(at: int) -> tuple[pd.DataFrame, np.ndarray]:
            return frame[at : at + 1], answers[at]

        self.found.setdefault("first test row", row(0))
        if len(gaps := np.flatnonzero(frame.isna().any(axis=1))):
            self.found.setdefault("a row with a missing value", row(int(gaps[0])))
        values = answers if answers.ndim == 1 else answers[:, -1]
        for sign, name in ((1.0, "largest answer"), (-1.0, "smallest answer")):
            signed = np.where(np.isfinite(values), sign * values, -np.inf)
            at = int(signed.argmax())
            if signed[at] > self._extremes.get(name, -math.inf):
                self._extremes[name], self.found[name] = float(signed[at]), row(at)


def _smoke(asked: SmokeRows, job: Job, challenger: ArtifactProcess | TransformedAnswers) -> dict[str, Any]:
    """Return requests as a client would send them, and the challenger's answers: a number, of a classification the probabilities."""
    rows = [{"why": why, **_smoke_row(*found, job, challenger)} for why, found in asked.found.items()]
    return {"content_type": "text/csv", **rows[0], "rows": rows[1:]}


def _smoke_row(
    frame: pd.DataFrame, answered: np.ndarray, job: Job, challenger: ArtifactProcess | TransformedAnswers
) -> dict[str, Any]:
    [body] = request_lines(frame, job.inputs)
    if isinstance(challenger, TransformedAnswers):  # its answer came from its server already
        return {"body": body, "prediction": answered.tolist()}
    challenger.ask(body=body, content_type="text/csv")
    [prediction] = challenger.answers("probabilities" if job.classes else "predictions", 1)
    return {"body": body, "prediction": prediction}


def _summary(job: Job, truth: np.ndarray, scored: Mapping[str, losses.Scored]) -> dict[str, Any]:
    figures = {role: losses.metrics(job.task, truth, scored[role]) if role in scored else None for role in ROLES}
    return {"task": job.task, "classes": list(job.classes), "n": len(truth), **figures}


def _write_json(path: Path, document: Any) -> None:
    path.write_text(json.dumps(document, indent=2, allow_nan=False) + "\n", encoding="utf-8")
