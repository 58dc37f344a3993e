"""The configuration of one model: ``model.yaml`` as frozen objects, with errors that name the file and the line."""

from __future__ import annotations

import functools
import re
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import AfterValidator, Field, ValidationError, ValidationInfo, field_validator, model_validator

from retraining.settings.access import AwsAccess
from retraining.settings.contract_keys import Contract, Split
from retraining.settings.costs import Costs
from retraining.settings.environment import in_environment, platform_parameter
from retraining.settings.gate_policy import GatePolicy
from retraining.settings.machines.deployment import Deployment, Name, Script
from retraining.settings.machines.http_api import HttpApi
from retraining.settings.machines.image_uris import Image
from retraining.settings.machines.instances import Instances
from retraining.settings.machines.overrides import PROCESSING, adds_to
from retraining.settings.metrics import GUARDS, Task
from retraining.settings.periodic.batch import Batch
from retraining.settings.periodic.monitor import Monitor
from retraining.settings.periodic.schedule import Schedule
from retraining.settings.present.section import Present
from retraining.settings.problems import problems, repeated
from retraining.settings.strict import Strict
from retraining.settings.training.containers import check_containers
from retraining.settings.training.step import Training
from retraining.settings.training.tuning import check_search

PositiveInt = Annotated[int, Field(gt=0)]


class ConfigError(ValueError):
    """``model.yaml`` is wrong; the message names the file, the line and the remedy."""


class Landing(Strict):
    """Where files arrive below the model's prefix. Files under ``synthetic`` never reach validation or test."""

    raw: str = "raw/"
    new: str = "new/"
    synthetic: str = "new/synthetic/"

    @field_validator("new")
    @classmethod
    def _is_where_events_come_from(cls, new: str) -> str:
        if new != "new/":
            raise ValueError(
                f"landing.new is {new!r}: events, crawler and roles of the data platform know new/ only; leave the key out"
            )
        return new

    @field_validator("raw")
    @classmethod
    def _is_a_folder(cls, raw: str) -> str:
        if not re.fullmatch(r"[A-Za-z0-9_-]+/", raw) or raw == "new/":
            raise ValueError(f"landing.raw is {raw!r}: give one folder with its slash, other than new/, such as raw/")
        return raw

    @field_validator("synthetic")
    @classmethod
    def _is_below_new(cls, synthetic: str) -> str:
        if not re.fullmatch(r"new/[A-Za-z0-9_-]+/", synthetic):
            raise ValueError(
                f"landing.synthetic is {synthetic!r}: only folders below new/ are listed, such as new/synthetic/"
            )
        return synthetic


class Etl(Strict):
    """The Glue job run, its size and its limit, and whether new files are crawled. infra/data_platform.yaml defines job and crawler."""

    crawl: bool = True
    """The crawl decides nothing: it feeds catalogue and report. On AWS it is most of what a run costs."""
    worker_type: str = "G.1X"
    number_of_workers: Annotated[int, Field(ge=2)] = 2
    max_runtime_minutes: PositiveInt = 60


class Evaluation(Instances):
    """The processing job that scores challenger and champion on the same test rows."""

    image: Image
    group: str | None = None
    """Column to report errors by; numbers with many values are put into ranges."""
    script: Script | None = None
    """An evaluation script of the model folder, in place of the library's."""
    explain_seconds: Annotated[float, Field(ge=0, le=3600)] = 2
    """How long the challenger is asked, test row by test row, why it answers as it does; 0 for a report without."""
    network_isolation: bool = True
    """Whether the job has no network; SageMaker brings inputs and outputs all the same. `false` for code of yours that needs one."""
    overrides: Annotated[dict[str, Any], AfterValidator(adds_to(PROCESSING))] = Field(default_factory=dict)
    """Members of CreateProcessingJob in AWS's spelling that have no key here."""


Form = Literal["declarative", "sdk"]


