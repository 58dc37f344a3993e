"""A Spark session for all tests of the Glue job, and a bucket on disk to run it on."""

from __future__ import annotations

import gc
import os
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest
from pyspark.sql import SparkSession
from survey_bucket import Bucket

from glue_scripts.merge.by_spark.session import start_spark


@pytest.fixture(scope="session")
def spark() -> Iterator[SparkSession]:
    """One session, started as the job starts its own."""
    os.environ["SPARK_LOCAL_IP"] = "127.0.0.1"
    os.environ["LC_ALL"] = "C.UTF-8"  # the JVM takes the encoding of file names from it
    os.environ["PYSPARK_PYTHON"] = sys.executable
    # Small jobs: the quick compiler alone halves their time. It keeps 48 MB of what it compiled, and many merges make more; most of what
    # they allocate is young. Merges of many tests are the same code: Spark keeps 100 classes of it, and one merge needs more.
    os.environ["PYSPARK_SUBMIT_ARGS"] = (
        "--master local[2] --driver-java-options '-XX:TieredStopAtLevel=1 -XX:+UseSerialGC -XX:ReservedCodeCacheSize=256m -Xmn500m' "
        "--conf spark.sql.codegen.cache.maxEntries=2000 "
        "--conf spark.driver.host=127.0.0.1 --conf spark.driver.bindAddress=127.0.0.1 pyspark-shell"
    )
    session = start_spark()
    session.sparkContext.setLogLevel("OFF")
    yield session
    session.stop()


@pytest.fixture(params=["in_memory", "by_spark"])
def bucket(tmp_path: Path, spark: SparkSession, request: pytest.FixtureRequest) -> Bucket:
    """A bucket whose batches are merged in one of the two ways, which are to make no difference."""
    return Bucket(tmp_path / "bucket", spark, by_spark=request.param == "by_spark")


@pytest.fixture(scope="module", autouse=True)
def no_open_sockets_left() -> Iterator[None]:
    """Collect the sockets that py4j leaves: the collector would come upon them in a test of another file, where they are a fault."""
    yield
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()
