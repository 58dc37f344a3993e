"""A column of free text, added as docs/how-to.md says, with what people write into one: through a real Airflow to the endpoint."""

from __future__ import annotations

import csv
import io
import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import boto3
import pytest
from conftest import ROOT, Stack

from local_stack import layout

pytestmark = [pytest.mark.airflow, pytest.mark.e2e, pytest.mark.timeout(3600)]
SITES = ('Pier 5" pipe', "Reef, north", '"Jetty"', "NA", "007", "O'Brien cove", "a\\b", "Ångström 北湾", "${HOME}")
MODEL = "abalone-site"
LEFT_OUT = ("docs", "tests", "benchmarks", "build")


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    folder = tmp_path_factory.mktemp("added-column")
    repository = folder / "repository"
    for part in ROOT.iterdir():
        if part.is_dir() and part.name not in LEFT_OUT and not part.name.startswith("."):
            shutil.copytree(part, repository / part.name, symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
    dags = repository / "dags"
    shutil.copytree(dags / "models" / "abalone", dags / "models" / MODEL)
    path = dags / "models" / MODEL / "model.yaml"
    text = path.read_text()
    for old, new in (
        (r"^name: abalone$", f"name: {MODEL}"),
        (r"endpoint: abalone$", f"endpoint: {MODEL}"),
        (r"^(\s*- \{name: rings,)", r"    - {name: site, type: string}\n\1"),
    ):
        text, count = re.subn(old, new, text, flags=re.MULTILINE)
        assert count == 1, old
    path.write_text(text)
    code = (dags / "abalone_retraining.py").read_text()
    (dags / "abalone_site_retraining.py").write_text(code.replace('"abalone"', f'"{MODEL}"'))
    stack = Stack(folder / "local", repository)
    try:
        up = stack.run("up")
        assert up.returncode == 0, up.stdout + up.stderr
        yield stack
    finally:
        stack.run("down")


def with_site(rows: list[list[str]], path: Path) -> Path:
    header, *lines = rows
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow([*header[:-1], "site", header[-1]])
        writer.writerows([*line[:-1], SITES[number % len(SITES)], line[-1]] for number, line in enumerate(lines))
    return path


def test_texts_arrive_as_they_were_sent_and_the_next_file_is_merged(stack: Stack, tmp_path: Path) -> None:
    rows = list(csv.reader(io.StringIO((ROOT / "data" / "abalone.csv").read_text())))
    accepted = 0
    for name, part in (("first.csv", rows[:801]), ("second.csv", [rows[0], *rows[801:1001]])):
        done = stack.run("retrain", str(with_site(part, tmp_path / name)), "--model", MODEL)
        assert done.returncode == 0, done.stdout + done.stderr
        assert "approved: " in done.stdout or "rejected: " in done.stdout, done.stdout
        assert re.search(rf"{len(part) - 1} new", done.stdout), done.stdout
        accepted += int(re.findall(r"(\d+) accepted", done.stdout)[0])
    aws = stack.environment
    credentials = re.findall(
        r"^aws_(?:access_key_id|secret_access_key) *= *(.+)$",
        (stack.folder / "run" / "aws_credentials").read_text(),
        re.M,
    )
    client = {
        "endpoint_url": f"http://127.0.0.1:{aws['LOCAL_AWS_PORT']}",
        "region_name": layout.REGION,
        "aws_access_key_id": credentials[0],
        "aws_secret_access_key": credentials[1],
    }
    s3 = boto3.client("s3", **client)
    parameter = boto3.client("ssm", **client).get_parameter(Name=f"/retraining/dev/{MODEL}/platform")
    bucket = json.loads(parameter["Parameter"]["Value"])["bucket"]
    found = sites_of(s3, bucket)
    assert found.keys() == set(SITES)
    assert sum(found.values()) == accepted  # some of the original rows break other rules

    runtime = boto3.client("sagemaker-runtime", **client)
    header = [*rows[0][:-1], "site"]
    for site in SITES:
        body = json.dumps({"instances": [dict(zip(header, [*rows[1][:-1], site], strict=True))]})
        answer = runtime.invoke_endpoint(EndpointName=f"dev-{MODEL}", ContentType="application/json", Body=body)
        assert len(json.loads(answer["Body"].read())["predictions"]) == 1


def sites_of(s3, bucket: str) -> dict[str, int]:
    """Count the texts of the column in the data set."""
    from pyarrow import parquet

    found: dict[str, int] = {}
    for item in s3.list_objects_v2(Bucket=bucket, Prefix=f"{MODEL}/dataset/data/")["Contents"]:
        body = s3.get_object(Bucket=bucket, Key=item["Key"])["Body"].read()
        for site in parquet.read_table(io.BytesIO(body), columns=["site"])["site"].to_pylist():
            found[site] = found.get(site, 0) + 1
    return found
