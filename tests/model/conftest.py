"""Channels cut from the real data, and artifacts trained on them."""

from pathlib import Path

import pandas as pd
import pytest
from abalone_artifacts import COLUMNS, ROOT, train_artifact


@pytest.fixture(scope="session")
def abalone() -> pd.DataFrame:
    """All rows, shuffled, target first as in the training channel."""
    return pd.read_csv(ROOT / "data" / "abalone.csv").sample(frac=1, random_state=0)[COLUMNS].reset_index(drop=True)


@pytest.fixture(scope="session")
def channels(abalone: pd.DataFrame, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with header-less CSV in train/ (two files), validation/ and test/."""
    folder = tmp_path_factory.mktemp("channels")
    parts = {
        "train/batch=a/part-0.csv": abalone[:800],
        "train/batch=b/part-0.csv": abalone[800:1600],
        "validation/batch=a/part-0.csv": abalone[1600:2200],
        "test/batch=a/part-0.csv": abalone[2200:2409],
    }
    for name, rows in parts.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        rows.to_csv(path, header=False, index=False)
    (folder / "train" / "batch=b" / "part-1.csv").touch()  # Spark leaves empty files
    return folder


@pytest.fixture(scope="session")
def default_artifact(channels: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the unpacked artifact of the default algorithm."""
    folder = tmp_path_factory.mktemp("svr_hgb")
    train_artifact(channels, folder)
    return folder


@pytest.fixture(scope="session")
def linear_artifact(channels: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the unpacked artifact of the linear baseline."""
    folder = tmp_path_factory.mktemp("linear")
    train_artifact(channels, folder, algorithm="linear")
    return folder
