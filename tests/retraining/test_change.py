"""The plan is the run: what changed meanwhile waits for the next one, and a change is itself a reason to run."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from serving_stage import Stage

from retraining.dag.tasks.retraining import RetrainingTasks
from retraining.dataset.state import LogState
from retraining.jobs.plan import Champion
from retraining.serving.champion import Standing
from retraining.settings.model_config import load_model_config

pytestmark = pytest.mark.local_aws
ABALONE = Path(__file__).resolve().parents[2] / "dags" / "models" / "abalone"


@pytest.fixture
def stage(account, access, config, bucket) -> Iterator[Stage]:
    return Stage(account, access, config, bucket)


@pytest.fixture
def folder(tmp_path):
    return shutil.copytree(ABALONE, tmp_path / "abalone", ignore=shutil.ignore_patterns("__pycache__"))


def tasks(stage, folder, **changes):
    document = yaml.safe_load((folder / "model.yaml").read_text())
    for section, values in changes.items():
        document[section] = {**document.get(section, {}), **values}
    (folder / "model.yaml").write_text(yaml.safe_dump(document))
    config = load_model_config(folder / "model.yaml").model_copy(update={"name": stage.name, "aws": stage.access})
    return RetrainingTasks(config, folder)


class OneBatch(LogState):
    """A log with one version."""

    @property
    def batches(self):
        return ("b" * 16,)


@pytest.fixture
def champion_of(monkeypatch):
    """Let a piece of work be the champion's."""

    def serve(work):
        made = Champion(package_arn="arn", model_data="s3://b/m", work_digest=work, run_key="v1")
        monkeypatch.setattr("retraining.serving.champion.standing", lambda *_: Standing(made))

    return serve


def work_of(steps):
    from retraining.jobs.code_bundle import code_digest, code_files
    from retraining.jobs.plan import work_digest

    return work_digest(OneBatch().batches, code_digest(code_files(steps.folder)), steps._settings({}))


def test_changed_code_or_configuration_is_a_reason_to_run_until_it_was_judged(stage, folder, champion_of):
    before = tasks(stage, folder)
    champion_of(work_of(before))
    assert before._change(OneBatch(), {}) is None
    changed = tasks(stage, folder, gate={"required_odds": 2.5})
    assert changed._change(OneBatch(), {}) == "code or configuration changed since the champion was made"
    (folder / "features.py").write_text((folder / "features.py").read_text() + "\n# changed\n")
    assert before._change(OneBatch(), {}) == "code or configuration changed since the champion was made"
    assert tasks(stage, folder, schedule={"retrain_on_change": False})._change(OneBatch(), {}) is None
    stage.put("runs/v9/plan.json", {"work_digest": work_of(changed)})
    changed._note_work("v9", "rejected")
    assert changed._change(OneBatch(), {}) is None


def test_what_changes_how_it_serves_alone_is_no_reason_to_train(stage, folder, champion_of):
    champion_of(work_of(tasks(stage, folder)))
    assert tasks(stage, folder, deployment={"instance_count": 2})._change(OneBatch(), {}) is None


def test_a_configuration_that_changes_during_a_run_waits_for_the_next_one(stage, folder):
    began = tasks(stage, folder)
    plan = {"config": began.config.model_dump(mode="json", exclude={"aws"})}
    later = tasks(stage, folder, gate={"guards": {"rmse": 1.5}}, training={"instance_type": "ml.m5.4xlarge"})
    assert later.config.gate.guards == {"rmse": 1.5}
    assert later.planned(plan) == began.config
    assert later._policy({}, later.planned(plan)).guards == began.config.gate.guards
