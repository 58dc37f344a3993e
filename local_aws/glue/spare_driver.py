"""A Spark driver that waits for its job: ``python spare_driver.py FOLDER BUCKET``, in the environment of the jobs.

It loads Spark and runs a typical job, so that Java has loaded and compiled what jobs need. Then it stops its Spark session, makes the
file ``ready`` and waits at the pipe ``job`` for the one job that it will run: a JSON document with ``argv``, ``path`` (what stands in
PYTHONPATH) and ``env``. The job starts a Spark session of its own, with settings of its own.

Until then the process runs only when nobody else wants the processors.
"""

import json
import os
import runpy
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import typical_job
from pyspark import SparkContext

#: Enough to let the others go first, and to be ready some day on a machine that is never idle.
WAITING_NICENESS = 5


def main(work: Path, bucket: str) -> None:
    """Warm up with a bucket that Java knows, wait, run the job."""
    with suppress(OSError):  # some containers do not allow it
        os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
    weigh_group(WAITING_NICENESS)
    installed = sys.path[1:]
    typical_job.main(f"s3://{bucket}/source", f"s3://{bucket}/target")
    (work / "ready").touch()
    job = json.loads((work / "job").read_text())
    be_prompt()
    os.environ.clear()
    os.environ.update(job["env"])
    forget_bucket(bucket)
    take_settings(work / "spark.properties", job["env"])
    sys.argv = job["argv"]
    # As Python would have it: the folder of the script, then PYTHONPATH, then the environment's own.
    sys.path[:] = [str(Path(sys.argv[0]).parent), *job["path"], *installed]
    for name in ("typical_job", "spare_driver"):
        sys.modules.pop(name, None)
    runpy.run_path(sys.argv[0], run_name="__main__")


def java() -> Any:
    """Return the gateway to Java, which stays when a Spark session ends."""
    return SparkContext._gateway


def weigh_group(nice: int) -> None:
    """Set the niceness of this session's processes together, which Linux shares the processors among where it groups by session."""
    with suppress(OSError):
        Path("/proc/self/autogroup").write_text(str(nice))


def be_prompt() -> None:
    """Bring all threads of this process and of its Java back to what other processes have."""
    weigh_group(0)
    for process in (os.getpid(), java().proc.pid):
        for _ in range(2):  # a thread begins with the priority of the one that starts it
            for thread in Path(f"/proc/{process}/task").iterdir():
                with suppress(OSError):
                    os.sched_setscheduler(int(thread.name), os.SCHED_OTHER, os.sched_param(0))


def forget_bucket(bucket: str) -> None:
    """Take the bucket of the typical job out of Java's settings."""
    system = java().jvm.java.lang.System
    for name in list(system.getProperties().stringPropertyNames()):
        if f".mounttable.{bucket}." in name:
            system.clearProperty(name)


def take_settings(properties: Path, env: dict[str, str]) -> None:
    """Give Java the settings that it would have read at its start, and the variables of Python processes that Spark starts."""
    system = java().jvm.java.lang.System
    for line in properties.read_text().splitlines():
        name, _, value = line.partition(" ")
        system.setProperty(name, value)
    for name, value in env.items():
        system.setProperty(f"spark.executorEnv.{name}", value)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
