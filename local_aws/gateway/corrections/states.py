"""Step Functions: tasks that start jobs of SageMaker and Glue and queries of Athena, and refusals where MiniStack would only echo.

The integrations are AWS's "optimized" ones (``arn:aws:states:::glue:startJobRun.sync``), and ``aws-sdk`` for these three services.
Their calls go through the account's own front door, in the role of the state machine.
"""

from __future__ import annotations

import importlib
import json
import time
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from botocore.exceptions import ClientError, ParamValidationError

from local_aws.shared.clients import Clients

Data = dict[str, Any]

_PAUSE_SECONDS = 0.3
_OPTIMIZED = "arn:aws:states:::"
_SDK = f"{_OPTIMIZED}aws-sdk:"
#: Services whose calls go through the front door -> the error of the SDK for what the service model does not name.
_SERVICES = {"sagemaker": "AmazonSageMakerException", "glue": "AWSGlueException", "athena": "AmazonAthenaException"}
_TITLES = {"sagemaker": "SageMaker", "glue": "Glue", "athena": "Athena"}
#: What MiniStack's own integrations reach, as far as this account has it.
_OTHERS = frozenset(
    ("dynamodb", "secretsmanager", "sfn", "logs", "cloudwatchlogs", "ssm", "eventbridge", "kms", "sqs", "sns", "iam")
) | {"sts", "cloudwatch", "s3", "lambda"}


@dataclass(frozen=True)
class Job:
    """How a job that a task waits for (``.sync``) is asked for its state and stopped."""

    look: str
    names: Callable[[Data, Data], Data]
    """Parameters of `look`, from request and answer of the start."""
    told: Callable[[Data], Data]
    """The description that becomes the task's output, from the answer of `look`."""
    state: str
    good: str
    ended: tuple[str, ...]
    stop: Callable[[Any, Data], object]
    """Takes the client and the parameters of `look`."""


def _sagemaker(kind: str) -> Job:
    return Job(
        look=f"Describe{kind}",
        names=lambda request, answer: {f"{kind}Name": request[f"{kind}Name"]},
        told=lambda answer: answer,
        state=f"{kind}Status",
        good="Completed",
        ended=("Completed", "Failed", "Stopped"),
        stop=lambda client, names: _call(client, f"Stop{kind}", names),
    )


#: Operations that may be waited for.
_JOBS = {
    "glue:StartJobRun": Job(
        look="GetJobRun",
        names=lambda request, answer: {"JobName": request["JobName"], "RunId": answer["JobRunId"]},
        told=lambda answer: dict(answer["JobRun"]),
        state="JobRunState",
        good="SUCCEEDED",
        ended=("SUCCEEDED", "FAILED", "STOPPED", "TIMEOUT", "ERROR"),
        stop=lambda client, names: client.batch_stop_job_run(JobName=names["JobName"], JobRunIds=[names["RunId"]]),
    ),
    "athena:StartQueryExecution": Job(
        look="GetQueryExecution",
        names=lambda request, answer: {"QueryExecutionId": answer["QueryExecutionId"]},
        told=lambda answer: answer | answer["QueryExecution"]["Status"],
        state="State",
        good="SUCCEEDED",
        ended=("SUCCEEDED", "FAILED", "CANCELLED"),
        stop=lambda client, names: client.stop_query_execution(**names),
    ),
} | {
    f"sagemaker:Create{kind}": _sagemaker(kind)
    for kind in ("TrainingJob", "ProcessingJob", "TransformJob", "HyperParameterTuningJob")
}
#: Operations that a task may only call.
_CALLS = (
    *(
        "sagemaker:CreateModel",
        "sagemaker:CreateEndpointConfig",
        "sagemaker:CreateEndpoint",
        "sagemaker:UpdateEndpoint",
    ),
    *("athena:StopQueryExecution", "athena:GetQueryExecution", "athena:GetQueryResults"),
)

#: The execution that a thread works for, and when its task has to be done.
_task: ContextVar[tuple[Data, float]] = ContextVar("task")


