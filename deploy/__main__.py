"""Command line of deployments: ``python -m deploy up --env prod``, ``dags``, ``verify``, ``destroy``.

Exit codes: 0 done, 1 failed on the way, 2 refused before anything was changed.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import boto3
from botocore.exceptions import BotoCoreError, ClientError

from deploy.ci import identity, plan_comment
from deploy.code_writers import CodeWritersError
from deploy.environment import Project
from deploy.mwaa import VerificationError
from deploy.plan import render
from deploy.preflight import PreflightError
from deploy.settings import SettingsError, load
from deploy.stacks import StackError
from deploy.zones import ZoneError
from local_stack.verbs import calls


def main(
    arguments: Sequence[str] | None = None,
    ask: Callable[[str], str] = input,
    environment: Mapping[str, str] = os.environ,
) -> int:
    """Run one command; return the exit code.

    Args:
        arguments: the command line, that of the process when None.
        ask: puts a question to a person.
        environment: the variables of the shell, which must not lead to another place than AWS.

    """
    options = _parser().parse_args(arguments)
    try:
        deployment = load(options.env)
        calls.leads_to_aws(environment)
        os.environ.update(identity.variables(os.environ))
        session = boto3.Session(region_name=deployment.region)
        project = Project(session, deployment, say, with_environment=not options.skip_environment)
        project.preflight()
        if options.command in WRITING and not options.plan:
            project.check_writes()
        if options.command == "up":
            project.check_readiness(rights=not options.plan)
        return COMMANDS[options.command](project, options, ask)
    except (
        SettingsError,
        PreflightError,
        CodeWritersError,
        calls.CallError,
        ZoneError,
        identity.IdentityError,
    ) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except (StackError, VerificationError, ClientError, BotoCoreError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1


def say(line: str) -> None:
    """Print one line of progress at once, also into a pipe."""
    print(line, flush=True)


def _up(project: Project, options: Any, _ask: Callable[[str], str]) -> int:
    lines, changes = render(project.plan())
    for line in lines:
        say(line)
    if options.plan:
        total = f"plan: {changes} part(s) would change; nothing was changed"
        say(total)
        plan_comment.hand_on([*lines, total], os.environ)
        return 0
    changed = project.up()
    if options.dry_run:
        project.dry_run()
    say(f"done: {changed} change(s)" if changed else "done: everything was up to date")
    return 0


def _dags(project: Project, _options: Any, _ask: Callable[[str], str]) -> int:
    project.sync_dags()
    return 0


def _verify(project: Project, options: Any, _ask: Callable[[str], str]) -> int:
    project.verify()
    if options.dry_run:
        project.dry_run()
    return 0


def _destroy(project: Project, _options: Any, ask: Callable[[str], str]) -> int:
    name = project.deployment.name
    say(
        f"This deletes the MWAA environment {project.deployment.environment_name} with its run history, its logs, its network and "
        "its policies."
    )
    say("Data, models and the endpoint are kept.")
    if ask(f"Type the deployment's name ({name}) to go on: ").strip() != name:
        say("not confirmed; nothing was changed")
        return 2
    project.destroy()
    return 0


WRITING = ("up", "dags")
COMMANDS = {"up": _up, "dags": _dags, "verify": _verify, "destroy": _destroy}


def _parser() -> argparse.ArgumentParser:
    parser = calls.OneLineParser(prog="python -m deploy", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    helps = {
        "up": "deploy whatever differs, then verify",
        "dags": "copy dags/ to S3, nothing else",
        "verify": "check versions and DAG imports of the running environment",
        "destroy": "delete the environment and its network; data stays",
    }
    for name, text in helps.items():
        command = commands.add_parser(name, help=text)
        command.add_argument("--env", required=True, help="a file of deploy/environments, without .yaml")
        command.add_argument("--plan", action="store_true", help="only show what would change")
        command.add_argument(
            "--dry-run", action="store_true", help="afterwards run the retraining DAGs once without deploying a model"
        )
        command.add_argument("--skip-environment", action="store_true", help="everything but MWAA itself")
    return parser


if __name__ == "__main__":
    sys.exit(main())
