"""What stands for a container image on this machine: a virtual environment for an image of AWS, a command for an image of one's own.

Commands stand in a file that belongs to this machine, TOML with a table for each repository::

    [oyster-r]                                        # of 123456789012.dkr.ecr.us-east-1.amazonaws.com/oyster-r:1
    command = ["Rscript", "./images/oyster-r/model.R"]   # ./ is the folder of this file

What the image's entrypoint would be called with, ``train`` or ``serve``, follows as the last argument.
"""

from __future__ import annotations

import shutil
import tomllib
from collections.abc import Mapping
from pathlib import Path

from local_aws.shared.errors import JobError
from local_aws.shared.settings import Settings

#: Repository name of an image (the part before the tag) -> virtual environment below the environments folder.
ENVIRONMENTS = {
    "sagemaker-scikit-learn": "jobs",
    "sagemaker-xgboost": "xgboost",
    "retraining-survey": "survey",
    # SageMaker Distribution, the image of Studio: it brings the SageMaker SDK, which @remote needs inside the job.
    "sagemaker-distribution-prod": "sagemaker",
    "tensorflow-training": "tensorflow",
    "tensorflow-inference": "tensorflow",
}
#: Virtual environment -> the call of make that creates it.
CREATED_BY = {
    "jobs": "make setup",
    "sagemaker": "make setup-sdk",
    "survey": "make setup-survey",
    "tensorflow": "make setup-tensorflow",
    "xgboost": "make setup-xgboost",
}
TRAIN, SERVE = "train", "serve"
"""What SageMaker calls an image with."""


def repository(image: str) -> str:
    """Return the repository name of an image URI: ``HOST/sagemaker-xgboost:3`` -> ``sagemaker-xgboost``."""
    return image.split("@")[0].rsplit("/", 1)[-1].split(":")[0]


def python_for_image(settings: Settings, image: str) -> Path:
    """Return the interpreter that runs what the image would run; JobError when there is none."""
    environment = ENVIRONMENTS.get(repository(image))
    if environment is None:
        raise JobError(
            f"the image {image} is not known to local_aws, which runs: {', '.join(sorted(ENVIRONMENTS))}. "
            "Use one of these or run the job on AWS; for an image of your own that is called with train and serve, name a command in "
            f"{settings.images or 'a file for --images'}."
        )
    python = settings.python(environment)
    if not python.exists():
        raise JobError(
            f"the image {image} runs locally in the virtual environment {environment!r}, "
            f"which does not exist below {settings.environments}: {CREATED_BY[environment]} creates it."
        )
    return python


def own_command(settings: Settings, image: str) -> list[str] | None:
    """Return the command that stands for an image of one's own, None of an image without one; the file is read each time.

    Raises:
        JobError: the file is none, the command is not on this machine, or a job would not see what it names.

    """
    if settings.images is None or not settings.images.exists():
        return None
    try:
        command = read_commands(settings.images).get(repository(image))
    except ValueError as error:
        raise JobError(str(error)) from error
    if not command:
        return None
    program = shutil.which(command[0])
    if program is None:
        raise JobError(
            f"the image {image} runs locally as {command[0]!r}, see {settings.images}, which is not installed on this machine: install it"
        )
    for part in map(Path, command):
        if part.is_absolute() and part.exists() and _is_hidden(settings, part):
            raise JobError(
                f"the image {image} runs locally with {part}, which no job sees: a job has a /tmp of its own. Put it beside "
                f"{settings.images}, and name it from ./"
            )
    return [program, *command[1:]]


def _is_hidden(settings: Settings, path: Path) -> bool:
    """Tell whether an isolated job lacks a file of this machine, see ``running.processes.view_of_job``."""
    kept = [settings.environments, *([settings.images.parent] if settings.images else [])]
    covered = any(path.is_relative_to(folder) for folder in (Path("/tmp"), settings.data_dir))
    return settings.isolated and covered and not any(path.is_relative_to(folder) for folder in kept)


def read_commands(file: Path) -> Mapping[str, list[str]]:
    """Return the commands of a file by repository name.

    Raises:
        ValueError: it is no TOML, or a table has no command; the message names file and table.

    """
    try:
        tables = tomllib.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ValueError(f"{file} cannot be read: {error}") from error
    found = {}
    for name, table in tables.items():
        command = table.get("command") if isinstance(table, dict) else None
        if not isinstance(command, list) or not command or not all(isinstance(part, str) for part in command):
            raise ValueError(f'{file}: [{name}] needs command = ["PROGRAM", "ARGUMENT", ...]')
        found[name] = [str(file.resolve().parent / part) if part.startswith("./") else part for part in command]
    return found
