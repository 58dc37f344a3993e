"""One message per outcome, readable by a person, with numbers and links; and what a run leaves behind."""

import html
import json
from collections.abc import Iterator
from dataclasses import replace
from types import SimpleNamespace

import pytest
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException
from serving_stage import Run, Stage

from retraining.dag.tasks.commit import DataRefusedError
from retraining.jobs.plan import Champion
from retraining.serving import registry
from retraining.telling.outcomes import Outcome, body, subject

RUN = Run("scheduled__2026-05-04T03:02:01+00:00")


def test_a_subject_is_ascii_on_one_line_and_not_too_long():
    assert subject("abalone", Outcome("data refused", "")) == "abalone: data refused"
    strange = subject("abalone", Outcome("approvéd\n" + "x" * 200, ""))
    assert len(strange) == 100
    assert strange.startswith("abalone: approv?d xxx")


def test_a_message_is_a_sentence_numbers_and_links():
    outcome = Outcome(
        "promoted",
        "It is better.",
        (("RMSE of the challenger", 2.19760), ("RMSE of the champion", None), ("Rows added", 3094), ("Run", "v2-a")),
        (("Report", "s3://b/report.html"),),
    )
    assert body("abalone", outcome).splitlines() == [
        "abalone: promoted",
        "",
        "It is better.",
        "",
        "RMSE of the challenger  2.1976",
        "Rows added              3,094",
        "Run                     v2-a",
        "",
        "Report                  s3://b/report.html",
    ]


def test_a_message_says_what_a_file_brought_along_as_plain_text():
    hostile = "\x1b[2J\x1b[31mACCOUNT LOCKED\r\u202e" + "x" * 10_000
    message = body(
        "abalone", Outcome(hostile, f"column {hostile}", [(name, hostile) for name in "ab"], [("Log", hostile)])
    )
    assert all(line.isprintable() for line in message.split("\n"))
    assert "U+001B[31mACCOUNT" in message
    assert len(message) < 6_000


# -- against a running local_aws ---------------------------------------------------------------------------------------


@pytest.fixture
def stage(account, access, config, bucket) -> Iterator[Stage]:
    return Stage(account, access, config, bucket)


def failed(stage: Stage, error: Exception, run: Run = RUN, task: str = "deploy_model") -> None:
    """Do what Airflow does when a task fails for good: the task's callback there, the DAG's callback elsewhere."""
    ti = SimpleNamespace(task_id=task, log_url="http://airflow.example/log")
    stage.steps.note_failure({"exception": error, "ti": ti, "dag_run": run})
    stage.steps.notify_failure({"reason": "task_failure", "dag_run": run, "ti": ti})


@pytest.mark.local_aws
def test_a_failed_run_is_told_once_with_the_tasks_own_reason(stage):
    failed(stage, AirflowFailException("endpoint m did not come up"))
    stage.steps.notify_failure({"reason": "task_failure", "dag_run": RUN})  # Airflow may call it again after a crash
    [letter] = stage.mail()
    assert letter["Subject"] == f"{stage.name}: failed"
    for words in ("endpoint m did not come up", "deploy_model", RUN.run_id, "http://airflow.example/log"):
        assert words in letter["Message"], words
    assert letter["MessageAttributes"]["outcome"]["Value"] == "failed"


@pytest.mark.local_aws
def test_a_run_that_timed_out_has_no_task_to_blame(stage):
    stage.steps.notify_failure({"reason": "timed_out", "run_id": "r1", "dag": SimpleNamespace(dag_id="d")})
    [letter] = stage.mail()
    assert "the run failed: timed_out" in letter["Message"]


@pytest.mark.local_aws
def test_a_cleared_run_tells_again_and_not_with_the_old_reason(stage):
    failed(stage, AirflowFailException("the first reason"))
    again = replace(RUN, clear_number=1)
    stage.steps.notify_failure({"reason": "timed_out", "dag_run": again})
    first, second = stage.mail()
    assert "the first reason" in first["Message"]
    assert "the first reason" not in second["Message"]


BATCH = "b" * 16


def merged_batch(stage: Stage, **outcomes: str) -> dict:
    """A plan whose batch was merged; its files a.csv, b.csv and so on came to these outcomes."""
    root, prefix = f"s3://{stage.bucket}/{stage.name}/", f"{stage.name}/new/"
    files = [{"key": f"{prefix}{name}.csv", "etag": "e", "size": 1, "version_id": None} for name in outcomes]
    manifest = {"files": files, "report": f"{root}batches/{BATCH}/etl_report.json", "quarantine": f"{root}quarantine/"}
    stage.put(f"batches/{BATCH}/manifest.json", {**manifest, "contract": {"columns": []}, "split": {}})
    told = [
        {
            "key": file["key"],
            "etag": "e",
            "outcome": outcome,
            "rows": 100,
            "accepted": 0,
            "duplicate": 80,
            "quarantined": 20,
            "reasons": {"height: not above 0": 20},
            "reason": "20 of 100 rows break the contract, height: not above 0 (20)" if outcome == "refused" else None,
            "remedy": "Look at the unit." if outcome == "refused" else None,
        }
        for file, outcome in zip(files, outcomes.values(), strict=True)
    ]
    rows = {"rows_new": 100, "rows_accepted": 0, "rows_duplicate": 80, "rows_quarantined": 20}
    splits = {"train": 0, "validation": 0, "test": 0}
    stage.put(f"batches/{BATCH}/etl_report.json", {**rows, "rows_by_split": splits, "files": told, "reasons": {}})
    return stage.plan("v1") | {"batch": BATCH, "files": len(files)}


