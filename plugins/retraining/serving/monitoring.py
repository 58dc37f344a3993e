"""The watch over a model in service as plain functions: which captures are new, the job that reads them, what is kept between looks.

``NAME/monitor/state/VERSION.json`` has what the drift detectors of one model have gathered; a new model begins anew. The incidents are
``incidents/000001.json`` and so on, of which at most the newest is open.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from retraining.aws.naming import digest
from retraining.jobs.requests import CAPTURED, VARIANT, library_job
from retraining.judging.drift import Finding
from retraining.serving.batch import Scorer
from retraining.serving.inference_ids import NO_USE
from retraining.settings.model_config import ModelConfig
from retraining.settings.platform import Platform

STATE, INCIDENTS, WORK, PAGE = "monitor/state/", "monitor/incidents/", "monitor/work/", "monitor/page.html"
LOOK_FILE = "look.json"
CAPTURES_OF_A_JOB = 5_000
OVERLAP = timedelta(days=1)
"""A capture file may appear under an hour that has passed already."""
HISTORY = 400
"""Looks that are remembered for the page."""


def captured_prefix(config: ModelConfig) -> str:
    """Return where the endpoint's captures lie, below the model's prefix."""
    return f"{CAPTURED}{config.endpoint}/{VARIANT}/"


def look_output(look: str) -> str:
    """Return where the job of a look writes, below the model's prefix."""
    return f"{WORK}{look}/out/"


def first_key(prefix: str, since: datetime) -> str:
    """Return the key after which captures are listed: that of the hour, a day before the last look."""
    return f"{prefix}{since - OVERLAP:%Y/%m/%d/%H/}"


def begun(state: Mapping[str, Any] | None, prefix: str, deployed: datetime) -> dict[str, Any]:
    """Return the state of a model that begins to serve, or serves again: what it gathered before, and from where its captures count.

    Args:
        state: what is kept of this model, None before it served for the first time.
        prefix: of its captures' keys.
        deployed: since when it serves; what was captured before was answered by another one.

    """
    empty: dict[str, Any] = {"looked_at": None, "detectors": {}, "seen": [], "history": [], "rows": 0, "look": ""}
    since = deployed.astimezone(UTC)
    return {**empty, **(state or {}), "deployed_at": since.isoformat(), "from": first_key(prefix, since)}


def serves_on(state: Mapping[str, Any], others: Iterable[Mapping[str, Any]]) -> bool:
    """Tell whether a model has served since its state began: none of the others began later.

    When the endpoint last changed does not tell it: it changes without another model, too, for example its machine.

    Args:
        state: of the model that serves.
        others: of the models beside it.

    """
    began = datetime.fromisoformat(state["deployed_at"])
    return all(datetime.fromisoformat(other["deployed_at"]) <= began for other in others)


def new_captures(items: Iterable[Mapping[str, Any]], state: Mapping[str, Any]) -> tuple[list[str], int]:
    """Return the keys of the captures that no look has read, and how many are left for the next look.

    Args:
        items: entries of an S3 listing, in order of their keys.
        state: what is kept of the model that serves.

    """
    seen, deployed = set(state["seen"]), datetime.fromisoformat(state["deployed_at"])
    found = [
        item["Key"] for item in items if item["Key"] not in seen and item["Size"] and item["LastModified"] >= deployed
    ]
    return found[:CAPTURES_OF_A_JOB], max(0, len(found) - CAPTURES_OF_A_JOB)


def next_first_key(prefix: str, at: datetime, captures: Sequence[str], left: int) -> str:
    """Return the key after which the next look lists. What is left for it stays in the list, however old it has become.

    Args:
        prefix: of the captures' keys.
        at: time of this look.
        captures: keys that this look reads, in their order.
        left: how many it leaves.

    """
    key = first_key(prefix, at)
    return min(key, captures[-1].rpartition("/")[0] + "/") if left else key


def job_document(config: ModelConfig, captures: Sequence[str], sha256: str | None = None) -> dict[str, Any]:
    """Return ``job.json`` of a look.

    Args:
        config: the model's configuration.
        captures: keys of the capture files.
        sha256: of the model's artifact, which is loaded if rows are to be explained.

    """
    explained = config.monitor.explained_rows
    return {
        "schema_version": 1,
        "step": "look",
        "model": config.name,
        "task": config.task,
        "contract": config.contract.model_dump(mode="json"),
        "left_out": list(NO_USE),
        "captures": digest(list(captures)),
        **({"explained_rows": explained, "artifacts": {"model": sha256} if sha256 else {}} if explained else {}),
    }


