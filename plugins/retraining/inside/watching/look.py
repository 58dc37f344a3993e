"""Looks at the captured requests of an endpoint, and writes their profile beside that of the rows that the model was trained on.

Runs as a SageMaker processing job. Input: ``job`` (``job.json``), ``model`` (``model.tar.gz`` with ``profile.json``), ``captured``; if
there are labels ``labels`` (files), ``answers`` (those that earlier looks kept) and ``ledger`` (of the labels before). Output:
``look.json`` with ``reference`` and ``rows``, both profiles, and ``tally``; with ``not_explained``, why, if rows were to be explained and
are not; with ``labels``, what became of them. Beside it the answers of this look and its ledger.
"""

from __future__ import annotations

import json
import tarfile
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pandas as pd

from retraining.contract.plain_text import plain
from retraining.contract.rules import Contract
from retraining.inside.artifact import CARD_FILE
from retraining.inside.artifact_process import ArtifactError, ArtifactProcess
from retraining.inside.job_file import Job, classes_of, inputs_of
from retraining.inside.watching.captured import Tally, frames
from retraining.inside.watching.effects import EFFECT, Sample, seen_effects
from retraining.inside.watching.kept_answers import ANSWERS_FILE, KeptAnswers
from retraining.inside.watching.labelled import judged_labels
from retraining.inside.watching.profile import PREDICTION, PROFILE_FILE, Profile, merged, profile


def run(job: Job, inputs: Path, output: Path) -> int:
    """Write ``look.json``.

    Args:
        job: what does not count as use of the model.
        inputs: folders ``model`` and ``captured``.
        output: where to.

    Raises:
        ValueError: the model has no profile.

    """
    found = artifact_documents(inputs / "model" / "model.tar.gz", (PROFILE_FILE, CARD_FILE))
    if PROFILE_FILE not in found or "contract" not in found.get(CARD_FILE, {}):
        raise ValueError(
            f"the model has no {PROFILE_FILE}: it was trained by a script of its own, or before models had one. Train it again "
            "with fit in train.py to have it watched"
        )
    reference, tally = found[PROFILE_FILE], Tally()
    contract = Contract.of(found[CARD_FILE]["contract"])
    paths = sorted(path for path in (inputs / "captured").rglob("*") if path.is_file())
    sample = Sample(job.explained_rows if any(name.startswith(EFFECT) for name in reference) else 0)
    kept = (
        KeptAnswers(output / ANSWERS_FILE, classes_of(contract.column(contract.target), job.task))
        if job.label_days
        else None
    )
    rows = counted(paths, contract, reference, job.left_out, tally, sample, kept)
    labels = judged_labels(job, contract, inputs, output) if job.label_days else None
    if labels:
        rows |= profile(labels.scores, reference)
    why = _explain(job, inputs / "model", sample, reference, rows) if sample.rows else None
    output.mkdir(parents=True, exist_ok=True)
    document = {"reference": reference, "rows": rows, "tally": asdict(tally), **({"not_explained": why} if why else {})}
    document |= {"labels": labels.document} if labels else {}
    (output / "look.json").write_text(json.dumps(document) + "\n", encoding="utf-8")
    print(
        f"{tally.rows:,} rows of {tally.requests:,} requests, {tally.left_out:,} left out, {tally.unreadable:,} unreadable"
    )
    return 0


def _explain(job: Job, model: Path, sample: Sample, reference: Profile, rows: Profile) -> str | None:
    """Add what the sampled rows say about what the model goes by; returns why it cannot be told. A look does not fail because of it."""
    try:
        with ArtifactProcess(model, "model", job.artifacts.get("model")) as process:
            rows |= profile(seen_effects(process, sample.rows), reference)
    except ArtifactError as error:
        print(f"not explained: {plain(str(error), 500)}")
        return str(error)
    return None


def counted(
    paths: Sequence[Path],
    contract: Contract,
    reference: Profile,
    left_out: Sequence[str],
    tally: Tally,
    sample: Sample | None = None,
    kept: KeptAnswers | None = None,
) -> Profile:
    """Return the profile of the rows of capture files, and of the answers, in a reference's bins; ``sample`` and ``kept`` see all rows."""
    rows: Profile = {}
    for frame, answers in frames(paths, inputs_of(contract), contract, left_out, tally, kept):
        if len(frame):
            tally.rows += len(frame)
            if sample:
                sample.see(frame)
            rows = merged(rows, profile(frame, reference))
        if answers and PREDICTION in reference:
            rows = merged(rows, profile(pd.DataFrame({PREDICTION: _column(answers, reference)}), reference))
    return rows


def _column(answers: Sequence[Any], reference: Profile) -> pd.Series:
    if "edges" in reference[PREDICTION]:
        return pd.to_numeric(pd.Series(answers, dtype=object), errors="coerce").astype(float)
    return pd.Series([str(answer) for answer in answers], dtype=object)


def artifact_documents(archive: Path, names: Sequence[str]) -> dict[str, Any]:
    """Return JSON documents at the top of an artifact, by name, as far as it has them."""
    found: dict[str, Any] = {}
    with suppress(OSError, ValueError), tarfile.open(archive, "r:gz") as tar:
        for member in tar:
            name = member.name.removeprefix("./")
            if name in names and (file := tar.extractfile(member)):
                found[name] = json.loads(file.read())
    return found
