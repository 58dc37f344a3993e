"""Reads every model folder before anything starts: what is wrong is named by file and line, and only the model that has it stops."""

from __future__ import annotations

import ast
import functools
import importlib
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

from local_stack import layout
from local_stack.verbs import calls
from retraining.settings.environment import in_environment

if TYPE_CHECKING:
    from retraining.settings.model_config import ModelConfig

PLUGINS = layout.ROOT / "plugins"
Say = Callable[[str], None]


class BrokenModelError(calls.CallError):
    """The model that a verb needs is wrong; the message lists each problem with its file and line."""


@dataclass(frozen=True)
class ModelFolder:
    """A model folder as it was read: its configuration, or what keeps it from being used."""

    name: str
    problems: tuple[str, ...]
    config: ModelConfig | None
    absent: tuple[str, ...] = ()
    """What cannot train on this machine as it is set up; on AWS it can."""

    @property
    def sound(self) -> bool:
        """Whether a DAG of this model can run."""
        return not self.problems


def read(name: str) -> ModelFolder:
    """Read one model folder: ``model.yaml``, the syntax of its code, its DAG file.

    Raises:
        CallError: there is no such folder.

    """
    calls.known_model(name)
    settings = _settings()
    folder = layout.ROOT / "dags" / "models" / name
    problems: list[str] = []
    config = None
    try:
        config = settings.load_model_config(folder / "model.yaml")
    except settings.ConfigError as error:
        problems += str(error).replace(f"{layout.ROOT}/", "").splitlines()
    if config and config.name != name:
        problems.append(
            f"{_shown(folder / 'model.yaml')}:{_line_of_name(folder)}: name: is {config.name!r}, but the folder is {name!r}; "
            "write the folder's name"
        )
    dag_file = layout.ROOT / "dags" / f"{calls.dag_of(name)}.py"
    for path in [*sorted(folder.rglob("*.py")), *([dag_file] if dag_file.exists() else [])]:
        problems += _syntax(path)
    if not dag_file.exists():
        problems.append(
            f"{_shown(dag_file)}: does not exist, so nothing runs this model; copy dags/abalone_retraining.py to it and "
            f"write {name!r} in place of 'abalone'"
        )
    return ModelFolder(name, tuple(problems), config, tuple(_absent(config)) if config else ())


def _absent(config: ModelConfig) -> Iterator[str]:
    """Yield a line for each candidate whose image stands for an environment that was not created.

    Where the environments are another container's, as in compose, neither they nor local_aws can be asked from here.
    """
    if not layout.VENVS.is_dir():
        return
    from local_aws.sagemaker import images

    for candidate in config.training.candidates:
        image = config.training.image_of(candidate)
        if candidate.container:
            yield from _without_command(candidate.name, image)
            continue
        environment = images.ENVIRONMENTS.get(images.repository(image))
        if environment and not layout.python(environment).exists():
            yield (
                f"candidate {candidate.name} trains in {image}, whose environment is not set up on this machine: "
                f"{images.CREATED_BY[environment]}"
            )


def _without_command(candidate: str, image: str) -> Iterator[str]:
    """Yield a line if nothing on this machine stands for a container of one's own."""
    from local_aws.sagemaker import images

    name, file = images.repository(image), _shown(layout.IMAGES)
    try:
        commands = images.read_commands(layout.IMAGES) if layout.IMAGES.exists() else {}
    except ValueError as error:
        yield f"candidate {candidate}: {error}"
        return
    if name not in commands:
        yield f"candidate {candidate} trains in {image}, for which no command stands on this machine: name one for [{name}] in {file}"
    elif shutil.which(commands[name][0]) is None:
        yield f"candidate {candidate} is run by {commands[name][0]}, see {file}, which is not installed on this machine"


def endpoint_of(name: str) -> str | None:
    """Return the name of a model's endpoint, None of a model that has none; of a broken model it is taken to be the model's own name."""
    config = read(name).config
    return config.endpoint if config else in_environment(name)


def read_all() -> list[ModelFolder]:
    """Read every model folder."""
    return [read(name) for name in calls.models()]


def sound(say: Say, needed: str | None = None) -> list[str]:
    """Return the names of the models that can run; those that cannot are told with their problems.

    Args:
        say: takes the lines about broken models.
        needed: the model that the verb is about, if it is about one.

    Raises:
        BrokenModelError: the needed model is broken, or all are.
        CallError: there is no such model.

    """
    if needed is not None:
        calls.known_model(needed)
    folders = read_all()
    broken = [folder for folder in folders if not folder.sound]
    for folder in broken:
        if folder.name == needed or len(broken) == len(folders):
            raise BrokenModelError("\n".join(folder.problems))
    for folder in broken:
        say(f"model {folder.name} is left out until its files are right; the others go on:")
        for problem in folder.problems:
            say(f"  {problem}")
    for folder in folders:
        if folder.sound and needed in (None, folder.name):
            for line in folder.absent:
                say(f"model {folder.name}: {line}")
    return [folder.name for folder in folders if folder.sound]


def report(folders: Sequence[ModelFolder], say: Say) -> int:
    """Print what ``make check-model`` found; return 0 when every folder can be used, else 2."""
    for folder in folders:
        if folder.config and folder.sound:
            contract = folder.config.contract
            say(
                f"{folder.name}: ok, {len(contract.columns)} columns, target {contract.target}, "
                f"{len(folder.config.training.candidates)} candidate(s), "
                + (f"endpoint {folder.config.endpoint}" if folder.config.endpoint else "no endpoint")
            )
            for line in folder.absent:
                say(f"  {line}")
        else:
            say(f"{folder.name}: cannot be used")
            for problem in folder.problems:
                say(f"  {problem}")
    return 0 if all(folder.sound for folder in folders) else 2


@functools.cache
def _settings() -> ModuleType:
    if str(PLUGINS) not in sys.path:
        sys.path.insert(0, str(PLUGINS))  # where Airflow finds the library too
    return importlib.import_module("retraining.settings.model_config")


def _syntax(path: Path) -> list[str]:
    try:
        ast.parse(path.read_bytes(), str(path))
    except SyntaxError as error:
        return [f"{_shown(path)}:{error.lineno or 1}: {error.msg}: {(error.text or '').strip()!r}"]
    except ValueError as error:  # a null byte
        return [f"{_shown(path)}:1: is no Python source: {error}"]
    return []


def _line_of_name(folder: Path) -> int:
    lines = (folder / "model.yaml").read_text(encoding="utf-8").splitlines()
    return next((number for number, line in enumerate(lines, start=1) if line.startswith("name:")), 1)


def _shown(path: Path) -> str:
    return path.relative_to(layout.ROOT).as_posix()
