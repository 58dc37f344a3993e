"""A SageMaker job or model server in a Python that waited for it sees what it would see in a process of its own."""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import signal
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from local_account import BUCKET, TIMES, Account, archive, wait_for

pytestmark = pytest.mark.local_aws

#: What a job can find out about itself.
LOOK = """
import json, multiprocessing, os, sys, tempfile, threading
from pathlib import Path

def seen():
    own = ("spare_python", "yielding", "helper")
    return {
        "argv": sys.argv, "env": dict(os.environ), "cwd": os.getcwd(), "path": sys.path, "executable": sys.executable,
        "main": [__name__, __file__, sys.modules["__main__"].__file__, __spec__ is None, __package__],
        "modules": sorted(name for name in sys.modules if name in own), "tmp": tempfile.gettempdir(), "in tmp": os.listdir("/tmp"),
        "ml": sorted(path.as_posix() for path in Path("/opt/ml").rglob("*")), "threads": threading.active_count(),
        "policies": sorted({os.sched_getscheduler(int(task.name)) for task in Path("/proc/self/task").iterdir()}),
        "flags": str(sys.flags),
        "name": VALUE, "umask": os.umask(0o077), "session": os.getsid(0) != os.getpid(), "group": os.getpgid(0) != os.getppid(),
        "descriptors": sorted(number for number in map(int, os.listdir("/proc/self/fd")) if number < 3),
    }

VALUE = "of the main module"
if __name__ == "__main__":
    import helper
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        child = pool.apply(os.getcwd)
    print("SEEN " + json.dumps(seen() | {"helper": helper.VALUE, "child": child}), flush=True)
    raise ValueError("seen enough")
"""
LOG_GROUP = "/aws/sagemaker/TrainingJobs"


@pytest.fixture(scope="module")
def keeping(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Account]:
    """Yield an account that keeps spares."""
    with Account(tmp_path_factory.mktemp("keeping") / "data", "--spares") as account:
        account.s3.create_bucket(Bucket=BUCKET)
        yield account


def spares(account: Account) -> Path:
    return account.data_dir / "jobs" / ".spares"


