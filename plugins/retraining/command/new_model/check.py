"""Lets the merge's own rules judge the file under the contract that is proposed for it, before anything is written."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory

from retraining.command.new_model.folder import model_yaml
from retraining.command.new_model.proposal import SPLITS, Proposal
from retraining.command.new_model.sheet import MOST_ROWS, NewModelError
from retraining.contract.layout import inspect
from retraining.contract.plain_text import plain
from retraining.contract.reader import read
from retraining.contract.rules import Contract
from retraining.settings.model_config import ConfigError, ModelConfig, load_model_config

FEWEST = {"train": 3, "test": 1}
"""Rows of each class that a part of the split needs."""


def checked(path: Path, proposal: Proposal, name: str) -> Proposal:
    """Return the proposal with a split that gives every class rows to train and to test.

    Args:
        path: the file.
        proposal: what the file suggests.
        name: of the model.

    Raises:
        NewModelError: too many rows break the contract, a class has too few rows, or the model.yaml is not valid.
        FileRefused: the merge would refuse the file.

    """
    larger = [shares for _, shares in reversed(SPLITS) if shares[2] > proposal.split[2]]
    short: list[str] = []
    for split in (proposal.split, *larger):
        tried = replace(proposal, split=split)
        config = _config(name, path.name, tried)
        counts = _judged(path, config)
        classes = next(column.entry.get("allowed") for column in tried.columns if column.entry["name"] == tried.target)
        short = [
            f"{plain(text)} in {part}"
            for part, least in FEWEST.items()
            for text in classes or ()
            if counts[part, text] < least
        ]
        if not short:
            return tried
    raise NewModelError(f"too few rows of a class for a part of the split: {', '.join(short)}; deliver more of them")


def _config(name: str, source: str, proposal: Proposal) -> ModelConfig:
    with TemporaryDirectory() as made:
        path = Path(made) / "model.yaml"
        path.write_text(model_yaml(name, source, proposal), encoding="utf-8")
        try:
            return load_model_config(path)
        except ConfigError as error:
            said = "; ".join(str(error).replace(str(path), path.name).splitlines())
            raise NewModelError(
                f"no model.yaml can be made of the file that is valid: {said}; write it by hand"
            ) from error


def _judged(path: Path, config: ModelConfig) -> Counter[tuple[str, str]]:
    """Return the good rows of the file by part of the split and target."""
    contract, split = Contract.of(config.contract.model_dump()), config.split.model_dump()
    layout = inspect(lambda: path.open("rb"), path.name, contract)
    counts: Counter[tuple[str, str]] = Counter()
    seen, rows, bad, first = set(), 0, 0, ""
    for line in islice(read(lambda: path.open("rb"), path.name, contract, layout, split), MOST_ROWS):
        rows += 1
        if line.reasons:
            bad += 1
            first = first or f"line {line.number:,}, {line.reasons[0]}"
        elif line.row_hash not in seen:
            seen.add(line.row_hash)
            counts[str(line.split), str(line.values[contract.position[contract.target]])] += 1
    if bad > config.contract.bad_rows.max_share * rows:
        raise NewModelError(
            f"{bad:,} of {rows:,} rows do not fit what the others suggest ({plain(first)}): mend them, or write model.yaml by hand"
        )
    return counts
