"""A model folder from a CSV file: ``python -m retraining.command.new_model FILE TARGET [--name NAME] [--task TASK]``."""

from __future__ import annotations

import argparse
import re
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from retraining.command.new_model import folder
from retraining.command.new_model.check import checked
from retraining.command.new_model.proposal import TASKS, Proposal, propose
from retraining.command.new_model.sheet import NewModelError, read_sheet
from retraining.contract.plain_text import plain, plain_lines
from retraining.contract.refusal import FileRefused

DAGS = Path("dags")
WRONG_USE = 2
NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
LONGEST_NAME = 24


def main(arguments: Sequence[str] | None = None) -> int:
    """Make the folder; 0 when it is written, 2 when it cannot be, with one sentence why."""
    parser = argparse.ArgumentParser(
        prog="python -m retraining.command.new_model", description="Make a model folder from a CSV file."
    )
    parser.add_argument("file", type=Path, help="CSV file, plain or compressed")
    parser.add_argument("target", help="heading of the column to predict; its position from 1 in a file without header")
    parser.add_argument("--name", help="name of the model (default: that of the file)")
    parser.add_argument("--task", choices=TASKS, help="what to predict (default: what the target looks like)")
    parser.add_argument("--dags", type=Path, default=DAGS, help="folder of the DAG files (default: %(default)s)")
    chosen = parser.parse_args(arguments)
    try:
        name = name_of(chosen.name, chosen.file)
        if not chosen.file.is_file():
            raise NewModelError(f"there is no file {plain(str(chosen.file))}")
        folder.refuse_existing(chosen.dags, folder.paths_of(name))
        proposal = checked(chosen.file, propose(read_sheet(chosen.file, chosen.target), chosen.task), name)
        written = folder.write(chosen.dags, folder.files_of(name, chosen.file.name, proposal))
    except FileRefused as refusal:
        sys.stderr.write(f"error: {plain_lines(f'{chosen.file}: {refusal.reason}; {refusal.remedy}')}\n")
        return WRONG_USE
    except (NewModelError, OSError) as error:
        sys.stderr.write(f"error: {plain_lines(error)}\n")
        return WRONG_USE
    sys.stdout.write(table(proposal))
    sys.stdout.write("\nwritten: " + ", ".join(str(path) for path in written) + "\n")
    file = shlex.quote(str(chosen.file).replace("$", "$$"))
    sys.stdout.write(f"read them, then: make retrain FILE={file} MODEL={name}\n")
    return 0


def name_of(given: str | None, path: Path) -> str:
    """Return the model's name: the given one, or that of the file in the form of a name.

    Raises:
        NewModelError: the given name is none.

    """
    if given is None:
        stem = re.sub(r"[^a-z0-9]+", "-", path.name.split(".")[0].lower()).strip("-")
        stem = stem if stem[:1].isalpha() else f"model-{stem}".strip("-")
        return stem[:LONGEST_NAME].strip("-")
    if not NAME.fullmatch(given) or len(given) > LONGEST_NAME or given == "artifacts":
        raise NewModelError(
            f"{plain(given)!r} is no name of a model: lower-case letters, digits and -, a letter first, at most {LONGEST_NAME} of them"
        )
    return given


def table(proposal: Proposal) -> str:
    """Return what was inferred, for people."""
    lines = [
        f"{proposal.rows:,} rows{'' if proposal.whole else ' looked at'}, target {proposal.target}: "
        f"task {proposal.task} ({proposal.task_note})",
        "",
        f"  {'column':<26} {'type':<10} {'allowed or limits':<34} note",
    ]
    for column in proposal.columns:
        entry = column.entry
        limits = ", ".join(entry["allowed"]) if "allowed" in entry else ""
        if "min" in entry:
            limits = f"{entry['min']:g} to {entry['max']:g}"
        lines.append(
            f"  {plain(entry['name'], 26):<26} {entry['type']:<10} {plain(limits, 34):<34} {plain(column.note)}"
        )
    lines += [f"  {plain(name or '(no name)', 26):<26} left out: {plain(why)}" for name, why in proposal.ignored]
    lines += [f"  {plain(name, 26):<26} take it out of the file: {plain(why)}" for name, why in proposal.suspected]
    if proposal.missing:
        lines.append(f"  words for a missing value: {plain(', '.join(proposal.missing))}")
    if proposal.repeated:
        lines.append(f"  {proposal.repeated:,} rows repeat an earlier one and count once")
    guards = ", ".join(f"{name} {limit:g}" for name, limit in proposal.guards.items())
    train, validation, test = proposal.split
    lines += [
        f"  split {train}/{validation}/{test}, group {proposal.group or '-'}, candidates boosting and linear",
        f"  guard {guards}: {proposal.guard_note}",
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(main())
