"""Batch scoring by the task bodies of its DAG against a real local_aws: real jobs, a real endpoint beside them."""

import csv
import gzip
import io
import json
from types import SimpleNamespace

import numpy as np
import pytest
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException
from local_account import Account
from served_model import BUCKET, RUN, read, register, run_job, running, serve, tasks, told

from retraining.dag.tasks.batch import BatchTasks
from retraining.serving import batch
from retraining.serving.batch import BatchFile, Standing

HEADER = "sex,length,diameter,height,whole_weight,shucked_weight,viscera_weight,shell_weight"


@pytest.fixture(scope="module")
def account(tmp_path_factory):
    with running(tmp_path_factory.mktemp("batch") / "data") as account:
        yield account


@pytest.fixture(scope="module")
def steps(account):
    return tasks(account, BatchTasks)


def put(account: Account, path: str, body: str | bytes) -> None:
    body = body if isinstance(body, bytes) else body.encode()
    account.s3.put_object(Bucket=BUCKET, Key=f"abalone/batch/in/{path}", Body=body)


@pytest.mark.local_aws
def test_files_are_scored_once_as_an_endpoint_would_and_what_is_killed_is_repeated(
    account, steps, linear_artifact, abalone, tmp_path, monkeypatch
):
    parts = abalone[["shucked_weight", "viscera_weight", "shell_weight"]].sum(axis=1)
    good = abalone[parts <= 1.1 * abalone["whole_weight"]]
    rows = good.drop(columns="rings")[:60].to_csv(header=False, index=False).splitlines()
    with pytest.raises(AirflowSkipException, match="no file lies below"):
        steps.claim_files({})
    put(account, "2026/north bay.csv", "\n".join([HEADER, *rows[:40], "M,9,9,9,9,9,9,9", ""]))
    put(account, "south.csv.gz", gzip.compress("\n".join([HEADER, *rows[40:], ""]).encode()))
    put(account, "other.csv", "name,size\na,1\nb,2\n")
    put(account, "_SUCCESS", "")
    put(account, "south.csv.gz/odd.csv", f"{HEADER}\n{rows[0]}\n")  # on a disk this would lie below a file
    with pytest.raises(AirflowFailException, match="no approved model"):
        steps.claim_files({})
    package = register(account, linear_artifact, tmp_path, "a")

    plan = steps.claim_files({})
    assert [file["path"] for file in plan["files"]] == [
        "2026/north bay.csv", "other.csv", "south.csv.gz", "south.csv.gz/odd.csv",
    ]  # fmt: skip
    put(account, "other.csv", f"{HEADER}\n{rows[1]}\n")  # mended after it was claimed
    assert not run_job(steps.score_request(plan))
    assert run_job(steps.score_request(plan)), "a cleared task pays for no second job"

    copied = []

    def dies(source, target):
        copied.append(target)
        if len(copied) == 3:
            raise ConnectionError("the worker is gone")
        BatchTasks._copy(steps, source, target)

    monkeypatch.setattr(steps, "_copy", dies)
    with pytest.raises(ConnectionError):
        steps.publish_scores(plan, RUN)
    monkeypatch.undo()
    assert told(steps) == []
    first = read(account, f"s3://{BUCKET}/{batch_folder(plan, 0)}record.json")
    summary = steps.publish_scores(plan, RUN)
    assert steps.publish_scores(plan, RUN) == summary
    assert read(account, f"s3://{BUCKET}/{batch_folder(plan, 0)}record.json") == first
    assert {name: summary[name] for name in ("model", "files", "refused", "rows", "rejected")} == {
        "model": "v1", "files": 4, "refused": 1, "rows": 61, "rejected": 1,
    }  # fmt: skip
    [message] = told(steps)
    assert "3 file(s) scored with model v1" in message
    assert "1 file(s) refused" in message
    assert "names no contract column" in message

    serve(account, package)
    answer = account.sagemaker_runtime.invoke_endpoint(
        EndpointName="dev-abalone", ContentType="text/csv", Accept="application/json", Body="\n".join(rows)
    )
    expected = json.loads(answer["Body"].read())["predictions"]
    body = json.dumps({"instances": [rows[0].split(",")], "explain": True})
    asked = account.sagemaker_runtime.invoke_endpoint(
        EndpointName="dev-abalone", ContentType="application/json", Body=body
    )
    [why] = json.loads(asked["Body"].read())["explanations"]
    assert why["base"] + sum(why["values"].values()) == pytest.approx(expected[0], abs=1e-9)
    found = [
        row
        for number in (0, 2)
        for row in csv.DictReader(io.StringIO(read(account, f"s3://{BUCKET}/{batch_folder(plan, number)}scored.csv")))
    ]
    assert np.abs(np.array([float(row["prediction"]) for row in found]) - expected).max() < 1e-9
    assert {row["model"] for row in found} == {"v1"}
    record = json.loads(first)
    assert (record["model_package"], record["rows"], record["rejected"]) == (package.arn, 41, 1)

    again = steps.claim_files({})  # the mended file is another one
    assert [file["path"] for file in again["files"]] == ["other.csv"]
    run_job(steps.score_request(again))
    assert steps.publish_scores(again, SimpleNamespace(**{**RUN.__dict__, "run_id": "r2"}))["rows"] == 1
    with pytest.raises(AirflowSkipException, match="all 4 file"):
        steps.claim_files({})
    with pytest.raises(AirflowSkipException, match="all 4 file"):
        steps.claim_files({"again": True})
    assert steps.stop_leftovers(RUN) == []


