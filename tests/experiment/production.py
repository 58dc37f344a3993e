"""A small production account: the deployed data platform, one committed dataset version and, on demand, a champion."""

from __future__ import annotations

import csv
import os
import random
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from boto3.session import Session
from local_account import ENVIRONMENTS, Account, wait_for

from deploy import data_platform
from retraining.aws.documents import put_json
from retraining.aws.platform_parameter import read_platform
from retraining.dataset.log import DatasetLog
from retraining.dataset.records import FileRecord, Output, Version
from retraining.dataset.state import LogState, manifest_entries
from retraining.jobs import requests as job_requests
from retraining.jobs.code_bundle import (
    code_digest,
    code_files,
    document_bytes,
    document_uri,
    source_archive,
    training_document,
)
from retraining.jobs.kinds import JOB_KINDS
from retraining.jobs.plan import RunPlan
from retraining.serving import registry
from retraining.settings.access import AwsAccess
from retraining.settings.model_config import ModelConfig, load_model_config
from retraining.settings.platform import Platform

ROOT = Path(__file__).resolve().parents[2]
MODEL = ROOT / "dags" / "models" / "abalone"
SDK_PYTHON = ENVIRONMENTS / "sagemaker" / "bin" / "python"
BATCH = "00000000000000aa"


def environment(account: Account) -> dict[str, str]:
    """The standard variables that lead a process to the account."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "AIRFLOW"))}
    return {
        **kept,
        **account.variables,
        "AWS_EC2_METADATA_DISABLED": "true",
        "PYTHONPATH": str(ROOT),
        "COLUMNS": "80",
    }


def rows(split_sizes: dict[str, int]) -> dict[str, list[str]]:
    """Rows of the original data set per split, the target first, no header."""
    columns = load_model_config(MODEL / "model.yaml").contract.training_columns
    with (ROOT / "data" / "abalone.csv").open(newline="") as file:
        lines = [",".join(row[name] for name in columns) for row in csv.DictReader(file)]
    random.Random(0).shuffle(lines)
    found, start = {}, 0
    for split, size in split_sizes.items():
        found[split] = lines[start : start + size]
        start += size
    return found


class Production:
    """What an experiment compares with and must not touch."""

    def __init__(self, account: Account) -> None:
        self.account = account
        self.access = AwsAccess(region="us-east-1", endpoint_url=account.url)
        self.config: ModelConfig = load_model_config(MODEL / "model.yaml")
        session = Session(account.access_key, account.secret_key, region_name="us-east-1")
        settings = {"PollSeconds": "1", "SettleSeconds": "1"}
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("AWS_ENDPOINT_URL", account.url)
            data_platform.deploy(session, "dev", "abalone", settings, lambda line: None)
        self.platform: Platform = read_platform(self.config.platform_parameter, self.access)
        self.log = DatasetLog(account.s3, self.platform.bucket, "abalone/")

    def put(self, key: str, body: bytes) -> str:
        self.account.s3.put_object(Bucket=self.platform.bucket, Key=key, Body=body)
        return f"s3://{self.platform.bucket}/{key}"

    def commit_rows(self, rows: Mapping[str, Sequence[str]], batch: str = BATCH) -> LogState:
        """Commit training rows per split as the next dataset version, as a merge would lay them out."""
        outputs = {}
        for split, lines in rows.items():
            key = f"abalone/dataset/training/batch={batch}/split={split}/part-00000.csv"
            body = "".join(f"{line}\n" for line in lines).encode()
            self.put(key, body)
            outputs[split] = (Output(key=key, size=len(body)),)
        self.log.commit(
            Version(
                version=self.log.read().latest + 1,
                batch=batch,
                created_at="2026-01-01T00:00:00+00:00",
                files=(FileRecord(key=f"abalone/new/{batch}.csv", etag=batch, size=1),),
                rows={},
                rows_by_split={split: len(lines) for split, lines in rows.items()},
                training=outputs,
            )
        )
        return self.log.read()

    def crown(self, hyperparameters: Mapping[str, Any]) -> str:
        """Train a model as the DAG does and approve it; return its package's ARN."""
        files = code_files(MODEL)
        plan = RunPlan(
            model="abalone",
            run_key="v1-champion",
            work_digest="w",
            version=1,
            batch=None,
            code_digest=code_digest(files),
            candidates=("svr-hgb",),
        )
        bucket = self.platform.bucket
        self.account.s3.put_object(
            Bucket=bucket, Key=plan.source_uri(bucket).split(f"{bucket}/", 1)[1], Body=source_archive(files)
        )
        state = self.log.read().at(1)
        manifests = {
            split: put_json(
                self.account.s3,
                f"s3://{bucket}/abalone/dataset/manifests/1-{split}.json",
                manifest_entries(bucket, "abalone/", state.training_objects(split, "csv_without_header")),
            )
            for split in ("train", "validation")
        }
        candidate = self.config.training.candidates[0].model_copy(update={"hyperparameters": dict(hyperparameters)})
        document = training_document(self.config, plan, candidate)
        job_file = f"{document_uri(bucket, plan, document)}job.json".split(f"{bucket}/", 1)[1]
        self.put(job_file, document_bytes(document))
        request = job_requests.training_request(self.config, self.platform, plan, candidate, manifests)
        job = JOB_KINDS["training"]
        handle = job.submit(self.access, "abalone", "train", request).handle
        status = wait_for(lambda: (s := job.poll(self.access, handle)).outcome != "running" and s)
        assert status.outcome == "succeeded", status
        container = job_requests.serving_container(
            self.config, self.platform, job.result(self.access, handle)["model_data"]
        )
        lineage = {"run_key": plan.run_key, "work_digest": "w"}
        return registry.register(
            self.account.sagemaker, "abalone", container, registry.APPROVED, f"s3://{bucket}/m.json", "first", lineage
        ).arn

    def state(self) -> dict[str, Any]:
        """Everything that an experiment must leave as it is."""
        pages = self.account.s3.get_paginator("list_objects_v2").paginate(Bucket=self.platform.bucket)
        objects = {item["Key"]: item["ETag"] for page in pages for item in page.get("Contents", [])}
        sagemaker = self.account.sagemaker
        packages = list(registry.packages(sagemaker, "abalone"))
        return {
            "objects": {key: tag for key, tag in objects.items() if not key.startswith("abalone/experiments/")},
            "packages": [package.model_dump() for package in packages],
            "models": sagemaker.list_models()["Models"],
            "configs": sagemaker.list_endpoint_configs()["EndpointConfigs"],
            "endpoints": sagemaker.list_endpoints()["Endpoints"],
        }


def command(account: Account, *arguments: str, **changes: str) -> subprocess.CompletedProcess[str]:
    """Run ``python -m experiment`` in the environment with the SDK."""
    return subprocess.run(
        [SDK_PYTHON, "-m", "experiment", "--account", "environment", *arguments],
        cwd=ROOT,
        env=environment(account) | changes,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
