"""Pythons kept ready for SageMaker's jobs and model servers: most of the seconds of a small one are the imports of its libraries."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from local_aws.shared.running.hosts import Host
from local_aws.shared.running.processes import job_environment, view_of_job
from local_aws.shared.running.spares import NO_KEY, Spare, Spares
from local_aws.shared.sandbox import Sandbox
from local_aws.shared.settings import Settings

_PROGRAM = Path(__file__).parents[1] / "shared" / "running" / "spare_python.py"


class Kind(NamedTuple):
    """What a spare must have from its start."""

    environment: str
    network: bool


#: In the order in which they are warmed.
KEPT = (Kind("jobs", network=False), Kind("jobs", network=True))


class SparePython(Spare):
    """A Python of an environment in the sandbox of a job to come."""

    def __init__(self, settings: Settings, kind: Kind, folder: Path) -> None:
        self.sandbox = Sandbox(folder / "work", settings.isolated)
        ml, home = self.sandbox.ml, self.sandbox.root / "home"
        ml.mkdir(parents=True)
        python = settings.python(kind.environment)
        names = Host(0, 1, self.sandbox, folder / "output.txt").write_names()
        super().__init__(
            folder,
            [str(python), str(_PROGRAM), str(self.sandbox.root)],
            job_environment(settings, python, home, NO_KEY, {}),
            ml,
            view_of_job(settings, self.sandbox.root, home / "tmp", str(self.sandbox.seen(ml)), ml, kind.network, names),
            grace_seconds=10.0,
        )


class SparePythons:
    """Keeps one of each kind ready while there is memory, if the settings ask for it and jobs are isolated.

    A job that is not has another place for its files in its very command, which is made before its process is chosen.
    """

    def __init__(self, settings: Settings) -> None:
        self._wanted = settings.spares and settings.isolated
        self._settings = settings
        kinds = [kind for kind in KEPT if settings.python(kind.environment).exists()]

        def make(kind: Kind, folder: Path) -> SparePython:
            return SparePython(settings, kind, folder)

        self._spares: Spares[SparePython] = Spares("Python", settings.jobs_dir / ".spares", make, kinds)

    def start(self) -> None:
        """Begin to keep them."""
        if self._wanted:
            self._spares.start()

    def take(self, python: Path, network: bool) -> SparePython | None:
        """Return one that waits, for a job of an interpreter."""
        return self._spares.take(Kind(python.parents[1].name, network))

    def shutdown(self) -> None:
        """End those that wait."""
        self._spares.shutdown()
