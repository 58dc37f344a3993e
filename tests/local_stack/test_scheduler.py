"""The local stack's scheduler: what differs from Airflow's own is when it looks."""

from __future__ import annotations

from pathlib import Path

import pytest
from own_airflow import EMPTY_DATABASE, told_last

PREPARED = """
from sqlalchemy import text
from local_stack import scheduler

def write(statement):
    with settings.engine.begin() as connection:
        connection.execute(text("PRAGMA foreign_keys=OFF"))
        connection.execute(text(statement))

RUN = ("INSERT INTO dag_run (id, dag_id, state, run_id, run_type, run_after, log_template_id, clear_number, span_status, created_at, "
       "updated_at) VALUES ({0}, 'd', '{1}', 'r{0}', 'manual', '2026-01-01', 1, 0, 'not_started', '2026-01-01', '2026-01-01')")
TASK = ("INSERT INTO task_instance (id, task_id, dag_id, run_id, map_index, state, try_number, pool, pool_slots, queue, span_status) "
        "VALUES ('{1}', 't{1}', 'd', 'r{0}', -1, '{2}', 0, 'p', 1, 'q', 'not_started')")
changes = scheduler.Changes(settings.engine.url.database)

def noticed():
    found = changes.pending()
    if found is not None:
        changes.acted_on(found)
    return found is not None
noticed()
"""


def told(home: Path, program: str) -> str:
    """Return the last line that a program prints beside an empty database."""
    return told_last(home, EMPTY_DATABASE + PREPARED + program)


def test_what_a_scheduler_acts_on_is_noticed_once_and_nothing_else(tmp_path):
    program = """
seen = []
for statement in (
    RUN.format(1, "running"),
    TASK.format(1, "a", "scheduled"),
    "UPDATE task_instance SET state = 'running' WHERE id = 'a'",
    "UPDATE task_instance SET last_heartbeat_at = '2026-01-01' WHERE id = 'a'",
    "UPDATE task_instance SET try_number = 1 WHERE id = 'a'",
    "UPDATE dag_run SET last_scheduling_decision = '2026-01-01'",
    "UPDATE dag_run SET clear_number = 1",
    "INSERT INTO asset_dag_run_queue VALUES (1, 'd', '2026-01-01')",
    "DELETE FROM asset_dag_run_queue",
    "UPDATE dag_run SET state = 'success'",
    "UPDATE task_instance SET state = 'success'",
):
    write(statement)
    seen.append((noticed(), noticed()))
print([first for first, _ in seen], any(second for _, second in seen))
"""
    expected = [True, True, True, False, True, False, True, True, True, True, False]
    assert told(tmp_path, program) == f"{expected} False"


def test_a_run_begins_in_its_moment_and_not_with_the_next_whole_second(tmp_path):
    program = """
import time
from datetime import UTC, datetime, timedelta
from airflow.models import DagRun
from sqlalchemy import func, select
from sqlalchemy.orm import Session
scheduler.prepare()
begun = []
with Session(settings.engine) as session:
    write(RUN.format(1, "queued"))
    for moment in (timedelta(0), timedelta(seconds=0.05), timedelta(hours=1)):
        now = datetime.now(UTC) + moment
        write(f"UPDATE dag_run SET run_after = '{now:%Y-%m-%d %H:%M:%S.%f}'")
        found = select(DagRun.id).where(DagRun.run_after <= func.now())
        at_once = session.scalar(found)
        time.sleep(0.06)
        begun.append((at_once, session.scalar(found)))
print(begun[0][1], *begun[1:])
"""
    assert told(tmp_path, program) == "1 (None, 1) (None, None)"


@pytest.mark.parametrize(
    ("world", "expected"),
    [
        ("changed=[True]", "1 look after 0 pauses"),
        ("changed=[False, False, True]", "1 look after 2 pauses"),
        ("", "1 look after 34 pauses"),
        ("ended=[True]", "no look after 0 pauses, then another round: True"),
        ("ended=[False, True]", "no look after 1 pauses, then another round: True"),
        ("ended=[True], changed=[True]", "1 look after 0 pauses"),
    ],
)
def test_it_looks_when_something_has_changed_or_a_second_has_passed(tmp_path, world, expected):
    """When a task has ended its executor is attended to, without a look, in that round and in the next."""
    program = f"""
import types
from airflow.jobs import scheduler_job_runner as own
now, pauses, looks = [5.0], [], []
def sleep(seconds):
    pauses.append(seconds)
    now[0] += seconds
scheduler.time = types.SimpleNamespace(monotonic=lambda: now[0], sleep=sleep)
own.SchedulerJobRunner._do_scheduling = lambda self, session: looks.append(session) or 7
def world(changed=(), ended=()):
    changed, ended = list(changed), list(ended)
    class Changes:
        def __init__(self, database): assert str(database).endswith("air flow.db"), database
        def pending(self):
            return "changed" if changed and changed.pop(0) else None
        def acted_on(self, pending): assert pending
    scheduler.Changes = Changes
    results = types.SimpleNamespace(empty=lambda: not (ended and ended.pop(0)))
    return [types.SimpleNamespace(result_queue=results)]
class Runner(scheduler.SchedulerJobRunner):
    def __init__(self): self._next_look = now[0] + scheduler.LONGEST
runner = Runner()
runner.executors = world({world})
answered = runner._do_scheduling("session")
assert answered == (7 if looks else 0)
assert looks in ([], ["session"])
assert not looks or runner._next_look == now[0] + scheduler.LONGEST
line = f"{{'1 look' if looks else 'no look'}} after {{len(pauses)}} pauses"
if not looks:
    before = len(pauses)
    assert runner._do_scheduling("session") == 0
    line += f", then another round: {{len(pauses) == before}}"
    assert runner._do_scheduling("session") == 7
print(line)
"""
    assert told(tmp_path, program) == expected


def test_a_database_that_does_not_answer_is_airflows_to_tell(tmp_path):
    program = """
write("DROP TABLE asset_dag_run_queue")
write(RUN.format(1, "running"))
print(noticed())
"""
    assert told(tmp_path, program) == "False"


def test_it_stands_in_the_place_of_airflows(tmp_path):
    program = """
from airflow.cli.commands import scheduler_command
scheduler.prepare()
print(scheduler_command.SchedulerJobRunner is scheduler.SchedulerJobRunner)
"""
    assert told(tmp_path, program) == "True"
