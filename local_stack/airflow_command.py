"""A process of Airflow as this stack runs it: ``python -m local_stack.airflow_command scheduler --skip-serve-logs``.

Each has a module here, whose ``prepare`` is called first.

Python looks through all objects that a process holds for those that nobody can reach: a sixth of the time in which Airflow is imported, and
again at the end, for seconds, when the work is done and whoever stops the stack waits. Both are for nothing, and left out.
"""

from __future__ import annotations

import atexit
import gc
import importlib
import sys

NEW_OBJECTS = 100_000
"""After how many Python looks whether some of the newest can be reached no more; by itself, after 700."""


def main() -> None:
    """Run Airflow's command of the arguments."""
    gc.set_threshold(NEW_OBJECTS, 10, 10)
    atexit.register(gc.freeze)  # before Airflow registers its own: the last to be called
    importlib.import_module(f"local_stack.{sys.argv[1].replace('-', '_')}").prepare()
    from airflow.__main__ import main as airflow

    sys.argv[0] = "airflow"
    airflow()


if __name__ == "__main__":
    main()
