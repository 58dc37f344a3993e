"""What the rows of a batch came to, per file, split, source and reason; and which files are refused by what their rows are."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from glue_scripts.merge.inputs import Inspected
from glue_scripts.merge.manifest import Manifest, SourceFile
from retraining.contract.reader import other_header
from retraining.contract.refusal import FileRefused
from retraining.contract.rules import SOURCES, SYNTHETIC, Contract
from retraining.contract.verdict import over_budget


@dataclass
class Tally:
    """Counts by file number; `blocks` maps (file, block) to its first position and number of lines."""

    files: dict[int, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    reasons: dict[int, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    blocks: dict[tuple[int, int], list[int]] = field(default_factory=dict)
    splits: Counter[int] = field(default_factory=Counter)
    sources: Counter[str] = field(default_factory=Counter)
    targets: dict[int, float] = field(default_factory=lambda: defaultdict(float))
    headers: dict[int, tuple[int, int]] = field(default_factory=dict)
    """File to (block, position) of its first header of another order."""

    def move(self, group: Any, start: str | None, end: str) -> None:
        """Count a group of rows as `end`, no longer as `start`."""
        self.files[group.file][end] += group.n
        if start:
            self.files[group.file][start] -= group.n
        sign = 1 if end == "accepted" else -1
        self.splits[group.split] += sign * group.n
        self.sources[SYNTHETIC if group.synthetic else SOURCES[0]] += sign * group.n
        self.targets[group.split] += sign * group.target

    def split_anew(self, groups: Iterable[Any]) -> None:
        """Count the accepted rows per split once more, after they were put into other ones."""
        self.splits, self.targets = Counter(), defaultdict(float)
        for group in groups:
            self.splits[group.split] += group.n
            self.targets[group.split] += group.target

    @property
    def offsets(self) -> dict[tuple[int, int], int]:
        """What to add to a position in a block to get its line number."""
        found = {}
        before: Counter[int] = Counter()
        for (file, block), (start, count) in sorted(self.blocks.items()):
            found[file, block] = before[file] + 1 - start
            before[file] += count
        return found

    def total(self, kind: str) -> int:
        """Rows of one kind over all files."""
        return sum(counts[kind] for counts in self.files.values())


def judge_files(
    found: Tally,
    good: list[Any],
    files: Mapping[int, SourceFile],
    contract: Contract,
    mending: Callable[[int], str],
    replacements: Mapping[int, int],
) -> tuple[dict[int, FileRefused], set[int]]:
    """Count the good rows of the files that are merged; returns the files that their rows refuse, and those that give way to a new one.

    Args:
        found: counts of bad rows; the good ones are added.
        good: groups of good rows.
        files: the files that were read, by number.
        contract: its budget holds per file.
        mending: what to do about a file over its budget.
        replacements: files that give way to another if that one is merged.

    """
    rows: Counter[int] = Counter()
    for group in good:
        rows[group.file] += group.n
    refused = {}
    offsets = found.offsets
    for number, file in files.items():
        bad = found.files[number]["bad"]
        if number in found.headers:
            block, position = found.headers[number]
            line = position + offsets[number, block]
            refused[number] = FileRefused(
                other_header(line), "split the file where the header changes, and upload the parts"
            )
            found.files[number].clear()
            found.reasons[number].clear()
        elif not file.beyond_budget and (said := over_budget(bad, bad + rows[number], contract, found.reasons[number])):
            refused[number] = FileRefused(said, mending(number))
            found.files[number]["withheld"] = rows[number]
    gone = {number for number, by in replacements.items() if by in files and by not in refused}
    for number in gone:
        refused.pop(number, None)
        found.files[number].clear()
        found.reasons[number].clear()
    for group in good:
        if group.file not in refused and group.file not in gone:
            found.move(group, None, "accepted")
    return refused, gone


@dataclass(frozen=True)
class Outcomes:
    """What became of the files, by number; the files that are neither refused nor ignored are merged.

    Attributes:
        refused: with the reason, whether before its rows or by them.
        ignored: with the reason.
        gone: of those, the ones that a newer upload replaces: nothing of them is kept, not even in quarantine.

    """

    refused: dict[int, FileRefused]
    ignored: dict[int, str]
    gone: set[int]

    @property
    def left_out(self) -> set[int]:
        """Files whose rows are not merged."""
        return {*self.refused, *self.ignored}


def outcomes_of(
    found: Tally, good: list[Any], manifest: Manifest, inspected: Inspected, mending: Callable[[int], str]
) -> Outcomes:
    """Judge all files by what they are and what their rows are; the good rows of the merged ones are counted as accepted."""
    files = {number: manifest.files[number] for number in inspected.layouts}
    by_rows, gone = judge_files(found, good, files, manifest.contract, mending, manifest.replacements)
    refused = {number: why for number, why in {**inspected.refused, **by_rows}.items() if number not in gone}
    ignored = {**inspected.ignored, **dict.fromkeys(gone, "a newer upload of this key takes its place")}
    return Outcomes(refused, ignored, gone)
