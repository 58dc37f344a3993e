"""Command line of the dataset log: what it holds, and what a person may change in it."""

from __future__ import annotations

import argparse
import getpass
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from retraining.aws.clients import client
from retraining.aws.platform_parameter import reach_platform
from retraining.command.dataset_views import quarantine_text, refused_text, version_details, version_table
from retraining.command.piped import until_nobody_reads
from retraining.contract.plain_text import plain_lines
from retraining.dataset.catalogue import NOT_SHOWN, TABLE, keep_catalogue, not_shown, rebuild_catalogue
from retraining.dataset.landing_zone import landed_files
from retraining.dataset.log import DatasetLog
from retraining.dataset.verify import verify
from retraining.jobs.remerge.erase import erase
from retraining.jobs.remerge.forget import NothingToForgetError, Unwanted, forget
from retraining.jobs.remerge.migrate import migrate, plan_migration
from retraining.jobs.remerge.rebuild import REBUILT, rebuild
from retraining.settings.access import AwsAccess
from retraining.settings.environment import platform_parameter
from retraining.settings.model_config import ConfigError, Landing, ModelConfig, load_model_config
from retraining.settings.platform import Platform

Say = Callable[[str], None]
MODELS = Path("dags") / "models"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; 0 is success, 1 a mismatch or failure with its reason."""
    chosen = _parser().parse_args(arguments)
    try:
        return _run(chosen, _print)
    except (BotoCoreError, ClientError, ConfigError, LookupError, RuntimeError) as error:
        print(f"error: {plain_lines(error)}", file=sys.stderr)  # noqa: T201 a command line's error
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m retraining.command.dataset", description="The dataset log of a model."
    )
    commands = parser.add_subparsers(dest="command", required=True)
    for name, words in (
        ("versions", "list the versions: rows per split, files, sizes, who trained on each"),
        ("verify", "read everything again and report every mismatch"),
        ("refused", "list the refused files, why, and how to release each"),
        ("rebuild-catalog", "make the data set's table in the Glue catalogue anew from the log"),
    ):
        commands.add_parser(name, help=words).add_argument("model", nargs="?", default="abalone")
    show = commands.add_parser("show", help="show one version with its files and objects")
    show.add_argument("model")
    show.add_argument("version", type=int)
    quarantine = commands.add_parser("quarantine", help="say why rows were rejected, and show the first of them")
    quarantine.add_argument("model")
    quarantine.add_argument("version", help="a version's number, or a batch")
    quarantine.add_argument("--lines", type=int, default=10, help="how many rejected rows to show (default: 10)")
    release = commands.add_parser("release", help="let a refused file, or all of a batch, count as new again")
    release.add_argument("model")
    release.add_argument("what", help="a file's key, or a batch for all its refused files")
    release.add_argument("--accept", action="store_true", help="merge them even beyond the budget of bad rows")
    release.add_argument("--why", required=True, help="goes on record")
    rebuild_command = commands.add_parser(
        "rebuild", help="merge all batches again into another prefix and compare every byte"
    )
    rebuild_command.add_argument("model")
    rebuild_command.add_argument(
        "--into", default=REBUILT, help=f"prefix below the model's own: {REBUILT} (default) or one below it"
    )
    forget_command = commands.add_parser(
        "forget", help="make the next version without some rows or files; with --erase, remove their bytes everywhere"
    )
    forget_command.add_argument("model")
    forget_command.add_argument("--file", action="append", default=[], help="key of a landed file; may be repeated")
    forget_command.add_argument("--row-hash", action="append", default=[], help="row_hash of a row; may be repeated")
    forget_command.add_argument(
        "--where",
        action="append",
        default=[],
        metavar="COLUMN=VALUE",
        help="rows with this value; of several all must hold",
    )
    forget_command.add_argument("--why", required=True, help="goes on record")
    forget_command.add_argument(
        "--erase", action="store_true", help="remove every byte of them, in old versions of objects, too; for good"
    )
    forget_command.add_argument("--folder", type=Path, help="the model's folder (default: dags/models/MODEL)")
    migrate_command = commands.add_parser(
        "migrate", help="merge all landed files again under the contract that model.yaml has now, as the next version"
    )
    migrate_command.add_argument("model")
    migrate_command.add_argument("--plan", action="store_true", help="only say what would change")
    migrate_command.add_argument("--folder", type=Path, help="the model's folder (default: dags/models/MODEL)")
    return parser


def _run(chosen: argparse.Namespace, say: Say) -> int:
    access = AwsAccess()
    platform = reach_platform(platform_parameter(chosen.model), access)
    s3, prefix = client("s3", access), f"{chosen.model}/"
    log = DatasetLog(s3, platform.bucket, prefix)
    if chosen.command == "versions":
        say(version_table(log.read(), log.trained_notes()))
    elif chosen.command == "refused":
        landed = {file.record.identity for file in landed_files(s3, platform.bucket, prefix, Landing())}
        say(refused_text(chosen.model, log.read(), landed))
    elif chosen.command == "rebuild-catalog":
        count = rebuild_catalogue(client("glue", access), platform.glue_database, platform.bucket, log.read())
        say(
            f"{platform.glue_database}.{TABLE} has {count} partition(s); version N: where N between first_version and last_version"
        )
    elif chosen.command == "show":
        say(version_details(log.read().at(chosen.version), log.trained_notes()))
    elif chosen.command == "quarantine":
        named = chosen.version
        batch = log.read().at(int(named)).versions[-1].batch if named.isdecimal() and len(named) < 16 else named
        say(quarantine_text(s3, platform.bucket, prefix, batch, chosen.lines))
    elif chosen.command == "release":
        lifted = log.release(chosen.what, who=getpass.getuser(), why=chosen.why, accept=chosen.accept)
        for judged in lifted:
            say(f"{judged.file.key} counts as new again; the next run takes it")
    elif chosen.command == "rebuild":
        count = rebuild(access, platform, chosen.model, chosen.into, say)
        say(f"rebuilt {count} version(s) below s3://{platform.bucket}/{chosen.model}/{chosen.into.strip('/')}/")
    elif chosen.command == "migrate":
        config = load_model_config((chosen.folder or MODELS / chosen.model) / "model.yaml")
        _migrate(access, platform, config, log, chosen.plan, say)
    elif chosen.command == "forget":
        config = load_model_config((chosen.folder or MODELS / chosen.model) / "model.yaml")
        _forget(access, platform, config, chosen, say)
    elif chosen.command == "verify":
        problems = verify(s3, platform.bucket, prefix, log.read, say)
        for problem in problems:
            say(f"MISMATCH {problem}")
        say(f"{len(problems)} mismatch(es)" if problems else "everything is as the log says")
        return 1 if problems else 0
    return 0


def _forget(access: AwsAccess, platform: Platform, config: ModelConfig, chosen: argparse.Namespace, say: Say) -> None:
    """Make a version without some rows, and remove their bytes if asked to."""
    unwanted, who = _unwanted(chosen), getpass.getuser()
    try:
        version = forget(access, platform, config, unwanted, f"{chosen.why} ({who})", say)
        say(f"version {version.version}: {version.rows['rows_accepted']} rows; the next run trains on it")
    except NothingToForgetError:
        if not chosen.erase:
            raise
    if chosen.erase:
        erasure = erase(client("s3", access), platform.bucket, config, unwanted, who, chosen.why, say)
        lost = ", ".join(map(str, erasure.versions))
        say(
            f"{len(erasure.removed)} object(s) removed for good"
            + (f"; dataset version {lost} can no longer be read" if lost else "")
        )
    _show_in_catalogue(access, platform, config.name, say)


def _show_in_catalogue(access: AwsAccess, platform: Platform, model: str, say: Say) -> None:
    """Bring the table in the Glue catalogue up to the log; the version is made already, so a refusal is only told."""
    try:
        keep_catalogue(
            client("glue", access),
            platform.glue_database,
            platform.bucket,
            DatasetLog(client("s3", access), platform.bucket, f"{model}/").read(),
        )
    except NOT_SHOWN as error:
        say(not_shown(platform.glue_database, model, error))


def _unwanted(chosen: argparse.Namespace) -> Unwanted:
    """Return what a person wants out of the data set.

    Raises:
        LookupError: nothing is named.

    """
    where = dict(item.partition("=")[::2] for item in chosen.where)
    if not (chosen.file or chosen.row_hash or where):
        raise LookupError("say what to forget: --file KEY, --row-hash HASH or --where COLUMN=VALUE")
    return Unwanted(chosen.file, frozenset(chosen.row_hash), where or None)


def _migrate(access: AwsAccess, platform: Platform, config: ModelConfig, log: DatasetLog, plan: bool, say: Say) -> None:
    """Say what a migration changes, and make it unless only the plan is asked for."""
    state = log.read()
    planned = plan_migration(config, state)
    if planned.done:
        say(f"dataset version {state.latest} is under this contract already")
        return
    for change in planned.changes:
        say(f"{'changes' if change.compatible else 'needs the migration'}: {change.words}")
    say(
        f"{len(planned.files)} landed file(s) become version {planned.version}; versions up to {state.latest} stay as they are"
    )
    if plan:
        return
    version = migrate(access, platform, config, say)
    if version is not None:
        rows = version.rows
        say(
            f"version {version.version}: {rows['rows_accepted']} rows accepted, {rows['rows_duplicate']} duplicate, "
            f"{rows['rows_quarantined']} quarantined; the next run trains on it"
        )
        _show_in_catalogue(access, platform, config.name, say)


def _print(line: Any) -> None:
    print(plain_lines(line, sys.maxsize), flush=True)  # noqa: T201 a command line's output


if __name__ == "__main__":
    sys.exit(until_nobody_reads(main))
