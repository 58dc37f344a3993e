"""Trains and packs artifacts for the tests, with the model folder on the import path as inside the container."""

import json
import sys
import tarfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
MODEL = ROOT / "dags" / "models" / "abalone"
sys.path.insert(0, str(MODEL))

COLUMNS = [
    "rings",
    "sex",
    "length",
    "diameter",
    "height",
    "whole_weight",
    "shucked_weight",
    "viscera_weight",
    "shell_weight",
]


def train_artifact(channels: Path, folder: Path, *arguments: str) -> dict:
    """Run train.py's main in this process and return the model card."""
    import train

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SM_CHANNEL_TRAIN", str(channels / "train"))
        patch.setenv("SM_CHANNEL_VALIDATION", str(channels / "validation"))
        patch.setenv("SM_MODEL_DIR", str(folder))
        common = ["--columns", json.dumps(COLUMNS), "--target", "rings", "--group", "sex"]
        assert train.main([*common, *arguments]) == 0
    return json.loads((folder / "model_card.json").read_text())


def pack(folder: Path, destination: Path) -> Path:
    """Write ``folder`` as ``destination``/model.tar.gz, as SageMaker does, and return ``destination``."""
    destination.mkdir(parents=True, exist_ok=True)
    with tarfile.open(destination / "model.tar.gz", "w:gz") as tar:
        tar.add(folder, arcname=".")
    return destination
