"""Small real jobs for faults that do not need the whole workflow: requests without names, as the operators take them."""

from __future__ import annotations

import json
import uuid
from pathlib import Path
from typing import Any

from local_account import BUCKET, IMAGE, ROLE, TIMES, archive, s3_output, variant

from retraining.dataset.records import FileRecord, Output, Version
from retraining.sdk.context import SdkContext

SDK_JOBS = Path(__file__).resolve().parents[2] / "dags" / "models" / "abalone" / "sdk_jobs.py"
TRAINS = "import os, pathlib; pathlib.Path(os.environ['SM_MODEL_DIR'], 'model.txt').write_text('trained')"
WRITES = "import sys, pathlib; pathlib.Path(sys.argv[1], 'rows.csv').write_text('done')"
SLEEPS = "import time; time.sleep(120)"
OUTPUT = "/opt/ml/processing/output"


def training(account: Any, script: str = TRAINS, **changes: Any) -> dict[str, Any]:
    """CreateTrainingJob without a name."""
    request = account.training_request(f"source-{uuid.uuid4().hex[:8]}", script, **changes)
    del request["TrainingJobName"]
    return dict(request)


def sdk_training(account: Any, model: str, script: str = TRAINS) -> SdkContext:
    """What ``training(ctx)`` of the abalone model's sdk_jobs.py is told to train this script; its code is in S3."""
    prefix = f"sdk/{uuid.uuid4().hex[:8]}/"
    code = {"job.py": script, "sdk_jobs.py": SDK_JOBS.read_text(), "job/job.json": "{}"}
    for name, text in code.items():
        account.put(f"{prefix}{name}", text)
    manifest = account.put(f"{prefix}manifest.json", json.dumps([{"prefix": f"s3://{BUCKET}/{prefix}"}, "job.py"]))
    return SdkContext(
        model=model,
        bucket=BUCKET,
        region="us-east-1",
        role_arn=ROLE,
        image=IMAGE,
        instance_type="ml.m5.large",
        instance_count=1,
        volume_gb=5,
        max_runtime_seconds=60,
        columns=("rings",),
        target="rings",
        group="sex",
        dataset_version=1,
        manifests={"train": manifest},
        output_path=f"s3://{BUCKET}/models",
        code_uri=f"s3://{BUCKET}/{prefix}",
        job_uri=f"s3://{BUCKET}/{prefix}job/",
    )


def processing(account: Any, script: str = WRITES, **changes: Any) -> dict[str, Any]:
    """CreateProcessingJob without a name; the script gets its output folder as its argument."""
    name = f"source-{uuid.uuid4().hex[:8]}"
    request = account.processing_request(name, script, **changes)
    del request["ProcessingJobName"]
    request["AppSpecification"]["ContainerArguments"] = [OUTPUT]
    request["ProcessingOutputConfig"] = {"Outputs": [s3_output("rows", f"s3://{BUCKET}/out/{name}/", OUTPUT)]}
    return dict(request)


def transform(account: Any) -> dict[str, Any]:
    """CreateTransformJob without a name, with a model of its own."""
    name = f"model-{uuid.uuid4().hex[:8]}"
    account.model(name, TIMES.format(factor=2))
    source = account.put(f"transform/{name}/rows.csv", "1\n")
    return {
        "ModelName": name,
        "TransformInput": {
            "DataSource": {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": source}},
            "ContentType": "text/csv",
        },
        "TransformOutput": {"S3OutputPath": f"s3://{BUCKET}/transformed/{name}/"},
        "TransformResources": {"InstanceType": "ml.m5.large", "InstanceCount": 1},
    }


def glue_job(account: Any, script: str = "print('merged')") -> str:
    """Define a Glue job of plain Python; return its name."""
    name = f"job-{uuid.uuid4().hex[:8]}"
    location = account.put(f"glue/{name}.py", script)
    account.glue.create_job(
        Name=name,
        Role=ROLE,
        Command={"Name": "pythonshell", "ScriptLocation": location, "PythonVersion": "3.9"},
        ExecutionProperty={"MaxConcurrentRuns": 5},
    )
    return name


def container(account: Any, factor: int = 2) -> dict[str, Any]:
    """Return a serving container around a small model in S3."""
    script = TIMES.format(factor=factor)
    data = account.put(f"models/{uuid.uuid4().hex[:8]}.tar.gz", archive({"code/inference.py": script}))
    return {
        "Image": IMAGE,
        "ModelDataUrl": data,
        "Environment": {
            "SAGEMAKER_PROGRAM": "inference.py",
            "SAGEMAKER_SUBMIT_DIRECTORY": "/opt/ml/model/code",
        },
    }


def config_of(model: str) -> dict[str, Any]:
    """CreateEndpointConfig without a name."""
    return {"ProductionVariants": [variant(model)]}


def version_of(world: Any, number: int, rows: list[str], batch: str = "") -> Version:
    """Return version ``number`` with these training rows, which are in S3 already; the file it comes from is named after the batch."""
    batch = batch or f"{number:016x}"
    key = f"{world.model}/dataset/training/batch={batch}/split=train/part-0.csv"
    body = "".join(f"{row}\n" for row in rows)
    world.account.s3.put_object(Bucket=world.bucket, Key=key, Body=body.encode())
    return Version(
        version=number,
        batch=batch,
        created_at="2026-01-01T00:00:00+00:00",
        files=(FileRecord(key=f"{world.model}/new/{batch}.csv", etag=batch, size=len(body)),),
        rows={"rows_new": len(rows), "rows_accepted": len(rows), "rows_duplicate": 0, "rows_quarantined": 0},
        rows_by_split={"train": len(rows), "validation": 0, "test": 0},
        training={"train": (Output(key=key, size=len(body)),)},
    )


def json_bytes(document: Any) -> bytes:
    """Return a document as the dataset log writes it."""
    return json.dumps(document, indent=1, sort_keys=True).encode()
