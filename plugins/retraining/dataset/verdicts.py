"""What became of each file of a merged batch: from the merge's report to records of the log, and in words for people."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from retraining.contract.plain_text import plain
from retraining.dataset.records import IGNORED, MERGED, REFUSED, FileRecord, FileVerdict

FILES_SHOWN = 10


def verdicts_of(
    report: Mapping[str, Any], manifest: Mapping[str, Any]
) -> tuple[tuple[FileRecord, ...], tuple[FileVerdict, ...]]:
    """Return the merged files of a batch, and those that were left out with the reason.

    Args:
        report: the merge's report; its ``files`` are in the manifest's order.
        manifest: what was to be merged; under ``ignored`` it has what was left out by name before.

    """
    records = {
        str(entry["key"]): FileRecord.model_validate(entry.get("landed") or entry) for entry in manifest["files"]
    }
    merged: list[FileRecord] = []
    left_out: list[FileVerdict] = []
    for entry in report["files"]:
        record = records[entry["key"]]
        outcome, reason = str(entry["outcome"]), str(entry["reason"] or "")
        if outcome == MERGED:
            merged.append(record)
            continue
        left_out.append(
            FileVerdict(
                **record.model_dump(),
                outcome=outcome,
                rows=int(entry["rows"] or 0),
                quarantined=int(entry["quarantined"] or 0),
                reasons=entry.get("reasons") or {},
                reason=reason,
                remedy=entry.get("remedy"),
            )
        )
    left_out += [FileVerdict.model_validate(entry) for entry in manifest.get("ignored", ())]
    return tuple(merged), tuple(left_out)


def refusals(left_out: Sequence[FileVerdict]) -> list[FileVerdict]:
    """Return the refused ones, those with the most rows first."""
    return sorted((file for file in left_out if file.outcome == REFUSED), key=lambda file: (-file.rows, file.key))


def ignored(left_out: Sequence[FileVerdict]) -> list[FileVerdict]:
    """Return the ignored ones."""
    return [file for file in left_out if file.outcome == IGNORED]


def refusal_lines(files: Sequence[FileVerdict]) -> list[str]:
    """Return one line per refused file, at most ``FILES_SHOWN`` of them: key, reason and remedy."""
    lines = []
    for file in files[:FILES_SHOWN]:
        remedy = f". {file.remedy[0].upper()}{plain(file.remedy[1:])}" if file.remedy else ""
        lines.append(f"{plain(file.key)}: {plain(file.reason).rstrip('.')}{remedy}")
    if len(files) > FILES_SHOWN:
        lines.append(f"and {len(files) - FILES_SHOWN} more files")
    return lines


def release_command(model: str, what: str) -> str:
    """Return the command that releases a refused file or the refused files of a batch, quoted for a shell and for make."""
    command = f'release {model} {shlex.quote(what)} --why "the file is right"'
    return f"make dataset-log COMMAND={shlex.quote(command.replace('$', '$$'))}"
