"""The dataset log as text: versions, one version, verdicts on files, and what a batch left in quarantine."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from itertools import islice
from typing import Any

from retraining.dataset.records import TrainedNote
from retraining.dataset.state import JudgedFile, LogState
from retraining.dataset.verdicts import FILES_SHOWN, refusals, release_command


def version_table(state: LogState, notes: Sequence[TrainedNote]) -> str:
    """Return the versions as a table."""
    if not state.versions:
        return "the dataset log is empty: upload the original data below MODEL/raw/ or files below MODEL/new/"
    head = (
        "version",
        "batch",
        "committed",
        "files",
        "new",
        "accepted",
        "duplicate",
        "bad",
        "refused",
        "train",
        "valid",
        "test",
        "KiB",
        "judged",
    )
    rows: list[tuple[str, ...]] = []
    for version in state.versions:
        size = sum(output.size for output in version.data) + sum(
            o.size for items in version.training.values() for o in items
        )
        judged = ", ".join(f"{note.run_key} {note.decision}" for note in notes if note.version == version.version)
        counts = [version.rows.get(f"rows_{kind}", 0) for kind in ("new", "accepted", "duplicate", "quarantined")]
        splits = [version.rows_by_split.get(split, 0) for split in ("train", "validation", "test")]
        rows.append(
            (
                str(version.version),
                version.batch,
                version.created_at[:19],
                str(len(version.files)),
                *(str(number) for number in (*counts, len(refusals(version.left_out)), *splits)),
                f"{size / 1024:.0f}",
                judged or "-",
            )
        )
    total = state.rows_by_split()
    footer = f"rows in all: {', '.join(f'{split} {total.get(split, 0)}' for split in ('train', 'validation', 'test'))}"
    return f"{aligned([head, *rows])}\n{footer}"


def version_details(state: LogState, notes: Sequence[TrainedNote]) -> str:
    """Return the newest version of ``state`` with its files and objects."""
    version = state.versions[-1]
    lines = [
        f"version {version.version}, batch {version.batch}, committed {version.created_at} by run {version.run_key}"
    ]
    lines += [
        f"  file    {record.key}  {record.size} bytes  {record.source}  etag {record.etag}" for record in version.files
    ]
    lines += [f"  {file.outcome:<7} {file.key}  {file.size} bytes  {file.reason}" for file in version.left_out]
    if version.starts_anew:
        lines.append("  the data set starts anew with this version")
    if version.boundaries:
        since = version.boundaries
        lines.append(
            f"  by {since['column']}: validation from {since['validation_from']}, test from {since['test_from']}"
        )
    for split, outputs in version.training.items():
        lines += [f"  {split:<10} {output.key}  {output.size} bytes" for output in outputs]
    lines += [f"  data    {output.key}  {output.size} bytes" for output in version.data]
    lines += [
        f"  judged  {note.run_key}: {note.decision} {note.model_package or ''}"
        for note in notes
        if note.version == version.version
    ]
    return "\n".join(lines)


def aligned(rows: Sequence[tuple[str, ...]]) -> str:
    """Return rows of text in columns."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )


def refused_text(model: str, state: LogState, landed: Collection[tuple[str, str]]) -> str:
    """Return the refused files that still lie in the landing zone, with the command that releases each.

    Args:
        model: the model's name.
        state: the log.
        landed: identities of the objects in the landing zone.

    """
    standing = state.refused_files
    waiting = [judged for judged in standing if judged.file.identity in landed]
    lines = [line for judged in waiting for line in _refusal(model, judged)]
    if gone := len(standing) - len(waiting):
        lines.append(f"{gone} more refused file(s) were removed or replaced since")
    return "\n".join(lines) if lines else "no file is refused"


def _refusal(model: str, judged: JudgedFile) -> list[str]:
    file = judged.file
    rows = f"{file.quarantined} of {file.rows} rows" if file.rows else "no row"
    lines = [f"{file.key}  {judged.created_at}  batch {judged.batch}  {rows} rejected", f"  {file.reason}"]
    if file.remedy:
        lines.append(f"  {file.remedy}")
    return [*lines, f"  {release_command(model, file.key)}"]


def quarantine_text(s3: Any, bucket: str, prefix: str, batch: str, lines: int) -> str:
    """Return why rows of a batch were rejected, and the first of them.

    Raises:
        LookupError: there is no report of such a batch.

    """
    try:
        body = s3.get_object(Bucket=bucket, Key=f"{prefix}batches/{batch}/etl_report.json")["Body"]
    except s3.exceptions.NoSuchKey as error:
        raise LookupError(
            f"there is no merge of a batch {batch}; 'show MODEL VERSION' and 'refused MODEL' name batches"
        ) from error
    report = json.loads(body.read())
    if not report["rows_quarantined"] and not report["reasons"]:
        return f"batch {batch}: no row was rejected"
    head = f"batch {batch}: {report['rows_quarantined']} of {report['rows_new']} rows rejected"
    reasons = [(f"{count}", reason) for reason, count in sorted(report["reasons"].items(), key=lambda item: -item[1])]
    files = [(f"{file['quarantined']}", file["key"]) for file in report["files"] if file["quarantined"]]
    parts = [head, "", aligned(reasons), "", aligned(sorted(files, key=lambda row: -int(row[0]))[:FILES_SHOWN])]
    rows = [_rejected(record) for record in islice(_records(s3, bucket, f"{prefix}quarantine/batch={batch}/"), lines)]
    if rows:
        parts += ["", aligned([("file", "line", "column", "value", "reason"), *rows])]
    return "\n".join([*parts, "", f"all of them: s3://{bucket}/{prefix}quarantine/batch={batch}/"])


def _rejected(record: Mapping[str, Any]) -> tuple[str, ...]:
    return tuple(
        "" if record.get(name) is None else str(record[name])[:60]
        for name in ("file", "line", "column", "value", "reason")
    )


def _records(s3: Any, bucket: str, prefix: str) -> Any:
    for page in s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix):
        for item in page.get("Contents", []):
            if item["Key"].endswith(".json"):
                for line in s3.get_object(Bucket=bucket, Key=item["Key"])["Body"].iter_lines():
                    yield json.loads(line)
