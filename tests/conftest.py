"""What all tests share: an Airflow home of their own, set before anything imports Airflow."""

import gc
import logging
import os
import tempfile
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from botocore.loaders import JSONFileLoader, Loader
from hypothesis import settings

ROOT = Path(__file__).resolve().parents[1]

# A shell may be led to an account, to a deployment, or to the ports and the Airflow of a local stack.
LED = ("AIRFLOW__", "AIRFLOW_PORT", "AWS_", "LOCAL_AWS_", "RETRAINING_ENFORCE_", "RETRAINING_SPARES")
for name in [name for name in os.environ if name.startswith(LED)]:
    del os.environ[name]
HOME = tempfile.TemporaryDirectory(prefix="airflow-home-")  # of Airflow; gone with the process
os.environ["AIRFLOW_HOME"] = HOME.name
os.environ["AIRFLOW__CORE__LOAD_EXAMPLES"] = "False"
os.environ["AIRFLOW__CORE__DAGS_FOLDER"] = str(ROOT / "dags")
os.environ["AIRFLOW__CORE__PLUGINS_FOLDER"] = str(ROOT / "plugins")
os.environ["AIRFLOW__CORE__UNIT_TEST_MODE"] = "True"

# Of numeric libraries: a thread that waits for another one spins, and the workers of the tests have no processor to spare.
os.environ["OMP_NUM_THREADS"] = os.environ["OPENBLAS_NUM_THREADS"] = "1"

# How long an example takes says something about the machine, not about the code.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")

# Its connections close when the interpreter ends, after pytest has closed the stream that they would log to.
logging.getLogger("py4j").setLevel(logging.WARNING)


class KeptDescriptions(JSONFileLoader):
    """Reads AWS's descriptions of its services once in this process; botocore reads them anew in each session.

    That of S3 is not kept: a client of S3 takes the bucket out of the paths in it, which others would then read.
    """

    def load_file(self, file_path: str) -> Any:
        """Return what the file says; None when there is none."""
        return super().load_file(file_path) if Path(file_path).parts[-3] == "s3" else _kept(file_path)


@cache
def _kept(file_path: str) -> Any:
    return JSONFileLoader().load_file(file_path)


Loader.FILE_LOADER_CLASS = KeptDescriptions


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put what takes longest first, then files with many tests: who begins a long file last works on alone."""
    of_file = Counter(item.path for item in items)
    items.sort(key=lambda item: (item.get_closest_marker("long") is None, -of_file[item.path]))


def pytest_collection_finish() -> None:
    """Keep modules and tests, which stay to the end, out of the collector's way: it would look through them again and again."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def environment_as_found() -> Iterator[None]:
    """Take back what a test made of this process's environment: verbs of the local stack lead their process to its account for good."""
    environ = os.environ
    found = dict(environ)
    yield
    for name in environ.keys() - found.keys() - {"PYTEST_CURRENT_TEST"}:
        del environ[name]
    environ.update(found)


@pytest.fixture(autouse=True)
def priority_as_found() -> Iterator[None]:
    """Fail a test that leaves this process another priority than it found: later tests, and the jobs that they start, would have it too."""
    found = os.sched_getscheduler(0)
    yield
    assert os.sched_getscheduler(0) == found, "the test left its process another scheduling policy"
