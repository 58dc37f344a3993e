"""Keys of a model's HTTP API: ``python -m deploy.api_keys --env prod --model abalone --name shop`` makes one, without a name lists them.

A key is shown once. What stays is its SHA-256 and its last day, in a parameter of SSM of its own; whoever reads that cannot call the API.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import re
import secrets
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any

import boto3
from botocore.exceptions import BotoCoreError, ClientError

from deploy.settings import SettingsError, load, models
from local_stack.verbs import calls
from retraining.settings.model_config import ConfigError, ModelConfig

NAME = r"[a-z][a-z0-9-]{0,39}"
LONGEST_DAYS = 3650


class KeyProblemError(RuntimeError):
    """A key cannot be made or found; the message says why and what to do."""


def path_of(environment: str, model: str) -> str:
    """Return the path below which the digests of a model's keys lie; infra/prediction_api.yaml has the same."""
    return f"/retraining/{environment}/{model}/api-keys"


def make(ssm: Any, path: str, name: str, days: int, today: date) -> str:
    """Make a key that holds for so many days from today; return it.

    Raises:
        KeyProblemError: there is a key of this name.

    """
    if not re.fullmatch(NAME, name):
        raise KeyProblemError(
            f"{name!r} is no name of a key: lower-case letters, digits and -, a letter first, at most 40"
        )
    if not 0 < days <= LONGEST_DAYS:
        raise KeyProblemError(f"DAYS={days} is not possible: from 1 to {LONGEST_DAYS}")
    key = secrets.token_urlsafe(32)
    entry = {"sha256": hashlib.sha256(key.encode()).hexdigest(), "expires": f"{today + timedelta(days=days)}"}
    try:
        ssm.put_parameter(Name=f"{path}/{name}", Value=json.dumps(entry), Type="String", Overwrite=False)
    except ssm.exceptions.ParameterAlreadyExists as error:
        raise KeyProblemError(
            f"there is a key {name!r}: make one of another name, hand it out, then revoke this one with REVOKE=1"
        ) from error
    return key


def revoke(ssm: Any, path: str, name: str) -> None:
    """Delete a key.

    Raises:
        KeyProblemError: there is none of this name.

    """
    try:
        ssm.delete_parameter(Name=f"{path}/{name}")
    except ssm.exceptions.ParameterNotFound as error:
        known = ", ".join(sorted(listed(ssm, path))) or "none"
        raise KeyProblemError(f"there is no key {name!r} (known: {known})") from error


def listed(ssm: Any, path: str) -> dict[str, date]:
    """Return the last day of each key by its name."""
    pages = ssm.get_paginator("get_parameters_by_path").paginate(Path=path)
    return {
        item["Name"].rpartition("/")[2]: date.fromisoformat(json.loads(item["Value"])["expires"])
        for page in pages
        for item in page["Parameters"]
    }


def main(arguments: Sequence[str] | None = None, environment: Mapping[str, str] = os.environ) -> int:
    """Run one command; 0 done, 1 AWS refused it, 2 refused before anything was changed."""
    parser = calls.OneLineParser(prog="python -m deploy.api_keys", description=__doc__)
    parser.add_argument("--env", required=True)
    parser.add_argument("--model", required=True)
    parser.add_argument("--name", default="")
    parser.add_argument("--days", type=int, default=365)
    parser.add_argument("--revoke", action="store_true")
    options = parser.parse_args(arguments)
    try:
        deployment = load(options.env)
        calls.leads_to_aws(environment)
        _has_keys(models(), options.model)
        ssm = boto3.Session(region_name=deployment.region).client("ssm")
        _run(options, ssm, path_of(deployment.name, options.model))
    except (SettingsError, ConfigError, calls.CallError, KeyProblemError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except (ClientError, BotoCoreError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def _run(options: argparse.Namespace, ssm: Any, path: str) -> None:
    today = datetime.now(UTC).date()
    if options.revoke:
        revoke(ssm, path, options.name)
        print(f"key {options.name} is revoked; it may be let in for two more minutes")
    elif options.name:
        key = make(ssm, path, options.name, options.days, today)
        print(
            f"key {options.name} of {options.model}, shown once, until {today + timedelta(days=options.days)}:",
            file=sys.stderr,
        )
        print(key)
    else:
        for name, last in sorted(listed(ssm, path).items()):
            print(f"{name}  until {last}{'  (over)' if last < today else ''}")


def _has_keys(configs: Sequence[ModelConfig], model: str) -> None:
    access = {config.name: config.api.access if config.api else None for config in configs}
    if model not in access:
        raise KeyProblemError(f"there is no model {model!r}; there is {', '.join(access)}")
    if access[model] != "key":
        raise KeyProblemError(f"the API of {model} has no keys: write api: {{access: key}} into its model.yaml")


if __name__ == "__main__":
    sys.exit(main())
