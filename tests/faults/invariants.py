"""What must hold after every fault, read from AWS alone."""

from __future__ import annotations

import csv
import io
import re
from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from typing import Any

from botocore.exceptions import ClientError

from retraining.dataset.log import DatasetLog
from retraining.dataset.state import LogState
from retraining.jobs.job import DIGEST_TAG
from retraining.settings.environment import in_environment

JOBS = ("Training", "Processing", "Transform")
GLUE_ACTIVE = ("STARTING", "RUNNING", "STOPPING", "WAITING")


TRIAL = re.compile(r"-\d{3}-[0-9a-f]{8}")
"""What the name of a trial has after that of its search."""


class InvariantError(AssertionError):
    """Something was lost, doubled, orphaned or misreported."""


@dataclass
class RunRecord:
    """What a run says about itself: its state, why it failed, its plan, its summary and the jobs whose success it built on."""

    state: str
    reason: str = ""
    plan: dict[str, Any] | None = None
    summary: dict[str, Any] | None = None
    jobs: dict[str, dict[str, Any]] = field(default_factory=dict)


def assert_invariants(
    account: Any,
    model: str,
    bucket: str,
    *,
    runs: Iterable[RunRecord] = (),
    watched: Collection[str] = (),
    glue_job: str | None = None,
) -> None:
    """Check all invariants of one model.

    Args:
        account: clients of the account.
        model: name of the model; its jobs carry it in their tag ``retraining:model``.
        bucket: the data bucket.
        runs: what the runs say about themselves.
        watched: names of jobs and Glue run ids that a task still waits for.
        glue_job: name of the merge job.

    Raises:
        InvariantError: the first one that does not hold.

    """
    jobs = [*_sagemaker_jobs(account, model), *_glue_runs(account, glue_job)]
    paid_once(jobs)
    no_orphans(jobs, watched)
    rows_once(account, model, bucket)
    one_outcome_each(DatasetLog(account.s3, bucket, f"{model}/").read())
    packages(account, model)  # raises when a candidate is registered twice, also where nothing serves yet
    endpoint_is_approved(account, model)
    for run in runs:
        run_is_true(account, model, bucket, run)


@dataclass(frozen=True)
class Job:
    """A job as AWS shows it."""

    name: str
    digest: str
    state: str

    @property
    def in_progress(self) -> bool:
        """Whether it still costs money."""
        return self.state in ("InProgress", "Stopping", *GLUE_ACTIVE)

    @property
    def paid(self) -> bool:
        """Whether it does or has done the work."""
        return self.state in ("InProgress", "Completed", "STARTING", "RUNNING", "SUCCEEDED")


def paid_once(jobs: Iterable[Job]) -> None:
    """At most one job per piece of work is in progress or successful."""
    names: dict[str, list[str]] = {}
    for job in jobs:
        if job.paid:
            names.setdefault(job.digest, []).append(job.name)
    for digest, doing in names.items():
        if len(doing) > 1:
            raise InvariantError(f"paid {len(doing)} times for work {digest[:12]}: {', '.join(sorted(doing))}")


def no_orphans(jobs: Iterable[Job], watched: Collection[str]) -> None:
    """Every job in progress has a task that waits for it."""
    orphans = [job.name for job in jobs if job.in_progress and job.name not in watched]
    if orphans:
        raise InvariantError(f"in progress without a task: {', '.join(orphans)}")


def rows_once(account: Any, model: str, bucket: str) -> None:
    """Every accepted row is in the log's training objects exactly once, and every file in one version."""
    state = DatasetLog(account.s3, bucket, f"{model}/").read()
    files = Counter(record.identity for version in state.versions for record in version.files)
    if twice := [identity for identity, count in files.items() if count > 1]:
        raise InvariantError(f"files in two versions: {twice}")
    seen: Counter[tuple[str, ...]] = Counter()
    for version in state.versions:
        rows = [
            tuple(row)
            for outputs in version.training.values()
            for output in outputs
            for row in csv.reader(io.StringIO(_read(account, bucket, output.key)))
        ]
        if len(rows) != version.rows["rows_accepted"]:
            raise InvariantError(
                f"version {version.version} accepted {version.rows['rows_accepted']} rows and holds {len(rows)}"
            )
        seen.update(rows)
    if doubled := [row for row, count in seen.items() if count > 1]:
        raise InvariantError(f"{len(doubled)} rows are in the log more than once, such as {doubled[0]}")


