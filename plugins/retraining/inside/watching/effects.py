"""What a model goes by, as columns of a profile: how far each input moves its answers, row by row, to see whether that changes.

Inputs can change together while each alone looks as it did; where the model lets them act together it then goes by others. The sizes of
the moves show it. They cost thousands of answers a row, so a sample of the rows is explained, as many as ``monitor.explained_rows`` says.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from retraining.inside.artifact_process import ArtifactError, ArtifactProcess
from retraining.inside.explaining.overview import explained
from retraining.inside.watching.profile import Profile, reference_profile

EFFECT = "effect of "
"""Begins the names of these columns; no column of a contract can have one."""
REFERENCE_TIMES = 4
"""Rows of the reference for each row of a look."""
LONGEST = 900.0
"""Seconds that a look explains rows at most."""
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)


def effect_sizes(names: Sequence[str], values: np.ndarray) -> pd.DataFrame:
    """Return by row and input how far it moves the answer, of a classification the probability that it moves between classes.

    Args:
        names: of the inputs.
        values: Shapley values, shape (rows, inputs, outputs).

    """
    sizes = np.abs(values).sum(axis=2) / (1 if values.shape[2] == 1 else 2)
    return pd.DataFrame(sizes, columns=[f"{EFFECT}{name}" for name in names])


def reference_effects(sizes: pd.DataFrame, target: str | None) -> Profile:
    """Return the profile that the effects of later rows are compared with; each column of it is ``in`` the unit of ``target``, if given."""
    made: Profile = {}
    for name in sizes.columns:
        [(column, counted)] = reference_profile(sizes[[name]]).items()
        made[column] = {**counted, "in": target} if target else counted
    return made


class Sample:
    """Rows spread evenly over all that were seen, by their places alone; each beginning of ``rows`` is spread likewise."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._seen = 0
        self._kept: list[pd.DataFrame] = []
        self._keys = np.empty(0, dtype=np.uint64)

    def see(self, frame: pd.DataFrame) -> None:
        """Look at the next rows."""
        if not self._size:
            return
        keys = np.arange(self._seen, self._seen + len(frame), dtype=np.uint64) * _GOLDEN
        self._seen += len(frame)
        first = np.argsort(keys)[: self._size]
        both = pd.concat([*self._kept, frame.iloc[first]], ignore_index=True)
        self._keys = np.concatenate([self._keys, keys[first]])
        order = np.argsort(self._keys)[: self._size]
        self._kept, self._keys = [both.iloc[order]], self._keys[order]

    @property
    def rows(self) -> list[dict[str, Any]]:
        """What is kept: inputs by name, a missing value as None."""
        records = [record for frame in self._kept for record in frame.to_dict("records")]
        return [{str(name): None if value != value else value for name, value in row.items()} for row in records]


def seen_effects(model: ArtifactProcess, rows: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """Return the effects of rows, as the artifact explains them; of fewer rows if the time does not last.

    Raises:
        ArtifactError: it does not explain them.

    """
    if not rows:
        raise ArtifactError("there is no row to explain")
    answers = explained(model, rows, len(rows[0]), LONGEST)
    values = np.concatenate([np.asarray(answer["explanations"], dtype=float) for answer in answers])
    return effect_sizes(answers[0]["columns"], values)
