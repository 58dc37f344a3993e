"""What the rows of a batch came to, per file, split, source and reason; and which files are refused by what their rows are."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from glue_scripts.merge.manifest import SourceFile
from glue_scripts.merge.parsing import BAD, HEADER, ROW
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

    def split_anew(self, rows: DataFrame, contract: Contract) -> None:
        """Count the accepted rows per split once more, after they were put into other ones."""
        self.splits, self.targets = Counter(), defaultdict(float)
        for group in rows.groupBy("split").agg(F.expr("count(1) AS n"), target_sum(contract)).collect():
            self.splits[group.split] = group.n
            self.targets[group.split] = group.target

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


def tally(rows: DataFrame, contract: Contract) -> tuple[Tally, list[Any]]:
    """Count the rows; returns the counts of bad rows, and the groups of good ones: they count once their files are known to be merged.

    The groups are few: reasons hold no values.
    """
    groups = rows.groupBy("file", "block", "kind", "reasons", "split", "synthetic").agg(
        F.expr("count(1) AS n"), F.expr("min(position) AS start"), target_sum(contract)
    )
    found = Tally()
    good = []
    for group in sorted(groups.collect(), key=lambda group: (group.file, group.block, group.kind)):
        block = found.blocks.setdefault((group.file, group.block), [group.start, 0])
        block[0] = min(block[0], group.start)
        block[1] += group.n
        if group.kind == HEADER:
            found.headers[group.file] = min(
                found.headers.get(group.file, (group.block, group.start)), (group.block, group.start)
            )
        elif group.kind == BAD:
            found.files[group.file]["bad"] += group.n
            for reason in group.reasons.split("\n"):
                found.reasons[group.file][reason] += group.n
        elif group.kind == ROW:
            good.append(group)
    return found, good


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


def target_sum(contract: Contract) -> Column:
    """Sum the target over a group, 0 when it is a text."""
    if not contract.column(contract.target).numeric:
        return F.lit(0.0).alias("target")
    return F.expr(f"sum(CAST(value_{contract.position[contract.target]} AS double)) AS target")
