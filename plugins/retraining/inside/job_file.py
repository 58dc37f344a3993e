"""What a job is told: ``job.json``, which lies in S3 under the digest of its content and reaches the job as an input of its own.

Arguments and hyperparameters carry nothing: SageMaker allows 256 characters for the one and 2,500 for the other, and some of its containers
join them into a shell line.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

JOB_FILE = "job.json"
NUMBERS = ("double", "int")
"""Contract types whose values are numbers; the values of all others are texts."""
CLASSIFICATION = ("binary", "multiclass")


@dataclass(frozen=True)
class Column:
    """A column of the contract, as far as jobs need it."""

    name: str
    type: str
    nullable: bool = False
    allowed: tuple[str, ...] | None = None

    @property
    def is_number(self) -> bool:
        """Whether its values are numbers."""
        return self.type in NUMBERS


@dataclass(frozen=True)
class Job:
    """One job: what to do with which columns."""

    step: str
    """``training`` or ``evaluation``."""
    model: str
    columns: tuple[Column, ...]
    """Of the contract, in its order, the target among them."""
    target: str
    csv_columns: tuple[str, ...] = ()
    """Order of the columns in CSV files without header."""
    group: str | None = None
    """Column to report errors by."""
    task: str = "regression"
    dataset_version: int | None = None
    candidate: str | None = None
    hyperparameters: Mapping[str, Any] = field(default_factory=dict)
    """Of the candidate, the run's own added; without the seed."""
    seed: int = 0
    program: str = "train.py"
    """File of the model folder that has ``fit``."""
    serving: str | None = None
    """File of the model folder with serving functions of its own; None for the library's."""
    contract: Mapping[str, Any] = field(default_factory=dict)
    """The whole contract, as ``model.yaml`` has it."""

    @property
    def inputs(self) -> tuple[Column, ...]:
        """Columns of a request: those of the contract without the target."""
        return tuple(column for column in self.columns if column.name != self.target)

    @property
    def target_column(self) -> Column:
        """The target."""
        return next(column for column in self.columns if column.name == self.target)

    @property
    def classes(self) -> tuple[str, ...]:
        """What a classifier chooses between, in the order of the probabilities; empty for other tasks."""
        return classes_of(self.target_column) if self.task in CLASSIFICATION else ()


def classes_of(target: Column) -> tuple[str, ...]:
    """Return the classes of a target: its allowed values, or 0 and 1 of a number."""
    return ("0", "1") if target.is_number else target.allowed or ()


def columns_of(entries: Sequence[Mapping[str, Any]]) -> tuple[Column, ...]:
    """Return the columns of a contract as ``model.yaml`` has them."""
    return tuple(
        Column(
            entry["name"],
            entry["type"],
            bool(entry.get("nullable", False)),
            None if entry.get("allowed") is None else tuple(entry["allowed"]),
        )
        for entry in entries
    )


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
        ValueError: the target or the group is not a column.

    """
    contract = document["contract"]
    columns = columns_of(contract["columns"])
    names = [column.name for column in columns]
    target, group = contract["target"], document.get("group")
    for name in (target, *([group] if group else [])):
        if name not in names:
            raise ValueError(f"{JOB_FILE}: there is no column {name!r} among {', '.join(names)}")
    settings = dict(document.get("hyperparameters") or {})
    return Job(
        step=document["step"],
        model=document["model"],
        columns=columns,
        target=target,
        csv_columns=tuple(document.get("csv_columns") or (target, *(name for name in names if name != target))),
        group=group,
        task=document.get("task", "regression"),
        dataset_version=document.get("dataset_version"),
        candidate=document.get("candidate"),
        seed=int(settings.pop("seed", 0)),
        hyperparameters=settings,
        program=document.get("program") or "train.py",
        serving=document.get("serving"),
        contract=contract,
    )
