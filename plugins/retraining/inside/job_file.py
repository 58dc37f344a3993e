"""What a job is told: ``job.json``, which lies in S3 under the digest of its content and reaches the job as an input of its own.

Arguments and hyperparameters carry nothing but what a search tries: SageMaker allows 256 characters for the one and 2,500 for the other,
and some of its containers join them into a shell line.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from retraining.contract.rules import Column, Contract

JOB_FILE = "job.json"
CLASSIFICATION = ("binary", "multiclass")


@dataclass(frozen=True)
class Job:
    """One job: what to do with which columns."""

    step: str
    """``training``, ``champion``, ``evaluation``, ``smoke``, ``batch`` or ``look``."""
    model: str
    contract: Contract
    """What a row must be; its columns are the target and the inputs of the model."""
    document: Mapping[str, Any]
    """The contract as ``model.yaml`` has it."""
    csv_columns: tuple[str, ...] = ()
    """Order of the columns in CSV files."""
    csv_header: bool = False
    """Whether CSV files have a header."""
    group: str | None = None
    """Column to report errors by."""
    task: str = "regression"
    threshold: float | None = None
    """Probability of the second of two classes from which on it is the label; None for the more probable class."""
    dataset_version: int | None = None
    candidate: str | None = None
    hyperparameters: Mapping[str, Any] = field(default_factory=dict)
    """Of the candidate, the run's own added; without the seed."""
    seed: int = 0
    tuned: Mapping[str, str] = field(default_factory=dict)
    """Of a trial of a search: the hyperparameters that the service names, each ``integer``, ``continuous`` or ``categorical``."""
    trainer: str | None = None
    """One of the trainers in the box; None for ``fit`` of the model folder."""
    program: str = "train.py"
    """File of the model folder that has ``fit``."""
    serving: str | None = None
    """File of the model folder with serving functions of its own; None for the library's."""
    files: tuple[Mapping[str, str], ...] = ()
    """Of a batch: the files to score, ``name`` below the input and ``key`` in S3. Of a look: those with labels."""
    version: str = ""
    """Of a batch: what the model is called in its results."""

    explain: bool = False
    """Of a batch: whether to say why each row got its answer."""
    explain_seconds: float = 0.0
    """Of an evaluation: how long it asks the challenger why."""

    explained_rows: int = 0
    """Of a look: how many rows it explains, to see whether the model goes by other columns; of a training: what looks will explain."""

    artifacts: Mapping[str, str] = field(default_factory=dict)
    """SHA-256 of the ``model.tar.gz`` in an input, by the input's name: one that has another is not unpacked."""
    requests: tuple[str, ...] = ()
    """Of a smoke job: the bodies of the requests."""
    content_type: str = ""
    """Of a smoke job: that of the requests."""

    label_days: float = 0.0
    """Of a look: days that answers and labels wait for each other; 0 if the watch takes no labels."""
    as_of: int = 0
    """Of a look: when the newest file that it reads came, in seconds since 1970."""

    left_out: tuple[str, ...] = ()
    """Of a look at captured requests: beginnings of inference ids that do not count."""

    @property
    def columns(self) -> tuple[Column, ...]:
        """All columns, in the contract's order."""
        return self.contract.columns

    @property
    def target(self) -> str:
        """Name of the target."""
        return self.contract.target

    @property
    def inputs(self) -> tuple[Column, ...]:
        """Columns of a request: those of the contract without the target."""
        return inputs_of(self.contract)

    @property
    def target_column(self) -> Column:
        """The target."""
        return self.contract.column(self.target)

    @property
    def classes(self) -> tuple[str, ...]:
        """What a classifier chooses between, in the order of the probabilities; empty for other tasks."""
        return classes_of(self.target_column, self.task)


def inputs_of(contract: Contract) -> tuple[Column, ...]:
    """Return the columns of a contract without its target."""
    return tuple(column for column in contract.columns if column.name != contract.target)


def is_number(column: Column) -> bool:
    """Whether the values of a column are numbers in a frame; a truth value is 1 or 0, all others are texts."""
    return column.numeric or column.type == "boolean"


def classes_of(target: Column, task: str) -> tuple[str, ...]:
    """Return the classes of a classification's target: its allowed values, or 0 and 1 of a number; none for other tasks."""
    if task not in CLASSIFICATION:
        return ()
    return ("0", "1") if is_number(target) else target.allowed


def read_job(folder: Path) -> Job:
    """Read ``job.json``.

    Raises:
        ValueError: there is none in ``folder``, or it is not one that this code understands.

    """
    path = folder / JOB_FILE
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ValueError(f"{path} does not exist: a job needs an input 'job' with what it has to do") from error
    except ValueError as error:
        raise ValueError(f"{path} is not JSON: {error}") from error
    return as_job(document)


def as_job(document: Mapping[str, Any]) -> Job:
    """Return a job from the content of its file.

    Raises:
        ValueError: the contract contradicts itself, or the group is not a column.

    """
    contract, group = Contract.of(document["contract"]), document.get("group")
    if group and group not in contract.names:
        raise ValueError(f"{JOB_FILE}: there is no column {group!r} among {', '.join(contract.names)}")
    settings = dict(document.get("hyperparameters") or {})
    return Job(
        step=document["step"],
        model=document["model"],
        contract=contract,
        document=document["contract"],
        csv_columns=tuple(document.get("csv_columns") or contract.training_columns),
        csv_header=bool(document.get("csv_header")),
        group=group,
        task=document.get("task", "regression"),
        threshold=document.get("threshold"),
        dataset_version=document.get("dataset_version"),
        candidate=document.get("candidate"),
        seed=int(settings.pop("seed", 0)),
        hyperparameters=settings,
        tuned=dict(document.get("tuned") or {}),
        trainer=document.get("trainer"),
        program=document.get("program") or "train.py",
        serving=document.get("serving"),
        files=tuple(document.get("files") or ()),
        version=document.get("version") or "",
        explain=bool(document.get("explain")),
        explain_seconds=float(document.get("explain_seconds") or 0),
        explained_rows=int(document.get("explained_rows") or 0),
        label_days=float(document.get("label_days") or 0),
        as_of=int(document.get("as_of") or 0),
        artifacts=dict(document.get("artifacts") or {}),
        requests=tuple(document.get("requests") or ()),
        content_type=document.get("content_type") or "",
        left_out=tuple(document.get("left_out") or ()),
    )
