"""Airflow's DAG processor, which has imported what DAG files need: it reads each of them every quarter of a minute, in a fork.

Tasks and jobs go first: it is nicer than they, and so is its session, where Linux shares the processors among sessions.
"""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from pathlib import Path

from airflow.__main__ import main

from local_stack import importing

NICENESS = 10

if __name__ == "__main__":
    os.nice(NICENESS)
    with suppress(OSError):
        Path("/proc/self/autogroup").write_text(str(NICENESS))
    importing.for_forks()
    sys.argv = ["airflow", "dag-processor", *sys.argv[1:]]
    main()
