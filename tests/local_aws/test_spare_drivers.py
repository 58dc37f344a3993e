"""A Glue job that a waiting driver runs sees what it would see in a process of its own; the driver runs one job and leaves nothing."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from glue_jobs import define, run_end
from local_account import BUCKET, REPOSITORY, Account, wait_for

from local_aws.glue.quick_start.spares import suits

pytestmark = [pytest.mark.local_aws, pytest.mark.spark]

#: What a job can find out about itself, and what it leaves in Java that the next one must not see.
LOOK = """
import json, os, sys
import boto3, extra
from pyspark.sql import SparkSession
from pyspark.sql.functions import udf
asked = SparkSession.builder.appName("look").config("spark.sql.shuffle.partitions", "3")
spark = asked.getOrCreate()
view = lambda name: [row.tableName for row in spark.sql("SHOW TABLES").collect()]
def worker(_):
    import extra
    return f"{extra.VALUE} {os.environ.get('AWS_ACCESS_KEY_ID') is not None} {os.environ.get('HOME') == HOME}"
HOME = os.environ["HOME"]
found = {
    "argv": sys.argv[1:],
    "env": {name: value for name, value in os.environ.items()},
    "cwd": os.getcwd(),
    "path": sys.path,
    "main": [__name__, os.path.basename(__file__), os.path.basename(sys.argv[0])],
    "modules": sorted(name for name in sys.modules if name in ("typical_job", "spare_driver", "yielding", "__main__", "extra")),
    "views": view("x"),
    "app": spark.sparkContext.appName,
    "conf": {name: value for name, value in spark.sparkContext.getConf().getAll()},
    "udf": spark.range(1).select(udf(worker)("id")).collect()[0][0],
    "tmp": os.listdir("/tmp"),
    "policy": os.sched_getscheduler(0),
    "buckets": [],
}
from pathlib import Path
java = spark.sparkContext._gateway.proc.pid
group = Path("/proc/self/autogroup")
found["group"] = group.read_text().split()[-1] if group.exists() else None
policies = set()
for thread in [int(path.name) for process in (os.getpid(), java) for path in Path(f"/proc/{process}/task").iterdir()]:
    try:
        policies.add(os.sched_getscheduler(thread))
    except ProcessLookupError:  # it ended after the look at the folder, as threads of Java do at any time
        pass
found["policies"] = sorted(policies)
spark.range(3).createOrReplaceTempView("left_behind")
spark.range(2).write.mode("overwrite").parquet(f"s3://account-bucket/look/{sys.argv[-1]}/")
found["rows"] = spark.read.parquet(f"s3://account-bucket/look/{sys.argv[-1]}/").count()
boto3.client("s3").put_object(Bucket="account-bucket", Key=f"look/{sys.argv[-1]}.json", Body=json.dumps(found))
print("looked")
raise ValueError("seen enough")
"""


@pytest.fixture(scope="module")
def account(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Account]:
    """Yield an account that keeps a driver."""
    with Account(tmp_path_factory.mktemp("spares") / "data", "--spares") as account:
        account.s3.create_bucket(Bucket=BUCKET)
        yield account


def waiting(account: Account) -> Path | None:
    """Return the folder of the driver that waits; one that warms up does so at once, whatever else runs."""
    spares = account.data_dir / "jobs/glue/.spares"
    for path in spares.glob("*/work/ready"):
        return path.parent.parent
    for process in processes_of(spares):
        with contextlib.suppress(OSError):
            Path(f"/proc/{process}/autogroup").write_text("-5" if os.geteuid() == 0 else "0")
    time.sleep(0.5)
    return None


def processes_of(folder: Path) -> list[int]:
    """Return the processes that have the folder of a driver in their command line."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if str(folder).encode() in path.read_bytes():
                found.append(int(path.parent.name))
        except OSError:
            continue
    return found


def test_a_job_sees_what_it_would_see_in_a_process_of_its_own(account: Account) -> None:
    extra = account.put("scripts/extra.py", "VALUE = 'extra'\n")
    found = {}
    ansi = "spark.sql.ansi.enabled=false"
    for name, more in {"ready": {"--conf": ansi}, "cold": {"--conf": f"{ansi} --conf spark.ui.enabled=false"}}.items():
        define(account, name, LOOK, DefaultArguments={"--extra-py-files": extra, "--mode": "a b", **more})
        spare = wait_for(lambda: waiting(account), timeout=240) if name == "ready" else waiting(account)
        run = account.glue.start_job_run(JobName=name, Arguments={"--name": name})["JobRunId"]
        ended = run_end(account, name, run)
        assert ended["ErrorMessage"] == "ValueError: seen enough", account.log("/aws-glue/jobs/error", run)
        assert account.log("/aws-glue/jobs/output", run).split("\n")[0] == "looked"
        if name == "ready":
            wait_for(lambda spare=spare: not spare.exists() and not processes_of(spare))
        work = account.data_dir / "jobs/glue" / name / run / "work"
        wait_for(lambda work=work: not work.exists())
        found[name] = json.loads(account.read(f"s3://{BUCKET}/look/{name}.json"))
        found[name]["work"] = found[name]["env"]["HOME"]
    for one in found.values():
        assert one["views"] == []
        assert one["rows"] == 2
        assert (one["policy"], one["policies"]) == (os.SCHED_OTHER, [os.SCHED_OTHER])
        assert one["udf"] == "extra True True"
    ready, cold = _told(found["ready"]), _told(found["cold"])
    assert "/.spares/" in found["ready"]["work"] and "/.spares/" not in found["cold"]["work"]
    for one in (ready, cold):
        place = one["argv"].index("--conf")
        del one["argv"][place : place + 2]
        assert one["conf"]["spark.sql.ansi.enabled"] == "false"
    for name in ready.keys() | cold.keys():
        assert ready.get(name) == cold.get(name), name


