"""What is written and told at the end of a run that judged a model: ``report.html``, and the facts of the message."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from typing import Any
from urllib.parse import quote

from retraining.aws.documents import get_json, split_uri
from retraining.jobs.kinds import JOB_KINDS
from retraining.jobs.plan import RunPlan
from retraining.judging.evaluation_rows import explanation
from retraining.settings.platform import Platform
from retraining.telling.gate_table import label, odds_text
from retraining.telling.outcomes import Outcome
from retraining.telling.report import render
from retraining.telling.report_rows import summarise_rows

Linker = Callable[[str], str | None]
"""Returns a link to the AWS console, or None where there is no console."""
Lineage = Sequence[tuple[str, str, str | None]]


def object_url(region: str, uri: str) -> str:
    """Return the address of an S3 object, or of what is below a prefix, in the AWS console."""
    bucket, key = split_uri(uri)
    page = "buckets" if key.endswith("/") else "object"
    return f"https://{region}.console.aws.amazon.com/s3/{page}/{bucket}?region={region}&prefix={quote(key)}"


def lineage_of(
    plan: RunPlan,
    platform: Platform,
    summary: Mapping[str, Any],
    trained: Sequence[Mapping[str, Any] | None],
    evaluated: Mapping[str, Any],
    link: Linker,
) -> Lineage:
    """Return name, value and link of everything that the model came from and became."""
    region, root = platform.region, f"s3://{platform.bucket}/"

    def place(name: str, uri: str) -> tuple[str, str, str | None]:
        return name, uri, link(object_url(region, uri))

    rows: list[tuple[str, str, str | None]] = [("Dataset version", str(plan.version), None)]
    if plan.batch:
        rows.append(("Batch", plan.batch, None))
        rows.append(place("Quarantine", f"{root}{plan.prefix}quarantine/batch={plan.batch}/"))
    for job in trained:
        if job and "trials" in job:
            page = link(JOB_KINDS["tuning"].console_url(region, {"name": job["name"]}))
            rows.append(("Tuning job", str(job["name"]), page))
    for job in (job.get("best", job) for job in trained if job):
        metrics = ", ".join(f"{name} {value:.4f}" for name, value in sorted(job.get("metrics", {}).items()))
        page = link(JOB_KINDS["training"].console_url(region, {"name": job["name"]}))
        chosen = "Training job" if job["name"] == summary["training_job"] else "Training job, not chosen"
        rows.append((chosen, f"{job['name']} ({metrics})" if metrics else str(job["name"]), page))
        if chosen == "Training job":
            rows.append(place("Artifact", str(job["model_data"])))
    page = link(JOB_KINDS["processing"].console_url(region, {"name": evaluated["name"]}))
    rows.append(("Evaluation job", str(evaluated["name"]), page))
    champion = plan.champion
    rows.append(("Champion", (champion.package_arn or champion.model_data) if champion else "none", None))
    if plan.standing:
        rows.append(("Endpoint and registry", plan.standing, None))
    if summary["champion_scored"]:
        rows.append(("Champion scored", summary["champion_scored"], None))
    rows.append(("Code", plan.code_digest, link(object_url(region, plan.code_uri(platform.bucket)))))
    if summary["model_package"]:
        rows.append(("Model package", str(summary["model_package"]), None))
    if smoke := next((job for job in summary["jobs"] if job["step"] == "smoke"), None):
        page = link(JOB_KINDS["processing"].console_url(region, {"name": smoke["name"]}))
        rows.append(("Smoke job, as there is no endpoint", str(smoke["name"]), page))
    if summary["endpoint_config"]:
        page = link(JOB_KINDS["endpoint"].console_url(region, {"endpoint": summary["endpoint"]}))
        rows.append(("Endpoint", f"{summary['endpoint']} on {summary['endpoint_config']}", page))
    rows.append(place("All documents of the run", f"{root}{plan.run_prefix}"))
    return rows


def write_report(
    s3: Any,
    platform: Platform,
    plan: RunPlan,
    lineage: Lineage,
    *,
    summary: Mapping[str, Any],
    analysis: Mapping[str, Any],
    decision: Mapping[str, Any],
    target: str,
    group: str,
    created_at: str,
) -> str:
    """Write ``report.html`` beside the run's other documents and return its URI; the rows are read as a stream."""
    root = f"s3://{platform.bucket}/{plan.run_prefix}"
    bucket, key = split_uri(f"{root}evaluation/rows.csv")
    with io.TextIOWrapper(s3.get_object(Bucket=bucket, Key=key)["Body"], encoding="utf-8", newline="") as lines:
        rows = summarise_rows(lines)
    merge = get_json(s3, get_json(s3, plan.manifest_uri(platform.bucket))["report"]) if plan.batch else None
    page = render(
        summary=summary,
        analysis=analysis,
        decision=decision,
        rows=rows,
        merge=merge,
        lineage=lineage,
        target=target,
        group=group,
        created_at=created_at,
        explanation=explanation(s3, f"{root}evaluation/"),
    )
    bucket, key = split_uri(f"{root}report.html")
    s3.put_object(Bucket=bucket, Key=key, Body=page.encode(), ContentType="text/html; charset=utf-8")
    return f"{root}report.html"


def outcome_of(
    summary: Mapping[str, Any],
    analysis: Mapping[str, Any],
    decision: Mapping[str, Any],
    *,
    page: str,
    region: str,
    link: Linker,
) -> Outcome:
    """Return the message of a run that judged a model.

    Args:
        summary: the run's, with the S3 URI of its report.
        analysis: of its evaluation.
        decision: the gate's.
        page: address of the run on the page of the Airflow UI.
        region: of the platform.
        link: returns links to the AWS console.

    """
    report = summary["report"]
    word = "promoted" if summary["promoted"] else str(summary["decision"])
    numbers = decision.get("numbers", {})
    rows = summary["rows_by_split"]
    facts = (
        ("Run", summary["run_key"]),
        ("Dataset version", str(summary["dataset_version"])),
        (f"{label(summary['metric'])} of the challenger", summary["score_challenger"]),
        (f"{label(summary['metric'])} of the champion", summary["score_champion"]),
        ("Odds that the challenger is better", odds_text(numbers.get("odds"))),
        ("Odds asked for", odds_text(numbers.get("required_odds"))),
        ("Test rows", analysis.get("n")),
        ("Rows added", summary["rows_accepted"]),
        ("Rows duplicate", summary["rows_duplicate"]),
        ("Rows quarantined", summary["rows_quarantined"]),
        ("Files refused", summary["files_refused"] or None),
        ("Rows to train on", rows.get("train")),
        ("Endpoint and registry", summary.get("standing") or None),
        ("Champion scored", summary.get("champion_scored") or None),
        ("Model package", summary["model_package"]),
        ("Endpoint config", summary["endpoint_config"]),
    )
    links: list[tuple[str, str | None]] = [("Run in the browser", page), ("Report", report)]
    links.append(("Report in the console", link(object_url(region, report))))
    if summary["endpoint"]:
        links.append(("Endpoint", link(JOB_KINDS["endpoint"].console_url(region, {"endpoint": summary["endpoint"]}))))
    links.append(("Training job", link(JOB_KINDS["training"].console_url(region, {"name": summary["training_job"]}))))
    sentence = "\n".join([*(f"Refused: {line}" for line in summary["refused"]), str(decision["reason"])])
    return Outcome(word, sentence, facts, [(name, url) for name, url in links if url])