class Steps(Strict):
    """How the request of a step's job is made: from this file, or by a function of ``sdk_jobs.py`` with the SageMaker SDK."""

    training: Form = "declarative"
    evaluation: Form = "declarative"

    @property
    def sdk(self) -> tuple[str, ...]:
        """The steps written with the SDK."""
        return tuple(name for name, form in self if form == "sdk")


class Approval(Strict):
    """Whether a person must approve a better model, and after how many hours of silence the old model stays."""

    required: bool = False
    timeout_hours: PositiveInt = 24


class ModelConfig(Strict):
    """Everything that ``model.yaml`` says about one model."""

    name: Name
    description: str = ""
    owner: str = "data-science"
    task: Task = "regression"
    costs: Costs | None = None
    """Of a binary task; null says the class that is more probable."""
    schedule: Schedule = Schedule()
    landing: Landing = Landing()
    contract: Contract
    split: Split = Split()
    etl: Etl = Etl()
    training: Training
    evaluation: Evaluation
    steps: Steps = Steps()
    gate: GatePolicy
    approval: Approval = Approval()
    deployment: Deployment
    present: Present | None = None
    api: HttpApi | None = None
    batch: Batch = Batch()
    monitor: Monitor = Monitor()
    aws: AwsAccess = AwsAccess()

    @field_validator("name")
    @classmethod
    def _is_free(cls, name: str) -> str:
        if name == "artifacts":
            raise ValueError("name artifacts is taken: retraining-ENV-artifacts-... is the bucket of the deployment")
        return name

    @field_validator("training")
    @classmethod
    def _searches(cls, training: Training, known: ValidationInfo) -> Training:
        if training.tuning and "name" in known.data and "task" in known.data:
            check_search(known.data["name"], known.data["task"], training.selection_metric)
        return training

    @field_validator("monitor")
    @classmethod
    def _has_requests(cls, monitor: Monitor, known: ValidationInfo) -> Monitor:
        deployment = known.data.get("deployment")
        if deployment and not deployment.captured_percent and monitor != Monitor():
            remedy = "give deployment.data_capture_percent, or " if deployment.mode == "instance" else ""
            raise ValueError(
                f"no request of this model is captured, so there is nothing to watch: {remedy}leave the key out"
            )
        return monitor

    @field_validator("api")
    @classmethod
    def _has_an_endpoint(cls, api: HttpApi | None, known: ValidationInfo) -> HttpApi | None:
        deployment = known.data.get("deployment")
        if api and deployment and not deployment.endpoint:
            raise ValueError("a model with mode none has no endpoint that an API could ask: leave the key out")
        return api

    @field_validator("split")
    @classmethod
    def _goes_by_a_column(cls, split: Split, known: ValidationInfo) -> Split:
        if "contract" in known.data:
            split.check(known.data["contract"])
        return split

    @model_validator(mode="after")
    def _group_exists(self) -> ModelConfig:
        if self.evaluation.group not in (None, *self.contract.training_columns):
            raise ValueError(f"evaluation.group {self.evaluation.group!r} is not a column of the contract")
        return self

    @property
    def unread_overrides(self) -> str | None:
        """What is wrong when a step in the form ``sdk`` has overrides, or a search: nothing would read them."""
        if "training" in self.steps.sdk and self.training.tuning:
            return "training.tuning is not read by a training in the form sdk: sdk_jobs.py makes the whole request"
        unread = next((name for name in self.steps.sdk if getattr(self, name).overrides), None)
        return (
            unread and f"{unread}.overrides are not read by a step in the form sdk: sdk_jobs.py makes the whole request"
        )

    @model_validator(mode="after")
    def _overrides_are_read(self) -> ModelConfig:
        if self.unread_overrides:
            raise ValueError(self.unread_overrides)
        return self

    @model_validator(mode="after")
    def _containers_fit(self) -> ModelConfig:
        check_containers(self.training, self.evaluation.script, self.steps.sdk, self.deployment.mode)
        return self

    @model_validator(mode="after")
    def _presented_by_its_target(self) -> ModelConfig:
        unknown = sorted(self.present.names() - {self.contract.target}) if self.present else []
        if unknown:
            raise ValueError(f"present.value names {', '.join(unknown)}; it is made from {self.contract.target} alone")
        return self

    @model_validator(mode="after")
    def _target_fits(self) -> ModelConfig:
        if self.costs and self.task != "binary":
            raise ValueError(
                f"costs are those of a binary task's two classes, and this is a {self.task}: leave the key out"
            )
        target = next(column for column in self.contract.columns if column.name == self.contract.target)
        if target.allowed:
            fitting = "binary" if len(target.allowed) == 2 else "multiclass"
            if self.task != fitting:
                raise ValueError(
                    f"the target {target.name!r} has {len(target.allowed)} classes: write task: {fitting} in place of task: {self.task}"
                )
            return self
        if self.task == "multiclass":
            raise ValueError(
                f"task multiclass needs classes: declare the target {target.name!r} as type string and list them in allowed, "
                'codes in quotes, such as allowed: ["1", "2", "3"]'
            )
        if self.task == "binary" and (target.type, target.min, target.max) != ("int", 0, 1):
            raise ValueError(
                f"task binary needs two classes: declare the target {target.name!r} as type int with min 0 and max 1, or as type string "
                "with two texts in allowed"
            )
        if self.task == "count" and (target.type != "int" or target.min is None or target.min < 0):
            raise ValueError(
                f"task count needs whole numbers: declare the target {target.name!r} as type int with min 0"
            )
        return self

    @field_validator("gate")
    @classmethod
    def _guards_fit(cls, gate: GatePolicy, known: ValidationInfo) -> GatePolicy:
        task = known.data.get("task", "regression")
        for metric in (*gate.guards, *gate.worst_group):
            if task not in GUARDS[metric][1]:
                there_are = ", ".join(name for name, (_, tasks) in GUARDS.items() if task in tasks)
                raise ValueError(f"{metric} is no metric of a {task} task, which has {there_are}")
        if task == "multiclass" and "auc" in gate.worst_group:
            raise ValueError("worst_group has no auc for a multiclass task; guard log_loss or f1 instead")
        return gate

    @property
    def platform_parameter(self) -> str:
        """SSM parameter with what infra/data_platform.yaml created for this model."""
        return platform_parameter(self.name)

    @property
    def endpoint(self) -> str | None:
        """Name of the endpoint on SageMaker, ``ENV-ENDPOINT`` with ``deployment.endpoint``; None of a model that only scores files."""
        return in_environment(self.deployment.endpoint) if self.deployment.endpoint else None


