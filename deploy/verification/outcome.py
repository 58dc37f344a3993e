"""Writes ``build/aws-verification.json``: every question with its answer, each stage, what is left, and the errors that AWS answered."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import botocore

from deploy.artifacts import ROOT
from deploy.verification.answers import NO_ACCOUNT, recorded
from deploy.verification.journal import Journal
from deploy.verification.questions import AS_EXPECTED, DIFFERS, NEEDS_AWS, NOT_REACHED, QUESTIONS

FILE = ROOT / "build" / "aws-verification.json"


def document(journal: Journal, answers: Path, leftovers: Sequence[str] | None) -> dict[str, Any]:
    """Return the outcome, without the number of the account.

    Args:
        journal: what was done and found.
        answers: file of the recorded answers.
        leftovers: what is left in the account; None when nothing was taken down yet.

    """
    found, calls = journal.found, recorded(answers)
    nothing = {"state": NOT_REACHED, "seen": "", "at": None}
    whole = {
        "env": journal.place.env,
        "where": journal.place.where,
        "region": journal.place.region,
        "begun_at": journal.begun_at,
        "closed_at": journal.closed,
        "botocore": botocore.__version__,
        "questions": [
            {"name": item.name, "stage": item.stage, "asks": item.asks, **found.get(item.name, nothing)}
            for item in QUESTIONS
        ],
        "stages": {name: dict(stage) for name, stage in journal.stages.items()},
        "leftovers": leftovers,
        "answers": len(calls),
        "errors": [
            {name: call[name] for name in ("stage", "service", "operation", "status", "error", "request_id")}
            for call in calls
            if call["error"]
        ],
    }
    cleaned: dict[str, Any] = json.loads(json.dumps(whole).replace(journal.place.account, NO_ACCOUNT))
    return cleaned


def write(path: Path, outcome: dict[str, Any]) -> None:
    """Write it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(outcome, indent=1) + "\n", encoding="utf-8")


def told(outcome: dict[str, Any]) -> list[str]:
    """Return it in lines for people."""
    counts = {
        state: [item["name"] for item in outcome["questions"] if item["state"] == state]
        for state in (AS_EXPECTED, DIFFERS, NEEDS_AWS, NOT_REACHED)
    }
    lines = [f"{len(names):>3} {state}: {', '.join(names)}" for state, names in counts.items() if names]
    if outcome["leftovers"]:
        lines += ["left in the account:", *(f"  {name}" for name in outcome["leftovers"])]
    return lines


def right(outcome: dict[str, Any]) -> bool:
    """Tell whether everything was asked that can be asked there, and answered as expected, and nothing is left."""
    states = {item["state"] for item in outcome["questions"]}
    return states <= {AS_EXPECTED, NEEDS_AWS} and outcome["leftovers"] == []
