"""Command line of the dataset log: ``python -m retraining.command.dataset versions|show|verify|release|rebuild``."""

from __future__ import annotations

import argparse
import getpass
import sys
from collections.abc import Callable, Sequence
from typing import Any

from retraining.aws.clients import client
from retraining.aws.platform_parameter import PlatformError, read_platform
from retraining.contract.plain_text import plain_lines
from retraining.dataset.log import DatasetLog, LogState, TrainedNote
from retraining.dataset.verify import verify
from retraining.jobs.rebuild import rebuild
from retraining.settings.access import AwsAccess

Say = Callable[[str], None]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; 0 is success, 1 a mismatch or failure with its reason."""
    parser = argparse.ArgumentParser(
        prog="python -m retraining.command.dataset", description="The dataset log of a model."
    )
    commands = parser.add_subparsers(dest="command", required=True)
    for name, words in (
        ("versions", "list the versions: rows per split, files, sizes, who trained on each"),
        ("verify", "read everything again and report every mismatch"),
        ("refused", "list the refused batches and why"),
    ):
        commands.add_parser(name, help=words).add_argument("model", nargs="?", default="abalone")
    show = commands.add_parser("show", help="show one version with its files and objects")
    show.add_argument("model")
    show.add_argument("version", type=int)
    release = commands.add_parser("release", help="let the files of a refused batch count as new again")
    release.add_argument("model")
    release.add_argument("batch")
    release.add_argument("--why", required=True, help="goes on record")
    rebuild_command = commands.add_parser(
        "rebuild", help="merge all batches again into another prefix and compare every byte"
    )
    rebuild_command.add_argument("model")
    rebuild_command.add_argument("--into", default="rebuilt/", help="prefix below the model's own (default: rebuilt/)")
    chosen = parser.parse_args(arguments)
    try:
        return _run(chosen, _print)
    except (PlatformError, LookupError, RuntimeError) as error:
        print(f"error: {plain_lines(error)}", file=sys.stderr)  # noqa: T201 a command line's error
        return 1


def _run(chosen: argparse.Namespace, say: Say) -> int:
    access = AwsAccess()
    platform = read_platform(f"/retraining/{chosen.model}/platform", access)
    s3 = client("s3", access)
    log = DatasetLog(s3, platform.bucket, f"{chosen.model}/")
    if chosen.command == "versions":
        say(version_table(log.read(), log.trained_notes()))
    elif chosen.command == "refused":
        refusals = log.read().refusals
        for refusal in refusals:
            say(f"{refusal.batch}  {refusal.created_at}  {len(refusal.files)} file(s)  {refusal.reason}")
        if not refusals:
            say("no batch is refused")
    elif chosen.command == "show":
        say(version_details(log.read().at(chosen.version), log.trained_notes()))
    elif chosen.command == "release":
        log.release(chosen.batch, who=getpass.getuser(), why=chosen.why)
        say(f"the files of batch {chosen.batch} count as new again; the next run takes them")
    elif chosen.command == "rebuild":
        count = rebuild(access, platform, chosen.model, chosen.into, say)
        say(f"rebuilt {count} version(s) below s3://{platform.bucket}/{chosen.model}/{chosen.into}")
    elif chosen.command == "verify":
        problems = verify(s3, platform.bucket, f"{chosen.model}/", log.read(), say)
        for problem in problems:
            say(f"MISMATCH {problem}")
        say(f"{len(problems)} mismatch(es)" if problems else "everything is as the log says")
        return 1 if problems else 0
    return 0


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
                *(str(number) for number in (*counts, *splits)),
                f"{size / 1024:.0f}",
                judged or "-",
            )
        )
    total = state.rows_by_split()
    footer = f"rows in all: {', '.join(f'{split} {total.get(split, 0)}' for split in ('train', 'validation', 'test'))}"
    return f"{_aligned([head, *rows])}\n{footer}"


def version_details(state: LogState, notes: Sequence[TrainedNote]) -> str:
    """Return the newest version of ``state`` with its files and objects."""
    version = state.versions[-1]
    lines = [
        f"version {version.version}, batch {version.batch}, committed {version.created_at} by run {version.run_key}"
    ]
    lines += [
        f"  file    {record.key}  {record.size} bytes  {record.source}  etag {record.etag}" for record in version.files
    ]
    for split, outputs in version.training.items():
        lines += [f"  {split:<10} {output.key}  {output.size} bytes" for output in outputs]
    lines += [f"  data    {output.key}  {output.size} bytes" for output in version.data]
    lines += [
        f"  judged  {note.run_key}: {note.decision} {note.model_package or ''}"
        for note in notes
        if note.version == version.version
    ]
    return "\n".join(lines)


def _aligned(rows: Sequence[tuple[str, ...]]) -> str:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )


def _print(line: Any) -> None:
    print(plain_lines(line, sys.maxsize), flush=True)  # noqa: T201 a command line's output


if __name__ == "__main__":
    sys.exit(main())
