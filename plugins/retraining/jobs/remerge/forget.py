"""Takes rows or files out of a data set: the landed files are merged again without them, as the next version.

What lies in the landing zone is not touched. A file that holds such rows is read from a copy without them from then on.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from retraining.aws.clients import client
from retraining.contract.layout import Layout, inspect
from retraining.contract.notation.lines import CSV, LINE_FEED
from retraining.contract.reader import Line, judge, texts
from retraining.contract.rules import Contract as Rules
from retraining.dataset.log import DatasetLog
from retraining.dataset.records import IGNORED, FileRecord, FileVerdict, Version
from retraining.jobs.remerge.again import commit_again, current_files
from retraining.jobs.remerge.merge_again import as_landed
from retraining.settings.access import AwsAccess
from retraining.settings.model_config import ModelConfig
from retraining.settings.platform import Platform


@dataclass(frozen=True)
class Unwanted:
    """What is to be taken out: whole files by key, rows by hash, rows whose columns all have these values."""

    files: Collection[str] = ()
    hashes: Collection[str] = ()
    where: Mapping[str, str] | None = None

    @property
    def rows(self) -> bool:
        """Whether single rows are meant."""
        return bool(self.hashes or self.where)

    def has(self, line: Line, rules: Rules) -> bool:
        """Tell whether a row is to be taken out; a rejected one goes by its cells."""
        if line.row_hash is not None and line.row_hash in self.hashes:
            return True
        if not self.where or not line.cells:
            return False
        return all(name in rules.position and _is(line, rules, name, text) for name, text in self.where.items())


class NothingToForgetError(LookupError):
    """The newest version has no such row or file."""


def _is(line: Line, rules: Rules, name: str, text: str) -> bool:
    """Tell whether a cell is a text, or writes the same value as it."""
    place = rules.position[name]
    value = line.values[place]
    return line.cells[place] == text or (value is not None and rules.value(rules.column(name), text) == value)


def forget(
    access: AwsAccess, platform: Platform, config: ModelConfig, unwanted: Unwanted, why: str, say: Callable[[str], None]
) -> Version:
    """Make the next version without what is unwanted.

    Args:
        access: how to reach AWS.
        platform: the model's resources.
        config: the model's configuration.
        unwanted: what is taken out.
        why: goes on record.
        say: takes a line of progress.

    Raises:
        NothingToForgetError: no file or row of the newest version is meant.
        LookupError: a name is no column.
        MergeAgainError: a landed file cannot be read as it was, or the merge failed.
        VersionConflictError: a run committed meanwhile; try again.

    """
    s3, bucket, prefix = client("s3", access), platform.bucket, f"{config.name}/"
    state = DatasetLog(s3, bucket, prefix).read()
    files = current_files(state)
    rules = Rules.of(config.contract.model_dump(mode="json"))
    for name in unwanted.where or ():
        rules.column(name)
    keys = {key for name in unwanted.files for key in (name, prefix + name)}
    gone = [record for record in files if record.key in keys]
    if missing := [name for name in unwanted.files if not {name, prefix + name} & {record.key for record in gone}]:
        raise NothingToForgetError(
            f"{missing[0]} is no file of dataset version {state.latest}; 'show {config.name} {state.latest}' lists them"
        )
    kept, removed = [], 0
    for record in (record for record in files if record not in gone):
        rest, count = (
            (record, 0) if not unwanted.rows else _without(s3, bucket, prefix, record, rules, config, unwanted)
        )
        kept.append(rest)
        removed += count
    if not gone and not removed:
        raise NothingToForgetError(f"dataset version {state.latest} of {config.name} has no such row")
    say(f"{removed} row(s) and {len(gone)} file(s) are left out")
    left_out = [FileVerdict(**record.model_dump(), outcome=IGNORED, reason=f"forgotten: {why}") for record in gone]
    return commit_again(access, platform, config, kept, left_out, say)


def _without(
    s3: Any, bucket: str, prefix: str, record: FileRecord, rules: Rules, config: ModelConfig, unwanted: Unwanted
) -> tuple[FileRecord, int]:
    """Return a record that reads a copy without the unwanted rows, and how many those are."""
    [entry] = as_landed(s3, bucket, [record.model_dump(mode="json")], f"{prefix}batches/landed/")
    body = s3.get_object(Bucket=bucket, Key=entry["key"])["Body"].read()
    layout = inspect(lambda: io.BytesIO(body), entry["key"], rules)
    lines, count = _split_off(body, entry["key"], layout, rules, config, unwanted, record.source)
    if not count:
        return record, 0
    text = "".join(f"{line}\n" for line in lines).encode()
    name = entry["key"].rsplit("/", 1)[-1]
    for ending in (".gz", ".bz2", ".zst"):
        name = name.removesuffix(ending)
    if layout.notation != CSV:  # its rows are kept as CSV
        name = f"{name}.csv"
    copy = f"{prefix}batches/landed/forgotten/{record.etag}/{name}"
    tag = s3.put_object(Bucket=bucket, Key=copy, Body=text)["ETag"].strip('"')
    return record.model_copy(update={"read_from": copy, "read_etag": tag, "read_size": len(text)}), count


def _split_off(
    body: bytes, key: str, layout: Layout, rules: Rules, config: ModelConfig, unwanted: Unwanted, source: str
) -> tuple[Sequence[str], int]:
    """Return the lines of a file that stay, as they were, and the number of those that go."""
    split, kept, count = config.split.model_dump(), [], 0
    if layout.notation != CSV:
        kept.append("sep=,")
        kept.append(",".join((*rules.names, *(["source"] if layout.source_at is not None else []))))
    for number, text in texts(lambda: io.BytesIO(body), key, rules, layout):
        if unwanted.has(judge(number, text, rules, layout, split, source), rules):
            count += 1
        else:
            kept.append(text.replace(LINE_FEED, "\n") if rules.multiline else text)
    return kept, count
