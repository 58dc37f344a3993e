"""The demo with training and evaluation written with the SageMaker SDK, on a stack of its own."""

import json

import pytest
from conftest import Stack

from local_stack import layout

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(
        not layout.python("sagemaker").exists(),
        reason="no environment of the SageMaker SDK: make setup-sdk",
    ),
]


@pytest.fixture(scope="module")
def played(tmp_path_factory):
    """The folder of a stack that has played the demo and is down again."""
    stack = Stack(tmp_path_factory.mktemp("sdk") / "local")
    stack.play("make demo SDK=1")
    return stack.folder


def test_both_runs_succeed_and_the_better_model_is_deployed(played):
    summary = json.loads((played / "demo.json").read_text())
    assert summary["forms"] == {"training": "SdkJobOperator", "evaluate_model": "SdkJobOperator"}
    for run in (summary["first_run"], summary["retrain_run"]):
        assert (run["state"], run["decision"]) == ("success", "approved")
    assert summary["retrain_run"]["score_challenger"] < summary["retrain_run"]["score_champion"]


def test_the_jobs_are_the_sdk_s_and_named_by_the_library(played):
    logs = sorted((played / "aws" / "jobs" / "training-job").glob("*/log.txt"))
    assert len(logs) == 2
    assert all("Running Basic Script driver" in log.read_text() for log in logs)
    names = [log.parent.name for log in [*logs, *(played / "aws" / "jobs" / "processing-job").glob("*/log.txt")]]
    assert len(names) == 4
    assert all(
        name.startswith(("dev-abalone-train-", "dev-abalone-evaluate-")) and "-2026" not in name for name in names
    )


def test_nothing_dated_is_left_in_the_bucket(played):
    notes = (played / "aws" / "s3").rglob(
        "*.meta.json"
    )  # one beside each object; a deleted one of a versioned bucket leaves a marker
    objects = [path.as_posix() for path in notes if not json.loads(path.read_text()).get("is_delete_marker")]
    assert any("/abalone/code/sdk/" in path for path in objects)
    assert not [path for path in objects if "/code/sdk/uploads/" in path]
