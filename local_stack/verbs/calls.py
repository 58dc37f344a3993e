"""What a verb is called with, checked before anything is set up or started: each mistake is one line with the names that exist.

Standard library only: this runs before any environment exists.
"""

from __future__ import annotations

import argparse
import difflib
import json
import math
import os
import shlex
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

from local_stack import layout
from local_stack.preflight import PreflightError
from retraining.settings.environment import EnvironmentNameError, checked


class OneLineParser(argparse.ArgumentParser):
    """A parser that answers a wrong argument in one line; the usage is what ``--help`` is for."""

    def error(self, message: str) -> NoReturn:
        """Say what is wrong and end with exit code 2."""
        self.exit(2, f"error: {message}; {self.prog} --help says what is possible\n")


class CallError(PreflightError):
    """A verb was called with something that does not exist or cannot be; the message names it and what is possible."""


def deployment_name(name: str) -> str:
    """Return the name of a deployment, ``ENV=NAME`` of a verb.

    Raises:
        CallError: it can be no part of names on AWS.

    """
    try:
        return checked(name)
    except EnvironmentNameError as error:
        raise CallError(f"ENV={error}") from error


def ports() -> None:
    """See that the ports of the stack are two ports.

    Raises:
        CallError: a variable has something else, or both have the same.

    """
    for variable, port in (("LOCAL_AWS_PORT", layout.AWS_PORT), ("AIRFLOW_PORT", layout.AIRFLOW_PORT)):
        if not 0 < port < 65536:
            raise CallError(f"{variable}={os.environ.get(variable)} is no port: a number from 1 to 65535")
    if layout.AWS_PORT == layout.AIRFLOW_PORT:
        raise CallError(
            f"local_aws and the Airflow UI cannot both have port {layout.AWS_PORT}: LOCAL_AWS_PORT and AIRFLOW_PORT"
        )


def port(number: int) -> None:
    """See that a port is one.

    Raises:
        CallError: it is not.

    """
    if not 0 < number < 65536:
        raise CallError(f"API_PORT={number} is no port: a number from 1 to 65535")


def models() -> list[str]:
    """Return the names of the model folders."""
    return sorted(path.parent.name for path in (layout.ROOT / "dags" / "models").glob("*/model.yaml"))


def dags() -> list[str]:
    """Return the ids of the DAGs: each has a file of its name in ``dags/``."""
    return sorted(path.stem for path in (layout.ROOT / "dags").glob("*.py"))


def dag_of(model: str) -> str:
    """Return the id of a model's retraining DAG."""
    return f"{model.replace('-', '_')}_retraining"


def batch_dag_of(model: str) -> str:
    """Return the id of a model's batch DAG.

    Raises:
        CallError: the model has none.

    """
    dag = f"{model.replace('-', '_')}_batch"
    if dag not in dags():
        raise CallError(f"model {model} has no DAG that scores files: write dags/{dag}.py after dags/abalone_batch.py")
    return dag


def model_of(dag: str) -> str | None:
    """Return the model that a DAG belongs to, None for a DAG of its own."""
    owners = [model for model in models() if dag.startswith(f"{model.replace('-', '_')}_")]
    return max(owners, key=len, default=None)


def known_model(name: str) -> str:
    """Return the name of a model folder.

    Raises:
        CallError: there is no such folder.

    """
    if not name:
        raise CallError(f"no model is named; {_known('model', name, models(), 'dags/models')}")
    if name not in models():
        raise CallError(f"there is no model {name!r}; {_known('model', name, models(), 'dags/models')}")
    return name


def known_dag(name: str) -> str:
    """Return the id of a DAG.

    Raises:
        CallError: no file of ``dags/`` makes such a DAG.

    """
    if not name:
        raise CallError(f"no DAG is named: make run DAG=...; {_known('DAG', name, dags(), 'dags')}")
    if name not in dags():
        raise CallError(f"there is no DAG {name!r}; {_known('DAG', name, dags(), 'dags')}")
    return name


def known_deployment(name: str, verb: str = "deploy") -> str:
    """Return the name of a deployment; the answer names the verb of make.

    Raises:
        CallError: ``deploy/environments`` has no file of that name.

    """
    known = sorted(path.stem for path in (layout.ROOT / "deploy" / "environments").glob("*.yaml"))
    if name not in known:
        what = f"there is no deployment {name!r}" if name else f"no deployment is named: make {verb} ENV=..."
        raise CallError(f"{what}; {_known('deployment', name, known, 'deploy/environments')}")
    return name


def verification(name: str) -> str:
    """Return the name of the deployment that a verification makes and deletes.

    Raises:
        CallError: it could be that of a deployment that somebody works with.

    """
    if not name.startswith("verify-"):
        raise CallError(
            f"ENV={name or '(nothing)'}: a verification makes and deletes a deployment, so its name begins with verify-: verify-ab12"
        )
    return deployment_name(name)


def leads_to_aws(environment: Mapping[str, str]) -> None:
    """See that the AWS clients of a shell are not led to another place than AWS, such as the local stack.

    Args:
        environment: the variables of the shell.

    Raises:
        CallError: an endpoint override is set.

    """
    ignored = environment.get("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS") == "true"
    for name, value in environment.items():
        if name.startswith("AWS_ENDPOINT_URL") and value and not ignored:
            raise CallError(
                f"this shell talks to {value} ({name}), not to AWS: nothing was looked at or changed. Open another shell for "
                "deployments, or type local_off if 'make env' set it"
            )


