"""The labels that have come: which answer each was held against, and which still wait for one.

A label counts once, and so does an answer. The ledger of a look is made of that of the look before and of the new labels, and never
changed: the same look makes the same one again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

LEDGER_FILE = "labels.bin"
ENTRY = np.dtype(
    [("name", "<u8"), ("other", "<u8"), ("row", "<u8"), ("value", "<f8"), ("came", "<i8"), ("counted", "<i8")]
)
"""Hashes of the label's name, of a second name that it may mean and of its row, 0 for none; its value, of a classification the position of
the class; when it came, in seconds since 1970; whether it counted. What counted has the name and the row of its answer."""
MOST = 2_000_000
"""Labels that are remembered; more wait in their files."""

Answers = Callable[[], Iterator[np.ndarray]]


@dataclass
class Outcome:
    """What became of labels."""

    matched: int = 0
    repeated: int = 0
    """Of an answer that had this label already."""
    contradicting: int = 0
    """Of an answer that had another label already, which stays."""
    expired: int = 0
    """Waited for an answer in vain."""
    waiting: int = 0


class Ledger:
    """The labels of one model.

    Args:
        entries: of type ``ENTRY``.

    """

    def __init__(self, entries: np.ndarray | None = None) -> None:
        self.entries = np.zeros(0, dtype=ENTRY) if entries is None else entries

    @classmethod
    def read(cls, path: Path) -> Ledger:
        """Read the ledger of an earlier look; an empty one if there is none."""
        return cls(np.frombuffer(path.read_bytes(), dtype=ENTRY).copy() if path.exists() else None)

    def write(self, path: Path) -> None:
        """Write it for the next look."""
        path.write_bytes(self.entries.tobytes())

    def has_room(self, labels: int) -> bool:
        """Tell whether so many more labels can be remembered."""
        return len(self.entries) + labels <= MOST

    def forget(self, before: int, outcome: Outcome) -> None:
        """Forget labels that came before a time, in seconds since 1970."""
        old = self.entries["came"] < before
        outcome.expired += int((old & (self.entries["counted"] == 0)).sum())
        self.entries = self.entries[~old]

    def take(self, labels: np.ndarray, outcome: Outcome) -> None:
        """Take in new labels, of type ``ENTRY``, in the order in which they came; the first of each name, or row, stays."""
        keys = np.where(labels["name"] != 0, labels["name"], labels["row"])
        _, first, place = np.unique(keys, return_index=True, return_inverse=True)
        again = first[place] != np.arange(len(labels))
        self._repeat(labels["value"][again] == labels["value"][first[place]][again], outcome)
        labels, keys = labels[~again], keys[~again]
        known_keys, known_values = self._known()
        at, hit = _found(known_keys, keys)
        self._repeat(known_values[at[hit]] == labels["value"][hit], outcome)
        self.entries = np.concatenate([self.entries, labels[~hit]])

    def match(self, answers: Answers, outcome: Outcome) -> tuple[np.ndarray, np.ndarray]:
        """Hold the waiting labels against answers: by name, by the second name, and last by row.

        Args:
            answers: yields kept answers, each time from the beginning.
            outcome: is kept up to date.

        Returns:
            The labels' values, shape (matched,), and the answers, shape (matched, 1) or (matched, classes).

        """
        values: list[np.ndarray] = []
        found: list[np.ndarray] = []
        for own, of_answer in (("name", "name"), ("other", "name"), ("row", "row")):
            if own != "name":
                self._drop_known(own, of_answer, outcome)
            waiting = self._waiting(own)
            order = waiting[np.argsort(self.entries[own][waiting], kind="stable")]
            keys = self.entries[own][order]
            for chunk in answers() if order.size else ():
                at, hit = _found(keys, chunk[of_answer])
                hit &= self.entries["counted"][order[at]] == 0
                entry, first = np.unique(order[at[hit]], return_index=True)
                matched = chunk[hit][first]
                for name in ("name", "row"):
                    self.entries[name][entry] = matched[name]
                self.entries["counted"][entry] = 1
                values.append(self.entries["value"][entry])
                found.append(matched["answer"])
        outcome.matched += sum(map(len, values))
        outcome.waiting = int((self.entries["counted"] == 0).sum())
        empty = np.zeros((0, 1))
        return np.concatenate([np.zeros(0), *values]), np.concatenate(found) if found else empty

    def _waiting(self, key: str) -> np.ndarray:
        return np.flatnonzero((self.entries["counted"] == 0) & (self.entries[key] != 0))

    def _known(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the names and rows that have a label, sorted, with the labels' values."""
        counted = self.entries["counted"] != 0
        by_row = (self.entries["row"] != 0) & (counted | (self.entries["name"] == 0))
        named = self.entries["name"] != 0
        keys = np.concatenate([self.entries["name"][named], self.entries["row"][by_row]])
        values = np.concatenate([self.entries["value"][named], self.entries["value"][by_row]])
        order = np.argsort(keys, kind="stable")
        return keys[order], values[order]

    def _drop_known(self, own: str, of_answer: str, outcome: Outcome) -> None:
        """Drop waiting labels whose answer has one already."""
        waiting = self._waiting(own)
        counted = self.entries[self.entries["counted"] != 0]
        counted = counted[np.argsort(counted[of_answer], kind="stable")]
        at, hit = _found(counted[of_answer], self.entries[own][waiting])
        known = waiting[hit]
        self._repeat(counted["value"][at[hit]] == self.entries["value"][known], outcome)
        self.entries = np.delete(self.entries, known)

    @staticmethod
    def _repeat(same: np.ndarray, outcome: Outcome) -> None:
        outcome.repeated += int(same.sum())
        outcome.contradicting += int((~same).sum())


def _found(known: np.ndarray, wanted: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return for each wanted key its first place among sorted ones, and whether it is there."""
    if not len(known):
        return np.zeros(len(wanted), dtype=int), np.zeros(len(wanted), dtype=bool)
    at = np.minimum(np.searchsorted(known, wanted), len(known) - 1)
    return at, (known[at] == wanted) & (wanted != 0)
