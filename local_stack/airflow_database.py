"""Makes the database of the local Airflow, and brings it up to date: ``python -m local_stack.airflow_database``."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from collections.abc import Callable

from local_stack import layout, processes
from local_stack.airflow_settings import airflow_environment

LOG = "db-migrate"


class DatabaseError(RuntimeError):
    """The database could not be created; the message names the log."""


def migrate(say: Callable[[str], None]) -> None:
    """Do it once for each lock of Airflow's environment.

    Raises:
        DatabaseError: Airflow could not.

    """
    marker = layout.AIRFLOW_HOME / ".migrated"
    digest = hashlib.sha256((layout.ROOT / "requirements" / "airflow.txt").read_bytes()).hexdigest()
    if marker.exists() and marker.read_text() == digest:
        return
    say("creating the Airflow database")
    layout.LOGS.mkdir(parents=True, exist_ok=True)
    with processes.log_file(LOG).open("wb") as log:
        done = subprocess.run(
            [layout.python("airflow"), "-m", "airflow", "db", "migrate"],
            env=airflow_environment(),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            check=False,
        )
    if done.returncode:
        raise DatabaseError(
            f"the Airflow database could not be created; see {processes.log_file(LOG)}:\n{processes.log_tail(LOG)}"
        )
    marker.write_text(digest)


def main() -> int:
    """Make the database, so that the first start need not; what goes wrong here is told there, when it is needed."""
    try:
        migrate(lambda line: print(line, flush=True))
    except DatabaseError:
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
