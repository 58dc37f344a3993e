"""What Glue and its S3 file system do otherwise than Spark on a disk; no session is needed to see it."""

import runpy
from types import SimpleNamespace

import pytest
from py4j.protocol import Py4JJavaError

from deploy import artifacts
from glue_scripts.merge import job
from glue_scripts.merge.by_spark.publisher import renamed


def test_the_script_ends_without_an_exit(monkeypatch):
    """Launchers of Glue have taken ``sys.exit(0)`` for a failure."""
    asked = []
    monkeypatch.setattr(job, "main", asked.append)
    runpy.run_path(str(artifacts.ROOT / "glue_scripts" / "merge_survey_data.py"), run_name="__main__")
    assert len(asked) == 1


class S3A:
    """A file system that refuses to rename as a Java class says."""

    def __init__(self, refusal):
        self.refusal = SimpleNamespace(_target_id="o1", getClass=lambda: SimpleNamespace(getName=lambda: refusal))

    def rename(self, source, target):
        raise Py4JJavaError("An error occurred while calling rename.", self.refusal)


def test_a_target_that_stands_is_refused_as_by_other_file_systems():
    """S3A raises where others answer False; the publisher then compares the bytes."""
    assert renamed(S3A("org.apache.hadoop.fs.FileAlreadyExistsException"), "a", "b") is False
    with pytest.raises(Py4JJavaError) as caught:
        renamed(S3A("java.nio.file.AccessDeniedException"), "a", "b")
    assert caught.value.java_exception.getClass().getName() == "java.nio.file.AccessDeniedException"
