"""One execution of a pipeline: its steps begin when those that they wait for are done."""

from __future__ import annotations

import json
import re
import threading
import time
import uuid
from collections.abc import Callable
from typing import Any

from local_aws.sagemaker.pipelines.definitions import CALLS, all_steps, fit, holds, resolve, waits_for, walk
from local_aws.shared.clients import Clients
from local_aws.shared.errors import JobError, ServiceError
from local_aws.shared.requests.validation import operation_model
from local_aws.shared.sandbox import parse_s3_uri

Document = dict[str, Any]

RUNNING = ("Executing", "Stopping")
_PAUSE = 0.2
_ENDED = {"Completed": "Succeeded", "Failed": "Failed", "Stopped": "Stopped"}
#: Step type -> the noun of its job's operations.
_JOBS = {
    "Training": "TrainingJob",
    "Processing": "ProcessingJob",
    "Transform": "TransformJob",
    "Tuning": "HyperParameterTuningJob",
}


class Execution:
    """Runs the steps of a definition; what becomes of them is told to `write`."""

    def __init__(
        self,
        call: Callable[[str, Document], Document],
        write: Callable[..., None],
        clients: Clients,
        pipeline: Document,
        document: Document,
        definition: Document,
        parallel: int,
    ) -> None:
        self._call, self._write, self._clients = call, write, clients
        self._pipeline, self._document, self._definition = pipeline, document, definition
        self._parallel = parallel
        self._stopping = threading.Event()
        self._by_name = {step["Name"]: step for step in all_steps(definition["Steps"])}
        self._waiting = {step["Name"] for step in definition["Steps"]}
        self._told: list[Document] = []
        self._results: dict[str, Document] = {}
        self._jobs: dict[str, str] = {}

    def stop(self) -> None:
        """Stop the jobs and begin no further step."""
        self._stopping.set()

    def run(self) -> None:
        """Run until no step is left that could begin."""
        asked_to_stop = False
        while True:
            active = [told for told in self._told if told["StepStatus"] in ("Executing", "Stopping")]
            failed = any(told["StepStatus"] in ("Failed", "Stopped") for told in self._told)
            if self._stopping.is_set() and not asked_to_stop:
                asked_to_stop = True
                for told in active:
                    self._stop(told)
            ready = [] if failed or asked_to_stop else [name for name in sorted(self._waiting) if self._is_ready(name)]
            for name in ready[: max(0, self._parallel - len(active))]:
                self._begin(name)
            if not active and not ready:
                break
            for told in active:
                self._look(told)
            self._write(Steps=self._told)
            time.sleep(_PAUSE if active else 0)
        failure = next((told for told in self._told if told["StepStatus"] == "Failed"), None)
        fields: Document = {"Steps": self._told}
        if asked_to_stop:
            fields["PipelineExecutionStatus"] = "Stopped"
        elif failure or any(told["StepStatus"] == "Stopped" for told in self._told):
            fields |= {
                "PipelineExecutionStatus": "Failed",
                "FailureReason": "Step failure: One or multiple steps failed.",
            }
        else:
            fields["PipelineExecutionStatus"] = "Succeeded"
        self._write(**fields)

    def _is_ready(self, name: str) -> bool:
        return all(other in self._results for other in waits_for(self._by_name[name]))

    def _begin(self, name: str) -> None:
        step = self._by_name[name]
        self._waiting.discard(name)
        told: Document = {
            "StepName": name,
            "StartTime": time.time(),
            "StepStatus": "Executing",
            "AttemptCount": 1,
            "Metadata": {},
        }
        self._told.append(told)
        try:
            if step["Type"] == "Condition":
                self._decide(step, told)
            elif step["Type"] == "Fail":
                message = str(self._resolved(step["Arguments"].get("ErrorMessage", "")))
                told["Metadata"] = {"Fail": {"ErrorMessage": message}}
                self._end(told, "Failed", reason=message)
            else:
                self._create(step, told)
        except (JobError, ServiceError) as error:
            self._end(told, "Failed", reason=error.message if isinstance(error, ServiceError) else str(error))
        except (LookupError, TypeError, AttributeError) as error:
            self._end(told, "Failed", reason=f"Unable to run the step: {type(error).__name__}: {error}")

    def _decide(self, step: Document, told: Document) -> None:
        outcome = all(holds(self._resolved(condition)) for condition in step["Arguments"]["Conditions"])
        told["Metadata"] = {"Condition": {"Outcome": str(outcome)}}
        chosen = step["Arguments"].get("IfSteps" if outcome else "ElseSteps", [])
        self._waiting |= {inner["Name"] for inner in chosen}
        self._end(told, "Succeeded", {"Outcome": outcome})

    def _create(self, step: Document, told: Document) -> None:
        operation, noun = CALLS[step["Type"]]
        shape = operation_model("sagemaker", operation).input_shape
        arguments = self._resolved(step["Arguments"])
        arguments.pop("ExperimentConfig", None)  # an execution makes no experiment here
        named = f"{operation.removeprefix('Create')}Name"
        if step["Type"] != "RegisterModel":
            execution = self._document["PipelineExecutionArn"].rpartition("/")[2]
            stem = re.sub(r"[^A-Za-z0-9-]+", "-", step["Name"])
            longest = 32 if step["Type"] == "Tuning" else 63
            made = f"pipelines-{execution}-{stem}"[: longest - 11].rstrip("-") + f"-{uuid.uuid4().hex[:10]}"
            arguments.setdefault(named, made[-longest:].lstrip("-"))
        answer = self._call(operation, fit(shape, arguments))
        arn = next(value for name, value in answer.items() if name.endswith("Arn"))
        told["Metadata"] = {noun: {"Arn": arn}}
        if step["Type"] in _JOBS:
            self._jobs[step["Name"]] = arguments[named]
        elif step["Type"] == "Model":
            self._end(told, "Succeeded", self._call("DescribeModel", {"ModelName": arguments[named]}))
        else:
            self._end(told, "Succeeded", self._call("DescribeModelPackage", {"ModelPackageName": arn}))

    def _look(self, told: Document) -> None:
        kind = _JOBS[self._by_name[told["StepName"]]["Type"]]
        described = self._call(f"Describe{kind}", {f"{kind}Name": self._jobs[told["StepName"]]})
        if status := _ENDED.get(described[f"{kind}Status"]):
            self._end(told, status, described, described.get("FailureReason", ""))

    def _stop(self, told: Document) -> None:
        kind = _JOBS[self._by_name[told["StepName"]]["Type"]]
        told["StepStatus"] = "Stopping"
        try:
            self._call(f"Stop{kind}", {f"{kind}Name": self._jobs[told["StepName"]]})
        except ServiceError:  # it has just ended
            return

    def _end(self, told: Document, status: str, result: Document | None = None, reason: str = "") -> None:
        told |= {"StepStatus": status, "EndTime": time.time()}
        if status == "Succeeded":
            self._results[told["StepName"]] = result or {}
        else:
            told["FailureReason"] = reason or f"The step ended as {status}."

    # -- values ----------------------------------------------------------------------------------------------------

    def _resolved(self, value: Any) -> Any:
        return resolve(value, self._value, self._properties)

    def _value(self, path: str) -> Any:
        head, _, rest = path.partition(".")
        if head == "Parameters":
            return walk(self._document["Parameters"], rest)
        if head == "Execution":
            return self._variables()[rest]
        if head == "Steps":
            name = re.split(r"[.\[]", rest, maxsplit=1)[0]
            return walk(self._results[name], rest[len(name) :])
        raise JobError(f"the reference {path} is not available in local_aws")

    def _variables(self) -> Document:
        moment = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(self._document["CreationTime"]))
        arn = self._document["PipelineExecutionArn"]
        return {
            "PipelineName": self._pipeline["PipelineName"],
            "PipelineArn": self._pipeline["PipelineArn"],
            "PipelineExecutionId": arn.rpartition("/")[2],
            "PipelineExecutionArn": arn,
            "StartDateTime": moment,
            "CurrentDateTime": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        }

    def _properties(self, step: str, name: str) -> Any:
        files = {file["PropertyFileName"]: file for file in self._by_name[step].get("PropertyFiles", [])}
        if name not in files:
            raise JobError(f"step {step} has no property file {name}")
        uri = walk(self._results[step], f"ProcessingOutputConfig.Outputs['{files[name]['OutputName']}'].S3Output.S3Uri")
        bucket, prefix = parse_s3_uri(f"{uri.rstrip('/')}/{files[name]['FilePath']}")
        s3 = self._clients.s3_as(self._pipeline["RoleArn"])
        try:
            return json.loads(s3.get_object(Bucket=bucket, Key=prefix)["Body"].read())
        except (s3.exceptions.ClientError, ValueError) as error:
            raise JobError(f"the property file {name} of step {step} cannot be read: {error}") from error
