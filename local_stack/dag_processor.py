"""Airflow's DAG processor, which has imported what DAG files need: it reads each of them every quarter of a minute, in a fork."""

from __future__ import annotations

from local_stack import importing


def prepare() -> None:
    """Import for the forks."""
    importing.for_forks()
