"""What the stack was started with, its ports and whether it enforces policies: kept beside its processes' records for the next verb.

Standard library only: a call is checked against it before any environment exists.
"""

from __future__ import annotations

import json
import os

from local_stack import layout, processes
from local_stack.preflight import PreflightError

ENFORCE = "RETRAINING_ENFORCE_POLICIES"
PORTS = {"LOCAL_AWS_PORT": "aws_port", "AIRFLOW_PORT": "airflow_port"}


class OtherStackError(PreflightError):
    """A verb asks for another stack than the one that runs; the message says how they differ."""


def note(enforce: bool) -> None:
    """Write down what the stack is started with."""
    layout.RUN.mkdir(parents=True, exist_ok=True)
    noted = {"aws_port": layout.AWS_PORT, "airflow_port": layout.AIRFLOW_PORT, "enforce": enforce}
    layout.started_file().write_text(json.dumps(noted))


def running() -> bool:
    """Tell whether any process of the stack runs."""
    return any(processes.find(record.stem) for record in layout.RUN.glob("*.json"))


def asked() -> bool | None:
    """Return what ``ENFORCE=`` behind the verb asks for, None when it is not there."""
    value = os.environ.get(ENFORCE)
    return value != "0" if value else None


def enforced() -> bool:
    """Tell whether policies are enforced: as the stack was started while it runs, else as the verb asks."""
    standing = layout.started_with().get("enforce") if running() else None
    return bool(asked() if standing is None else standing)


def check() -> None:
    """See that the verb does not ask for another mode or another port than those of the stack that runs.

    Raises:
        OtherStackError: it does.

    """
    noted = layout.started_with() if running() else {}
    if asked() is not None and asked() != noted.get("enforce", asked()):
        raise OtherStackError(
            f"the stack that runs was started {'with' if noted['enforce'] else 'without'} ENFORCE=1: 'make down' first to change that"
        )
    for variable, name in PORTS.items():
        given = os.environ.get(variable)
        if given and int(given) != noted.get(name, int(given)):
            raise OtherStackError(
                f"the stack that runs has {variable}={noted[name]}, not {given}: leave it out, or 'make down' first to change it"
            )
