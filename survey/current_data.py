"""The rows that a survey is made from: the current dataset version in S3, or the original data set when no platform is up."""

from __future__ import annotations

import csv
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from local_stack.surveys import split_surveys
from retraining.aws.clients import client
from retraining.aws.naming import digest
from retraining.aws.platform_parameter import UnreachableError, reach_platform
from retraining.contract.rows import row_reasons, row_split
from retraining.contract.rules import Contract, cells_of
from retraining.contract.splitting.by_time import BY_TIME, as_document, as_number, boundaries_of_times, shares_of
from retraining.dataset.log import DatasetLog
from retraining.dataset.state import LogState
from retraining.settings.model_config import ModelConfig
from retraining.settings.platform import Platform

SPLITS = ("train", "validation", "test")
Say = Callable[[str], None]


@dataclass(frozen=True)
class CurrentData:
    """Training objects as local folders, and where they are from."""

    label: str
    """For people, such as ``dataset version 3``."""
    train: Path
    """Folder of the train split."""
    known: Path
    """Folder of all splits: what a replay must not repeat."""
    batches: tuple[str, ...]
    """What the version is made of; names the fitted models."""
    platform: Platform | None = None


def find(config: ModelConfig, original: Path, hold_back: bool, cache: Path, say: Say) -> CurrentData:
    """Return the current dataset version, or the original data set with a note when there is none.

    Args:
        config: the model's configuration.
        original: CSV file with header of the original data set.
        hold_back: leave out of the original data set what the demo brings later, so that there is something to replay.
        cache: folder for downloads.
        say: told what was found.

    """
    try:
        platform = reach(config)
    except UnreachableError as error:
        say(f"note: {error}\nnote: made from {original.name} instead of a dataset version")
        return from_original(config, original, hold_back, cache)
    s3 = client("s3", config.aws)
    state = DatasetLog(s3, platform.bucket, f"{config.name}/").read()
    if not state.rows_by_split().get("train"):
        say(f"note: the dataset log of {config.name} is empty; made from {original.name} instead of a dataset version")
        data = from_original(config, original, hold_back, cache)
        return CurrentData(data.label, data.train, data.known, data.batches, platform)
    return _download(s3, config, platform, state, cache)


def reach(config: ModelConfig) -> Platform:
    """Return the platform of a model.

    Raises:
        UnreachableError: AWS does not answer, refuses, or the platform is not deployed.

    """
    return reach_platform(config.platform_parameter, config.aws)


def from_original(config: ModelConfig, original: Path, hold_back: bool, cache: Path) -> CurrentData:
    """Lay the valid rows of the original data set out as a dataset version.

    The rows are split as the merge splits them, so that a test row of a later dataset is not learnt from here either.
    """
    contract = Contract.of(config.contract.model_dump(mode="json"))
    text = split_surveys(original)[0] if hold_back else original.read_text(encoding="utf-8")
    header, *rows = cells_of(text.splitlines())
    order = [header.index(name) for name in contract.names]
    found: dict[str, list[list[str]]] = {split: [] for split in SPLITS}
    good = [cells for row in rows if not row_reasons(contract, cells := [row[place] for place in order])]
    split = _divided(contract, good, config.split.model_dump())
    for cells in good:
        by_name = dict(zip(contract.names, cells, strict=True))
        found[str(row_split(contract, cells, split))].append([by_name[name] for name in contract.training_columns])
    batch = digest({"original": text, "split": config.split.model_dump()})
    folder = cache / batch
    for split, lines in found.items():
        path = folder / f"split={split}" / "original.csv"
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("w", newline="", encoding="utf-8") as file:
            csv.writer(file, lineterminator="\n").writerows(lines)
    return CurrentData(f"{original.name} (no dataset version)", folder / "split=train", folder, (batch,))


def _divided(contract: Contract, rows: Sequence[Sequence[str]], split: dict[str, Any]) -> dict[str, Any]:
    """Add the times that divide the rows to a split by time, as a first merge finds them."""
    if split.get("by") != BY_TIME or not rows:
        return split
    column = contract.column(split["column"])
    place = contract.position[column.name]
    times = [as_number(value) for cells in rows if (value := contract.value(column, cells[place])) is not None]
    return {**split, **as_document(column, boundaries_of_times(times, shares_of(split)))}


def _download(s3: Any, config: ModelConfig, platform: Platform, state: LogState, cache: Path) -> CurrentData:
    """Fetch the training objects; they never change, so what was fetched before is kept."""
    folder = cache / digest(list(state.batches))
    for split in SPLITS:
        (folder / f"split={split}").mkdir(parents=True, exist_ok=True)
        objects = state.training_objects(split, config.training.format)
        _fetch(s3, platform.bucket, [output.key for output in objects], folder / f"split={split}")
    label = f"dataset version {state.latest} of {config.name}"
    return CurrentData(label, folder / "split=train", folder, state.batches, platform)


def _fetch(s3: Any, bucket: str, keys: Sequence[str], folder: Path) -> None:
    for key in keys:
        path = folder / f"{digest(key)}{Path(key).suffix}"
        if not path.exists():
            part = path.with_suffix(".part")
            s3.download_file(bucket, key, str(part))
            part.replace(path)
