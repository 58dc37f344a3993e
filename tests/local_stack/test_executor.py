"""The executor's workers have what tasks import. Each test asks a process of its own, whose forks it would not leave as they were."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from local_stack import importing, layout

LIBRARY = layout.ROOT / "plugins"
IN_A_FORK = """
import os, sys, traceback
sys.path[:0] = [{library!r}, {root!r}]
from local_stack import executor, importing
{before}
sys.stdout.flush()
child = os.fork()
if not child:
    try:
{inside}
    except BaseException:
        traceback.print_exc()
    sys.stdout.flush()
    os._exit(0)
os.waitpid(child, 0)
"""


def told(library: Path, before: str, inside: str, dags: Path = layout.ROOT / "dags") -> str:
    """Return what a fork prints, after its parent has done something."""
    env = {**os.environ, "AWS_DEFAULT_REGION": "eu-central-1", "AIRFLOW__CORE__DAGS_FOLDER": str(dags)}
    lines = "\n".join(f"        {line}" for line in inside.splitlines())
    program = IN_A_FORK.format(library=str(library), root=str(layout.ROOT), before=before, inside=lines)
    done = subprocess.run([sys.executable, "-c", program], env=env, capture_output=True, text=True, check=True)
    return done.stdout + done.stderr


def test_a_task_finds_the_library_imported_and_the_clients_of_its_model_made():
    inside = f"""
wanted = ["retraining.dag.retraining_dag", "retraining.dag.tasks.retraining", "boto3", "s3transfer.manager"]
import botocore.loaders, botocore.session
from pathlib import Path
from retraining.aws.clients import client
from retraining.settings.model_config import load_model_config
botocore.session.Session.create_client = None
access = load_model_config(Path({str(layout.ROOT / "dags" / "models" / "abalone" / "model.yaml")!r})).aws
made = [client(service, access, **options).meta.region_name for service, options in executor.CLIENTS]
botocore.loaders.Loader.load_service_model = None
client("glue", access).get_paginator("get_tables")
print(set(wanted) <= set(sys.modules), set(made), "numpy" in sys.modules)
"""
    found = told(LIBRARY, "importing.for_forks(executor.CLIENTS)", inside)
    assert found.splitlines()[-1] == "True {'eu-central-1'} False"


def test_the_client_made_ahead_for_the_analysis_is_the_one_that_it_asks_for():
    inside = """
from retraining.judging.candidates import LONGEST_ANALYSIS
print(dict(executor.CLIENTS)["lambda"] == {"retry": False, "read_timeout": LONGEST_ANALYSIS})
"""
    assert told(LIBRARY, "", inside).splitlines()[-1] == "True"


def test_clients_through_a_connection_of_airflow_are_made_by_each_task():
    inside = """
from retraining.aws import clients
from retraining.settings.access import AwsAccess
clients.make_ahead([("s3", {})], AwsAccess(conn_id="aws_default"))
print(clients.client.cache_info().currsize)
"""
    assert told(LIBRARY, "", inside).splitlines()[-1] == "0"


def test_a_change_of_the_library_is_in_the_next_task(tmp_path):
    shutil.copytree(LIBRARY / "retraining", tmp_path / "retraining", ignore=shutil.ignore_patterns("__pycache__"))
    changed = tmp_path / "retraining" / "aws" / "naming.py"
    inside = 'print("kept", any(name.startswith("retraining") for name in sys.modules))'
    assert "kept True" in told(tmp_path, "importing.for_forks(executor.CLIENTS)", inside)
    write = f'open({str(changed)!r}, "a").write("NEWLY = 1\\n")'
    inside += "\nfrom retraining.aws import naming; print(naming.NEWLY)"
    assert told(tmp_path, f"importing.for_forks(executor.CLIENTS); {write}", inside).splitlines()[-2:] == [
        "kept False",
        "1",
    ]


def test_a_task_finds_each_model_yaml_parsed_and_one_that_has_changed_since_is_read(tmp_path):
    folder = tmp_path / "models" / "abalone"
    shutil.copytree(layout.ROOT / "dags" / "models" / "abalone", folder)
    inside = f"""
from pathlib import Path
import yaml
from retraining.settings.model_config import load_model_config
path, parse, parsed = Path({str(folder / "model.yaml")!r}), yaml.safe_load, []
yaml.safe_load = lambda text: parsed.append(text) or parse(text)
names = [load_model_config(path).owner]
path.write_text(path.read_text().replace("owner: data-science", "owner: somebody else"))
names.append(load_model_config(path).owner)
print(names, len(parsed))
"""
    assert (
        told(LIBRARY, "importing.for_forks()", inside, tmp_path).splitlines()[-1]
        == "['data-science', 'somebody else'] 1"
    )


def test_a_new_or_removed_module_is_a_change(tmp_path):
    old, new = tmp_path / "room" / "old.py", tmp_path / "room" / "new.py"
    old.parent.mkdir()
    states = [importing.state_of(tmp_path)]
    for change in (lambda: new.write_text("one = 1"), lambda: os.utime(shutil.copy(new, old), (1, 1)), old.unlink):
        change()
        states.append(importing.state_of(tmp_path))
    assert len(set(states[:3])) == 3
    assert states[3] == states[1]


def test_the_end_of_a_task_that_closed_its_pipes_before_is_noticed_at_once():
    """As Airflow starts a task: in a process of its own, watched through pipes. This one says nothing more, and ends a moment later."""
    start = "importing.for_forks = lambda clients: None; made = executor.LocalExecutor(parallelism=1); made.start(); made.end()"
    inside = """