def look_request(config: ModelConfig, platform: Platform, scorer: Scorer, places: Mapping[str, str]) -> dict[str, Any]:
    """CreateProcessingJob that reads captured requests.

    Args:
        config: the model's configuration.
        platform: bucket and role.
        scorer: the model that serves.
        places: S3 URIs: ``code``, ``job``, ``captured`` (a manifest) and ``output``.

    """
    inputs = {**places, "model": scorer.model_data}
    output = ("look", inputs.pop("output"))
    return library_job(platform, scorer.image, config.monitor, inputs, output, manifests=("captured",))


def incident(
    number: int,
    version: str,
    at: str,
    findings: Sequence[Finding],
    reference: Mapping[str, Any],
    units: Mapping[str, str],
) -> dict[str, Any]:
    """Return the document of an incident that opens.

    Args:
        number: of the incident, from 1.
        version: of the model.
        at: when.
        findings: what changed, the strongest first.
        reference: profile of the model's own rows.
        units: of columns.

    """
    return {
        "number": number,
        "model_version": version,
        "opened_at": at,
        "closed_at": None,
        "why_closed": None,
        "told": [],
        "changes": [
            {
                "column": finding.column,
                "direction": finding.direction,
                "words": finding.words(),
                "sentence": sentence(finding, reference[finding.column], _unit(reference, finding.column, units)),
                "since": finding.since,
                "rows": finding.rows,
                "rows_needed": finding.rows_needed,
                "share_of_evidence": round(finding.evidence, 3),
            }
            for finding in findings
        ],
    }


def sentence(finding: Finding, column: Mapping[str, Any], unit: str) -> str:
    """Say what changed and by how much, in the unit of the column."""
    seen = f"in {finding.rows:,} rows since {finding.since}"
    if finding.kind in ("share", "missing"):
        hits = column["missing"] if finding.kind == "missing" else column["counts"].get(finding.value, 0)
        before = hits / max(1, column["n"])
        return f"{finding.words()}: {before + finding.effect:.1%} {seen}, {before:.1%} of the training rows"
    if finding.kind == "spread":
        return f"{finding.words()} {seen} than the training rows"
    if "of" in column:
        by = abs(quantile(column, min(max(0.5 + finding.effect, 0.0), 1.0)) - quantile(column, 0.5))
        return f"{finding.words()}, by about {by:.3g}{f' {unit}' if unit else ''} {seen}"
    before, now = quantile(column, 0.5), quantile(column, min(max(0.5 + finding.effect, 0.0), 1.0))
    change = f", {now / before - 1:+.1%}" if before else ""
    named = f" {unit}" if unit else ""
    return f"{finding.words()}: a middle value of about {now:.4g}{named} {seen}, {before:.4g} among the training rows{change}"


def _unit(reference: Mapping[str, Any], column: str, units: Mapping[str, str]) -> str:
    known = reference[column]
    return units.get(known.get("of") or known.get("in") or column, "")


def quantile(column: Mapping[str, Any], share: float) -> float:
    """Return a quantile of a profile's number, to the width of a bin."""
    edges, counts = column["edges"], column["counts"]
    if not edges:
        return column["sum"] / max(1, column["n"] - column["missing"])
    wanted, below = share * sum(counts), 0
    for at, count in enumerate(counts):
        if below + count >= wanted and count:
            low, high = edges[max(0, at - 1)], edges[min(at, len(edges) - 1)]
            return float(low + (high - low) * (wanted - below) / count)
        below += count
    return float(edges[-1])


def what_to_do(wakes: bool, retraining: str) -> str:
    """Say what an incident asks of people."""
    if wakes:
        return f"There are data that no model was judged on: {retraining} is started. It closes the incident if its model takes over"
    return (
        "Look whether an instrument or a sender changed. If the world changed, label such rows and upload them below new/: a model that is "
        "trained on them closes the incident. Retraining on the data that is there would bring nothing new"
    )


def wakes_retraining(
    unjudged: bool, incidents: Sequence[Mapping[str, Any]], now: datetime, cooldown_days: float
) -> bool:
    """Tell whether an incident wakes the retraining: there are data that no model was judged on, and no incident did so of late."""
    if not unjudged:
        return False
    woke = [datetime.fromisoformat(item["woke_at"]) for item in incidents if item.get("woke_at")]
    return not woke or now - max(woke) >= timedelta(days=cooldown_days)


def days_since(state: Mapping[str, Any], now: datetime) -> float:
    """Return the days since the look before, or since the model serves; a look counts as an hour at least."""
    before = datetime.fromisoformat(state["looked_at"] or state["deployed_at"])
    return max((now - before.astimezone(UTC)) / timedelta(days=1), 1 / 24)
