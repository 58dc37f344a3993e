"""Deletes what was made on this machine, of all models or of one: data, jobs, models, endpoint and runs. The environments stay."""

from __future__ import annotations

import re
import shutil
import sqlite3
import subprocess
from collections.abc import Callable, Iterable
from contextlib import closing
from typing import Any

from deploy import data_platform
from local_stack import layout, processes, stack, started
from local_stack.airflow_settings import airflow_environment
from local_stack.verbs import calls, places
from retraining.settings.environment import environment, in_environment

QUESTION = "This deletes {what} on this machine; the Python environments stay. Type yes to go on: "
Say = Callable[[str], None]
Ask = Callable[[str], str]


class NotConfirmedError(calls.CallError):
    """A person did not say yes; nothing was deleted."""


def confirm(model: str | None, ask: Ask | None) -> None:
    """Ask before anything is deleted.

    Args:
        model: the model that is deleted, None for everything.
        ask: puts the question to a person, None where there is none.

    Raises:
        NotConfirmedError: the answer is not yes.

    """
    what = (
        f"data, models, endpoint and runs of model {model}"
        if model
        else "data, models, endpoints and runs of all models"
    )
    if ask and ask(QUESTION.format(what=what)).strip().lower() != "yes":
        raise NotConfirmedError("not confirmed: nothing was deleted")


def everything(say: Say) -> None:
    """Stop the stack and delete all local data and history, also the demo's report and numbers."""
    stack.down(say)
    for folder in (layout.AWS_DATA, layout.AIRFLOW_HOME, layout.LOGS, layout.RUN):
        shutil.rmtree(folder, ignore_errors=True)
    for file in (layout.DEMO_JSON, layout.REPORT):
        file.unlink(missing_ok=True)
    say(f"deleted local data and history below {places.shown(layout.STATE)}")


def one_model(model: str, say: Say) -> None:
    """Delete what one model left in the local account and in Airflow; the stack is stopped for it and started again if it ran.

    Args:
        model: the model's name.
        say: takes one line of progress.

    """
    if not layout.AWS_DATA.exists():
        say(f"there is nothing of model {model} on this machine")
        return
    ran, enforce = started.running(), started.enforced()
    stack.down(say)
    stack.start_local_aws(say)
    try:
        session = stack.aws_session()
        delete_service(session.client("sagemaker"), model)
        empty_catalog(session.client("glue"), data_platform.glue_database(environment(), model))
        objects = empty_bucket(session.client("s3"), bucket_of(model))
    finally:
        processes.stop("local_aws")
    with closing(sqlite3.connect(layout.AWS_DATA / "state" / "local_aws.sqlite")) as connection:
        jobs = forget_jobs(connection, model)
    forget_runs(dag for dag in calls.dags() if calls.model_of(dag) == model)
    say(
        f"deleted {objects} object(s), {jobs} job(s), models, endpoint and runs of {model}; its next file begins dataset version 1"
    )
    if ran:
        stack.up(say, enforce=enforce if started.asked() is None else started.asked())


def bucket_of(model: str) -> str:
    """Return the model's data bucket in the local account."""
    return data_platform.bucket_name(environment(), model, places.ACCOUNT, layout.REGION)


def empty_bucket(s3: Any, bucket: str) -> int:
    """Delete every version of every object of a bucket and return their number; 0 when there is no bucket."""
    count = 0
    try:
        for page in s3.get_paginator("list_object_versions").paginate(Bucket=bucket):
            found = [*page.get("Versions", []), *page.get("DeleteMarkers", [])]
            for item in found:
                s3.delete_object(Bucket=bucket, Key=item["Key"], VersionId=item["VersionId"])
            count += len(found)
    except s3.exceptions.NoSuchBucket:
        return 0
    return count


def empty_catalog(glue: Any, database: str) -> None:
    """Delete the tables of a database: those that the crawler made of the landing zone, and that of the data set."""
    try:
        pages = list(glue.get_paginator("get_tables").paginate(DatabaseName=database))
    except glue.exceptions.EntityNotFoundException:
        return
    for page in pages:
        for table in page["TableList"]:
            glue.delete_table(DatabaseName=database, Name=table["Name"])


def delete_service(sagemaker: Any, model: str) -> None:
    """Delete the endpoints of a model's configs, its configs and models, its packages and their group; what is not there is no error."""
    configs = f"{in_environment(model)}-config-"
    for page in sagemaker.get_paginator("list_endpoints").paginate():
        for item in page["Endpoints"]:
            found = sagemaker.describe_endpoint(EndpointName=item["EndpointName"])
            if found["EndpointConfigName"].startswith(configs):
                _try(sagemaker.delete_endpoint, EndpointName=item["EndpointName"])
    for page in sagemaker.get_paginator("list_endpoint_configs").paginate(NameContains=configs):
        for item in page["EndpointConfigs"]:
            if item["EndpointConfigName"].startswith(configs):
                _try(sagemaker.delete_endpoint_config, EndpointConfigName=item["EndpointConfigName"])
    for page in sagemaker.get_paginator("list_models").paginate(NameContains=f"{in_environment(model)}-model-"):
        for item in page["Models"]:
            if item["ModelName"].startswith(f"{in_environment(model)}-model-"):
                _try(sagemaker.delete_model, ModelName=item["ModelName"])
    group = f"{in_environment(model)}-models"
    while True:
        try:
            packages = sagemaker.list_model_packages(ModelPackageGroupName=group)["ModelPackageSummaryList"]
        except sagemaker.exceptions.ClientError:
            return
        if not packages:
            break
        for item in packages:
            sagemaker.delete_model_package(ModelPackageName=item["ModelPackageArn"])
    _try(sagemaker.delete_model_package_group, ModelPackageGroupName=group)


def forget_jobs(connection: sqlite3.Connection, model: str) -> int:
    """Delete the records of a model's jobs from the local account's database, which is not in use, and return their number.

    AWS has no call for it: a job of SageMaker or Glue is never deleted. A job that is found again by its name would be taken for the work
    of the data that is gone.
    """
    bucket = re.compile(rf"\b{re.escape(bucket_of(model))}\b")
    gone = [
        (kind, name)
        for kind, name, body in connection.execute("SELECT kind, name, body FROM documents").fetchall()
        if (kind.endswith("-job") or kind in ("glue-run", "client-token")) and bucket.search(body)
    ]
    with connection:
        for kind, name in gone:
            connection.execute("DELETE FROM documents WHERE kind = ? AND name = ?", (kind, name))
            connection.execute("DELETE FROM documents WHERE kind = 'tags' AND name LIKE ?", (f"%:{kind}/{name}",))
    return len(gone)


def forget_runs(dags: Iterable[str]) -> None:
    """Delete the history of these DAGs from Airflow's database; the DAGs themselves come back with the next reading of their files."""
    for dag in dags:
        subprocess.run(
            [str(layout.python("airflow")), "-m", "airflow", "dags", "delete", "--yes", dag],
            env=airflow_environment(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=False,  # a DAG that never ran is not there
        )


def _try(call: Callable[..., Any], **arguments: str) -> None:
    """Call, and take for done what is not there."""
    from botocore.exceptions import ClientError

    try:
        call(**arguments)
    except ClientError as error:
        if error.response["Error"]["Code"] not in ("ValidationException", "ResourceNotFound"):
            raise
