"""Lets a job of GitHub act in a role of AWS: GitHub's token of the job is what STS takes in exchange, and no key is stored anywhere."""

from __future__ import annotations

import json
import os
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path

AUDIENCE = "sts.amazonaws.com"
TOKEN_FILE = "AWS_WEB_IDENTITY_TOKEN_FILE"
SECONDS = 30


class IdentityError(RuntimeError):
    """GitHub gave the job no token; nothing was changed."""


def variables(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the variables by which AWS's clients take on the role ``AWS_ROLE_ARN``; none outside of a job that may have a token.

    The token is written to a file in the job's own folder, which only its user can read. It counts for minutes, the keys for an hour.

    Args:
        environment: the variables of the process.

    Raises:
        IdentityError: GitHub does not answer with a token.

    """
    url, secret = environment.get("ACTIONS_ID_TOKEN_REQUEST_URL"), environment.get("ACTIONS_ID_TOKEN_REQUEST_TOKEN")
    if not (environment.get("AWS_ROLE_ARN") and url and secret) or environment.get(TOKEN_FILE):
        return {}
    request = urllib.request.Request(f"{url}&audience={AUDIENCE}", headers={"Authorization": f"bearer {secret}"})
    try:
        with urllib.request.urlopen(request, timeout=SECONDS) as answer:
            token = str(json.load(answer)["value"])
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise IdentityError(
            f"GitHub gave this job no token for AWS ({error}); the job needs the permission id-token: write"
        ) from error
    path = Path(environment["RUNNER_TEMP"]) / "aws_token"
    path.unlink(missing_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(token)
    return {TOKEN_FILE: str(path), "AWS_ROLE_SESSION_NAME": f"github-{environment.get('GITHUB_RUN_ID', 'job')}"}