def one_outcome_each(state: LogState) -> None:
    """Every file is merged, refused or ignored, and only one of them."""
    outcomes = Counter(record.identity for version in state.current for record in version.files)
    verdicts = [*(file for version in state.versions for file in version.left_out)]
    verdicts += [file for judgement in state.judgements for file in judgement.files]
    lifted = Counter((file.key, file.etag) for release in state.releases for file in release.files)
    outcomes.update(Counter(file.identity for file in verdicts) - lifted)
    if twice := [f"{key} ({count} outcomes)" for (key, _), count in outcomes.items() if count > 1]:
        raise InvariantError(f"files with more than one outcome: {', '.join(twice)}")


def endpoint_is_approved(account: Any, model: str) -> None:
    """What the model's endpoint serves is the newest approved package, if there is an endpoint."""
    sagemaker = account.sagemaker
    try:
        endpoint = sagemaker.describe_endpoint(EndpointName=in_environment(model))
    except ClientError:
        return
    if endpoint["EndpointStatus"] != "InService":
        raise InvariantError(f"endpoint {model} is {endpoint['EndpointStatus']}")
    config = sagemaker.describe_endpoint_config(EndpointConfigName=endpoint["EndpointConfigName"])
    container = sagemaker.describe_model(ModelName=config["ProductionVariants"][0]["ModelName"])["PrimaryContainer"]
    registered = packages(account, model)
    statuses = {package["data"]: package["status"] for package in registered}
    if statuses.get(container["ModelDataUrl"]) != "Approved":
        found = statuses.get(container["ModelDataUrl"], "not registered")
        raise InvariantError(f"endpoint {model} serves {container['ModelDataUrl']}, which is {found}")
    newest = next(package["data"] for package in registered if package["status"] == "Approved")
    if newest != container["ModelDataUrl"]:
        raise InvariantError(
            f"endpoint {model} serves {container['ModelDataUrl']}, and {newest} is approved, too, and newer"
        )


def packages(account: Any, model: str) -> list[dict[str, str]]:
    """Return artifact, run key and status of all packages of a model, newest first; one per artifact, image and run, or InvariantError."""
    group = f"{in_environment(model)}-models"
    try:
        pages = list(
            account.sagemaker.get_paginator("list_model_packages").paginate(
                ModelPackageGroupName=group, SortBy="CreationTime", SortOrder="Descending"
            )
        )
    except ClientError:
        return []
    found = []
    for summary in (item for page in pages for item in page["ModelPackageSummaryList"]):
        package = account.sagemaker.describe_model_package(ModelPackageName=summary["ModelPackageArn"])
        data = package["InferenceSpecification"]["Containers"][0]["ModelDataUrl"]
        run_key = package.get("CustomerMetadataProperties", {}).get("run_key", "")
        found.append(
            {
                "arn": summary["ModelPackageArn"],
                "data": data,
                "image": package["InferenceSpecification"]["Containers"][0]["Image"],
                "run_key": run_key,
                "status": package["ModelApprovalStatus"],
            }
        )
    counted = Counter((package["data"], package["image"], package["run_key"]) for package in found)
    if twice := [key for key, count in counted.items() if count > 1]:
        raise InvariantError(f"registered twice: {twice}")
    return found


