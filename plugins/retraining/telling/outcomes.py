"""One message per outcome: what a run came to, for the people who subscribe to the model's topic.

A run ends in one of these: promoted or rejected (told by its last task), refused data or failed (told by the DAG's failure callback). The
failing task itself leaves a note with its reason, which the callback finds: it runs elsewhere and does not know the error. So a refusal, a
failure after it and a retry of the last task make one message, not two.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from retraining.aws.clients import client
from retraining.aws.documents import get_json, put_json
from retraining.aws.naming import digest
from retraining.contract.plain_text import plain, plain_lines
from retraining.settings.access import AwsAccess
from retraining.settings.platform import Platform

SUBJECT_LIMIT = 100  # characters of an SNS subject, all ASCII
FAILED = "failed"

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Outcome:
    """What a run came to."""

    word: str
    """One or two words for the subject: ``approved``, ``rejected``, ``data refused``, ``failed``."""
    sentence: str
    facts: Sequence[tuple[str, Any]] = field(default_factory=tuple)
    """Name and value; None is left out."""
    links: Sequence[tuple[str, str]] = field(default_factory=tuple)


def subject(model: str, outcome: Outcome) -> str:
    """Return an SNS subject: printable ASCII on one line, at most 100 characters."""
    text = " ".join(f"{model}: {outcome.word}".split())
    return "".join(character if " " <= character <= "~" else "?" for character in text)[:SUBJECT_LIMIT]


def body(model: str, outcome: Outcome) -> str:
    """Return the message as a person reads it in an e-mail: the sentence, then numbers and links in columns.

    What a file or a parameter brought along is in it as plain text: no escape sequence, no line of its own making.
    """
    facts = [(name, _shown(value)) for name, value in outcome.facts if value is not None]
    pairs = [*facts, *outcome.links]
    width = max((len(name) for name, _ in pairs), default=0) + 2
    lines = [f"{model}: {plain(outcome.word)}", "", plain_lines(outcome.sentence)]
    for group in (facts, outcome.links):
        if group:
            lines += ["", *(f"{name:<{width}}{plain(value)}" for name, value in group)]
    return "\n".join(lines)


def _shown(value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return str(value)
    return f"{value:,}" if isinstance(value, int) else f"{value:.4f}"


class Outcomes:
    """Tells the model's topic what a run came to, once.

    Args:
        model: the model's name.
        access: how to reach AWS.
        platform: returns the model's AWS resources; called when a task runs.

    """

    def __init__(self, model: str, access: AwsAccess, platform: Callable[[], Platform]) -> None:
        self.model = model
        self.access = access
        self.platform = platform

    def tell(self, outcome: Outcome, dag_run: Any) -> None:
        """Publish an outcome unless this run told it already; a cleared run may tell again."""
        key = {"word": outcome.word, "told": True, "clear_number": getattr(dag_run, "clear_number", None) or 0}
        if {name: self._note(dag_run).get(name) for name in key} == key:
            log.info("the topic knows that %s is %s", dag_run.run_id, outcome.word)
            return
        client("sns", self.access).publish(
            TopicArn=self.platform().topic_arn,
            Subject=subject(self.model, outcome),
            Message=body(self.model, outcome),
            MessageAttributes={
                name: {"DataType": "String", "StringValue": value}
                for name, value in (("model", self.model), ("outcome", outcome.word))
            },
        )
        put_json(client("s3", self.access), self._uri(dag_run), key)

    def note_failure(self, context: Any) -> None:
        """Note why a task failed for good; the failure callback of every task.

        An exception may carry ``outcome``, the word to tell instead of ``failed``.
        """
        error, ti, dag_run = context.get("exception"), context["ti"], context["dag_run"]
        note = {
            "word": getattr(error, "outcome", FAILED),
            "told": False,
            "clear_number": getattr(dag_run, "clear_number", None) or 0,
            "task": ti.task_id,
            "reason": plain_lines(error),
            "log_url": getattr(ti, "log_url", None),
        }
        put_json(client("s3", self.access), self._uri(dag_run), note)

    def tell_failure(self, context: Any) -> None:
        """Tell that a run failed, with the note of the task that failed; the failure callback of the DAG."""
        dag_run = context.get("dag_run") or _Run(str(context.get("run_id", "")), str(context["dag"].dag_id))
        note = self._note(dag_run)
        cleared = getattr(dag_run, "clear_number", None)
        mine = bool(note.get("reason")) and cleared in (None, note.get("clear_number"))
        if not mine:
            note = {"word": FAILED, "reason": f"the run failed: {context.get('reason') or 'Airflow gives no reason'}"}
        links = [("Log", note["log_url"])] if note.get("log_url") else []
        facts = [("Run", dag_run.run_id), ("Task", note.get("task"))]
        self.tell(Outcome(note["word"], note["reason"], facts, links), dag_run)

    def _uri(self, dag_run: Any) -> str:
        run = digest({"dag": dag_run.dag_id, "run": dag_run.run_id})
        return f"s3://{self.platform().bucket}/{self.model}/outcomes/{run}.json"

    def _note(self, dag_run: Any) -> dict[str, Any]:
        try:
            return dict(get_json(client("s3", self.access), self._uri(dag_run)))
        except LookupError:
            return {}


@dataclass(frozen=True)
class _Run:
    """What is known of a run when Airflow hands the callback no more."""

    run_id: str
    dag_id: str
