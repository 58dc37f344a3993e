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
from pathlib import Path
from typing import Any

import typical_job
from pyspark import SparkContext
from yielding import be_prompt, wait_for_idle_processors


def main(work: Path, bucket: str) -> None:
    """Warm up with a bucket that Java knows, wait, run the job."""
    wait_for_idle_processors()
    own = os.environ.pop("PYTHONPATH")  # where `yielding` lies
    installed = [path for path in sys.path[1:] if path != own]
    typical_job.main(f"s3://{bucket}/source", f"s3://{bucket}/target")
    (work / "ready").touch()
    job = json.loads((work / "job").read_text())
    be_prompt([os.getpid(), java().proc.pid])
    os.environ.clear()
    os.environ.update(job["env"])
    forget_bucket(bucket)
    take_settings(work / "spark.properties", job["env"])
    sys.argv = job["argv"][1:]
    # As Python would have it: the folder of the script, then PYTHONPATH, then the environment's own.
    sys.path[:] = [str(Path(sys.argv[0]).parent), *job["path"], *installed]
    for name in ("typical_job", "spare_driver", "yielding"):
        sys.modules.pop(name, None)
    runpy.run_path(sys.argv[0], run_name="__main__")


def java() -> Any:
    """Return the gateway to Java, which stays when a Spark session ends."""
    return SparkContext._gateway


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
