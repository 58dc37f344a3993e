"""What people upload, through a real Airflow: each file gets its own verdict, and a run that follows merges what is good."""

import io
import json
import time
from collections import Counter

import pytest
import yaml

from local_stack import layout
from retraining.contract.rules import Contract
from retraining.contract.verdict import judge_file

pytestmark = [pytest.mark.airflow, pytest.mark.e2e, pytest.mark.timeout(900)]
DAG_ID = "abalone_retraining"
MODEL = yaml.safe_load((layout.ROOT / "dags" / "models" / "abalone" / "model.yaml").read_text())
NAMES = [column["name"] for column in MODEL["contract"]["columns"]]
HEADER = ",".join(NAMES)


def rows(first, count, cell=lambda name, text: text):
    """Rows that no other file has."""
    lines = []
    for number in range(first, first + count):
        cells = ["M", "0.455", "0.365", "0.095", f"0.51{number:05}", "0.2245", "0.101", "0.15", str(1 + number % 20)]
        lines.append(",".join(cell(name, text) for name, text in zip(NAMES, cells, strict=True)))
    return lines


def text_of(header, lines):
    return "".join(f"{line}\n" for line in ([header] if header else []) + lines)


def float_rings(name, text):
    return f"{text}.0" if name == "rings" else text


MERGED = {
    "2026-03-02T10:15:00Z [final].csv": text_of(HEADER, rows(100, 20)),
    "sex=M/dive.csv": text_of(HEADER, rows(200, 20)),
    "dive_log_march.csv": text_of("", rows(300, 20, float_rings)),
    "with_source.csv": text_of(f"{HEADER},source", [f"{line},survey" for line in rows(400, 20)]),
    "headings.csv": text_of(HEADER.replace("_", " ").title(), rows(500, 20)),
    "exponents.csv": text_of(HEADER, rows(600, 20, lambda name, text: f"{text}e0" if name == "height" else text)),
    "export/part-00000.csv": text_of(HEADER, rows(700, 20)),
}
REFUSED = {
    "train.csv": text_of(HEADER.replace("whole_weight", "Whole weight.1"), rows(800, 20)),
    "with_age.csv": text_of(f"{HEADER},age", [f"{line},9" for line in rows(900, 20)]),
    "coded.csv": text_of(HEADER, [line.replace("M,", "1,") for line in rows(1000, 20)]),
    "about_this_survey.txt": "This survey was made in March.\nThe sea was calm.\n",
    "abalone.csv": "version https://git-lfs.github.com/spec/v1\noid sha256:0123\nsize 191962\n",
    "abalone.arff": "@relation abalone\n@attribute sex {M,F,I}\n@data\n" + text_of("", rows(1100, 20)),
    "reef.csv.gz": text_of(HEADER, rows(1200, 20)),
}
IGNORED = {"export/_SUCCESS": "", "survey.csv._COPYING_": text_of(HEADER, rows(1300, 20)), "empty.csv": ""}


def until(condition, what, seconds=500):
    deadline = time.monotonic() + seconds
    while not (answer := condition()):
        assert time.monotonic() < deadline, f"not within {seconds} s: {what}"
        time.sleep(1)
    return answer


@pytest.fixture(scope="module")
def bucket(session):
    parameter = session.client("ssm").get_parameter(Name="/retraining/dev/abalone/platform")
    return json.loads(parameter["Parameter"]["Value"])["bucket"]


@pytest.fixture
def land(session, api, bucket):
    """Upload files together; return the runs that have taken them all, the last one's tasks, and the log's documents."""

    def play(files):
        until(lambda: all(run["state"] in ("success", "failed") for run in api.runs(DAG_ID)), "earlier runs end")
        known = {run["dag_run_id"] for run in api.runs(DAG_ID)}
        s3 = session.client("s3")
        for name, body in files.items():
            s3.put_object(Bucket=bucket, Key=f"abalone/new/{name}", Body=body.encode())

        def ended():
            runs = [run for run in api.runs(DAG_ID) if run["dag_run_id"] not in known]
            over = all(run["state"] in ("success", "failed") for run in runs)
            seen = verdicts(s3, bucket)
            taken = all(f"abalone/new/{name}" in seen for name, body in files.items() if name not in IGNORED)
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


def test_each_file_gets_the_verdict_that_the_check_of_a_file_gives(stack, land):
    files = {**MERGED, **REFUSED, **IGNORED}
    runs, seen = land(files)
    contract, split = Contract.of(MODEL["contract"]), MODEL["split"]
    for name, body in files.items():
        told = judge_file(lambda body=body: io.BytesIO(body.encode()), name, len(body.encode()), contract, split)
        assert seen.get(f"abalone/new/{name}", "ignored") == told.outcome, (name, told.reason)
    expected = Counter(merged=len(MERGED), refused=len(REFUSED))
    assert Counter(seen[f"abalone/new/{name}"] for name in {**MERGED, **REFUSED}) == expected
    assert any(run["state"] == "success" for run in runs)
    listed = stack.dataset("refused", "abalone").stdout
    assert all(f"abalone/new/{name}" in listed for name in REFUSED)
    assert stack.dataset("verify", "abalone").returncode == 0


def test_wrong_files_alone_end_a_run_red_and_a_mended_one_is_merged_next(api, land):
    runs, seen = land({"only_wrong.csv": REFUSED["with_age.csv"]})
    assert [run["state"] for run in runs] == ["failed"]
    assert seen["abalone/new/only_wrong.csv"] == "refused"
    runs, seen = land({"only_wrong.csv": text_of(HEADER, rows(1400, 20))})
    assert [run["state"] for run in runs] == ["success"]
    assert seen["abalone/new/only_wrong.csv"] == "merged"
    states = {task["task_id"]: task["state"] for task in api.tasks(DAG_ID, runs[0]["dag_run_id"])}
    assert (states["crawl_data"], states["preprocess_data"], states["check_data_quality"]) == ("success",) * 3
