"""The end of a run: whatever job of the model is still in progress then has no task any more, and is stopped.

A killed task stops its job itself. This is the net under it: for a worker that was killed in the instant between the call to AWS and its
answer, or a task that gave up while AWS could not be reached.
"""

from __future__ import annotations

from collections.abc import Iterator

from retraining.aws.clients import client
from retraining.aws.naming import slug
from retraining.jobs.glue_job_run import GLUE_RUNS_SEARCHED
from retraining.jobs.job import Handle
from retraining.jobs.kinds import JOB_KINDS
from retraining.settings.access import AwsAccess

SAGEMAKER_KINDS = {"training": "Training", "processing": "Processing", "transform": "Transform"}


def stop_leftovers(access: AwsAccess, model: str, glue_job: str) -> list[str]:
    """Stop the jobs of a model that are in progress; call it when no task of the model waits for one.

    Args:
        access: how to reach AWS.
        model: the model's name; its jobs carry it in the tag ``retraining:model``.
        glue_job: the model's merge job; only runs that this library started are stopped.

    Returns:
        What was stopped, in words.

    """
    stopped = []
    for kind, handle in (*_sagemaker_jobs(access, model), *_glue_runs(access, glue_job)):
        JOB_KINDS[kind].stop(access, handle)
        stopped.append(JOB_KINDS[kind].title(handle))
    return stopped


def _sagemaker_jobs(access: AwsAccess, model: str) -> Iterator[tuple[str, Handle]]:
    sagemaker = client("sagemaker", access)
    for kind, noun in SAGEMAKER_KINDS.items():
        pages = sagemaker.get_paginator(f"list_{kind}_jobs").paginate(
            StatusEquals="InProgress", NameContains=f"{slug(model)}-"
        )
        for job in [job for page in pages for job in page[f"{noun}JobSummaries"]]:
            tags = sagemaker.list_tags(ResourceArn=job[f"{noun}JobArn"])["Tags"]
            if {"Key": "retraining:model", "Value": model} in tags:
                yield kind, {"name": job[f"{noun}JobName"]}


def _glue_runs(access: AwsAccess, glue_job: str) -> Iterator[tuple[str, Handle]]:
    pages = (
        client("glue", access)
        .get_paginator("get_job_runs")
        .paginate(JobName=glue_job, PaginationConfig={"MaxItems": GLUE_RUNS_SEARCHED, "PageSize": 100})
    )
    for run in [run for page in pages for run in page["JobRuns"]]:
        ours = "--request_digest" in run.get("Arguments", {})
        if ours and run["JobRunState"] in ("STARTING", "RUNNING", "WAITING"):
            yield "glue_job", {"job": glue_job, "run_id": run["Id"]}
