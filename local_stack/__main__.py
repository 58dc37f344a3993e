"""Command line of the local stack: ``python -m local_stack up|down|status|demo|retrain|run|reset|history|env``."""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import time
from pathlib import Path

from local_stack import layout
from local_stack.preflight import PreflightError
from retraining.contract.plain_text import plain_lines


def main(arguments: list[str] | None = None) -> int:
    """Run one command; 0 is success, 1 a failure with its reason, 2 a machine or a call that is not right."""
    parser = argparse.ArgumentParser(
        prog="python -m local_stack",
        description="The retraining stack on one machine, without Docker or an AWS account.",
    )
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("up", help="start local_aws and Airflow, and wait until they are healthy")
    commands.add_parser("down", help="stop them; data and history stay")
    commands.add_parser("status", help="show what runs")
    demo = commands.add_parser("demo", help="play the whole story: first model, new data, retraining")
    demo.add_argument(
        "--running", action="store_true", help="play it on a stack that runs already, and leave that running"
    )
    retrain = commands.add_parser("retrain", help="upload a CSV file as new data and follow the run that it starts")
    retrain.add_argument("file", type=Path, help="CSV file in the columns of the data contract")
    retrain.add_argument("--model", default="abalone", help="name of the model folder (default: %(default)s)")
    run = commands.add_parser("run", help="start a DAG by hand and follow its run")
    run.add_argument("dag", help="id of the DAG, such as abalone_rollback")
    run.add_argument("--params", type=json.loads, default={}, metavar="JSON", help="values for its form, a JSON object")
    commands.add_parser("reset", help="stop, and delete local data and history; the environments stay")
    provision = commands.add_parser("provision", help="deploy the data platform of every model to a running local_aws")
    provision.add_argument("--data", action="store_true", help="also upload the original Abalone data")
    commands.add_parser("secrets", help="make the secrets of this stack, unless they exist")
    commands.add_parser("password", help="print where the Airflow UI is and how to log in")
    history = commands.add_parser(
        "history", help="print as JSON what must outlive a restart: runs, data, models, endpoint"
    )
    history.add_argument("--compare", metavar="FILE", help="an earlier output, - for the input; 1 if any of it is lost")
    env = commands.add_parser("env", help="print the variables that make aws and boto3 talk to this stack")
    env.add_argument("--airflow", action="store_true", help="also those of the airflow command, its secrets included")
    chosen = parser.parse_args(arguments)
    os.umask(0o077)  # state and logs hold what other users of this machine have no business with
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        return _run(chosen)
    except PreflightError as error:
        print(f"error: {plain_lines(error)}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    except Exception as error:
        print(f"error: {plain_lines(error)}\nLogs: {layout.LOGS}", file=sys.stderr)
        return 1


def _run(chosen: argparse.Namespace) -> int:
    from local_stack import demo, stack
    from local_stack.airflow_api import AirflowApi
    from local_stack.airflow_settings import exports, write_credentials, write_passwords
    from local_stack.progress import NothingToTrainError, follow

    if chosen.command == "up":
        stack.up(_say)
        _say(stack.log_in_hint())
    elif chosen.command == "down":
        stack.down(_say)
    elif chosen.command == "reset":
        stack.reset(_say)
    elif chosen.command == "status":
        parts = stack.status()
        for part in parts:
            print(f"{part.name:<14} {part.health:<16} {f'pid {part.pid}' if part.pid else ''}".rstrip())
        return 0 if all(part.health == "healthy" for part in parts) else 1
    elif chosen.command == "env":
        print("\n".join(exports(chosen.airflow)))
    elif chosen.command == "retrain":
        body = chosen.file.read_bytes()
        stack.up(_say)
        session, api = stack.aws_session(), AirflowApi()
        bucket = demo.data_bucket(session, chosen.model)
        demo.wait_for_first_schedule(api, _say, demo.retraining_dag_id(chosen.model))
        try:
            result = demo.upload_and_follow(
                session.client("s3"), api, bucket, body, chosen.file.name, _say, chosen.model
            )
        except NothingToTrainError as nothing:
            _say(str(nothing))
        else:
            _say(f"{result['summary']['decision']}: {result['summary']['reason']}")
    elif chosen.command == "run":
        stack.up(_say)
        api = AirflowApi()
        run_id = api.trigger(chosen.dag, chosen.params)["dag_run_id"]
        _say(f"started run {run_id} of {chosen.dag}")
        follow(api, chosen.dag, run_id, demo.RUN_LIMIT_SECONDS)
        _say(f"run {run_id} succeeded")
    elif chosen.command == "provision":
        stack.provision(_say)
        if chosen.data:
            demo.provide_original(_say)
    elif chosen.command == "secrets":
        write_passwords(layout.LOCAL)
        write_credentials(layout.LOCAL / "aws_credentials")
        _say("the secrets of this stack are ready")
    elif chosen.command == "password":
        _say(stack.log_in_hint())
    elif chosen.command == "history":
        return _history(chosen.compare)
    elif chosen.command == "demo" and chosen.running:
        _say("\n" + demo.describe(demo.play(_say)))
    elif chosen.command == "demo":
        return _demo()
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


def _demo() -> int:
    from local_stack import demo, processes, stack

    attended = sys.stdout.isatty() and sys.stdin.isatty()
    before = {name for name in stack.ALL if processes.find(name)}
    try:
        stack.up(_say)
        summary = demo.play(_say)
        print(f"\n{demo.describe(summary)}\n{stack.log_in_hint()}")
        if attended:
            print("\nThe stack is up. Ctrl-C stops it.")
            while True:
                time.sleep(3600)
    except KeyboardInterrupt:
        print()
    finally:
        for name in reversed(stack.ALL):
            if name not in before:
                processes.stop(name)
        if not before:
            print("everything that this demo started is stopped; 'make up' starts it again with its data")
    return 0


def _say(line: str) -> None:
    print(plain_lines(line, sys.maxsize), flush=True)


if __name__ == "__main__":
    sys.exit(main())
