"""What a stack must not lose when it is stopped and started: runs, landed files, dataset versions, model packages, the model in service.

``take`` notes it, ``lost`` compares two notes. ``docker/verify.sh`` and the end-to-end tests use both around a restart.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from local_stack import stack
from local_stack.airflow_api import AirflowApi
from local_stack.demo import MODEL, sample_prediction
from local_stack.verbs.runs import data_bucket
from retraining.settings.environment import in_environment

ENDED = ("success", "failed")
KEPT = ("raw/", "new/", "dataset/log/", "dataset/data/", "runs/")  # below the model's prefix

Note = dict[str, Any]


def take(session: Any, api: AirflowApi) -> Note:
    """Return what the running stack remembers, as JSON values; runs that still go on are left out.

    Raises:
        RuntimeError: Airflow refuses a call.
        botocore.exceptions.ClientError: no model serves yet.

    """
    dags = [dag["dag_id"] for dag in api.get("dags", limit=100)["dags"]]
    runs = {
        f"{dag} {run['dag_run_id']}": run["state"] for dag in dags for run in api.runs(dag) if run["state"] in ENDED
    }
    s3, sagemaker = session.client("s3"), session.client("sagemaker")
    bucket, listing = data_bucket(session, MODEL), s3.get_paginator("list_objects_v2")
    objects = {
        item["Key"]: item["ETag"]
        for part in KEPT
        for page in listing.paginate(Bucket=bucket, Prefix=f"{MODEL}/{part}")
        for item in page.get("Contents", [])
    }
    pages = sagemaker.get_paginator("list_model_packages").paginate(
        ModelPackageGroupName=f"{in_environment(MODEL)}-models"
    )
    packages = {
        item["ModelPackageArn"]: item["ModelApprovalStatus"]
        for page in pages
        for item in page["ModelPackageSummaryList"]
    }
    endpoint = sagemaker.describe_endpoint(EndpointName=in_environment(MODEL))
    return {
        "runs": runs,
        "objects": objects,
        "packages": packages,
        "service": {
            "status": endpoint["EndpointStatus"],
            "config": endpoint["EndpointConfigName"],
            "rings": sample_prediction(session)["rings"],
        },
    }


def lost(before: Note, after: Note) -> list[str]:
    """Return one sentence for each thing of ``before`` that is missing or different in ``after``; what is new is no loss."""
    return [sentence for kind in before for sentence in _changes(kind, before[kind], after.get(kind, {}))]


def describe(note: Note) -> str:
    """Return the note's counts in one line."""
    log = sum(key.startswith(f"{MODEL}/dataset/log/") for key in note["objects"])
    return (
        f"{len(note['runs'])} ended runs, {len(note['objects'])} objects, {log} dataset versions, {len(note['packages'])} model packages, "
        f"endpoint {note['service']['status']} with {note['service']['config']}"
    )


def now() -> Note:
    """Return the note of the running stack."""
    return take(stack.aws_session(), AirflowApi())


def _changes(kind: str, before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    return [
        f"{kind}: {name} was {value} and is {after.get(name, 'gone')}"
        for name, value in before.items()
        if after.get(name) != value
    ]