def load_model_config(path: Path) -> ModelConfig:
    """Read and check a ``model.yaml``.

    Raises:
        ConfigError: the file is missing, is not YAML, or breaks the schema; every problem is listed with its line.

    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror}); a model folder needs a model.yaml") from error
    return _checked(path, content)


@functools.lru_cache(maxsize=64)
def _checked(path: Path, content: bytes) -> ModelConfig:
    """Return what a file says; of the same content, which a process reads for each of its DAGs, only the first is parsed."""
    try:
        text = content.decode("utf-8")
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        twice, values = list(repeated(node)), yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        # Beside its own errors PyYAML lets out those of Python: wrong bytes, impossible dates, tags on the wrong kind of node.
        raise ConfigError(f"{path}: not valid YAML: {error}") from error
    if twice:
        raise ConfigError("\n".join(f"{path}:{line}: {sentence}" for line, sentence in twice))
    if not isinstance(values, dict):
        raise ConfigError(f"{path}: expected a mapping of settings, found {type(values).__name__}")
    try:
        return ModelConfig.model_validate(values)
    except ValidationError as error:
        found = [
            f"{path}:{line}: {f'{place}: ' if place else ''}{sentence}"
            for line, place, sentence in problems(ModelConfig, node, error)
        ]
        raise ConfigError("\n".join(found)) from error
