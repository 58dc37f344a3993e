import io
import itertools

import pytest
from rich.console import Console

from local_stack import progress
from local_stack.verbs import runs

AFTER = {
    "approved": ["publish_report", "register_model"],
    "check": ["approved", "rejected"],
    "end": [],
    "merge": ["quality"],
    "publish_report": ["end"],
    "quality": ["check"],
    "register_model": ["publish_report"],
    "rejected": ["publish_report"],
    "start": ["merge"],
}


def test_tasks_come_in_the_order_of_the_dag_and_not_of_the_alphabet():
    tasks = [{"task_id": name, "downstream_task_ids": after} for name, after in AFTER.items()]
    order = ["start", "merge", "quality", "check", "approved", "rejected", "register_model", "publish_report", "end"]
    assert progress.in_order(tasks) == order


def test_a_branch_that_was_taken_does_not_read_as_a_success():
    text = io.StringIO()
    tasks = [
        {"task_id": "rejected", "map_index": -1, "state": "success"},
        {"task_id": "approved", "map_index": -1, "state": "skipped"},
        {"task_id": "merge", "map_index": -1, "state": "success"},
    ]
    progress._print_changes(Console(file=text, width=80), tasks, {})
    assert [line.split()[:2] for line in text.getvalue().splitlines()] == [
        ["rejected", "branch"],
        ["approved", "not"],
        ["merge", "success"],
    ]


class AskingApi:
    """Airflow with one run of `abalone_retraining` that waits for a person."""

    def __init__(self):
        self.triggered = []

    def get(self, path, **_):
        return {"tasks": [{"task_id": "await_approval", "downstream_task_ids": []}]}

    def run(self, dag_id, run_id):
        return {"dag_run_id": run_id, "state": "running"}

    def runs(self, dag_id):
        return [self.run(dag_id, "manual__2026-11-26T10:00:00+00:00")]

    def tasks(self, dag_id, run_id):
        return [{"task_id": "await_approval", "map_index": -1, "state": "awaiting_input"}]

    def trigger(self, dag_id, params):
        self.triggered.append(dag_id)


WHERE = "/dags/abalone_retraining/runs/manual__2026-11-26T10%3A00%3A00%2B00%3A00/tasks/await_approval/required_actions"


@pytest.mark.parametrize("wait", [progress.follow, progress.ended])
def test_a_run_that_waits_for_a_person_is_not_waited_for_in_silence(wait):
    run_id = AskingApi().runs("abalone_retraining")[0]["dag_run_id"]
    with pytest.raises(progress.AwaitsAnswerError, match="waits for a person's yes or no") as told:
        wait(AskingApi(), "abalone_retraining", run_id, 5)
    assert WHERE in str(told.value)


def test_no_other_run_is_asked_for_while_one_waits_for_a_person(monkeypatch):
    api = AskingApi()
    monkeypatch.setattr(runs.dag_state, "runnable", lambda *_: None)
    monkeypatch.setattr(runs.dag_state, "params", lambda *_: ["force_retrain"])
    with pytest.raises(progress.RunFailedError, match="Answer it first"):
        runs.run(None, api, "abalone_retraining", {"force_retrain": True}, print)
    assert api.triggered == []
    with pytest.raises(progress.RunFailedError, match="Answer it first"):
        runs.wait_until_idle(api, print, "abalone_retraining")


class EndlessApi:
    """Airflow with a run that goes on, until its reader has looked often enough to press Ctrl-C, or it has ended."""

    def __init__(self, looks, then):
        self.looks, self.then = looks, then

    def get(self, path, **_):
        return {"tasks": []}

    def run(self, dag_id, run_id):
        self.looks -= 1
        if self.looks < 0:
            if self.then is KeyboardInterrupt:
                raise KeyboardInterrupt
            return {"dag_run_id": run_id, "state": self.then}
        return {"dag_run_id": run_id, "state": "running"}

    def tasks(self, dag_id, run_id):
        return []


@pytest.fixture
def hours(monkeypatch):
    """Time in which each look comes an hour after the one before."""
    now = itertools.count(0, 3600.0)
    monkeypatch.setattr(progress.time, "sleep", lambda seconds: None)
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(now))


def test_a_person_s_run_is_followed_as_long_as_it_takes_and_a_demo_s_for_its_time(hours):
    assert progress.follow(EndlessApi(100, "success"), "a_retraining", "r1")["state"] == "success"
    assert progress.ended(EndlessApi(100, "failed"), "a_retraining", "r1")["state"] == "failed"
    with pytest.raises(progress.RunFailedError, match="run r1 is still running after 600 s"):
        progress.follow(EndlessApi(100, "success"), "a_retraining", "r1", runs.RUN_LIMIT_SECONDS)


def test_who_stops_following_is_told_that_the_run_goes_on(hours, capsys):
    with pytest.raises(KeyboardInterrupt):
        progress.follow(EndlessApi(3, KeyboardInterrupt), "a_retraining", "r1")
    assert "run r1 goes on without being followed; make status shows" in capsys.readouterr().out