def run_is_true(account: Any, model: str, bucket: str, run: RunRecord) -> None:
    """A successful run has what it claims, a failed one says why."""
    if run.state not in ("success", "failed"):
        raise InvariantError(f"a run ended {run.state}")
    if run.state == "failed":
        if not run.reason.strip():
            raise InvariantError("a run failed without a reason")
        return
    for name, result in run.jobs.items():
        _job_is_true(account, name, result)
    if run.plan and run.plan["batch"]:
        state = DatasetLog(account.s3, bucket, f"{model}/").read()
        if run.plan["batch"] not in state.batches:
            raise InvariantError(f"a successful run merged batch {run.plan['batch']}, which is not in the log")
    if run.summary and run.summary["endpoint"]:
        serving = account.sagemaker.describe_endpoint(EndpointName=run.summary["endpoint"])
        known = {package["arn"]: package["status"] for package in packages(account, model)}
        if known.get(run.summary["model_package"]) != "Approved":
            raise InvariantError(f"a run says it deployed {run.summary['model_package']}, which is not approved")
        if serving["EndpointStatus"] != "InService":
            raise InvariantError(f"a run says it deployed, its endpoint is {serving['EndpointStatus']}")


def _job_is_true(account: Any, step: str, result: dict[str, Any]) -> None:
    if "run_id" in result:
        run = account.glue.get_job_run(JobName=result["name"], RunId=result["run_id"])["JobRun"]
        state, success = run["JobRunState"], "SUCCEEDED"
    else:
        kind = next((kind for kind in JOBS if f":{kind.lower()}-job/" in result.get("arn", "")), None)
        if kind is None:
            return
        describe = getattr(account.sagemaker, f"describe_{kind.lower()}_job")
        state, success = describe(**{f"{kind}JobName": result["name"]})[f"{kind}JobStatus"], "Completed"
    if state != success:
        raise InvariantError(f"a successful run built on {step}, whose job {result['name']} is {state}")


def _sagemaker_jobs(account: Any, model: str) -> list[Job]:
    """Return the model's jobs; a trial is a part of its search, whose tags it has: the search is the work that is paid once."""
    found = []
    pages = account.sagemaker.get_paginator("list_hyper_parameter_tuning_jobs").paginate()
    for item in (item for page in pages for item in page["HyperParameterTuningJobSummaries"]):
        listed = account.sagemaker.list_tags(ResourceArn=item["HyperParameterTuningJobArn"])["Tags"]
        tags = {tag["Key"]: tag["Value"] for tag in listed}
        if tags.get("retraining:model") == model:
            name, state = item["HyperParameterTuningJobName"], item["HyperParameterTuningJobStatus"]
            found.append(Job(name, tags.get(DIGEST_TAG, ""), state))
    searches = [job.name for job in found]
    for kind in JOBS:
        pages = account.sagemaker.get_paginator(f"list_{kind.lower()}_jobs").paginate()
        for item in (item for page in pages for item in page[f"{kind}JobSummaries"]):
            listed = account.sagemaker.list_tags(ResourceArn=item[f"{kind}JobArn"])["Tags"]
            tags = {tag["Key"]: tag["Value"] for tag in listed}
            if tags.get("retraining:model") == model:
                name = item[f"{kind}JobName"]
                trial = any(TRIAL.fullmatch(name.removeprefix(search)) for search in searches)
                found.append(Job(name, name if trial else tags.get(DIGEST_TAG, ""), item[f"{kind}JobStatus"]))
    return found


def _glue_runs(account: Any, glue_job: str | None) -> list[Job]:
    if glue_job is None:
        return []
    pages = account.glue.get_paginator("get_job_runs").paginate(JobName=glue_job)
    runs = [run for page in pages for run in page["JobRuns"]]
    return [
        Job(run["Id"], run.get("Arguments", {}).get("--request_digest", run["Id"]), run["JobRunState"]) for run in runs
    ]


def _read(account: Any, bucket: str, key: str) -> str:
    return str(account.s3.get_object(Bucket=bucket, Key=key)["Body"].read().decode())
