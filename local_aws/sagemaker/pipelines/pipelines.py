"""Pipelines and their executions: documents, and a thread for each execution that runs."""

from __future__ import annotations

import logging
import threading
import time
import uuid
from collections.abc import Callable
from typing import Any

from local_aws.sagemaker.pipelines import definitions
from local_aws.sagemaker.pipelines.execution import RUNNING, Execution
from local_aws.shared.clients import Clients
from local_aws.shared.errors import ServiceError, describe_exception, validation_error
from local_aws.shared.listing import list_page, page_of
from local_aws.shared.settings import Settings
from local_aws.shared.store import Store
from local_aws.shared.trust import require_assumable

_LOG = logging.getLogger(__name__)

Document = dict[str, Any]
Call = Callable[[str, Document], Document]

_KIND, _RUNS = "pipeline", "pipeline-execution"
INTERRUPTED = "local_aws stopped while the execution was running; start it again."


class Pipelines:
    """CreatePipeline, StartPipelineExecution and their kin; `call` answers operations of SageMaker."""

    def __init__(self, settings: Settings, store: Store, clients: Clients, call: Call) -> None:
        self._settings, self._store, self._clients, self._call = settings, store, clients, call
        self._running: dict[str, Execution] = {}
        self._lock = threading.Lock()

    def operations(self) -> dict[str, Callable[[Document], Document]]:
        """Return the answered operations by name."""
        return {
            "CreatePipeline": self.create,
            "UpdatePipeline": self.update,
            "DescribePipeline": self.describe,
            "DeletePipeline": self.delete,
            "ListPipelines": self.list_pipelines,
            "StartPipelineExecution": self.start,
            "StopPipelineExecution": self.stop,
            "DescribePipelineExecution": self.describe_execution,
            "DescribePipelineDefinitionForExecution": self.describe_definition,
            "ListPipelineExecutions": self.list_executions,
            "ListPipelineExecutionSteps": self.list_steps,
            "ListPipelineParametersForExecution": self.list_parameters,
        }

    # -- pipelines -------------------------------------------------------------------------------------------------

    def _arn(self, name: str) -> str:
        return self._settings.arn("sagemaker", f"pipeline/{name}")

    def _find(self, name: str) -> Document:
        name = name.rpartition("/")[2]  # a name or an ARN
        found = self._store.get(_KIND, name) or next(
            (one for one in self._store.all(_KIND) if one["PipelineArn"] == self._arn(name)), None
        )
        if found is None:
            raise ServiceError("ResourceNotFound", f"Pipeline '{self._arn(name)}' does not exist.")
        return found

    def create(self, params: Document) -> Document:
        """Record a pipeline whose steps can be run."""
        name, now = params["PipelineName"], time.time()
        if "PipelineDefinition" not in params:
            raise validation_error("local_aws takes a pipeline's definition as PipelineDefinition.")
        definitions.read(params["PipelineDefinition"])
        arn = self._arn(name)
        require_assumable(self._clients, self._settings, params["RoleArn"], arn)
        kept = {key: value for key, value in params.items() if key not in ("Tags", "ClientRequestToken")}
        document = kept | {
            "PipelineArn": arn,
            "PipelineStatus": "Active",
            "PipelineDisplayName": params.get("PipelineDisplayName", name),
            "CreationTime": now,
            "LastModifiedTime": now,
        }
        if not self._store.insert(_KIND, name, document):
            raise validation_error(
                f"Pipeline names must be unique within an AWS account and region. Pipeline with name ({name}) already exists."
            )
        self._store.put("tags", arn, {"Arn": arn, "Tags": params.get("Tags", [])})
        return {"PipelineArn": arn}

    def update(self, params: Document) -> Document:
        """Change members of a pipeline."""
        if "PipelineDefinition" in params:
            definitions.read(params["PipelineDefinition"])
        found = self._find(params["PipelineName"])
        if "RoleArn" in params:
            require_assumable(self._clients, self._settings, params["RoleArn"], found["PipelineArn"])
        changed = found | params | {"PipelineName": found["PipelineName"], "LastModifiedTime": time.time()}
        self._store.put(_KIND, found["PipelineName"], changed)
        return {"PipelineArn": found["PipelineArn"]}

    def describe(self, params: Document) -> Document:
        """Return a pipeline's document."""
        return self._find(params["PipelineName"])

    def delete(self, params: Document) -> Document:
        """Remove a pipeline and its executions; none may be running."""
        found = self._find(params["PipelineName"])
        arn = found["PipelineArn"]
        runs = [run for run in self._store.all(_RUNS) if run["PipelineArn"] == arn]
        if any(run["PipelineExecutionStatus"] in RUNNING for run in runs):
            raise ServiceError("ConflictException", f"Pipeline '{arn}' has executions that are running.")
        for run in runs:
            self._store.delete(_RUNS, run["PipelineExecutionArn"])
        self._store.delete(_KIND, found["PipelineName"])
        self._store.delete("tags", arn)
        return {"PipelineArn": arn}

    def list_pipelines(self, params: Document) -> Document:
        """Return a page of summaries."""
        prefix = params.get("PipelineNamePrefix", "")
        chosen = [one for one in self._store.all(_KIND) if one["PipelineName"].startswith(prefix)]
        fields = ("PipelineArn", "PipelineName", "PipelineDisplayName", "PipelineDescription", "RoleArn", "CreationTime",
                  "LastModifiedTime", "LastExecutionTime")  # fmt: skip
        return list_page(chosen, _times(params), result="PipelineSummaries", fields=fields, name_field="PipelineName")

    # -- executions ------------------------------------------------------------------------------------------------

    def start(self, params: Document) -> Document:
        """Begin an execution."""
        pipeline = self._find(params["PipelineName"])
        definition = definitions.read(pipeline["PipelineDefinition"])
        values = definitions.parameters(definition, params.get("PipelineParameters", []))
        token = params.get("ClientRequestToken")
        if token and (earlier := self._store.get("pipeline-token", token)):
            return {"PipelineExecutionArn": earlier["PipelineExecutionArn"]}
        now = time.time()
        number = uuid.uuid4().hex[:12]
        arn = f"{pipeline['PipelineArn']}/execution/{number}"
        document = {
            "PipelineArn": pipeline["PipelineArn"],
            "PipelineExecutionArn": arn,
            "PipelineExecutionDisplayName": params.get("PipelineExecutionDisplayName", f"execution-{int(now * 1000)}"),
            "PipelineExecutionStatus": "Executing",
            "CreationTime": now,
            "LastModifiedTime": now,
            "Definition": pipeline["PipelineDefinition"],
            "Parameters": values,
            "Steps": [],
        }
        if "PipelineExecutionDescription" in params:
            document["PipelineExecutionDescription"] = params["PipelineExecutionDescription"]
        self._store.put(_RUNS, arn, document)
        if token:
            self._store.put("pipeline-token", token, {"PipelineExecutionArn": arn})
        self._store.put(_KIND, pipeline["PipelineName"], pipeline | {"LastExecutionTime": now, "LastRunTime": now})
        limit = (params.get("ParallelismConfiguration") or pipeline.get("ParallelismConfiguration") or {}).get(
            "MaxParallelExecutionSteps", 50
        )
        execution = Execution(
            self._call,
            lambda **fields: self._write(arn, **fields),
            self._clients,
            pipeline,
            document,
            definition,
            limit,
        )
        with self._lock:
            self._running[arn] = execution
        threading.Thread(target=self._run, args=(arn, execution), name=f"pipeline-{number}", daemon=True).start()
        return {"PipelineExecutionArn": arn}

    def _run(self, arn: str, execution: Execution) -> None:
        try:
            execution.run()
        except Exception as error:
            _LOG.exception("pipeline execution %s", arn)
            self._write(arn, PipelineExecutionStatus="Failed", FailureReason=describe_exception(error)[:1024])
        finally:
            with self._lock:
                self._running.pop(arn, None)

    def _write(self, arn: str, **fields: Any) -> None:
        def apply(document: Document) -> None:
            if document["PipelineExecutionStatus"] in RUNNING:
                document.update(fields, LastModifiedTime=time.time())

        self._store.update(_RUNS, arn, apply)

    def _execution(self, arn: str) -> Document:
        found = self._store.get(_RUNS, arn)
        if found is None:
            raise ServiceError("ResourceNotFound", f"Pipeline execution '{arn}' does not exist.")
        return found

    def stop(self, params: Document) -> Document:
        """Ask an execution to end: its jobs are stopped, no further step begins."""
        arn = params["PipelineExecutionArn"]
        if self._execution(arn)["PipelineExecutionStatus"] not in RUNNING:
            raise ServiceError("ConflictException", f"Pipeline execution '{arn}' has ended.")
        self._write(arn, PipelineExecutionStatus="Stopping")
        with self._lock:
            execution = self._running.get(arn)
        if execution:
            execution.stop()
        return {"PipelineExecutionArn": arn}

    def describe_execution(self, params: Document) -> Document:
        """Return an execution's document."""
        hidden = ("Definition", "Parameters", "Steps")
        return {k: v for k, v in self._execution(params["PipelineExecutionArn"]).items() if k not in hidden}

    def describe_definition(self, params: Document) -> Document:
        """Return the definition that an execution runs."""
        found = self._execution(params["PipelineExecutionArn"])
        return {"PipelineDefinition": found["Definition"], "CreationTime": found["CreationTime"]}

    def list_executions(self, params: Document) -> Document:
        """Return a page of summaries, newest first."""
        arn = self._find(params["PipelineName"])["PipelineArn"]
        runs = [run | {"StartTime": run["CreationTime"]} for run in self._store.all(_RUNS) if run["PipelineArn"] == arn]
        fields = ("PipelineExecutionArn", "StartTime", "PipelineExecutionStatus", "PipelineExecutionDescription",
                  "PipelineExecutionDisplayName", "PipelineExecutionFailureReason")  # fmt: skip
        return list_page(
            runs, _times(params), result="PipelineExecutionSummaries", fields=fields, name_field="PipelineExecutionArn"
        )

    def list_steps(self, params: Document) -> Document:
        """Return a page of steps, the last first unless asked otherwise."""
        steps = self._execution(params["PipelineExecutionArn"])["Steps"]
        ordered = steps if params.get("SortOrder") == "Ascending" else steps[::-1]
        return page_of(ordered, params, "PipelineExecutionSteps", default_size=10)

    def list_parameters(self, params: Document) -> Document:
        """Return a page of the parameters of an execution."""
        values = self._execution(params["PipelineExecutionArn"])["Parameters"]
        items = [{"Name": name, "Value": str(value)} for name, value in values.items()]
        return page_of(items, params, "PipelineParameters", default_size=10)

    # -- life ------------------------------------------------------------------------------------------------------

    def recover(self) -> None:
        """Report the executions that ran when the process died as failed."""
        for run in self._store.all(_RUNS):
            self._write(run["PipelineExecutionArn"], PipelineExecutionStatus="Failed", FailureReason=INTERRUPTED)

    def shutdown(self) -> None:
        """End the executions; they are reported as failed, with this reason."""
        with self._lock:
            running = dict(self._running)
        for arn, execution in running.items():
            self._write(arn, PipelineExecutionStatus="Failed", FailureReason=INTERRUPTED)
            execution.stop()


def _times(params: Document) -> Document:
    """Return a list's parameters with the filters of its times named as elsewhere."""
    renamed = {"CreatedAfter": "CreationTimeAfter", "CreatedBefore": "CreationTimeBefore"}
    return {renamed.get(name, name): value for name, value in params.items()}
