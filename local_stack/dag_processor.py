"""Airflow's DAG processor, which has imported what DAG files need: it reads each of them every quarter of a minute, in a fork."""

from __future__ import annotations

import sys

from airflow.__main__ import main

from local_stack import importing

if __name__ == "__main__":
    importing.for_forks()
    sys.argv = ["airflow", "dag-processor", *sys.argv[1:]]
    main()
