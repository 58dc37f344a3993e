"""Command line of verifications: ``python -m deploy.verification --env verify-ab12 --max-usd 1``, or ``make verify-aws``.

Exit codes: 0 everything that can be asked there is as expected, and nothing is left; 1 something differs or failed; 2 refused before
anything was made; 130 interrupted: the same command goes on, and ``--down`` takes down what there is.
"""

from __future__ import annotations

import argparse
import logging
import math
import os
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import boto3
from botocore.exceptions import BotoCoreError, ClientError

from deploy.preflight import PreflightError, check_caller
from deploy.settings import Deployment
from deploy.verification import journal as journals
from deploy.verification import outcome as outcomes
from deploy.verification import price, removal, small_model
from deploy.verification.answers import Recorder
from deploy.verification.journal import AWS, DONE, FAILED, Journal, JournalError, Place
from local_stack.verbs import calls
from retraining.command.alone import act_alone
from retraining.command.piped import until_nobody_reads
from retraining.contract.plain_text import plain_lines
from retraining.settings.model_config import load_model_config

HOURS = 2.0
ANSWERS = "answers.jsonl"
POLL = {"PollSeconds": "5", "SettleSeconds": "5", "Dashboard": "no"}
EXPECTED = (BotoCoreError, ClientError, LookupError, OSError, RuntimeError)


def main(
    arguments: Sequence[str] | None = None,
    ask: Callable[[str], str] = input,
    environment: Mapping[str, str] = os.environ,
) -> int:
    """Verify; return the exit code."""
    chosen = _parser().parse_args(arguments)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    quiet = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with tempfile.TemporaryDirectory(prefix="verification-") as home:
            return _verify(chosen, ask, environment, home)
    except (calls.CallError, JournalError, PreflightError) as error:
        return _failed(error, 2)
    except KeyboardInterrupt:
        sys.stderr.write(
            "interrupted; the same command goes on where it ended, with DOWN=1 it takes down what there is. Until then the timer in the "
            "account is what ends the endpoint\n"
        )
        return 130
    finally:
        logging.disable(quiet)


def _verify(chosen: argparse.Namespace, ask: Callable[[str], str], environment: Mapping[str, str], home: str) -> int:
    where = place(chosen.rehearsal, environment)
    env = calls.verification(chosen.env)
    folder: Path = chosen.folder / env
    recorder = Recorder(folder / ANSWERS)
    recorder.watch()
    session = boto3.Session(region_name=chosen.region or None)
    if not session.region_name:
        raise calls.CallError("no region: give REGION=us-east-1, or set AWS_DEFAULT_REGION")
    settings = {**POLL, **dict(chosen.set)}
    deployment = Deployment(env, session.region_name, platform=settings)
    caller = check_caller(session, deployment)
    if where == AWS and caller.arn.endswith(":root"):
        raise PreflightError(
            "these are keys of the account's root user, who can take on no role, so the rights of the DAGs could not be played; use those "
            "of an IAM user or role"
        )
    journal = Journal(folder, Place(env, where, session.region_name, caller.account))
    act_alone(env, "verification", home)
    model = small_model.write(folder, journal.attempt)
    _say(
        f"verification {env}, attempt {journal.attempt}, at {where}: account {caller.account}, {session.region_name}, as {caller.arn}"
    )
    if chosen.down:
        if not journal.begun:
            _say("nothing of it is known here; looking in the account all the same")
    elif not journal.failed and (refused := _agreed(chosen, ask, model)):
        return _failed(refused, 2)
    from deploy.verification.bench import Bench  # imports Airflow, which reads its settings then

    recorder.begin(caller.account)
    bench = Bench(session, deployment, model, journal, chosen.hours, _say)
    if not chosen.down:
        journal.begin()
        _play(bench, recorder)
    recorder.stage = "close"
    output = chosen.output or (outcomes.FILE if where == AWS else folder / "rehearsal.json")
    return _close(bench, folder / ANSWERS, output, chosen.down)


def _play(bench: Any, recorder: Recorder) -> None:
    """Play the stages that have not been; stop at the first that fails."""
    from deploy.verification.stages import STAGES

    journal = bench.journal
    if journal.failed:
        _say(f"stage {journal.failed} had failed: taking down what there is")
        return
    for number, stage in enumerate(STAGES, 1):
        if stage.name in journal.stages:
            continue
        recorder.stage = stage.name
        _say(f"{number:>2}/{len(STAGES) + 1} {stage.name}: {stage.does}")
        began = time.monotonic()
        try:
            if stage.plays:
                bench.act_as_tasks()
            stage.work(bench)
        except Exception as error:
            journal.end_stage(stage.name, FAILED, time.monotonic() - began, plain_lines(error))
            _say(f"stage {stage.name} failed: {plain_lines(error)}")
            return
        journal.end_stage(stage.name, DONE, time.monotonic() - began)


