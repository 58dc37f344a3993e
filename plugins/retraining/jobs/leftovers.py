"""The end of a run: whatever job of it is still in progress then has no task any more, and is stopped.

A killed task stops its job itself. This is the net under it: for a worker that was killed in the instant between the call to AWS and its
answer, or a task that gave up while AWS could not be reached. Jobs carry the names of the run that asked for them. What another DAG, a
command or another Airflow environment on the same account started is not touched.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from retraining.aws.clients import client
from retraining.aws.errors import error_code
from retraining.aws.naming import slug
from retraining.jobs.glue_job_run import GLUE_RUNS_SEARCHED, run_arguments
from retraining.jobs.job import Asker, Handle
from retraining.jobs.kinds import JOB_KINDS
from retraining.settings.access import AwsAccess
from retraining.settings.environment import in_environment

SAGEMAKER_KINDS = {
    "tuning": ("HyperParameterTuning", "hyper_parameter_tuning"),  # first: it would start further trials
    "training": ("Training", "training"),
    "processing": ("Processing", "processing"),
    "transform": ("Transform", "transform"),
}
DENIED = ("AccessDenied", "AccessDeniedException")
Names = Mapping[str, str]

log = logging.getLogger(__name__)


def stop_leftovers(
    access: AwsAccess, model: str, glue_job: str, asker: Asker, is_over: Callable[[str], bool] = lambda run: False
) -> list[str]:
    """Stop the jobs of a run, and of earlier runs of its DAG that are over; call it when no task of the run waits for one.

    Args:
        access: how to reach AWS.
        model: the model's name; its jobs carry it in the tag ``retraining:model``.
        glue_job: the model's merge job.
        asker: the run that ends.
        is_over: tells of another run of the same DAG whether it has ended, by its id as tags carry it.

    Returns:
        What was stopped, in words.

    """
    own, stopped = asker.names(), []

    def left(names: Names) -> bool:
        same_dag = all(names.get(key) == own[key] for key in ("retraining:airflow", "retraining:dag"))
        run = names.get("retraining:run", "")
        return same_dag and (run == own["retraining:run"] or is_over(run))

    for kind, handle in (*_sagemaker_jobs(access, model, left), *_glue_runs(access, glue_job, own, left)):
        JOB_KINDS[kind].stop(access, handle)
        stopped.append(JOB_KINDS[kind].title(handle))
    return stopped


def _sagemaker_jobs(access: AwsAccess, model: str, left: Callable[[Names], bool]) -> Iterator[tuple[str, Handle]]:
    sagemaker = client("sagemaker", access)
    for kind, (noun, snake) in SAGEMAKER_KINDS.items():
        pages = sagemaker.get_paginator(f"list_{snake}_jobs").paginate(
            StatusEquals="InProgress", NameContains=f"{slug(in_environment(model))}-"
        )
        for job in [job for page in pages for job in page[f"{noun}JobSummaries"]]:
            if not job[f"{noun}JobName"].startswith(f"{slug(in_environment(model))}-"):
                continue  # a name that only contains this model's is another one's, whose tags we may not be allowed to read
            tags = _tags(sagemaker, job[f"{noun}JobArn"])
            if tags.get("retraining:model") == model and left(tags) and not _is_trial(sagemaker, kind, job):
                yield kind, {"name": job[f"{noun}JobName"]}


def _tags(sagemaker: Any, arn: str) -> Names:
    """Return the tags of a job; one that we may not look at is somebody else's, whatever its name, and has none."""
    try:
        listed = sagemaker.list_tags(ResourceArn=arn)["Tags"]
    except sagemaker.exceptions.ClientError as error:
        if error_code(error) not in DENIED:
            raise
        log.info("left alone, its tags may not be read: %s", arn)
        return {}
    return {tag["Key"]: tag["Value"] for tag in listed}


def _is_trial(sagemaker: Any, kind: str, job: Mapping[str, Any]) -> bool:
    """Tell whether a job is a trial, which its tuning job stops: it keeps the names of who started that, whoever took it over since."""
    return kind == "training" and "TuningJobArn" in sagemaker.describe_training_job(
        TrainingJobName=job["TrainingJobName"]
    )


def _glue_runs(
    access: AwsAccess, glue_job: str, own: Names, left: Callable[[Names], bool]
) -> Iterator[tuple[str, Handle]]:
    pages = (
        client("glue", access)
        .get_paginator("get_job_runs")
        .paginate(JobName=glue_job, PaginationConfig={"MaxItems": GLUE_RUNS_SEARCHED, "PageSize": 100})
    )
    arguments = run_arguments(own)
    for run in [run for page in pages for run in page["JobRuns"]]:
        given = run.get("Arguments", {})
        names = {key: given[argument] for key, argument in zip(own, arguments, strict=True) if argument in given}
        if run["JobRunState"] in ("STARTING", "RUNNING", "WAITING") and left(names):
            yield "glue_job", {"job": glue_job, "run_id": run["Id"]}
