"""A model folder as an experiment sees it: what ``model.yaml`` says, and what its training code lets one set."""

from __future__ import annotations

import importlib.util
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from experiment.overrides import Options, OverrideError
from retraining.settings.model_config import load_model_config

HYPERPARAMETERS = "hyperparameters.py"


@dataclass(frozen=True)
class ModelFolder:
    """The files that an experiment reads before it starts."""

    path: Path
    text: str
    """Of ``model.yaml``, line ends as they are."""
    options: Options | None
    """None when the folder has no hyperparameters.py: then only train.py knows."""

    @property
    def values(self) -> dict[str, Any]:
        """Content of ``model.yaml``."""
        return dict(yaml.safe_load(self.text))


def read(path: Path) -> ModelFolder:
    """Read a model folder.

    Raises:
        ConfigError: ``model.yaml`` is missing or wrong.
        OverrideError: hyperparameters.py does not say what it should.

    """
    load_model_config(path / "model.yaml")
    return ModelFolder(path.resolve(), read_text(path), _options(path / HYPERPARAMETERS))


def read_text(path: Path) -> str:
    """Return the text of a folder's ``model.yaml`` without translating line ends."""
    return (path / "model.yaml").read_bytes().decode("utf-8")


def write_text(path: Path, text: str) -> None:
    """Replace a folder's ``model.yaml`` in one move, its permissions kept."""
    target = (path / "model.yaml").resolve()
    with tempfile.NamedTemporaryFile("wb", dir=target.parent, prefix=".model.yaml.", delete=False) as file:
        file.write(text.encode("utf-8"))
    shutil.copymode(target, file.name)
    Path(file.name).replace(target)


def _options(path: Path) -> Options | None:
    if not path.exists():
        return None
    spec = importlib.util.spec_from_file_location("experiment_hyperparameters", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
        return Options(tuple(module.OPTIONS), module.DEFAULTS, module.DEFAULT_ALGORITHM, module.complete)
    except Exception as error:
        raise OverrideError(
            f"{path} cannot be used: {type(error).__name__}: {error}; it has to define OPTIONS, DEFAULTS, DEFAULT_ALGORITHM and "
            "complete(), with the standard library alone"
        ) from error
