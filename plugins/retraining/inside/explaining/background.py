"""The background rows of a model: what its explanations compare a row with, chosen when it is trained and frozen in its artifact."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from retraining.contract.rules import Column, Contract
from retraining.inside.frames import request_frame, request_lines

BACKGROUND_FILE = "background.csv"
"""In an artifact: rows as a request has them, so that the search for the text of a forgotten row finds them, too."""
BACKGROUND_ROWS = 15
"""Each more makes a base that is a little closer to the mean over all training rows, and every explanation dearer."""
LOOKED_AT = 10_000
"""Training rows among which they are chosen."""


def chosen_background(ask: Callable[[pd.DataFrame], np.ndarray], training: pd.DataFrame) -> pd.DataFrame:
    """Return training rows whose answers lie like those of all: in the middle of parts of equal size, by the order of the answers.

    Args:
        ask: returns the model's answers, shape (rows,), or probabilities, shape (rows, classes).
        training: inputs of the training rows.

    """
    if len(training) > LOOKED_AT:
        training = training.iloc[np.linspace(0, len(training) - 1, LOOKED_AT).astype(int)]
    answers = ask(training)
    if answers.ndim == 1:
        order = np.argsort(answers, kind="stable")
    elif answers.shape[1] == 2:
        order = np.argsort(answers[:, 1], kind="stable")
    else:
        order = np.lexsort([answers.max(axis=1), answers.argmax(axis=1)])
    count = min(BACKGROUND_ROWS, len(training))
    middles = ((np.arange(count) + 0.5) * len(training) / count).astype(int)
    return training.iloc[order[middles]].reset_index(drop=True)


def write_background(folder: Path, background: pd.DataFrame, columns: Sequence[Column]) -> None:
    """Write background rows into the folder of an artifact."""
    text = "".join(f"{line}\n" for line in request_lines(background, columns))
    (folder / BACKGROUND_FILE).write_text(text, encoding="utf-8", newline="")


def read_background(folder: Path, columns: Sequence[Column], contract: Contract) -> pd.DataFrame | None:
    """Return the background rows of an unpacked artifact; None when it was made without."""
    try:
        text = (folder / BACKGROUND_FILE).read_bytes().decode("utf-8")
    except FileNotFoundError:
        return None
    names = [column.name for column in columns]
    rows = [dict(zip(names, row, strict=True)) for row in csv.reader(io.StringIO(text, newline=""), strict=True)]
    return request_frame(rows, columns, contract)
