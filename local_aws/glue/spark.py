"""Local Spark: the settings of a driver whose ``s3://`` paths lead to folders, and how it starts quickly.

Half of the start of a small Spark job is Java loading and compiling classes. ``python -m local_aws.glue.spark`` records the
classes of a typical job once in an archive beside the jobs environment (application class data sharing); runs use it
when it is there and valid, and Java ignores it when it is not.
"""

from __future__ import annotations

import argparse
import os
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from uuid import uuid4

from local_aws.shared.job_keys import JobKeys
from local_aws.shared.running.processes import job_environment
from local_aws.shared.running.yielding import wait_for_idle_processors
from local_aws.shared.settings import Settings

#: Compile once and lightly: a local job is over before heavy optimisation pays.
_QUICK_START = "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC -Xshare:auto"

_VIEW = "org.apache.hadoop.fs.viewfs.ViewFileSystemOverloadScheme"
_RAW = "org.apache.hadoop.fs.RawLocalFileSystem"

#: Its classes are worth recording.
_TYPICAL_JOB = Path(__file__).with_name("quick_start") / "typical_job.py"


def class_archive(settings: Settings) -> Path:
    """Return where the recorded classes of Spark lie."""
    return settings.environments / "jobs" / "spark-classes.jsa"


def spark_environment(
    settings: Settings, work: Path, buckets: Mapping[str, Path], conf: str = "", java_options: str = ""
) -> dict[str, str]:
    """Return the variables for a Spark driver on this machine.

    `work` takes its scratch files, `buckets` maps bucket names to folders, `conf` is the value of Glue's ``--conf``
    argument (``a=1 --conf b=2``) and has the last word.
    """
    if not java_options and class_archive(settings).exists():
        # Java says on standard output when it cannot use the archive: that is no matter of the job.
        java_options = f"-XX:SharedArchiveFile={class_archive(settings)} -Xlog:disable -Xlog:all=error:stderr"
    defaults = {
        "spark.master": "local[2]",
        "spark.ui.enabled": "false",
        "spark.ui.showConsoleProgress": "false",
        "spark.driver.host": "127.0.0.1",
        "spark.driver.bindAddress": "127.0.0.1",
        "spark.driver.memory": "1g",
        "spark.driver.extraJavaOptions": f"{_QUICK_START} -Djava.io.tmpdir={work / 'tmp'} {java_options}".strip(),
        "spark.sql.shuffle.partitions": "4",
        # Other users of this machine reach the ports of the driver: without a secret it would read their objects.
        "spark.authenticate": "true",
        "spark.network.crypto.enabled": "true",
        "spark.sql.warehouse.dir": (work / "warehouse").as_uri(),
        # Plain files: no checksum files beside them.
        "spark.hadoop.fs.file.impl": _RAW,
    }
    for scheme in ("s3", "s3a", "s3n"):
        defaults[f"spark.hadoop.fs.{scheme}.impl"] = _VIEW
        defaults[f"spark.hadoop.fs.viewfs.overload.scheme.target.{scheme}.impl"] = _RAW
    for bucket, folder in buckets.items():
        defaults[f"spark.hadoop.fs.viewfs.mounttable.{bucket}.linkFallback"] = folder.as_uri()
    defaults |= settings_of(conf)
    # The folder of SPARK_CONF_DIR is on Java's class path, where it must be empty for class data sharing to work.
    empty = work / "conf"
    empty.mkdir(exist_ok=True)
    properties = work / "spark.properties"
    properties.write_text("".join(f"{name} {value}\n" for name, value in defaults.items()))
    python = str(settings.python("jobs"))
    return {
        "SPARK_CONF_DIR": str(empty),
        "PYSPARK_SUBMIT_ARGS": f"--properties-file {shlex.quote(str(properties))} pyspark-shell",
        "SPARK_LAUNCHER_OPTS": _QUICK_START,
        "SPARK_LOCAL_IP": "127.0.0.1",
        "SPARK_LOCAL_DIRS": str(work / "tmp"),
        "PYSPARK_PYTHON": python,
        "PYSPARK_DRIVER_PYTHON": python,
    }


def settings_of(conf: str) -> dict[str, str]:
    """Return the Spark settings that the value of Glue's ``--conf`` argument gives, such as ``a=1 --conf b=2``."""
    pairs = (part.strip().partition("=") for part in conf.split("--conf") if part.strip())
    return {name.strip(): value.strip() for name, _, value in pairs}


def record_classes(settings: Settings, partial: Path | None = None) -> Path:
    """Run a typical job once and keep the classes that it loaded; return the archive.

    Until it is complete it is the file `partial`, by default one beside it, which no failure leaves behind. Raises RuntimeError, with the
    end of Spark's output, when the job fails, and OSError when the file cannot be written.
    """
    archive = class_archive(settings)
    partial = partial or archive.with_name(f"{archive.stem}-{uuid4().hex}.partial")
    try:
        partial.touch()  # where that fails, it does before the minute that the job takes
        _record(settings, partial)
        partial.rename(archive)
    finally:
        partial.unlink(missing_ok=True)
    return archive


def _record(settings: Settings, partial: Path) -> None:
    python = settings.python("jobs")
    submit = subprocess.run(
        [str(python), "-c", "import pyspark, pathlib; print(pathlib.Path(pyspark.__file__).parent)"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        bucket = work / "bucket"
        bucket.mkdir()
        env = job_environment(settings, python, work, JobKeys().issue("recording"), {})
        options = f"-XX:ArchiveClassesAtExit={partial} -Xlog:disable -Xlog:all=error:stderr"
        env |= spark_environment(settings, work, {"bucket": bucket}, java_options=options)
        env.pop("PYSPARK_SUBMIT_ARGS")
        # spark-submit is the parent of the script here: Java ends, and writes the archive, before it returns.
        command = [f"{submit}/bin/spark-submit", "--properties-file", str(work / "spark.properties"), str(_TYPICAL_JOB)]
        done = subprocess.run(
            [*command, "s3://bucket/source", "s3://bucket/target"], env=env, capture_output=True, text=True, cwd=work
        )
        if done.returncode or not (partial.exists() and partial.stat().st_size):
            raise RuntimeError(f"recording Spark's classes failed:\n{done.stderr[-2000:]}")


def main() -> int:
    """Record the classes unless they are recorded already."""
    parser = argparse.ArgumentParser(
        prog="python -m local_aws.glue.spark",
        description="Record the classes of a typical Spark job, so that local Glue jobs start in half the time.",
    )
    parser.add_argument("--environments", type=Path, required=True, help="folder of the virtual environments")
    parser.add_argument("--java-home", default=os.environ.get("JAVA_HOME"))
    parser.add_argument("--partial", type=Path, metavar="FILE", help="what the archive is until it is complete")
    parser.add_argument("--when-idle", action="store_true", help="only while nobody else wants the processors")
    options = parser.parse_args()
    environments = options.environments.resolve()
    settings = Settings(port=0, data_dir=environments, environments=environments, java_home=options.java_home)
    if class_archive(settings).exists():
        return 0
    if options.when_idle:
        wait_for_idle_processors()
    try:
        record_classes(settings, options.partial)
    except (RuntimeError, OSError, subprocess.CalledProcessError) as error:
        # Jobs run without it, only slower.
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