@pytest.mark.local_aws
def test_refused_data_is_one_message_and_not_also_a_failure(stage):
    plan = merged_batch(stage, a="refused", b="ignored")
    with pytest.raises(DataRefusedError) as caught:
        stage.steps.check_data_quality(plan, {}, RUN)
    assert stage.mail() == []
    failed(stage, caught.value, task="check_data_quality")
    [letter] = stage.mail()
    assert letter["Subject"] == f"{stage.name}: data refused"
    for words in (
        "1 file is refused",
        "20 of 100 rows",
        "Look at the unit.",
        f"'quarantine {stage.name} {BATCH}'",
        "--why",
    ):
        assert words in letter["Message"], words
    assert [judged.file.key for judged in stage.steps._dataset.read().refused_files] == [f"{stage.name}/new/a.csv"]


@pytest.mark.local_aws
def test_files_that_are_all_ignored_refuse_nothing(stage):
    with pytest.raises(AirflowSkipException, match="markers and leftovers"):
        stage.steps.check_data_quality(merged_batch(stage, a="ignored"), {}, RUN)
    assert (f"{stage.name}/new/a.csv", "e") in stage.steps._dataset.read().known_files


@pytest.mark.local_aws
def test_a_refused_file_beside_good_ones_that_add_no_row_is_told(stage):
    plan = merged_batch(stage, a="refused", b="merged")
    with pytest.raises(AirflowSkipException, match="add no row"):
        stage.steps.check_data_quality(plan, {}, RUN)
    [letter] = stage.mail()
    assert letter["Subject"] == f"{stage.name}: no new rows"
    assert f"Refused: {stage.name}/new/a.csv: 20 of 100 rows" in letter["Message"]
    [version] = stage.steps._dataset.read().versions
    assert [file.key for file in version.files] == [f"{stage.name}/new/b.csv"]
    assert [file.key for file in version.left_out] == [f"{stage.name}/new/a.csv"]


ROWS = "row,truth,challenger,champion,group\n1,8.0,9.0,10.0,M\n2,9.0,9.5,,F\n"


PERSON = {"chosen_options": ["Reject"], "responded_by_user": {"id": "7", "name": "on-call"}}


def publish(
    stage: Stage,
    run: Run = RUN,
    promote: bool = True,
    verified: bool = True,
    answer: dict | None = PERSON,
    ask: bool = False,
    scored: dict | None = None,
    **params: object,
) -> dict:
    champion = Champion(package_arn="a", model_data="s3://b/m", image="registry/old:1") if scored else None
    trained = stage.candidate("v1", 2)
    stage.account.s3.put_object(
        Bucket=stage.bucket, Key=f"{stage.name}/runs/v1/evaluation/rows.csv", Body=ROWS.replace("10.0", "")
    )
    decision = {
        "promote": promote,
        "decision": "approved" if promote else "rejected",
        "reason": "So it is.",
        "numbers": {},
    }
    analysis = {
        "task": "regression",
        "n": 2,
        "challenger": {"rmse": 0.79, "mae": 0.75, "r2": 0.1, "bias": 0.75},
        "champion": None,
        "groups": {},
    }
    rows = {"rows_new": 2, "rows_accepted": 2, "rows_duplicate": 0, "rows_quarantined": 0}
    served = {"endpoint": stage.endpoint, "config": "c1", "smoke": {}, "pruned": []}
    known = {
        "plan": stage.plan("v1", champion) | {"standing": "endpoint and registry disagree"},
        "dataset": {
            "version": 1,
            "rows": rows,
            "rows_by_split": {"train": 80, "validation": 15, "test": 5},
            "refused": ["m/new/a.csv: tabs"],
            "files_refused": 1,
        },
        "trained": trained,
        "evaluated": {"name": "evaluate-1", "seconds": 3.9},
        "analysis": analysis,
        "decision": decision,
        "crawled": {"warning": "the crawler is away"},
        "merged": {"name": "merge", "run_id": "jr_1", "seconds": 13},
        "scored": scored,
        "dag_run": run,
    }
    if ask:
        return stage.steps.ask_for_approval(**known)
    package = None
    if verified or not promote:
        package = stage.steps.register_model(
            stage.plan("v1"), {"version": 1}, trained, {"name": "evaluate-1"}, decision, params
        )
    return stage.steps.publish_report(
        **known,
        params=params,
        registered=package if verified else None,
        rejected=None if promote else package,
        verified=served if verified else None,
        answer=answer,
    )