import time
from unittest.mock import MagicMock
import structlog
from airflow.sdk.execution_time import supervisor
supervisor.MIN_HEARTBEAT_INTERVAL = 60
def target():
    for descriptor in range(256):
        try:
            os.close(descriptor)
        except OSError:
            pass
    time.sleep(0.5)
    os._exit(0)
process = supervisor.WatchedSubprocess.start.__func__(
    supervisor.ActivitySubprocess, id="01890a5d-ac96-774b-bcce-b302099a8057", client=MagicMock(), target=target,
    logger=structlog.get_logger(),
)
began = time.monotonic()
process._monitor_subprocess()
print("ended", process._exit_code, time.monotonic() - began < 30)
"""
    assert told(LIBRARY, start, inside).splitlines()[-1] == "ended 0 True"


def test_a_task_finds_done_what_airflow_does_anew_in_each():
    """Parts of the templates, and the reader of JSON."""
    inside = """
from airflow.sdk.execution_time import task_runner
from pydantic import JsonValue
adapter = task_runner.TypeAdapter
print("jinja2.ext" in sys.modules, adapter(JsonValue) is adapter(JsonValue))
"""
    assert told(LIBRARY, "executor._for_tasks()", inside).splitlines()[-1] == "True True"


def test_a_task_that_has_just_begun_sends_no_heartbeat_beside_and_then_each_in_its_time():
    inside = """
import time
from unittest.mock import MagicMock
from airflow.sdk.execution_time import supervisor
import structlog
supervisor.MIN_HEARTBEAT_INTERVAL = 0.2
client = MagicMock()
process = supervisor.WatchedSubprocess.start.__func__(
    executor.ActivitySubprocess, id="01890a5d-ac96-774b-bcce-b302099a8057", client=client, target=lambda: time.sleep(1),
    logger=structlog.get_logger(),
)
process._send_heartbeat_if_needed()
sent = [client.task_instances.heartbeat.call_count]
time.sleep(0.3)
process._send_heartbeat_if_needed()
process._send_heartbeat_if_needed()
print(*sent, client.task_instances.heartbeat.call_count)
os.kill(process.pid, 9)
"""
    assert told(LIBRARY, "", inside).splitlines()[-1] == "0 1"


def test_a_task_that_came_back_before_its_first_process_was_seen_to_end_waits_for_that():
    """With both of them at once, the scheduler takes the end of the first for that of the second, and fails it."""
    inside = """
from types import SimpleNamespace
from airflow.models.taskinstancekey import TaskInstanceKey
from airflow.executors import local_executor
made, key = executor.LocalExecutor(parallelism=4), TaskInstanceKey("dag", "task", "run")
ti = SimpleNamespace(id="id", key=key, priority_weight=1)
begun = []
def begin(self, workloads):
    for item in workloads:
        begun.append(self.queued_tasks.pop(item.key))
local_executor.LocalExecutor._process_workloads = begin
def come():
    made.queued_tasks[key] = SimpleNamespace(key=key, ti=ti)
    made.trigger_tasks(4)
come()
come()
seen = [(len(begun), made.has_task(ti))]
made.success(key)  # of the first process
seen.append((len(begun), made.has_task(ti)))
made.trigger_tasks(4)
seen.append(len(begun))
come()
executor.PATIENCE = -1  # the end of the second, whose worker was killed, is never read
made.trigger_tasks(4)
print(*seen, len(begun))
"""
    assert told(LIBRARY, "", inside).splitlines()[-1] == "(1, True) (1, True) 2 3"


def test_a_broken_library_does_not_keep_the_scheduler_from_starting(tmp_path):
    (tmp_path / "retraining").mkdir()
    (tmp_path / "retraining" / "__init__.py").write_text("this is no Python\n")
    start = """
made = executor.LocalExecutor(parallelism=1)
made.start()
alive = [worker.is_alive() for worker in made.workers.values()]
made.end()
"""
    assert told(tmp_path, start, "print(alive)").splitlines()[-1] == "[True]"


def test_of_a_library_that_breaks_half_way_nothing_is_kept(tmp_path):
    shutil.copytree(LIBRARY / "retraining", tmp_path / "retraining", ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "retraining" / "telling" / "broken.py").write_text("this is no Python\n")
    inside = 'print([name for name in sys.modules if name.startswith("retraining")])'
    assert told(tmp_path, "importing.for_forks()", inside).splitlines()[-1] == "[]"
