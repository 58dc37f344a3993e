"""The answers that a look has read, kept in few bytes each, so that labels that come later find them.

A record has the hash of the answer's name, that of the row that was asked about, and the answer: a number, of a classification the
probabilities. The name is the inference id of the request, or its event id if the client gave none, as SageMaker Model Monitor has it; of a
request of several rows it is ``ID:1``, ``ID:2`` and so on.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

ANSWERS_FILE = "answers.bin"
CHUNK = 200_000
"""Records that are read at once."""
NONE = np.uint64(0)
"""The hash of no name."""


def record_type(classes: Sequence[str]) -> np.dtype:
    """Return the layout of a record: ``name``, ``row`` and ``answer``, whose shape is (1,) or (classes,)."""
    return np.dtype([("name", "<u8"), ("row", "<u8"), ("answer", "<f8", (max(1, len(classes)),))])


def name_hashes(names: Sequence[str]) -> np.ndarray:
    """Return the hashes of names, shape (names,); 0 for an empty one."""
    if not names:
        return np.empty(0, dtype=np.uint64)
    texts = np.array(names, dtype=object)
    try:
        found = pd.util.hash_array(texts, categorize=False)
    except UnicodeEncodeError:  # half a surrogate pair, which JSON can write
        texts = np.array([name.encode("utf-8", "replace").decode() for name in names], dtype=object)
        found = pd.util.hash_array(texts, categorize=False)
    found = np.where(found == NONE, np.uint64(1), found)
    return np.where(texts == "", NONE, found) if "" in names else found


def row_hashes(frame: pd.DataFrame) -> np.ndarray:
    """Return the hashes of rows by their typed values, shape (rows,), however a request or a file wrote them.

    Args:
        frame: inputs in the contract's order, see ``inside.frames``.

    """
    if not len(frame):
        return np.empty(0, dtype=np.uint64)
    plain = {name: _one_form(frame[name]) for name in frame.columns}
    found = pd.util.hash_pandas_object(pd.DataFrame(plain), index=False).to_numpy()
    return np.where(found == NONE, np.uint64(1), found)


def _one_form(column: pd.Series) -> np.ndarray:
    if column.dtype == float:
        values = column.to_numpy()
        return np.where(np.isnan(values), np.nan, values + 0.0)  # one zero, one NaN
    return column.fillna("").to_numpy(dtype=object)  # no text is empty: that would be missing


class KeptAnswers:
    """Writes answers into a file as they come.

    Args:
        path: of the file; it is made, empty, at once.
        classes: of a classification.

    """

    def __init__(self, path: Path, classes: Sequence[str]) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._path, self._type = path, record_type(classes)
        path.write_bytes(b"")

    def see(self, frame: pd.DataFrame, names: Sequence[str], answers: Sequence[Any]) -> None:
        """Take in rows that were asked about; one without a usable answer is left out.

        Args:
            frame: the rows.
            names: of their answers.
            answers: for each row a number, of a classification its probabilities; None where the answer is not known.

        """
        if not len(frame):
            return
        width = self._type["answer"].shape[0]
        made = np.zeros(len(frame), dtype=self._type)
        made["name"], made["row"], made["answer"] = name_hashes(names), row_hashes(frame), _numbers(answers, width)
        with self._path.open("ab") as file:
            file.write(made[np.isfinite(made["answer"]).all(axis=1)].tobytes())


def _numbers(answers: Sequence[Any], width: int) -> np.ndarray:
    """Return answers as numbers, shape (answers, width); NaN where one is none, or has another width."""
    try:
        return np.array(answers, dtype=float).reshape(len(answers), width)
    except (ValueError, TypeError, OverflowError):
        made = np.full((len(answers), width), np.nan)
        for at, answer in enumerate(answers):
            try:
                made[at] = np.array(answer, dtype=float).reshape(width)
            except (ValueError, TypeError, OverflowError):
                continue
        return made


def chunks(paths: Sequence[Path], classes: Sequence[str]) -> Iterator[np.ndarray]:
    """Yield kept answers by the thousands, in the order of the paths; half a record at the end of a file is passed over."""
    layout = record_type(classes)
    for path in paths:
        with path.open("rb") as file:
            while block := file.read(CHUNK * layout.itemsize):
                yield np.frombuffer(block[: len(block) - len(block) % layout.itemsize], dtype=layout)