def promotion(origin: str, target: str, latency_ms: str | None) -> None:
    """See that a promotion goes from one deployment to another, with a limit that is one.

    Raises:
        CallError: it does not.

    """
    example = "make promote FROM=staging TO=prod"
    for variable, name in (("FROM", origin), ("TO", target)):
        if not name:
            raise CallError(f"{variable} is not given, the deployment that the model {_WAY[variable]}: {example}")
        try:
            checked(name)
        except EnvironmentNameError as error:
            raise CallError(f"{variable}={error}") from error
    if origin == target:
        raise CallError(f"FROM and TO are both {origin}: a model is promoted from one deployment to another: {example}")
    try:
        positive = latency_ms is None or 0 < float(latency_ms) < math.inf
    except ValueError:
        positive = False
    if not positive:
        raise CallError(f"LATENCY_MS={latency_ms} is no limit: a number of milliseconds, such as 1000")


_WAY = {"FROM": "serves in", "TO": "goes to"}


def place_of_promotion(origin: str, target: str, aws: bool, environment: Mapping[str, str]) -> None:
    """See that the account of a promotion is there: AWS with both deployments known, or the local one.

    Raises:
        CallError: it is not.

    """
    if not aws:
        local_account_answers()
        return
    for name in (origin, target):
        known_deployment(name, "promote")
    leads_to_aws(environment)


def csv_files(text: str, verb: str = "retrain") -> list[Path]:
    """Return the files that are to be uploaded.

    Args:
        text: one path, or several in the shell's way of writing a list; a path that exists as a whole may hold blanks.
        verb: of make, for the answer.

    Raises:
        CallError: one does not exist, is a folder, is empty, or two have the same name.

    """
    paths = [Path(text)] if Path(text).exists() else [Path(name) for name in _words(text)]
    if not text.strip():
        raise CallError(f"no file is named: make {verb} FILE=path.csv")
    for path in paths:
        if path.is_dir():
            raise CallError(f'{path} is a folder; name its files: make {verb} FILE="$(echo {path}/*.csv)"')
        if not path.exists():
            near = sorted(item.name for item in path.parent.glob("*")) if path.parent.is_dir() else []
            hint = difflib.get_close_matches(path.name, near, 3)
            raise CallError(
                f"there is no file {path}" + (f"; in that folder there is {', '.join(hint)}" if hint else "")
            )
        if not path.stat().st_size:
            raise CallError(f"{path} is empty: it has no row to {'train on' if verb == 'retrain' else verb}")
    names = [path.name for path in paths]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise CallError(f"two files are called {twice[0]}: the second would replace the first; rename one")
    return paths


def dataset_words(text: str, model: str) -> list[str]:
    """Return the arguments of the dataset command: the model is put in where the words name none.

    Args:
        text: such as ``versions``, ``show 3`` or ``show abalone 3``.
        model: name of a model folder.

    Raises:
        CallError: the words name a model that does not exist.

    """
    command, *rest = _words(text) or ["versions"]
    if rest and rest[0] in models():
        return [command, *rest]
    if rest and not rest[0].startswith("-") and len(rest) > 1 and not rest[1].startswith("-"):
        known_model(rest[0])  # two words: the first is meant to be a model
    return [command, model, *rest]


def query(sql: str) -> None:
    """See that there is a query, and an account to ask.

    Raises:
        CallError: there is not.

    """
    if not sql.strip():
        raise CallError("no query is named: make query SQL='select count(*) from abalone'")
    local_account_answers()


def local_account_answers() -> None:
    """See that the local account answers, for a verb that does not start it.

    Raises:
        CallError: it does not.

    """
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        opener.open(f"{layout.AWS_URL}/_local_aws/health", timeout=2).close()
    except OSError as error:
        raise CallError(f"nothing answers at {layout.AWS_URL}: 'make up' starts the local stack") from error


def params(text: str) -> dict[str, Any]:
    """Return the parameters of a run.

    Raises:
        CallError: the text is no JSON object.

    """
    example = """PARAMS='{"why": "predictions drift"}'"""
    try:
        values = json.loads(text)
    except ValueError as error:
        raise CallError(f"PARAMS is not JSON ({error}); names and texts stand in double quotes: {example}") from error
    if not isinstance(values, dict):
        raise CallError(f"PARAMS is {text!r}, not a JSON object such as {example}")
    return values


def unknown_params(dag: str, given: Sequence[str], known: Sequence[str]) -> str | None:
    """Return what is wrong with the names of a run's parameters, None when the DAG has them all."""
    for name in given:
        if name not in known:
            return f"DAG {dag} has no parameter {name!r}; {_known('parameter', name, sorted(known), 'its form')}"
    return None


def _known(kind: str, name: str, known: Sequence[str], place: str) -> str:
    near, names = difflib.get_close_matches(name, known, 1), ", ".join(known)
    hint = f"did you mean {near[0]}? " if near else ""
    return f"{hint}there {'is' if len(known) == 1 else 'are'} {names}" if known else f"{place} has no {kind}"


def _words(text: str) -> list[str]:
    try:
        return shlex.split(text)
    except ValueError:  # an apostrophe in a name is no quote
        return text.split()
