"""What people upload, through a real Airflow: each file gets its own verdict, and a run that follows merges what is good."""

import io
import json

import pytest
import yaml
from conftest import until
from pyarrow import parquet

from local_stack import layout
from retraining.contract.layout import inspect
from retraining.contract.names import ignored_reason
from retraining.contract.reader import read
from retraining.contract.rules import Contract

pytestmark = [pytest.mark.airflow, pytest.mark.e2e, pytest.mark.timeout(3600)]
DAG_ID = "abalone_retraining"
MODEL = yaml.safe_load((layout.ROOT / "dags" / "models" / "abalone" / "model.yaml").read_text())
NAMES = [column["name"] for column in MODEL["contract"]["columns"]]
HEADER = ",".join(NAMES)


LANDING = layout.ROOT / "tests" / "landing"
SITUATIONS = yaml.safe_load((LANDING / "situations.yaml").read_text("utf-8"))


def rows(first, count):
    """Rows that no other file has."""
    return [
        f"M,0.455,0.365,0.095,0.51{number:05},0.2245,0.101,0.15,{1 + number % 20}"
        for number in range(first, first + count)
    ]


def text_of(header, lines):
    return "".join(f"{line}\n" for line in [header, *lines]).encode()


GOOD = text_of(HEADER, rows(100, 20))
WRONG = text_of(f"{HEADER},age", [f"{line},9" for line in rows(200, 20)])


@pytest.fixture
def land(session, api, bucket):
    """Upload files together; return the runs that have taken them all, the last one's tasks, and the log's documents."""

    def play(files):
        until(lambda: all(run["state"] in ("success", "failed") for run in api.runs(DAG_ID)), "earlier runs end")
        known = {run["dag_run_id"] for run in api.runs(DAG_ID)}
        s3 = session.client("s3")
        for name, body in files.items():
            s3.put_object(Bucket=bucket, Key=f"abalone/new/{name}", Body=body)

        def ended():
            runs = [run for run in api.runs(DAG_ID) if run["dag_run_id"] not in known]
            over = all(run["state"] in ("success", "failed") for run in runs)
            seen = verdicts(s3, bucket)
            taken = all(f"abalone/new/{name}" in seen for name in files if not ignored_reason(name, len(files[name])))
            return (runs, seen) if runs and over and taken else None

        return until(ended, "runs take the files")

    return play


def verdicts(s3, bucket):
    """The log's newest verdict on each file, by key; a file that was mended has one of its own for each content."""
    documents = []
    for folder in ("log/", "judged/"):
        pages = s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=f"abalone/dataset/{folder}")
        for item in (item for page in pages for item in page.get("Contents", [])):
            documents.append(json.loads(s3.get_object(Bucket=bucket, Key=item["Key"])["Body"].read()))
    found = {}
    for document in sorted(documents, key=lambda document: document["created_at"]):
        for file in document.get("files", ()):
            found[file["key"]] = file.get("outcome", "merged")
        found |= {file["key"]: file["outcome"] for file in document.get("left_out", ())}
    return found


def test_everything_that_people_upload_is_judged_alone_and_no_value_ends_in_another_column(
    stack, session, bucket, land
):
    told = {f"{folder}/{name}": verdict for folder, files in SITUATIONS.items() for name, verdict in files.items()}
    files = {name: (LANDING / name).read_bytes() for name in told}
    runs, seen = land(files)
    assert {name: seen.get(f"abalone/new/{name}", "ignored") for name in files} == {
        name: verdict[0] for name, verdict in told.items()
    }
    assert {run["state"] for run in runs} == {"success"}
    listed = stack.dataset("refused", "abalone").stdout
    assert all(f"abalone/new/{name}" in listed for name, verdict in told.items() if verdict[0] == "refused")
    assert stack.dataset("verify", "abalone").returncode == 0
    found = stored(session.client("s3"), bucket)
    contract = Contract.of(MODEL["contract"])
    for name in (name for name, verdict in told.items() if verdict[0] == "merged"):
        lines = read_file(name, files[name], contract)
        good = {str(line.row_hash): line.values for line in lines if not line.reasons}
        assert good
        assert {digest: found.get(digest) for digest in good} == good, name


def read_file(name, body, contract):
    """The file's rows by the plain reader."""
    layout_of_file = inspect(lambda: io.BytesIO(body), name, contract)
    return read(lambda: io.BytesIO(body), name, contract, layout_of_file, MODEL["split"])


def stored(s3, bucket):
    """All rows of the data set in the contract's order of columns, by hash."""
    pages = s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix="abalone/dataset/data/")
    found = {}
    for item in (item for page in pages for item in page.get("Contents", [])):
        body = s3.get_object(Bucket=bucket, Key=item["Key"])["Body"].read()
        for row in parquet.read_table(io.BytesIO(body)).to_pylist():
            assert row["row_hash"] not in found
            found[row["row_hash"]] = tuple(row[name] for name in NAMES)
    return found


def test_wrong_files_alone_end_a_run_red_and_a_mended_one_is_merged_next(api, land):
    runs, seen = land({"only_wrong.csv": WRONG})
    assert [run["state"] for run in runs] == ["failed"]
    assert seen["abalone/new/only_wrong.csv"] == "refused"
    runs, seen = land({"only_wrong.csv": GOOD})
    assert [run["state"] for run in runs] == ["success"]
    assert seen["abalone/new/only_wrong.csv"] == "merged"
    states = {task["task_id"]: task["state"] for task in api.tasks(DAG_ID, runs[0]["dag_run_id"])}
    assert (states["crawl_data"], states["preprocess_data"], states["check_data_quality"]) == ("success",) * 3
