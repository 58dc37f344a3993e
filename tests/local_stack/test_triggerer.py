"""The local stack's triggerer: what differs from Airflow's own is how often it looks."""

from __future__ import annotations

from pathlib import Path

from own_airflow import EMPTY_DATABASE, told_last

PREPARED = """
import asyncio, time
from airflow.models.trigger import Trigger
from local_stack import triggerer

def add(owner):
    with create_session() as session:
        made = Trigger(classpath="a.B", kwargs={})
        made.triggerer_id = owner
        session.add(made)
"""


def told(home: Path, program: str) -> str:
    """Return the last line that a program prints beside an empty database."""
    return told_last(home, EMPTY_DATABASE + PREPARED + program)


def test_a_trigger_that_nobody_has_taken_up_is_new(tmp_path):
    program = """
seen = [triggerer.any_is_new()]
add(7)
seen.append(triggerer.any_is_new())
add(None)
seen.append(triggerer.any_is_new())
print(seen)
"""
    assert told(tmp_path, program) == "[False, False, True]"


def test_what_is_new_or_has_fired_does_not_wait_for_airflows_next_round(tmp_path):
    """Airflow's own supervisor does all of this after each message or second, with what only needs doing now and then."""
    program = """
done = []
triggerer.ROUND = 600  # longer than a slow machine takes for what follows
class Supervisor(triggerer.TriggerRunnerSupervisor):
    def __init__(self): pass
for name in ("load_triggers", "handle_events", "handle_failed_triggers", "clean_unused", "heartbeat", "emit_metrics"):
    setattr(Supervisor, name, lambda self, name=name: done.append(name))
Supervisor._service_subprocess = lambda self, seconds: done.append(seconds)
supervisor = Supervisor()
supervisor.run_once()
assert set(done) >= {"load_triggers", "clean_unused", "heartbeat", 1}, done
done.clear()
supervisor.run_once()
assert done == [triggerer.PAUSE, "handle_events", "handle_failed_triggers"], done
add(None)
done.clear()
supervisor.run_once()
print(done[-1])
"""
    assert told(tmp_path, program) == "load_triggers"


def test_the_end_of_the_runner_is_seen_when_it_says_nothing_more(tmp_path):
    """Airflow's own supervisor sleeps for all of the ten seconds after which it would insist."""
    program = """
from airflow.jobs import triggerer_job_runner
waited = []
def service(self, max_wait_time, raise_on_timeout=False, expect_signal=None):
    waited.append(max_wait_time)
    return 0 if len(waited) > 2 else None
triggerer_job_runner.TriggerRunnerSupervisor._service_subprocess = service
class Supervisor(triggerer.TriggerRunnerSupervisor):
    pid, _exit_code = 1, None
    def __init__(self): pass
    def _signal_subprocess(self, sig): pass
Supervisor().kill(escalation_delay=10, force=True)
print(waited)
"""
    assert told(tmp_path, program) == "[0.1, 0.1, 0.1]"


def test_the_runner_passes_on_what_triggers_yield_while_airflows_loop_would_sleep(tmp_path):
    program = """
import collections
calls = collections.Counter()
class Runner(triggerer.TriggerRunner):
    async def cleanup_finished_triggers(self):
        calls["cleanup"] += 1
        self.stop = calls["cleanup"] == 3
        return [calls["cleanup"]]
    async def sync_state_to_supervisor(self, finished):
        calls[f"passed on {finished}"] += 1
    async def create_triggers(self):
        calls["create"] += 1
asyncio.run(Runner().cancel_triggers())
print(dict(calls))
"""
    expected = {"cleanup": 3, "passed on [1]": 1, "create": 3, "passed on [2]": 1, "passed on [3]": 1}
    assert told(tmp_path, program) == str(expected)
