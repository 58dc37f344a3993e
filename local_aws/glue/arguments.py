"""Glue's own arguments of a job, ``--extra-py-files`` and its kin: what of them acts here, and what is refused."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from pathlib import Path

from local_aws.shared import running
from local_aws.shared.errors import JobError

_PIP = Path(running.__file__).with_name("installer") / "pip" / "__main__.py"
_NO_JVM = "scripts in Scala and classes of Java are not run"

#: Arguments that change what a script can do or finds, and have no effect here.
_REFUSED = {
    "--class": _NO_JVM,
    "--extra-jars": _NO_JVM,
    "--datalake-formats": "Spark has no libraries for Iceberg, Hudi and Delta here",
    "--job-bookmark-from": "a bookmark knows its newest state only",
    "--job-bookmark-to": "a bookmark knows its newest state only",
    "--customer-driver-env-vars": "a script finds no variables but those that Glue gives each job",
    "--customer-executor-env-vars": "a script finds no variables but those that Glue gives each job",
}
_MODULES = "--additional-python-modules"


def check_arguments(arguments: Mapping[str, str], python: Path) -> None:
    """Refuse what would be ignored.

    Raises:
        JobError: an argument has no effect here, or asks for a package that the job's environment has not; it is named.

    """
    for name, reason in _REFUSED.items():
        if arguments.get(name):
            raise JobError(f"the argument {name} is not available in local_aws: {reason}")
    if arguments.get("--job-language", "python") != "python":
        raise JobError(
            f"the argument --job-language {arguments['--job-language']} is not available in local_aws: {_NO_JVM}"
        )
    modules = [name for name in listed(arguments, _MODULES) if not is_library(name)]
    if modules:
        command = [str(python), str(_PIP), "install", *modules]
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, check=False
        )
        if done.returncode:
            raise JobError(f"{_MODULES}: {done.stderr.strip()}")


def libraries(arguments: Mapping[str, str]) -> list[str]:
    """Return the S3 URIs of what the script can import: its extra files, and the wheels among the additional modules."""
    return [*listed(arguments, "--extra-py-files"), *(name for name in listed(arguments, _MODULES) if is_library(name))]


def is_library(name: str) -> bool:
    """Return whether an additional module is given by the S3 URI of a wheel."""
    return name.startswith("s3://")


def listed(arguments: Mapping[str, str], name: str) -> list[str]:
    """Return the parts of an argument that is a list with commas."""
    return [part.strip() for part in str(arguments.get(name, "")).split(",") if part.strip()]