@pytest.mark.local_aws
def test_a_person_is_asked_with_link_and_report_before_the_wait(stage, monkeypatch):
    monkeypatch.setenv("AIRFLOW__API__BASE_URL", "https://airflow.example/")
    link = publish(stage, ask=True)
    publish(stage, ask=True)  # the task, retried
    assert link.startswith("https://airflow.example/dags/stage_retraining/runs/scheduled__2026-05-04T03%3A02")
    assert link.endswith("/tasks/await_approval/required_actions")
    [letter] = stage.mail()
    assert letter["Subject"] == f"{stage.name}: approval waits"
    report = f"s3://{stage.bucket}/{stage.name}/runs/v1/report.html"
    for words in (link, report, "So it is. It waits up to 24 h", "endpoint and registry disagree"):
        assert words in letter["Message"], words
    assert "endpoint and registry disagree" in stage.account.read(report).decode()


@pytest.mark.local_aws
@pytest.mark.parametrize("answer", [None, {**PERSON, "responded_by_user": None}])
def test_silence_is_not_a_no(stage, answer):
    """Nobody declined: nothing is registered as rejected, and the version stays unjudged, so that the next run asks again."""
    publish(stage, verified=False, answer=answer, require_approval=True)
    [letter] = stage.mail()
    assert letter["Subject"] == f"{stage.name}: approval timed out"
    assert stage.statuses() == {}
    assert stage.keys("dataset/trained/") == []


@pytest.mark.local_aws
def test_a_promoted_model_is_reported_and_told_once(stage):
    summary = publish(stage)
    publish(stage)  # the task, retried
    [letter] = stage.mail()
    assert letter["Subject"] == f"{stage.name}: promoted"
    refusal = "Refused: m/new/a.csv: tabs\nSo it is."
    for words in (refusal, "0.7900", summary["report"], f"/retraining/#/{stage.name}/history/v1"):
        assert words in letter["Message"], words
    assert "console.aws" not in letter["Message"]  # this account has none
    page = stage.account.read(summary["report"]).decode()
    assert page.index("m/new/a.csv: tabs") < page.index("RMSE of the challenger")
    assert summary["report"].endswith("/runs/v1/report.html")
    assert "train-v1" in page
    assert stage.account.s3.head_object(Bucket=stage.bucket, Key=f"{stage.name}/runs/v1/report.html")[
        "ContentType"
    ].startswith("text/html")
    assert summary["jobs"] == [
        {"step": "merge", "name": "merge", "seconds": 13},
        {"step": "training", "name": "train-v1", "seconds": None},
        {"step": "evaluation", "name": "evaluate-1", "seconds": 3.9},
    ]
    written = stage.get("runs/v1/summary.json")  # by the retry, which was later
    assert {**written, "created_at": summary["created_at"]} == json.loads(json.dumps(summary))
    assert stage.keys("dataset/trained/000001/") == ["dataset/trained/000001/v1.json"]


@pytest.mark.local_aws
@pytest.mark.parametrize(
    ("scored", "words", "jobs"),
    [
        ({"name": "champion-1", "seconds": 2}, "in the image that it serves in, registry/old:1", ["champion-1"]),
        (
            {"warning": "it is gone"},
            "in the challenger's image, as it was not possible in registry/old:1: it is gone",
            [],
        ),
    ],
)
def test_a_champion_that_was_scored_apart_is_told(stage, scored, words, jobs):
    summary = publish(stage, scored=scored)
    [letter] = stage.mail()
    assert words in letter["Message"]
    page = html.unescape(stage.account.read(summary["report"]).decode())
    assert words in page
    assert [job["name"] for job in summary["jobs"] if job["step"] == "champion"] == jobs


@pytest.mark.local_aws
@pytest.mark.parametrize(
    ("promote", "params", "word"),
    [
        (False, {}, "rejected"),
        (True, {"dry_run": True}, "approved, not deployed (dry run)"),
        (True, {"require_approval": True}, "declined by a person"),
    ],
)
def test_every_other_outcome_is_told_by_its_name(stage, promote, params, word):
    summary = publish(stage, promote=promote, verified=False, **params)
    [letter] = stage.mail()
    assert letter["Subject"] == f"{stage.name}: {word}"
    assert summary["decision"] == word
    dry = "dry_run" in params
    assert (
        [item.status for item in registry.packages(stage.account.sagemaker, stage.name)] == [] if dry else ["Rejected"]
    )
    assert bool(stage.keys("dataset/trained/")) is not dry
