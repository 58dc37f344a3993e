"""A supplier of single rows does not pay for a training with each: new files wait until the newest version has some age."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace

import pytest
from log_versions import make_version

from retraining.dag.tasks import data
from retraining.dag.tasks.retraining import RetrainingTasks
from retraining.dataset.landing_zone import seconds_to_gather
from retraining.dataset.state import LogState
from retraining.settings.model_config import Schedule, load_model_config

FOLDER = Path(__file__).resolve().parents[2] / "dags" / "models" / "abalone"
NOW = datetime(2026, 5, 4, 12, 0, tzinfo=UTC)


def version(minutes: float) -> SimpleNamespace:
    return SimpleNamespace(created_at=(NOW - timedelta(minutes=minutes)).isoformat())


@pytest.mark.parametrize(
    ("versions", "minutes", "seconds"),
    [
        ((), 60, 0),
        ((version(10),), 0, 0),
        ((version(10),), 60, 3000),
        ((version(300), version(59)), 60, 60),
        ((version(1), version(61)), 60, 0),
    ],
)
def test_files_wait_until_the_newest_version_is_old_enough(versions, minutes, seconds):
    assert seconds_to_gather(versions, minutes, NOW) == seconds


def test_a_run_waits_for_others_unless_it_was_asked_for(monkeypatch):
    config = load_model_config(FOLDER / "model.yaml")
    config = config.model_copy(update={"schedule": Schedule(min_interval_minutes=60, retrain_on_change=False)})
    tasks = RetrainingTasks(config, FOLDER)
    made = datetime.now(UTC) - timedelta(minutes=10)
    state = SimpleNamespace(
        versions=(SimpleNamespace(created_at=made.isoformat()),),
        untrained=False,
        gathering=lambda least: "",
        batches=("b",),
        latest=1,
    )
    monkeypatch.setattr(RetrainingTasks, "_dataset", SimpleNamespace(read=lambda: state))
    monkeypatch.setattr(RetrainingTasks, "platform", SimpleNamespace(settle_seconds=1, bucket="b"))
    monkeypatch.setattr(RetrainingTasks, "_s3", None)
    monkeypatch.setattr(data, "leave_settings", lambda *_: None)
    monkeypatch.setattr(RetrainingTasks, "_landed", lambda self: [])
    monkeypatch.setattr(data, "unseen", lambda landed, state: ([SimpleNamespace(age_seconds=99.0)], []))
    monkeypatch.setattr(data, "split_settled", lambda files, settle: (["one file"], []))
    reason, wait = tasks.look_for_work({"params": {}})
    assert (reason, 2900 < wait <= 3000) == (None, True)
    assert tasks.look_for_work({"params": {"force_retrain": True}})[0] == "1 new file(s)"
    state.versions = ()
    assert tasks.look_for_work({"params": {}})[0] == "1 new file(s)"


@pytest.mark.parametrize(
    ("rows", "judged", "least", "words"),
    [
        ((40,), (), 100, ""),
        ((40, 3), (1,), 0, ""),
        ((40, 3), (1,), 3, ""),
        (
            (40, 3),
            (1,),
            4,
            "3 rows came since dataset version 1, the newest with a judged model: a training waits for 4",
        ),
        ((40, 3, 1), (1,), 5, "4 rows came since dataset version 1"),
        ((40, 3, 1), (1, 2), 5, "1 row came since dataset version 2"),
        ((40, 3, 1, 1), (1,), 5, ""),
        ((40, 3, 0), (1,), 4, "3 rows came"),
        ((40, 3), (1, 2), 99, ""),
    ],
    ids=[
        "a first model",
        "no minimum",
        "enough",
        "too few",
        "two versions",
        "since the last",
        "in sum",
        "none",
        "judged",
    ],
)
def test_rows_gather_until_a_training_is_worth_it(rows, judged, least, words):
    versions = tuple(make_version(number, rows=count) for number, count in enumerate(rows, 1))
    found = LogState(versions=versions, trained=frozenset(judged)).gathering(least)
    assert found.startswith(words) if words else not found
