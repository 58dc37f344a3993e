"""A Spark driver that waits for its job: ``python spare_driver.py FOLDER BUCKET``, in the environment of the jobs.

It loads Spark, runs a typical job, so that Java has loaded and compiled what jobs need, and imports what jobs use beside Spark. Then it
stops its Spark session, makes the file ``ready`` and waits at the pipe ``job`` for the one job that it will run: a JSON document with
``argv``, ``path`` (what stands in PYTHONPATH) and ``env``. The job starts a Spark session of its own, with settings of its own. One that
brings a module under a name that is taken gets a new process in the same place.

Until then the process runs only when nobody else wants the processors.
"""

import gc
import importlib
import json
import os
import runpy
import sys
from collections.abc import Iterable
from importlib.machinery import PathFinder
from pathlib import Path
from typing import Any

import typical_job
from pyspark import SparkContext
from yielding import be_prompt, wait_for_idle_processors

#: What jobs import beside Spark: a small job takes less time than their import.
LIBRARIES = ("boto3", "pyarrow.compute", "pyarrow.parquet")


def main(work: Path, bucket: str) -> None:
    """Warm up with a bucket that Java knows, wait, run the job."""
    wait_for_idle_processors()
    own = os.environ.pop("PYTHONPATH")  # where `yielding` lies
    installed = [path for path in sys.path[1:] if path != own]
    typical_job.main(f"s3://{bucket}/source", f"s3://{bucket}/target")
    for name in LIBRARIES:
        importlib.import_module(name)
    gc.collect()
    gc.freeze()  # stays to the end: nobody need look through it for what cannot be reached, neither during the job nor after it
    (work / "ready").touch()
    job = json.loads((work / "job").read_text())
    be_prompt([os.getpid(), java().proc.pid])
    os.environ.clear()
    os.environ.update(job["env"])
    forget_bucket(bucket)
    take_settings(work / "spark.properties", job["env"])
    sys.argv = job["argv"][1:]
    # As Python would have it: the folder of the script, then PYTHONPATH, then the environment's own.
    brought = [str(Path(sys.argv[0]).parent), *job["path"]]
    sys.path[:] = [*brought, *installed]
    for name in ("typical_job", "spare_driver", "yielding"):
        sys.modules.pop(name, None)
    if brings_one_of(sys.modules, brought):
        java().proc.kill()
        os.execvpe(job["argv"][0], job["argv"], job["env"])
    runpy.run_path(sys.argv[0], run_name="__main__")


def brings_one_of(modules: Iterable[str], folders: list[str]) -> bool:
    """Whether folders or archives hold a module of their own under a name that is taken: a new process would import that one."""
    names = {name.partition(".")[0] for name in modules} - {"__main__"} | {"sitecustomize", "usercustomize"}
    found = (PathFinder.find_spec(name, folders) for name in names)
    return any(spec is not None and spec.origin for spec in found)  # a mere folder would not come first


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
