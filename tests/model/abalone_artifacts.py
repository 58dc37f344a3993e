"""Trains and packs artifacts for the tests as a training job does: job.json, channels, and the library around ``fit``."""

import json
import sys
import tarfile
from pathlib import Path
from typing import Any

from retraining.inside import program
from retraining.jobs.code_bundle import document_bytes, evaluation_document, training_document
from retraining.jobs.plan import RunPlan
from retraining.settings.model_config import load_model_config

ROOT = Path(__file__).resolve().parents[2]
MODEL = ROOT / "dags" / "models" / "abalone"
CONFIG = load_model_config(MODEL / "model.yaml")
COLUMNS = list(CONFIG.contract.training_columns)
PLAN = RunPlan(
    model="abalone",
    run_key="v3-0",
    work_digest="w",
    version=3,
    batch=None,
    code_digest="c",
    candidates=("svr-hgb",),
)
sys.path.insert(0, str(MODEL))  # the model's modules, as in the container


def train_artifact(channels: Path, folder: Path, code: Path = MODEL, **hyperparameters: Any) -> dict:
    """Train in this process; return the model card."""
    candidate = CONFIG.training.candidates[0].model_copy(update={"hyperparameters": hyperparameters})
    job = folder.parent / f"{folder.name}-job"
    write_job(job, training_document(CONFIG, PLAN, candidate))
    variables = {
        "SM_CHANNEL_TRAIN": str(channels / "train"),
        "SM_CHANNEL_VALIDATION": str(channels / "validation"),
        "SM_CHANNEL_JOB": str(job),
        "SM_MODEL_DIR": str(folder),
    }
    assert program.main(code, ["--model_dir", "s3://what-tensorflow-adds"], variables) == 0
    return json.loads((folder / "model_card.json").read_text())


def write_job(folder: Path, document: dict) -> None:
    """Write job.json."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "job.json").write_bytes(document_bytes(document))


def evaluation_job(**changes: Any) -> dict:
    """Return job.json of an evaluation, which does not take the time to explain unless it is told to."""
    return evaluation_document(CONFIG, PLAN) | {"explain_seconds": 0} | changes


def pack(folder: Path, destination: Path) -> Path:
    """Write ``folder`` as ``destination``/model.tar.gz, as SageMaker does, and return ``destination``."""
    destination.mkdir(parents=True, exist_ok=True)
    with tarfile.open(destination / "model.tar.gz", "w:gz") as tar:
        tar.add(folder, arcname=".")
    return destination
