import io

from rich.console import Console

from local_stack import progress

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