def processes_of(folder: Path) -> list[int]:
    """Return the processes that have a folder in their command line."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            if str(folder).encode() in path.read_bytes():
                found.append(int(path.parent.name))
    return found


def both_wait(account: Account) -> list[Path]:
    """Wait until a Python waits for a job with a network, and one for a job without; return their folders."""

    def ready() -> list[Path] | None:
        found = [path.parents[1] for path in spares(account).glob("*/work/ready")]
        return found if len(found) == 2 else None

    return wait_for(ready, timeout=120)


def look(account: Account, name: str, **changes: object) -> tuple[dict, str, dict]:
    """Run the job that looks; return what it saw, its whole log, and its description."""
    request = account.training_request(name, LOOK, **changes)
    account.put(f"code/{name}/sourcedir.tar.gz", archive({"train.py": LOOK, "helper.py": "VALUE = 'helps'\n"}))
    request["HyperParameters"] |= {"alpha": "0.5", "text": "a b"}
    account.sagemaker.create_training_job(**request)
    described = account.training_end(name)
    log = wait_for(lambda: account.log(LOG_GROUP, name))
    return json.loads(re.search(r"SEEN (.+)", log)[1]), log, described


@pytest.mark.parametrize("isolated", [True, False])
def test_a_job_sees_what_it_would_see_in_a_process_of_its_own(
    account: Account, keeping: Account, isolated: bool
) -> None:
    name = f"look-{isolated}".lower()
    waiting = both_wait(keeping)
    told = []
    for one in (keeping, account):
        seen, log, job = look(one, name, EnableNetworkIsolation=isolated, Environment={"MODE": "test"})
        home = seen["env"]["HOME"]
        assert ("/.spares/" in home) is (one is keeping)
        assert (seen["helper"], seen["child"], seen["modules"]) == ("helps", "/opt/ml/code", ["helper"])
        assert seen["policies"] == [os.SCHED_OTHER]
        assert "ValueError: seen enough" in job["FailureReason"]
        for varying in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_ENDPOINT_URL"):
            assert seen["env"].pop(varying)
        root = home.removesuffix("/home")
        told.append(json.loads(json.dumps([seen, log.partition("SEEN")[2].partition("\n")[2]]).replace(root, "ROOT")))
    assert told[0] == told[1]
    assert "spare_python" not in told[0][1]
    gone = [folder for folder in waiting if not folder.exists()]
    assert len(gone) == 1
    assert not processes_of(gone[0])


@pytest.mark.parametrize(
    ("files", "environment", "line"),
    [
        ({"pandas.py": "VALUE = 'my own'"}, {}, "import pandas; print(pandas.VALUE, 'numpy' in sys.modules)"),
        ({}, {"OMP_NUM_THREADS": "7"}, "print(os.environ['OMP_NUM_THREADS'], 'numpy' in sys.modules)"),
        ({}, {"PYTHONHASHSEED": "0"}, "print(sys.flags.hash_randomization, 'numpy' in sys.modules)"),
        ({"sitecustomize.py": "import builtins; builtins.CAME = 'first'"}, {}, "print(CAME, 'numpy' in sys.modules)"),
    ],
    ids=["module", "threads", "hashes", "sitecustomize"],
)
def test_a_job_that_would_see_the_difference_is_started_anew_in_the_same_place(
    keeping: Account, request: pytest.FixtureRequest, files: dict, environment: dict, line: str
) -> None:
    name = f"anew-{request.node.callspec.id}"
    both_wait(keeping)
    script = f"import os, sys\n{line}\nprint(os.environ['HOME'])\nopen('/opt/ml/model/m', 'w').close()"
    order = keeping.training_request(name, script, EnableNetworkIsolation=True, Environment=environment)
    keeping.put(f"code/{name}/sourcedir.tar.gz", archive({"train.py": script, **files}))
    keeping.sagemaker.create_training_job(**order)
    job = keeping.training_end(name)
    log = keeping.log(LOG_GROUP, name).split("\n")
    assert job["TrainingJobStatus"] == "Completed", log
    expected = {
        "module": "my own",
        "threads": environment.get("OMP_NUM_THREADS"),
        "hashes": "0",
        "sitecustomize": "first",
    }
    assert log[0] == f"{expected[request.node.callspec.id]} False"
    assert "/.spares/" in log[1]


LEFT_OPEN = """
import gc
class Log:
    def __init__(self):
        self.file = open("/opt/ml/model/kept.txt", "w")
        self.me = self
    def __del__(self):
        self.file.write("at the end")
        self.file.close()
