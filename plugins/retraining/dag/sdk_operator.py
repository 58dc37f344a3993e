"""The operator of steps that are written with the SageMaker SDK, which lives in a Python environment of its own."""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import psutil
from airflow.providers.standard.operators.python import ExternalPythonOperator
from airflow.sdk.exceptions import AirflowFailException

from retraining.aws.clients import standard_variables
from retraining.dag.asking import asker_of
from retraining.dag.operators import AwsJobOperator, JobOperator
from retraining.jobs.job import JobBusyError, Submitted
from retraining.jobs.kinds import JOB_KINDS
from retraining.sdk.context import SdkContext
from retraining.settings.model_config import ConfigError, Form, ModelConfig, Steps

PLUGINS = Path(__file__).resolve().parents[2]
PYTHON_VARIABLE = "RETRAINING_SDK_PYTHON"
SDK_STEPS_VARIABLE = "RETRAINING_SDK_STEPS"


def sdk_python() -> str:
    """Return the interpreter of the SDK's environment: ``RETRAINING_SDK_PYTHON``, else the one that ``make setup-sdk`` creates."""
    return os.environ.get(PYTHON_VARIABLE) or str(PLUGINS.parent / ".local" / "venvs" / "sagemaker" / "bin" / "python")


def submit_beside_the_sdk(order: dict[str, Any]) -> dict[str, Any]:
    """Carry out an order in the SDK's environment. Airflow copies this function there as text: it may use nothing of this module."""
    from retraining.sdk.runner import main

    return main(order)


class SdkJobOperator(JobOperator, ExternalPythonOperator):
    """Run a job that a function of ``sdk_jobs.py`` submits: the callable says what the function is told, the operator does the rest.

    The function runs in a process of the SDK's environment, for seconds. Its job is created or adopted by the digest of its request, see
    ``sdk_runner``; what follows is ``JobOperator``'s: no worker is held while the job runs.

    Args:
        function: the function in ``sdk_jobs.py``, which takes the context.
        python_callable: returns an ``SdkContext``, or None when there is nothing to do.
        python: interpreter of the SDK's environment; by default what ``sdk_python`` returns.
        kwargs: see ``JobOperator``.

    """

    def __init__(
        self,
        *,
        function: str,
        python_callable: Callable[..., SdkContext | None],
        python: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            python_callable=submit_beside_the_sdk, python=python or sdk_python(), expect_airflow=False, **kwargs
        )
        self.function = function
        self.context_callable = python_callable

    def submitted(self, context: Any) -> Submitted | None:
        """Run the function where the SDK is, and take the job that it submitted.

        Raises:
            AirflowFailException: the environment is missing, the code in ``sdk_jobs.py`` does not do its work, or AWS refuses the job.

        """
        sdk_context = self.context_callable(**{**context, **self.op_kwargs})
        if sdk_context is None:
            return None
        if not Path(self.python).is_file():
            raise AirflowFailException(
                f"step {self.step} of model {self.model} needs the SageMaker SDK, but its interpreter {self.python} does not exist: "
                f"create it with `make setup-sdk` (on MWAA: deploy startup.sh), or name another one in {PYTHON_VARIABLE}"
            )
        with tempfile.TemporaryDirectory(prefix="sdk-job-") as folder:
            answer = self._run(context, sdk_context, Path(folder, "job.json"))
        if "refused" in answer:
            raise AirflowFailException(answer["refused"])
        if "busy" in answer:
            raise JobBusyError(answer["busy"])
        self.log.info("request digest %s", answer["digest"])
        return Submitted(answer["handle"], answer["adopted"])

    def on_kill(self) -> None:
        """End the SDK's process, which first notes a job that it is just creating, and stop the job."""
        for child in psutil.Process().children():
            with contextlib.suppress(psutil.Error):  # it has ended meanwhile
                if child.cmdline()[:1] == [self.python]:
                    child.terminate()
        super().on_kill()

    def _iter_serializable_context_keys(self) -> Iterator[str]:
        """Pass nothing of Airflow's context but a token, for the order says it all; Airflow would start Python once more to choose."""
        yield "run_id"

    def _run(self, context: Any, sdk_context: SdkContext, note: Path) -> dict[str, Any]:
        order = {
            "function": self.function,
            "context": sdk_context.model_dump(mode="json"),
            "access": self.access.model_copy(update={"conn_id": None}).model_dump(),
            "model": self.model,
            "step": self.step,
            "asker": asdict(asker) if (asker := asker_of(context)) else None,
            "result_file": str(note),
            "parent": os.getpid(),
        }
        self.env_vars = {**standard_variables(self.access), "PYTHONPATH": str(PLUGINS)}
        declared, self.op_kwargs = self.op_kwargs, {"order": order}
        try:
            answer = dict(ExternalPythonOperator.execute(self, context))
        except Exception as error:
            if note.exists():  # the process ended after its job had been created or adopted
                self.log.warning("the SDK's process ended with an error after its job existed: %s", error)
                return dict(json.loads(note.read_text()))
            if self._killed:
                raise AirflowFailException(f"the task was killed before step {self.step} had a job") from error
            raise
        finally:
            self.op_kwargs = declared
        if "refused" in answer and note.exists():  # such as for a second job: the first one is not wanted alone
            JOB_KINDS[self.kind].stop(self.access, json.loads(note.read_text())["handle"])
        return answer


def with_chosen_forms(config: ModelConfig, sdk_steps: str) -> ModelConfig:
    """Return the configuration with these steps, separated by commas, in the form ``sdk``, whatever model.yaml says.

    Raises:
        ConfigError: there is no step of such a name.

    """
    names = [name for part in sdk_steps.split(",") if (name := part.strip())]
    if unknown := sorted(set(names) - set(Steps.model_fields)):
        raise ConfigError(
            f"{SDK_STEPS_VARIABLE} names {', '.join(unknown)}; it may name {', '.join(Steps.model_fields)}"
        )
    chosen = {name: "sdk" for name in names}
    return config.model_copy(update={"steps": config.steps.model_copy(update=chosen)}) if chosen else config


def in_form(
    form: Form, function: str, request: Callable[..., Any], context: Callable[..., Any]
) -> tuple[type[JobOperator], dict[str, Any]]:
    """Return the operator of a step's form, and the arguments that say what it submits."""
    if form == "sdk":
        return SdkJobOperator, {"function": function, "python_callable": context}
    return AwsJobOperator, {"python_callable": request}
