"""What a run came to, as its last lines on the terminal: verdict, rows, what serves now, the report, and what to do next."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from local_stack.airflow_api import AirflowApi
from local_stack.verbs import places, service

FIRST_LINES = 3
NEXT = {
    "promoted": """make status; to take it back: make run DAG={dag}_rollback PARAMS='{{"why": "..."}}'""",
    "rejected": "nothing to undo: the new rows stay in the data set and the next run trains on them too; the report says what was missing",
    "dry run": "nothing was registered or deployed; the same call without dry_run does both",
    "unanswered": "nothing was deployed; the new rows stay in the data set, make run DAG={dag}_retraining starts a new comparison",
    "nothing": (
        "send a file with other content, or train again on the data that is there: "
        """make run DAG={dag}_retraining PARAMS='{{"force_retrain": true}}'"""
    ),
}


@dataclass(frozen=True)
class Ending:
    """What is known of a run that ended well."""

    model: str
    verdict: str
    """``approved: …``, ``rejected: …``, or why nothing was trained."""
    kind: str
    """Key of :data:`NEXT`, empty for a run that has no next step."""
    rows: Mapping[str, int] = field(default_factory=dict)
    reasons: Mapping[str, int] = field(default_factory=dict)
    """Why rows are bad, with their number."""
    bad: Sequence[str] = ()
    """The first bad rows, one line each."""
    files: Sequence[str] = ()
    """What became of files that were not merged, one line each."""
    dataset: str = ""
    service: str = ""
    report: str = ""

    def lines(self) -> list[str]:
        """Return the text, line by line; the verdict comes first."""
        count = {name.removeprefix("rows_"): number for name, number in self.rows.items()}
        shown = []
        if count.get("new"):
            reasons = ", ".join(f"{reason} {number}" for reason, number in self.reasons.items())
            shown.append(
                (
                    "rows",
                    f"{count['new']:,} new: {count.get('accepted', 0):,} accepted, {count.get('duplicate', 0):,} duplicate, "
                    f"{count.get('quarantined', 0):,} bad{f' ({reasons})' if reasons else ''}",
                )
            )
        shown += [("bad row", line) for line in self.bad]
        shown += [("file", line) for line in self.files]
        shown += [("data", self.dataset), ("serves", self.service), ("report", self.report)]
        if self.kind:
            shown.append(("next", NEXT[self.kind].format(dag=self.model.replace("-", "_"))))
        return [self.verdict, *(f"  {name:<8}{text}" for name, text in shown if text)]


def of_run(
    session: Any, api: AirflowApi, dag_id: str, run_id: str, model: str, endpoint: str | None, bucket: str
) -> Ending:
    """Read what a run of a model's DAG came to.

    Args:
        session: boto3 session of the account.
        api: Airflow's REST API.
        dag_id: the DAG.
        run_id: its run, which has ended well.
        model: the model's name.
        endpoint: the name of its endpoint, None of a model that has none.
        bucket: its data bucket.

    """
    from local_stack.progress import skip_reason

    s3 = session.client("s3")
    serving = str(service.of(session, model, endpoint, bucket))
    summary = result(api, dag_id, run_id, "publish_report")
    plan = result(api, dag_id, run_id, "claim_new_data") or {}
    merged = _merged(s3, bucket, model, plan.get("batch"))
    if summary is None and dag_id.endswith("_monitor"):
        judged = result(api, dag_id, run_id, "judge_requests")
        return Ending(model, watched(judged) if judged else skip_reason(api, dag_id, run_id), "", service=serving)
    if summary is None:
        if not dag_id.endswith("_retraining"):
            return Ending(model, f"{dag_id} is done", "", service=serving if dag_id.endswith("_rollback") else "")
        reason = skip_reason(api, dag_id, run_id)
        return Ending(model, f"nothing to train: {reason}", "nothing", **merged, service=serving)
    rows = summary["rows_by_split"]
    splits = ", ".join(f"{rows.get(split, 0):,} {split}" for split in ("train", "validation", "test"))
    return Ending(
        model,
        f"{summary['decision']}: {summary['reason']}",
        kind_of(summary),
        **merged,
        dataset=f"version {summary['dataset_version']} with {splits} rows",
        service=serving,
        report=places.shown_object(summary["report"]) if summary.get("report") else "",
    )


def watched(judged: Mapping[str, Any]) -> str:
    """Return what a look of the monitor came to."""
    rows = f"{judged['rows']:,} rows that model {judged['model']} was asked about"
    page = f"page: {places.shown_object(judged['page'])}"
    if judged["open"]:
        changes = ", ".join(judged["changes"]) or "the evidence fades"
        return f"incident {judged['incident']} is open: {changes} ({rows}; {page})"
    return f"no incident: {rows}, evidence {judged['level']:.2g} of what opens one ({page})"


def kind_of(summary: Mapping[str, Any]) -> str:
    """Return which next step a run's summary calls for."""
    if summary["promoted"]:
        return "promoted"
    if "dry run" in summary["decision"]:
        return "dry run"
    return "rejected" if summary["decision"] == "rejected" and summary["model_package"] else "unanswered"


def result(api: AirflowApi, dag_id: str, run_id: str, task: str) -> dict[str, Any] | None:
    """Return what a task of a run returned, None when it returned nothing."""
    path = f"dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task}/xcomEntries/return_value"
    try:
        value = api.get(path, deserialize=True)["value"]
    except RuntimeError:
        return None
    value = json.loads(value) if isinstance(value, str) else value
    return value if isinstance(value, dict) else None


def _merged(s3: Any, bucket: str, model: str, batch: str | None) -> dict[str, Any]:
    """Return rows, reasons, first bad rows and files of a batch."""
    report = service.document(s3, f"s3://{bucket}/{model}/batches/{batch}/etl_report.json") if batch else None
    if not report:
        return {}
    names = ("rows_new", "rows_accepted", "rows_duplicate", "rows_quarantined")
    return {
        "rows": {name: int(report.get(name, 0)) for name in names},
        "reasons": dict(sorted(report.get("reasons", {}).items(), key=lambda item: (-item[1], item[0]))),
        "bad": first_bad_rows(s3, bucket, f"{model}/quarantine/batch={batch}/"),
        "files": left_out(report.get("files", [])),
    }


def first_bad_rows(s3: Any, bucket: str, prefix: str, count: int = FIRST_LINES) -> list[str]:
    """Return the first records of a batch's quarantine as a person reads them."""
    found: list[str] = []
    pages = s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
    for item in (item for page in pages for item in page.get("Contents", [])):
        if item["Size"] and not item["Key"].rsplit("/", 1)[-1].startswith("_"):
            body = s3.get_object(Bucket=bucket, Key=item["Key"])["Body"]
            for line in body.iter_lines():
                found.append(_bad_row(json.loads(line)))
                if len(found) == count:
                    return found
    return found


def _bad_row(record: Mapping[str, Any]) -> str:
    name = str(record.get("file", "")).rsplit("/", 1)[-1]
    cell = f" {record['column']} {record.get('value')!r}" if record.get("column") else ""
    line = f":{record['line']}" if record.get("line") else ""
    reason = str(record.get("reason")).removeprefix(f"{record.get('column')}: ")
    return f"{name}{line}{cell}: {reason}"


def left_out(files: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return one line for each file that the merge refused or ignored."""
    return [
        f"{str(file['key']).rsplit('/', 1)[-1]} {file['outcome']}: {file.get('reason')}"
        + (f"; {file['remedy']}" if file.get("remedy") else "")
        for file in files
        if file.get("outcome") in ("refused", "ignored")
    ]
