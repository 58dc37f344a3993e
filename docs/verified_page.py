"""The table of a live run on the page of what was not verified, written between its marks from the questions and the last outcome on AWS.

The page keeps the answers: without an outcome in ``build/`` a row stays as it is, and a new question has not been asked yet.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from deploy.verification import outcome  # noqa: E402 - the root is not on the path of a script in docs/
from deploy.verification.journal import AWS  # noqa: E402
from deploy.verification.questions import AS_EXPECTED, QUESTIONS, Question  # noqa: E402

PAGE = ROOT / "docs" / "not-verified.md"
MARKED = re.compile(r"(<!-- make docs: verified -->\n)(.*?)(<!-- end -->\n)", re.DOTALL)
HEAD = "| stage | question | on this machine | on AWS |\n|---|---|---|---|\n"
HERE, NEEDS_AWS, NOT_ASKED = "as expected", "needs AWS", "not asked yet"


def page(path: Path = outcome.FILE) -> str:
    """Return the page with its table as it is now.

    Args:
        path: the outcome of a verification, which may not exist.

    """
    text = PAGE.read_text(encoding="utf-8")
    return MARKED.sub(lambda mark: mark[1] + table(mark[2], _outcome(path)) + mark[3], text)


def table(standing: str, found: Mapping[str, Any] | None) -> str:
    """Return the table.

    Args:
        standing: the table that is on the page.
        found: the outcome of a verification; only one on AWS counts.

    """
    known = {}
    for line in standing.splitlines()[2:]:
        _, asks, _, answer = (cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1])
        known[asks] = answer
    if found and found["where"] == AWS:
        known |= {item["asks"]: _answer(item, found["region"]) for item in found["questions"] if item["at"]}
    return HEAD + "".join(_row(item, known.get(item.asks, NOT_ASKED)) for item in QUESTIONS)


def _row(question: Question, answer: str) -> str:
    here = NEEDS_AWS if question.only_aws else HERE
    return f"| `{question.stage}` | {question.asks} | {here} | {answer} |\n"


def _answer(item: Mapping[str, Any], region: str) -> str:
    seen = "" if item["state"] == AS_EXPECTED else f": {item['seen']}"
    return f"{item['state']}, {region}, {item['at'][:10]}{seen}".replace("|", "\\|")


def _outcome(path: Path) -> dict[str, Any] | None:
    return dict(json.loads(path.read_text(encoding="utf-8"))) if path.exists() else None
