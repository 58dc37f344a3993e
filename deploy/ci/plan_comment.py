"""``make plan-comment``: puts the plan of a pull request under it, in place of the plan before.

The job that plans runs what the request changes, and may only read; the one that comments runs what is on the branch already, and gets the
plan as text.
"""

from __future__ import annotations

import json
import os
import sys
import urllib.request
from collections.abc import Mapping, Sequence
from typing import Any

MARK = "<!-- plan of make deploy -->"
LONGEST = 60_000
"""Characters: GitHub takes 65,536 in a comment."""
PAGE = 100
DELIMITER = "end-of-plan-5f1c"
SECONDS = 30


def hand_on(lines: Sequence[str], environment: Mapping[str, str]) -> None:
    """Give the plan to the jobs that follow, as the output ``plan``, and to the page of the run; outside of a job do nothing."""
    text = "\n".join(line.replace(DELIMITER, "") for line in lines)[:LONGEST]
    for variable, words in (
        ("GITHUB_OUTPUT", f"plan<<{DELIMITER}\n{text}\n{DELIMITER}\n"),
        ("GITHUB_STEP_SUMMARY", f"{_fenced(text)}\n"),
    ):
        if place := environment.get(variable):
            with open(place, "a", encoding="utf-8") as file:  # noqa: PTH123 - a path that GitHub names
                file.write(words)


def main(environment: Mapping[str, str] = os.environ) -> int:
    """Write the comment; return the exit code.

    Args:
        environment: ``PLAN``, ``PULL_REQUEST`` and ``GITHUB_TOKEN`` beside the variables of every job.

    """
    missing = [
        name
        for name in ("PLAN", "PULL_REQUEST", "GITHUB_TOKEN", "GITHUB_API_URL", "GITHUB_REPOSITORY")
        if not environment.get(name)
    ]
    if missing:
        print(
            f"error: {', '.join(missing)} not given: this is for a job of .github/workflows/deploy.yml", file=sys.stderr
        )
        return 2
    root = f"{environment['GITHUB_API_URL']}/repos/{environment['GITHUB_REPOSITORY']}/issues"
    body = f"{MARK}\nWhat `make deploy ENV=staging` would change:\n\n{_fenced(environment['PLAN'])}"
    number, token = int(environment["PULL_REQUEST"]), environment["GITHUB_TOKEN"]
    before = _standing(f"{root}/{number}/comments", token)
    if before is None:
        _call("POST", f"{root}/{number}/comments", token, {"body": body})
    else:
        _call("PATCH", f"{root}/comments/{before}", token, {"body": body})
    print(f"the plan is {'under' if before is None else 'renewed under'} pull request {number}")
    return 0


def _fenced(text: str) -> str:
    """Return text as it stands, whatever it holds; a fence is longer than any in it."""
    fence = "```"
    while fence in text:
        fence += "`"
    return f"{fence}text\n{text[:LONGEST]}\n{fence}"


def _standing(url: str, token: str) -> int | None:
    """Return the number of the comment with the last plan, which this repository's workflow wrote."""
    page = 1
    while comments := _call("GET", f"{url}?per_page={PAGE}&page={page}", token):
        for item in comments:
            if item["body"].startswith(MARK) and item["user"]["login"] == "github-actions[bot]":
                return int(item["id"])
        if len(comments) < PAGE:
            return None
        page += 1
    return None


def _call(method: str, url: str, token: str, document: Any = None) -> Any:
    request = urllib.request.Request(
        url,
        method=method,
        data=None if document is None else json.dumps(document).encode(),
        headers={
            "Authorization": f"Bearer {token}",
            "Accept": "application/vnd.github+json",
            "Content-Type": "application/json",
        },
    )
    with urllib.request.urlopen(request, timeout=SECONDS) as answer:
        return json.load(answer)


if __name__ == "__main__":
    sys.exit(main())
