"""A model that is put to use in another way than by machines that wait for requests, from its first data to a rollback.

Each mode plays on a stack and a copy of the repository of its own, by the commands that a person types.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import ROOT, Stack

from local_stack.surveys import split_surveys

pytestmark = [pytest.mark.airflow, pytest.mark.e2e, pytest.mark.timeout(3600)]
LEFT_OUT = ("docs", "tests", "benchmarks", "build")
IMAGE = "image: sagemaker-scikit-learn:1.9-0-cpu-py3"
DEPLOYMENTS = {
    "none": f"deployment:\n  mode: none\n  {IMAGE}\n",
    "serverless": f"deployment:\n  mode: serverless\n  endpoint: abalone\n  {IMAGE}\n  serverless: {{memory_mb: 2048}}\n",
}
NO_SCHEDULE = 'batch: {cron: "0 0 1 1 *"}\n'
"""Else the run of the hour may score a file before the command does."""
SERVES = {
    "none": "no endpoint, files are scored: model version {}",
    "serverless": "endpoint dev-abalone: model version {}",
}


@pytest.fixture(scope="module", params=DEPLOYMENTS)
def played(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[str, Stack, Path]]:
    """Mode, running stack, and a folder with two surveys, of which the first has been trained on."""
    folder = tmp_path_factory.mktemp(request.param)
    repository = folder / "repository"
    for part in ROOT.iterdir():
        if part.is_dir() and part.name not in LEFT_OUT and not part.name.startswith("."):
            shutil.copytree(part, repository / part.name, symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
    path = repository / "dags" / "models" / "abalone" / "model.yaml"
    chosen = DEPLOYMENTS[request.param] + NO_SCHEDULE
    text, count = re.subn(r"(?ms)^deployment:\n.*\Z", chosen, path.read_text())
    assert count == 1
    path.write_text(text)
    original, surveys = split_surveys(ROOT / "data" / "abalone.csv")
    header = original.splitlines()[0]
    (folder / "first.csv").write_text(original)
    (folder / "second.csv").write_text(f"{header}\n{surveys[0]}")
    stack = Stack(folder / "local", repository)
    try:
        says(stack, "up")
        yield request.param, stack, folder
    finally:
        stack.run("down")


def says(stack: Stack, *arguments: str) -> str:
    done = stack.run(*arguments)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_a_model_is_promoted_scores_files_and_is_taken_back(played):
    mode, stack, folder = played
    serves = SERVES[mode]
    first = says(stack, "retrain", str(folder / "first.csv"))
    assert "approved: " in first and serves.format(1) in first, first

    rows = (folder / "second.csv").read_text().splitlines()[:21]
    (folder / "to_score.csv").write_text("\n".join(rows) + "\n")
    scored = says(stack, "score", str(folder / "to_score.csv"))
    assert "scored with model v1: 20 rows of 1 file(s)" in scored

    second = says(stack, "retrain", str(folder / "second.csv"))
    assert "approved: " in second and serves.format(2) in second, second

    back = says(stack, "run", "abalone_rollback", "--params", '{"why": "the newer model drifts"}')
    assert serves.format(1) in back, back
    assert serves.format(1) in says(stack, "status")
    (folder / "last.csv").write_text("\n".join([rows[0], *rows[8:12]]) + "\n")
    assert "scored with model v1: 4 rows" in says(stack, "score", str(folder / "last.csv"))

    served = [path.name for path in (stack.folder / "aws").glob("**/jobs/endpoint/*")]
    assert served == ([] if mode == "none" else ["dev-abalone"])
