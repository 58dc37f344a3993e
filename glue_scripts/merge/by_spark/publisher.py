"""Published files: whole, under names that do not depend on the attempt."""

from __future__ import annotations

import re
import time
import uuid
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from py4j.protocol import Py4JJavaError
from pyspark.sql import DataFrameWriter, SparkSession

STALE_STAGING_SECONDS = (
    6 * 3600
)  # older staging folders belong to attempts that died; younger ones may still be running


class Publisher:
    """Writes frames to a private staging folder and moves them into place under names that do not depend on the attempt.

    Spark puts a random id into file names and leaves partial files behind when it dies. Here readers only ever find whole files under fixed
    names; files of the batch that this attempt did not write are removed.
    """

    def __init__(self, spark: SparkSession, root: str, batch: str) -> None:
        java: Any = spark._jvm
        self._hadoop = java.org.apache.hadoop.fs
        self._io = java.org.apache.commons.io.IOUtils
        self._root = root
        self._batch = batch
        self._stages = f"{root}staging/batch={batch}"
        self.staging = f"{self._stages}/attempt={uuid.uuid4().hex}"
        self._fs = self._path(root).getFileSystem(spark._jsc.hadoopConfiguration())

    def stage(self, writers: Mapping[str, DataFrameWriter]) -> None:
        """Write parts into the staging folder, side by side; raises the first failure after all have ended."""
        quiet = {
            "mapreduce.fileoutputcommitter.marksuccessfuljobs": "false",
            "mapreduce.fileoutputcommitter.algorithm.version": "2",  # one rename less: nothing reads the staging folder
        }
        with ThreadPoolExecutor(len(writers)) as pool:
            jobs = [
                pool.submit(writer.options(**quiet).save, f"{self.staging}/{part}") for part, writer in writers.items()
            ]
        for job in jobs:
            job.result()

    def _path(self, uri: str) -> Any:
        return self._hadoop.Path(uri)

    def _files(self, folder: str) -> dict[str, tuple[Any, int]]:
        """Files below a folder: relative name to (path, length)."""
        path = self._path(folder)
        if not self._fs.exists(path):
            return {}
        base = self._fs.makeQualified(path).toUri().getPath().rstrip("/") + "/"
        found, walk = {}, self._fs.listFiles(path, True)
        while walk.hasNext():
            status = walk.next()
            found[status.getPath().toUri().getPath().removeprefix(base)] = (status.getPath(), status.getLen())
        return found

    def publish(self, part: str, into: str) -> dict[str, int]:
        """Move staged files to their place; returns relative name to length. An empty `part` clears the place."""
        staged = (
            {fixed_name(name): found for name, found in self._files(f"{self.staging}/{part}").items() if is_data(name)}
            if part
            else {}
        )
        present = self._files(into)
        for name, (path, length) in staged.items():
            self._move(path, length, f"{into}/{name}", present.get(name))
        for name in set(present) - set(staged):
            self._fs.delete(present[name][0], False)
        if not staged and present:
            self._fs.delete(self._path(into), True)
        return {name: length for name, (_, length) in sorted(staged.items())}

    def _move(self, source: Any, length: int, target: str, present: tuple[Any, int] | None) -> None:
        """Rename one file. A target with the same bytes is left alone: another attempt may have published it, and readers may use it."""
        path = self._path(target)
        if present and present[1] == length and self._same(source, path):
            return
        if present:
            self._fs.delete(path, False)
        self._fs.mkdirs(path.getParent())
        if not renamed(self._fs, source, path) and not (self._fs.exists(path) and self._same(source, path)):
            raise RuntimeError(f"cannot move {source.toString()} to {target}: run the job again")

    def _same(self, one: Any, other: Any) -> bool:
        left, right = self._fs.open(one), self._fs.open(other)
        try:
            return bool(self._io.contentEquals(left, right))
        finally:
            left.close()
            right.close()

    def clean(self) -> None:
        """Remove this attempt's staging folder and those that dead attempts at the batch left."""
        self._fs.delete(self._path(self.staging), True)
        stages = self._path(self._stages)
        if not self._fs.exists(stages):
            return
        attempts = self._fs.listStatus(stages)
        stale = (time.time() - STALE_STAGING_SECONDS) * 1000
        for status in attempts:
            if status.getModificationTime() < stale:
                self._fs.delete(status.getPath(), True)
        if not self._fs.listStatus(stages):
            self._fs.delete(stages, True)


def renamed(fs: Any, source: Any, target: Any) -> bool:
    """Rename a file; False when something stands at the target already, which S3A tells by an exception."""
    try:
        return bool(fs.rename(source, target))
    except Py4JJavaError as error:
        if not error.java_exception.getClass().getName().endswith(".FileAlreadyExistsException"):
            raise
        return False


def fixed_name(name: str) -> str:
    """Name of a published file: Spark's own without the random id."""
    return re.sub(
        r"part-(\d+)-[0-9a-f-]{36}[^/]*?(\.[a-z]+)$", r"part-\1\2", name.replace(".snappy.parquet", ".parquet")
    )


def is_data(name: str) -> bool:
    """Whether a staged file is data, not a marker or checksum."""
    return not name.rsplit("/", 1)[-1].startswith(("_", "."))
