"""Command line of the local stack: ``python -m local_stack up|down|status|check-model|demo|retrain|run|report|reset|env ...``.

A call is checked before anything is imported or started, with the standard library alone. ``--only-check`` stops there, so that the
Makefile answers a wrong call before it creates an environment.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import time
from pathlib import Path

from local_stack import layout, started
from local_stack.preflight import PreflightError
from local_stack.verbs import calls
from retraining.command.piped import read_no_more, until_nobody_reads
from retraining.contract.plain_text import plain_lines

ON_THE_STACK = (
    "up",
    "demo",
    "retrain",
    "score",
    "run",
    "promote",
    "status",
    "report",
    "dataset-log",
    "env",
    "api",
    "call",
)


def main(arguments: list[str] | None = None) -> int:
    """Run one command; 0 is success, 1 a failure with its reason, 2 a machine or a call that is not right."""
    parser = calls.OneLineParser(
        prog="python -m local_stack",
        description="The retraining stack on one machine, without Docker or an AWS account.",
    )
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("up", help="start local_aws and Airflow, and wait until they are healthy")
    commands.add_parser("down", help="stop them; data and history stay")
    status = commands.add_parser(
        "status", help="show what runs, what each model serves, and what keeps a model from running"
    )
    status.add_argument("--model", help="only this model")
    report = commands.add_parser("report", help="say where the report of a run lies, and its verdict")
    report.add_argument("--model", default="abalone", help="name of the model folder (default: %(default)s)")
    report.add_argument("--run", metavar="KEY", help="key of the run, such as v3-0123456789ab (default: the newest)")
    logs = commands.add_parser("logs", help="print the whole log of a job")
    logs.add_argument("--job", help="its name or a part of it (default: the newest)")
    dataset_log = commands.add_parser("dataset-log", help="the dataset log of a model")
    dataset_log.add_argument("--model", default="abalone", help="name of the model folder (default: %(default)s)")
    dataset_log.add_argument(
        "--words", default="versions", metavar="COMMAND", help="versions, verify, refused, show ..."
    )
    demo = commands.add_parser("demo", help="play the whole story: first model, new data, retraining")
    demo.add_argument(
        "--running", action="store_true", help="play it on a stack that runs already, and leave that running"
    )
    demo.add_argument(
        "--act", type=int, choices=(2, 3), default=2, help="3: also drifted requests, an incident, labels (default: 2)"
    )
    retrain = commands.add_parser("retrain", help="upload a CSV file as new data and follow the run that it starts")
    retrain.add_argument(
        "files", metavar="FILES", help="CSV files in the columns of the data contract, separated by blanks"
    )
    retrain.add_argument("--model", default="abalone", help="name of the model folder (default: %(default)s)")
    score = commands.add_parser("score", help="upload CSV files to be scored with the champion, and follow the run")
    score.add_argument("files", metavar="FILES", help="CSV files, with or without the target, separated by blanks")
    score.add_argument("--model", default="abalone", help="name of the model folder (default: %(default)s)")
    api = commands.add_parser("api", help="serve the HTTP API of a model, and its form, on the loopback")
    api.add_argument("--model", default="abalone", help="name of the model folder (default: %(default)s)")
    api.add_argument("--port", type=int, default=8090, help="of 127.0.0.1 (default: %(default)s)")
    openapi = commands.add_parser("openapi", help="print the OpenAPI document of a model's HTTP API")
    openapi.add_argument("--model", default="abalone", help="name of the model folder (default: %(default)s)")
    run = commands.add_parser("run", help="start a DAG by hand and follow its run")
    run.add_argument("dag", help="id of the DAG, such as abalone_rollback")
    run.add_argument("--params", default="{}", metavar="JSON", help="values for its form, a JSON object")
    promote = commands.add_parser("promote", help="take the model that serves in one deployment into another")
    promote.add_argument("--from", dest="origin", default="", metavar="ENV", help="deployment that it serves in")
    promote.add_argument("--to", dest="target", default="", metavar="ENV", help="deployment that it goes to")
    promote.add_argument("--model", default="abalone", help="name of the model folder (default: %(default)s)")
    promote.add_argument("--latency-ms", help="limit of the latency test")
    promote.add_argument("--plan", action="store_true", help="only say what would be done")
    promote.add_argument("--uncompared", action="store_true", help="also where there is no data set to compare on")
    promote.add_argument("--aws", action="store_true", help="in the account of this shell, not in the local one")
    check_model = commands.add_parser(
        "check-model", help="read the model folders and name every mistake by file and line"
    )
    check_model.add_argument("--model", help="only this one")
    reset = commands.add_parser("reset", help="stop, and delete local data and history; the environments stay")
    reset.add_argument("--model", help="only what this model left")
    reset.add_argument("--yes", action="store_true", help="do not ask")
    provision = commands.add_parser("provision", help="deploy the data platform of every model to a running local_aws")
    provision.add_argument("--data", action="store_true", help="also upload the original Abalone data")
    making = commands.add_parser("secrets", help="make the secrets of this stack, unless they exist")
    making.add_argument(
        "--share", type=Path, metavar="DIR", help="also write the one of local_aws and the one of PostgreSQL there"
    )
    commands.add_parser("password", help="print where the Airflow UI is and how to log in")
    history = commands.add_parser(
        "history", help="print as JSON what must outlive a restart: runs, data, models, endpoint"
    )
    history.add_argument("--compare", metavar="FILE", help="an earlier output, - for the input; 1 if any of it is lost")
    env = commands.add_parser("env", help="print the variables that make aws and boto3 talk to this stack")
    env.add_argument("--airflow", action="store_true", help="also those of the airflow command, its secrets included")
    call = commands.add_parser("call", help="check what other commands of the Makefile are called with")
    call.add_argument("--model")
    call.add_argument("--rows", type=int)
    call.add_argument("--env", help="a deployment to AWS")
    call.add_argument("--priced", metavar="ENV", help="a deployment to AWS that is only read")
    call.add_argument("--verified", metavar="ENV", help="a deployment that a verification makes")
    call.add_argument("--rehearsal", action="store_true", help="of it, in the local account")
    call.add_argument("--data-version", type=int)
    call.add_argument("--sql", help="a query of the local account")
    call.add_argument("--version", type=int)
    call.add_argument("--method", choices=("ctgan", "copula", "replay"))
    parser.add_argument("--only-check", action="store_true", help="check the call, and do nothing")
    chosen = parser.parse_args(arguments)
    os.umask(0o077)  # state and logs hold what other users of this machine have no business with
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        _check(chosen)
        return 0 if chosen.only_check else _run(chosen)
    except PreflightError as error:
        print(f"error: {plain_lines(error)}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        raise
    except Exception as error:
        print(f"error: {plain_lines(error)}\nLogs: {layout.LOGS}", file=sys.stderr)
        return 1


def _check(chosen: argparse.Namespace) -> None:
    """Look at the arguments; what they name has to exist."""
    calls.deployment_name(layout.DEPLOYMENT)
    calls.ports()
    if chosen.command in ("retrain", "score"):
        calls.csv_files(chosen.files, chosen.command)
    if chosen.command == "run":
        calls.known_dag(chosen.dag)
        calls.params(chosen.params)
    if getattr(chosen, "model", None):
        calls.known_model(chosen.model)
    if chosen.command == "score":
        calls.batch_dag_of(chosen.model)
    if getattr(chosen, "env", None) is not None:
        calls.known_deployment(chosen.env)
        calls.leads_to_aws(os.environ)
    if getattr(chosen, "priced", None) is not None:
        calls.known_deployment(chosen.priced, "cost")
    if getattr(chosen, "verified", None) is not None:
        calls.verification(chosen.verified)
        if chosen.rehearsal:
            calls.local_account_answers()
        else:
            calls.leads_to_aws(os.environ)
    if chosen.command == "promote":
        calls.promotion(chosen.origin, chosen.target, chosen.latency_ms)
        calls.place_of_promotion(chosen.origin, chosen.target, chosen.aws, os.environ)
    if chosen.command == "dataset-log":
        calls.dataset_words(chosen.words, chosen.model)
    if getattr(chosen, "sql", None) is not None:
        calls.query(chosen.sql)
    on_aws = [getattr(chosen, name, None) for name in ("env", "verified")]
    if chosen.command in ON_THE_STACK and on_aws == [None, None]:
        started.check()
    if chosen.command == "api":
        calls.port(chosen.port)
    if chosen.command in ("report", "dataset-log", "api"):
        calls.local_account_answers()


def _run(chosen: argparse.Namespace) -> int:
    from local_stack import demo, stack
    from local_stack.airflow_api import AirflowApi
    from local_stack.airflow_settings import exports, share_secrets, write_credentials, write_passwords
    from local_stack.verbs import api, logs, model_check, overview, report, reset, runs, scoring

    if chosen.command == "up":
        stack.up(_say)
        _say(stack.log_in_hint())
    elif chosen.command == "down":
        stack.down(_say)
    elif chosen.command == "reset":
        reset.confirm(chosen.model, None if chosen.yes or not sys.stdin.isatty() else input)
        if chosen.model:
            reset.one_model(chosen.model, _say)
        else:
            reset.everything(_say)
    elif chosen.command == "check-model":
        folders = [model_check.read(chosen.model)] if chosen.model else model_check.read_all()
        return model_check.report(folders, _say)
    elif chosen.command == "status":
        _say("\n".join(overview.lines(chosen.model)))
    elif chosen.command == "report":
        session = stack.aws_session()
        bucket = runs.data_bucket(session, chosen.model)
        _say("\n".join(report.lines(session.client("s3"), bucket, chosen.model, chosen.run)))
    elif chosen.command == "logs":
        for path in logs.logs_of(chosen.job):
            print(f"== {path}", file=sys.stderr)
            print(plain_lines(path.read_text(encoding="utf-8", errors="replace"), sys.maxsize))
    elif chosen.command == "dataset-log":
        stack.aws_session()
        from retraining.command import dataset

        return dataset.main(calls.dataset_words(chosen.words, chosen.model))
    elif chosen.command == "env":
        print("\n".join(exports(chosen.airflow)))
    elif chosen.command == "retrain":
        stack.up(_say, chosen.model)
        runs.retrain(stack.aws_session(), AirflowApi(), calls.csv_files(chosen.files), chosen.model, _say)
    elif chosen.command == "score":
        stack.up(_say, chosen.model)
        files = calls.csv_files(chosen.files, chosen.command)
        scoring.score(stack.aws_session(), AirflowApi(), files, chosen.model, _say)
    elif chosen.command == "api":
        api.serve(api.config_of(chosen.model), stack.aws_session(), chosen.port, _say)
    elif chosen.command == "openapi":
        print(api.document(api.config_of(chosen.model)))
    elif chosen.command == "run":
        stack.up(_say, calls.model_of(chosen.dag))
        runs.run(stack.aws_session(), AirflowApi(), chosen.dag, calls.params(chosen.params), _say)
    elif chosen.command == "promote":
        from local_stack.verbs import promoting

        return promoting.promote(chosen, _say)
    elif chosen.command == "provision":
        stack.provision(_say, model_check.sound(_say))
        if chosen.data:
            demo.provide_original(_say)
    elif chosen.command == "secrets":
        write_passwords(layout.LOCAL)
        write_credentials(layout.LOCAL / "aws_credentials")
        if chosen.share:
            share_secrets(chosen.share)
        _say("the secrets of this stack are ready")
    elif chosen.command == "password":
        _say(stack.log_in_hint())
    elif chosen.command == "history":
        return _history(chosen.compare)
    elif chosen.command == "demo" and chosen.running:
        _say("\n" + _story(chosen.act))
    elif chosen.command == "demo":
        return _demo(chosen.act)
    return 0


def _history(earlier: str | None) -> int:
    from local_stack import history

    note = history.now()
    if earlier is None:
        print(json.dumps(note, indent=1))
        return 0
    text = sys.stdin.read() if earlier == "-" else Path(earlier).read_text(encoding="utf-8")
    missing = history.lost(json.loads(text), note)
    for sentence in missing:
        print(f"LOST {sentence}", file=sys.stderr)
    _say(f"{len(missing)} thing(s) lost" if missing else f"nothing is lost: {history.describe(note)}")
    return 1 if missing else 0


def _story(acts: int) -> str:
    from local_stack import demo, drift_demo

    summary = demo.play(_say)
    told = demo.describe(summary)
    if acts > 2:
        summary["drift"] = drift_demo.play(_say)
        layout.DEMO_JSON.write_text(json.dumps(summary, indent=1))
        told += "\n" + drift_demo.describe(summary["drift"])
    return told


def _demo(acts: int) -> int:
    from local_stack import demo, processes, stack

    attended = sys.stdout.isatty() and sys.stdin.isatty()
    before = {name for name in stack.ALL if processes.find(name)}
    demo.check_before_start()
    try:
        stack.up(_say, demo.MODEL, before_airflow=lambda: demo.provide_original(_say))
        print(f"\n{_story(acts)}\n{stack.log_in_hint()}")
        if attended:
            print("\nThe stack is up. Ctrl-C stops it.")
            while True:
                time.sleep(3600)
    except KeyboardInterrupt:
        print()
    finally:
        stack.stop(name for name in stack.ALL if name not in before)
        if not before:
            print("everything that this demo started is stopped; 'make up' starts it again with its data")
    return 0


def _say(line: str) -> None:
    try:
        print(plain_lines(line, sys.maxsize), flush=True)
    except BrokenPipeError:  # make up | head: what was begun goes on
        read_no_more()


if __name__ == "__main__":
    sys.exit(until_nobody_reads(main))