def _told(found: dict) -> dict:
    """Return what was found without what differs from run to run."""
    text = json.dumps(found).replace(found["work"], "WORK")
    told = json.loads(re.sub(r"spark-[0-9a-f-]{36}/userFiles-[0-9a-f-]{36}", "OF_THE_SESSION", text))
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        assert told["env"].pop(name)
    told["env"].pop("PYSPARK_GATEWAY_SECRET", None)
    told["argv"] = [word if not word.startswith(("jr_", "j_")) else "ID" for word in told["argv"]]
    told["argv"] = [word if word not in ("ready", "cold") else "NAME" for word in told["argv"]]
    told["main"] = [told["main"][0], told["main"][1] == told["main"][2]]
    varying = (
        "spark.app",
        "spark.driver.port",
        "spark.executorEnv.",
        "spark.executor.id",
        "spark.sql.warehouse.dir",
        "spark.hadoop.fs.s3a.vectored",
    )
    told["conf"] = {name: value for name, value in told["conf"].items() if not name.startswith(varying)}
    return {name: value for name, value in told.items() if name not in ("work", "tmp")}


def test_a_job_finds_nothing_of_the_one_before_and_ends_when_it_is_stopped(account: Account) -> None:
    script = """
import time
from pyspark.sql import SparkSession
spark = SparkSession.builder.getOrCreate()
print("tables", spark.sql("SHOW TABLES").count(), spark.sparkContext.appName, flush=True)
time.sleep(300)
"""
    define(account, "sleeps", script)
    spare = wait_for(lambda: waiting(account), timeout=240)
    run = account.glue.start_job_run(JobName="sleeps")["JobRunId"]
    log = wait_for(lambda: account.log("/aws-glue/jobs/output", run), timeout=120)
    assert log.split("\n")[0] == "tables 0 pyspark-shell"
    account.glue.batch_stop_job_run(JobName="sleeps", JobRunIds=[run])
    assert run_end(account, "sleeps", run)["JobRunState"] == "STOPPED"
    wait_for(lambda: not spare.exists() and not processes_of(spare))


def test_a_job_with_a_library_of_its_own_gets_that_one_and_finds_its_bucket_as_it_is_now(account: Account) -> None:
    own = account.put("scripts/own/pyarrow.py", "VALUE = 'its own'\n")
    script = (
        "import sys\nprint('boto3' in sys.modules)\nimport pyarrow\nprint(getattr(pyarrow, 'VALUE', 'installed'))\n"
        "import os\nprint(sorted(os.listdir('../s3/account-bucket/seen')))"
    )
    define(account, "library", script)
    account.put("seen/first", "")
    seen = ["first"]
    for files, said in (({"--extra-py-files": own}, ["False", "its own"]), ({}, ["True", "installed"])):
        spare = wait_for(lambda: waiting(account), timeout=240)
        if not files:  # the job before has told which bucket to copy ahead
            wait_for((spare / "work/s3" / BUCKET / "seen/first").exists)
            account.put("seen/second", "")
            account.s3.delete_object(Bucket=BUCKET, Key="seen/first")
            seen = ["second"]
        run = account.glue.start_job_run(JobName="library", Arguments=files)["JobRunId"]
        assert run_end(account, "library", run)["JobRunState"] == "SUCCEEDED", account.log("/aws-glue/jobs/error", run)
        assert account.log("/aws-glue/jobs/output", run).split("\n")[:3] == [*said, str(seen)]


def test_a_driver_that_died_while_it_waited_costs_no_job(account: Account) -> None:
    define(account, "any", "print('done')")
    spare = wait_for(lambda: waiting(account), timeout=240)
    for process in processes_of(spare):
        with contextlib.suppress(ProcessLookupError):
            os.kill(process, signal.SIGKILL)
    run = account.glue.start_job_run(JobName="any")["JobRunId"]
    assert run_end(account, "any", run)["JobRunState"] == "SUCCEEDED"
    assert account.log("/aws-glue/jobs/output", run).split("\n")[0] == "done"


def test_a_killed_account_takes_its_driver_with_it(account: Account) -> None:
    spares = account.data_dir / "jobs/glue/.spares"
    wait_for(lambda: processes_of(spares), timeout=60)
    account.stop(signal.SIGKILL)
    wait_for(lambda: not processes_of(spares), timeout=20)


def test_a_run_that_brings_settings_for_java_gets_a_process_of_its_own() -> None:
    job = {"Command": {"Name": "glueetl"}, "DefaultArguments": {}}
    assert suits(job, {"Arguments": {}})
    assert suits(job, {"Arguments": {"--conf": "spark.sql.ansi.enabled=true --conf spark.sql.shuffle.partitions=3"}})
    assert not suits(job, {"Arguments": {"--conf": "spark.driver.memory=2g"}})
    assert not suits({**job, "NonOverridableArguments": {"--conf": "spark.sql.x=1 --conf a=1"}}, {"Arguments": {}})
    assert not suits({"Command": {"Name": "pythonshell"}}, {"Arguments": {}})


def test_the_merge_of_the_data_platform_runs_in_a_driver_that_waits() -> None:
    template = (REPOSITORY / "infra" / "data_platform.yaml").read_text()
    conf = re.findall(r'"--conf": (.+)', template)
    assert len(conf) == 1
    assert suits({"Command": {"Name": "glueetl"}, "NonOverridableArguments": {"--conf": conf[0]}}, {"Arguments": {}})