log = Log()
left = open("/opt/ml/model/left.txt", "w")
left.write("left open")
print(gc.isenabled(), gc.get_threshold(), gc.get_freeze_count() > 50_000)
"""


def test_what_a_job_leaves_open_is_written_at_its_end(account: Account, keeping: Account) -> None:
    """The libraries that were there before are all that the end of the process passes over."""
    both_wait(keeping)
    told = []
    for one in (keeping, account):
        one.sagemaker.create_training_job(**one.training_request("left-open", LEFT_OPEN))
        job = one.training_end("left-open")
        assert job["TrainingJobStatus"] == "Completed"
        _, _, key = job["ModelArtifacts"]["S3ModelArtifacts"].removeprefix("s3://").partition("/")
        packed = io.BytesIO(one.s3.get_object(Bucket=BUCKET, Key=key)["Body"].read())
        with tarfile.open(fileobj=packed) as model:
            assert model.extractfile("kept.txt").read() == b"at the end"
            assert model.extractfile("left.txt").read() == b"left open"
        told.append(one.log(LOG_GROUP, "left-open").rsplit(" ", 1))
    assert [settings for settings, _ in told] == ["True (700, 10, 10)"] * 2
    assert [frozen for _, frozen in told] == ["True", "False"]


def test_commands_of_all_kinds_run(keeping: Account) -> None:
    for number, command in enumerate(
        (
            ["python3", "/opt/ml/processing/input/code/run.py", "a b"],
            ["python3", "-m", "run", "a b"],
            ["bash", "-c", "cd /opt/ml/processing/input/code && exec python3 run.py 'a b'"],
        )
    ):
        both_wait(keeping)
        order = keeping.processing_request(
            f"command-{number}", "import os, sys; print(sys.argv[1:], os.environ['HOME']); sys.exit(3)"
        )
        order["AppSpecification"]["ContainerEntrypoint"] = command
        order["Environment"] = {"PYTHONPATH": "/opt/ml/processing/input/code"}
        keeping.sagemaker.create_processing_job(**order)
        job = keeping.processing_end(order["ProcessingJobName"])
        log = keeping.log("/aws/sagemaker/ProcessingJobs", order["ProcessingJobName"])
        assert log.startswith("['a b'] ") and "/.spares/" in log, log
        assert job["FailureReason"].endswith("exit code: 3")
    both_wait(keeping)
    order = keeping.processing_request("command-none", "")
    order["AppSpecification"]["ContainerEntrypoint"] = ["no-such-program"]
    keeping.sagemaker.create_processing_job(**order)
    reason = keeping.processing_end("command-none")["FailureReason"]
    assert "cannot start no-such-program" in reason and reason.endswith("exit code: 127")


def test_a_job_is_stopped_and_held_to_its_limit(keeping: Account) -> None:
    both_wait(keeping)
    sleeps = "import os, time; print(os.environ['HOME'], flush=True); time.sleep(300)"
    keeping.sagemaker.create_training_job(**keeping.training_request("sleeps", sleeps, EnableNetworkIsolation=True))
    log = wait_for(lambda: keeping.log(LOG_GROUP, "sleeps"))
    folder = Path(log.split("\n")[0]).parents[1]
    assert folder.parent == spares(keeping)
    keeping.sagemaker.stop_training_job(TrainingJobName="sleeps")
    assert keeping.training_end("sleeps")["TrainingJobStatus"] == "Stopped"
    wait_for(lambda: not folder.exists() and not processes_of(folder))
    both_wait(keeping)
    limit = {"StoppingCondition": {"MaxRuntimeInSeconds": 1}}
    job = keeping.train("limited", sleeps, EnableNetworkIsolation=True, **limit)
    assert (job["TrainingJobStatus"], job["SecondaryStatus"]) == ("Stopped", "MaxRuntimeExceeded")


def test_one_that_died_while_it_waited_costs_no_job(keeping: Account) -> None:
    folders = both_wait(keeping)
    for folder in folders:
        for process in processes_of(folder):
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
    job = keeping.train("after-death", "open('/opt/ml/model/m', 'w').close()")
    assert job["TrainingJobStatus"] == "Completed", job["FailureReason"]
    wait_for(lambda: not any(folder.exists() for folder in folders))


def test_a_model_server_and_a_second_start_of_it(keeping: Account) -> None:
    both_wait(keeping)
    keeping.model("spare", TIMES.format(factor=2) + "\nimport os; print('home', os.environ['HOME'], flush=True)\n")
    keeping.sagemaker.create_endpoint(EndpointName="spare", EndpointConfigName="spare")
    assert keeping.endpoint_settled("spare")["EndpointStatus"] == "InService"
    assert keeping.invoke("spare", "1,2") == "2.0,4.0"
    log = wait_for(lambda: keeping.log("/aws/sagemaker/Endpoints/spare", "AllTraffic"))
    home = re.search(r"home (.+)", log)[1]
    folder = Path(home).parents[1]
    assert folder.parent == spares(keeping)
    assert "listening on port" in log
    for process in processes_of(folder):
        with contextlib.suppress(ProcessLookupError):
            os.kill(process, signal.SIGKILL)
    wait_for(lambda: _answers(keeping, "spare", "3") == "6.0")
    keeping.sagemaker.delete_endpoint(EndpointName="spare")
    wait_for(lambda: not folder.exists() and not processes_of(folder))


def _answers(account: Account, name: str, body: str) -> str:
    try:
        return account.invoke(name, body)
    except account.sagemaker_runtime.exceptions.ClientError:
        return ""


def test_a_killed_account_takes_those_that_wait_with_it_and_the_next_one_removes_their_folders(
    keeping: Account,
) -> None:
    folders = both_wait(keeping)
    keeping.stop(signal.SIGKILL)
    wait_for(lambda: not processes_of(spares(keeping)))
    keeping.start()
    wait_for(lambda: not any(folder.exists() for folder in folders))
    keeping.stop()
    wait_for(lambda: not processes_of(spares(keeping)))
    assert not list(spares(keeping).glob("*"))