def batch_folder(plan: dict, number: int) -> str:
    file = BatchFile.model_validate(plan["files"][number])
    return f"abalone/{batch.folder_of(file, plan['scorer']['version'])}"


@pytest.mark.local_aws
def test_a_file_that_changes_while_it_is_claimed_is_left_to_the_next_run(account, steps):
    file = BatchFile(path="moving.csv", etag="0" * 32, size=3)
    put(account, "moving.csv", "abc")
    assert not steps._pinned(file, "abalone/batch/work/x/in/000000")
    assert not steps._pinned(file.model_copy(update={"path": "gone.csv"}), "abalone/batch/work/x/in/000000")
    account.s3.delete_object(Bucket=BUCKET, Key="abalone/batch/in/moving.csv")


FILES = [BatchFile(path=path, etag="e", size=size) for path, size in (("b.csv", 10), ("a.csv", 10), ("c.csv", 2**31))]


def due(known=None, version="v2", again=False, volume_gb=10):
    chosen, left = batch.due(FILES, known or {}, version, volume_gb, again)
    return [file.path[0] for file in chosen], left


def test_a_file_is_due_until_a_model_scored_it_and_a_refused_one_for_each_model():
    assert due() == (["a", "b"], 1)  # the third does not fit beside them
    scored, refused = frozenset({"v1"}), frozenset({"v1"})
    known = {("a.csv", "e"): Standing(scored=scored), ("b.csv", "e"): Standing(refused=refused)}
    assert due(known) == (["b"], 1)
    assert due(known, volume_gb=20) == (["b", "c"], 0)
    assert due(known, "v1") == (["c"], 0)
    assert due(known, "v1", again=True) == (["c"], 0)
    assert due({**known, ("c.csv", "e"): Standing(frozenset({"v2"}))}, again=True) == (["a", "b"], 0)
    assert due({("a.csv", "other"): Standing(scored=scored)}) == (["a", "b"], 1), "an overwritten file is another one"


def test_records_are_found_in_the_listing_whatever_the_path_is_called():
    files = [
        BatchFile(path="2026/x-1.csv", etag="0a-2", size=1),
        BatchFile(path="record.json", etag="0b", size=1),
        BatchFile(path="v1-0c/y", etag="0c", size=1),
    ]
    keys = [f"abalone/{batch.folder_of(file, 'v3')}{name}" for file in files for name in (*batch.RESULTS, batch.RECORD)]
    known = batch.standings(keys, "abalone/")
    assert known == {(file.path, file.etag): Standing(scored=frozenset({"v3"})) for file in files}
    unfinished = [key for key in keys if not key.endswith(batch.RECORD)]
    assert batch.standings(unfinished, "abalone/") == {}, "results without a record count for nothing"


def test_what_is_no_file_of_rows_by_its_key_or_size_is_passed_over_with_the_reason():
    items = [
        {"Key": f"abalone/batch/in/{path}", "Size": size, "ETag": '"e"'}
        for path, size in (("a.csv", 1), ("", 0), ("_tmp/a.csv", 1), ("a//b.csv", 1), ("../b.csv", 1), ("big", 6 << 30))
    ]
    files, ignored = batch.listed_files(items, "abalone/")
    assert [file.path for file in files] == ["a.csv"]
    assert len(ignored) == 5
    assert "larger than 5 GB" in ignored["abalone/batch/in/big"]