def mend(clients: Clients) -> None:
    """Let tasks reach the jobs of this account, and fail those that would reach nothing."""
    states: Any = importlib.import_module("ministack.services.stepfunctions")
    execute, invoke, sdk = states._execute_task, states._invoke_resource, states._invoke_aws_sdk_integration

    def execute_task(definition: Data, given: Any, execution: Data, context: Any) -> Any:
        limit = definition.get("TimeoutSeconds")
        token = _task.set(
            (execution or {}, time.monotonic() + limit if isinstance(limit, int | float) else float("inf"))
        )
        try:
            return execute(definition, given, execution, context)
        finally:
            _task.reset(token)

    def invoke_resource(resource: str, data: Any) -> Any:
        service, _, action = resource.removeprefix(_OPTIMIZED).partition(":")
        if resource.startswith(_OPTIMIZED) and service in _SERVICES:
            return _optimized(states, clients, resource, service, action, data)
        if resource.startswith(f"{_OPTIMIZED}ecs:"):
            raise states._ExecutionError(
                "States.Runtime", f"{resource} is not available in local_aws: there is no ECS."
            )
        if not resource.startswith((_OPTIMIZED, "arn:aws:lambda:")) and ":activity:" not in resource:
            raise states._ExecutionError("States.Runtime", f"{resource} is not available in local_aws.")
        return invoke(resource, data)

    def invoke_sdk(resource: str, data: Any) -> Any:
        service, _, action = resource.removeprefix(_SDK).partition(":")
        if service in _SERVICES:
            operation = action[:1].upper() + action[1:]
            return _plain(_answer(states, clients, service, operation, data), lambda at: at.isoformat())
        if service.lower() not in _OTHERS:
            raise states._ExecutionError("States.Runtime", f"{resource} is not available in local_aws.")
        return sdk(resource, data)

    states._execute_task, states._invoke_resource = execute_task, invoke_resource
    states._invoke_aws_sdk_integration = invoke_sdk


def _optimized(states: Any, clients: Clients, resource: str, service: str, action: str, data: Data) -> Data:
    name, _, pattern = action.partition(".")
    operation = name[:1].upper() + name[1:]
    job = _JOBS.get(f"{service}:{operation}")
    if (job is None and f"{service}:{operation}" not in _CALLS) or pattern not in ("", *(["sync"] if job else [])):
        raise states._ExecutionError(
            "States.Runtime", f"{resource} is no integration that Step Functions has in local_aws."
        )
    answer = _answer(states, clients, service, operation, data)
    if job and pattern:
        answer = _wait(states, _client(states, clients, service), service, job, job.names(data, answer))
    return _plain(answer, lambda at: int(at.timestamp() * 1000))


def _wait(states: Any, client: Any, service: str, job: Job, names: Data) -> Data:
    execution, deadline = _task.get()
    while True:
        description = job.told(_known(states, client, service, job.look, names))
        if description[job.state] in job.ended:
            break
        late = time.monotonic() > deadline
        if late or execution.get("status", "RUNNING") != "RUNNING":
            _known(states, client, service, None, names, lambda: job.stop(client, names))
            raise states._ExecutionError("States.Timeout" if late else "States.TaskFailed", "The job was stopped.")
        time.sleep(_PAUSE_SECONDS)
    if description[job.state] != job.good:
        cause = json.dumps(_plain(description, lambda at: int(at.timestamp() * 1000)))
        raise states._ExecutionError("States.TaskFailed", cause)
    return description


def _client(states: Any, clients: Clients, service: str) -> Any:
    execution, _ = _task.get(({}, 0.0))
    machine = states._state_machines.get(execution.get("stateMachineArn")) or {}
    return clients.service_as(service, machine.get("roleArn"))


def _answer(states: Any, clients: Clients, service: str, operation: str, data: Data) -> Data:
    return _known(states, _client(states, clients, service), service, operation, data)


def _known(
    states: Any, client: Any, service: str, operation: str | None, params: Data, act: Callable[[], object] | None = None
) -> Data:
    """Call an operation; what the service refuses becomes the error by which a state machine catches it."""
    try:
        if act is not None:
            act()
            return {}
        return _call(client, operation or "", params)
    except ClientError as error:
        code = error.response["Error"]["Code"]
        modeled = {shape.name for shape in client.meta.service_model.error_shapes}
        named = next((name for name in (code, f"{code}Exception") if name in modeled), None)
        named = f"{named.removesuffix('Exception')}Exception" if named else _SERVICES[service]
        raise states._ExecutionError(f"{_TITLES[service]}.{named}", error.response["Error"]["Message"]) from error
    except (ParamValidationError, TypeError) as error:
        raise states._ExecutionError("States.Runtime", str(error)) from error


def _call(client: Any, operation: str, params: Data) -> Data:
    methods = {name: method for method, name in client.meta.method_to_api_mapping.items()}
    if operation not in methods:
        raise TypeError(f"{client.meta.service_model.service_name} has no operation {operation}")
    answer = getattr(client, methods[operation])(**params)
    return {name: value for name, value in answer.items() if name != "ResponseMetadata"}


def _plain(value: Any, moment: Callable[[datetime], Any]) -> Any:
    """Return an answer as JSON has it."""
    if isinstance(value, dict):
        return {name: _plain(item, moment) for name, item in value.items()}
    if isinstance(value, list):
        return [_plain(item, moment) for item in value]
    return moment(value) if isinstance(value, datetime) else value