def _close(bench: Any, answers: Path, output: Path, down: bool) -> int:
    """Take everything down, look what is left, and write the outcome; return the exit code.

    When only this was asked for (``down``), it is well when nothing is left; of what no journal knows there is no outcome to write.
    """
    _say("close: takes everything down")
    journal, began = bench.journal, time.monotonic()
    try:
        removal.remove(bench.estate, bench.say)
        left, unlisted = removal.leftovers(bench.estate, bench.say)
    except EXPECTED as error:
        if journal.begun:
            outcomes.write(output, outcomes.document(journal, answers, None))
        return _failed(f"not everything could be taken down: {error}. Repeat the command with DOWN=1", 1)
    seen = ", ".join(left) or "none"
    if not journal.begun:
        _say(f"left in the account: {seen}")
        return 1 if left else 0
    bench.answer("leftovers", not left, f"{seen}; no list of {', '.join(unlisted)} here" if unlisted else seen)
    journal.end_stage("close", FAILED if left else DONE, time.monotonic() - began)
    if not left:
        journal.close()
    found = outcomes.document(journal, answers, left)
    outcomes.write(output, found)
    for line in outcomes.told(found):
        _say(line)
    _say(f"written: {output}")
    return 0 if outcomes.right(found) or (down and not left) else 1


def _agreed(chosen: argparse.Namespace, ask: Callable[[str], str], model: Path) -> str | None:
    """Show what it may cost and ask; return why it is not done, None when it is."""
    table = price.at_most(load_model_config(model / "model.yaml"), chosen.hours)
    for line in price.lines(table):
        _say(line)
    if why := price.exceeds(table, chosen.max_usd):
        return f"{why}; nothing was made"
    if chosen.yes:
        return None
    if not sys.stdin.isatty() and ask is input:
        return "nobody is there to agree: YES=1 does; nothing was made"
    if ask(f"Type the name ({chosen.env}) to go on: ").strip() != chosen.env:
        return "not confirmed; nothing was made"
    return None


def place(rehearsal: bool, environment: Mapping[str, str]) -> str:
    """Return where calls go: ``AWS``, or of a rehearsal the address of the local account.

    Raises:
        CallError: the variables of the shell lead elsewhere than was asked for.

    """
    if not rehearsal:
        calls.leads_to_aws(environment)
        return AWS
    address = environment.get("AWS_ENDPOINT_URL", "")
    if urlsplit(address).hostname not in ("127.0.0.1", "localhost", "::1"):
        raise calls.CallError(
            f"a rehearsal needs AWS_ENDPOINT_URL with an address of this machine, not {address or 'nothing'}: 'make up' starts one"
        )
    return address


def _parser() -> argparse.ArgumentParser:
    parser = calls.OneLineParser(prog="python -m deploy.verification", description=__doc__)
    parser.add_argument("--env", required=True, help="name of a deployment that is made for this, such as verify-ab12")
    parser.add_argument(
        "--max-usd", type=_positive, default=1.0, help="refuse what may cost more (default: %(default)s)"
    )
    parser.add_argument(
        "--hours", type=_positive, default=HOURS, help="until the timer in the account deletes the endpoint"
    )
    parser.add_argument("--region", help="AWS region (default: that of the shell)")
    parser.add_argument("--yes", action="store_true", help="do not ask")
    parser.add_argument("--down", action="store_true", help="only take down what there is")
    parser.add_argument("--rehearsal", action="store_true", help="in the local account that AWS_ENDPOINT_URL names")
    parser.add_argument(
        "--set", action="append", type=_setting, default=[], metavar="KEY=VALUE", help="of infra/data_platform.yaml"
    )
    parser.add_argument("--folder", type=Path, default=journals.FOLDER, help=argparse.SUPPRESS)
    parser.add_argument("--output", type=Path, help=argparse.SUPPRESS)
    return parser


def _positive(text: str) -> float:
    number = float(text)
    if not 0 < number < math.inf:
        raise ValueError(text)
    return number


def _setting(text: str) -> tuple[str, str]:
    key, sign, value = text.partition("=")
    if not sign:
        raise ValueError(text)
    return key, value


def _say(line: str) -> None:
    sys.stdout.write(plain_lines(line, sys.maxsize) + "\n")
    sys.stdout.flush()


def _failed(error: Exception | str, code: int) -> int:
    sys.stderr.write(f"error: {plain_lines(error)}\n")
    return code


if __name__ == "__main__":
    sys.exit(until_nobody_reads(main))
