"""Jobs of a run that was recorded, played once more in a role that lacks an action; each tells why it failed."""

from __future__ import annotations

import contextlib
import copy
import json
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from local_account import wait_for


def without(statements: Iterable[Mapping[str, Any]], action: str) -> dict[str, Any]:
    """Return a policy document of all statements that lacks one action."""
    left = copy.deepcopy([item for item in statements if item["Action"] != [action]])
    for statement in left:
        statement["Action"] = [name for name in statement["Action"] if name != action]
    return {"Version": "2012-10-17", "Statement": left}


@contextlib.contextmanager
def taken_away(session: Any, role: str, action: str) -> Iterator[None]:
    """Take an action from a deployed role for a while."""
    iam = session.client("iam")
    names = iam.list_role_policies(RoleName=role)["PolicyNames"]
    kept = {name: iam.get_role_policy(RoleName=role, PolicyName=name)["PolicyDocument"] for name in names}
    assert action in json.dumps(kept)

    def put(documents: Mapping[str, Any]) -> None:
        for name, document in documents.items():
            iam.put_role_policy(RoleName=role, PolicyName=name, PolicyDocument=json.dumps(document))

    lists = {name: [{**item, "Action": _list(item["Action"])} for item in kept[name]["Statement"]] for name in kept}
    put({name: without(statements, action) for name, statements in lists.items()})
    try:
        yield
    finally:
        put(kept)


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def requested(recorded: Mapping[str, Any], operation: str) -> dict[str, Any]:
    """Return the parameters of a request that the run made."""
    return next(copy.deepcopy(params) for _, name, params in recorded["calls"] if name == operation)


def play_train(session: Any, recorded: Mapping[str, Any]) -> str:
    """Train again under another name; return why that failed."""
    name = f"again-{uuid.uuid4().hex}"
    request = requested(recorded, "CreateTrainingJob") | {"TrainingJobName": name}
    sagemaker = session.client("sagemaker")
    sagemaker.create_training_job(**request)
    return ended(lambda: sagemaker.describe_training_job(TrainingJobName=name), "TrainingJobStatus")


def play_evaluate(session: Any, recorded: Mapping[str, Any]) -> str:
    """Evaluate again."""
    name = f"again-{uuid.uuid4().hex}"
    request = requested(recorded, "CreateProcessingJob") | {"ProcessingJobName": name}
    sagemaker = session.client("sagemaker")
    sagemaker.create_processing_job(**request)
    return ended(lambda: sagemaker.describe_processing_job(ProcessingJobName=name), "ProcessingJobStatus")


def play_serve(session: Any, recorded: Mapping[str, Any]) -> str:
    """Serve the model from an endpoint of its own."""
    sagemaker = session.client("sagemaker")
    sagemaker.create_model(**requested(recorded, "CreateModel") | {"ModelName": "again"})
    variant = {"VariantName": "v", "ModelName": "again", "InitialInstanceCount": 1, "InstanceType": "ml.m5.large"}
    sagemaker.create_endpoint_config(EndpointConfigName="again", ProductionVariants=[variant])
    sagemaker.create_endpoint(EndpointName="again", EndpointConfigName="again")
    return ended(lambda: sagemaker.describe_endpoint(EndpointName="again"), "EndpointStatus")


def play_glue(session: Any, recorded: Mapping[str, Any]) -> str:
    """Merge again."""
    glue, request = session.client("glue"), requested(recorded, "StartJobRun")
    run = glue.start_job_run(**request)["JobRunId"]
    return ended(lambda: glue.get_job_run(JobName=request["JobName"], RunId=run)["JobRun"], "JobRunState")


def play_lambda(session: Any, recorded: Mapping[str, Any]) -> str:
    """Analyse again."""
    rows = f"s3://{recorded['bucket']}/abalone/runs/{recorded['plan']['run_key']}/evaluation/rows.csv"
    function = recorded["steps"].platform.analyze_function
    answer = session.client("lambda").invoke(FunctionName=function, Payload=json.dumps({"rows_uri": rows}))
    assert answer["FunctionError"]
    return answer["Payload"].read().decode()


def ended(describe: Callable[[], dict[str, Any]], status: str) -> str:
    """Wait for a failure; return its reason."""
    found = wait_for(
        lambda: (found := describe())[status].upper() in ("FAILED", "COMPLETED", "SUCCEEDED", "INSERVICE") and found,
        300,
    )
    assert found[status].upper() == "FAILED", found
    return found.get("FailureReason") or found["ErrorMessage"]


PLAYED = {"train": play_train, "evaluate": play_evaluate, "serve": play_serve, "glue": play_glue, "lambda": play_lambda}
