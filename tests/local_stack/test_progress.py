import io

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
