"""A Spark driver kept ready for the next job run."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Hashable, Iterable, Sequence
from pathlib import Path
from typing import Any

from local_aws.glue.spark import settings_of, spark_environment
from local_aws.glue.staging import STAGED, Ahead, StagedBucket
from local_aws.shared import running
from local_aws.shared.clients import Clients
from local_aws.shared.running.processes import job_environment, view_of_job
from local_aws.shared.running.spares import NO_KEY, Spare, Spares
from local_aws.shared.settings import Settings

_DRIVER = Path(__file__).with_name("spare_driver.py")
#: The bucket of the typical job. None of S3 has a name that short.
_OWN_BUCKET = "w"
_KIND = "spark"

Document = dict[str, Any]


class SpareDriver(Spare):
    """A driver below `folder`, about half a GiB, and copies of buckets that the next job will probably want."""

    def __init__(self, settings: Settings, folder: Path, copies: Callable[[Path], Iterable[StagedBucket]]) -> None:
        """Copy the buckets that `copies` returns for a folder."""
        work = folder / "work"
        self.ahead = Ahead(lambda: copies(work / STAGED))
        here = work / "here"
        here.mkdir(parents=True)
        bucket = work / "warm-up"
        bucket.mkdir()
        python = settings.python("jobs")
        env = job_environment(settings, python, work, NO_KEY, {})
        env |= spark_environment(settings, work, {_OWN_BUCKET: bucket})
        env["PYTHONPATH"] = str(Path(running.__file__).parent)
        super().__init__(
            folder,
            [str(python), str(_DRIVER), str(work), _OWN_BUCKET],
            env,
            here,
            view_of_job(settings, work, work / "tmp", str(here)),
            grace_seconds=5.0,
            separate_errors=True,
        )

    def take_over(self, output: Path, error: Path | None = None) -> None:
        """Do so, and delete what the typical job wrote."""
        super().take_over(output, error)
        shutil.rmtree(self.work / "warm-up", ignore_errors=True)

    def go_on(self) -> None:
        """Copy the buckets."""
        self.ahead.copy()

    def end(self, keep: Path | None = None) -> None:
        """End it, and delete its folder or move that of its job to `keep`."""
        self.ahead.discard()
        super().end(keep)


class SpareDrivers:
    """Keeps one driver ready while there is memory for it, if the settings ask for it."""

    def __init__(self, settings: Settings, clients: Clients) -> None:
        self._wanted = settings.spares and settings.python("jobs").exists()
        #: Names of those that the last job worked on.
        self.buckets: Sequence[str] = ()

        def copied(folder: Path) -> Iterable[StagedBucket]:
            return [StagedBucket(settings, clients.s3, name, folder / name) for name in self.buckets]

        def make(_: Hashable, folder: Path) -> SpareDriver:
            return SpareDriver(settings, folder, copied)

        self._spares = Spares("Spark driver", settings.jobs_dir / "glue" / ".spares", make, [_KIND])

    def start(self) -> None:
        """Begin to keep one."""
        if self._wanted:
            self._spares.start()

    def take(self, job: Document, run: Document) -> SpareDriver | None:
        """Return the driver for a run if it waits and the run can do with it."""
        return self._spares.take(_KIND) if suits(job, run) else None

    def shutdown(self) -> None:
        """End the driver that waits."""
        self._spares.shutdown()


def suits(job: Document, run: Document) -> bool:
    """Return whether a run is a Spark job whose Java needs no settings of its own: those of Spark SQL are read by each session."""
    arguments = job.get("DefaultArguments", {}) | run["Arguments"] | job.get("NonOverridableArguments", {})
    settings = settings_of(str(arguments.get("--conf", "")))
    return job["Command"]["Name"] == "glueetl" and all(name.startswith("spark.sql.") for name in settings)
