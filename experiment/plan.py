"""What an experiment works on, and where it writes: a run's plan with places of its own.

Everything lies below ``s3://BUCKET/MODEL/experiments/``. The jobs carry a model tag that no DAG looks for, because the end of a retraining
run stops whatever is left of its own model's jobs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from retraining.aws.naming import digest
from retraining.dataset.state import LogState, manifest_entries
from retraining.jobs.plan import Champion, RunPlan, work_digest
from retraining.sdk.context import SdkContext
from retraining.settings.model_config import ModelConfig
from retraining.settings.training.candidate import Candidate

SPLITS = ("train", "validation", "test")


class NoDataError(LookupError):
    """There is nothing to train on; the message names the dataset version and the remedy."""


class ExperimentPlan(RunPlan):
    """A plan whose documents, models and code lie below ``MODEL/experiments/``."""

    @property
    def prefix(self) -> str:
        """The experiments' prefix in the bucket."""
        return f"{self.model}/experiments/"

    @property
    def run_prefix(self) -> str:
        """Where this experiment's documents are."""
        return f"{self.prefix}{self.run_key}/"


class ExperimentContext(SdkContext):
    """A context whose code is uploaded below ``MODEL/experiments/``."""

    @property
    def code_prefix(self) -> str:
        """S3 prefix, in the data bucket, for code that the SDK uploads."""
        return f"{self.model}/experiments/code/"


@dataclass(frozen=True)
class Data:
    """A dataset version: SageMaker manifest per split, and how many rows each has."""

    version: int
    manifests: Mapping[str, list[Any]]
    rows_by_split: Mapping[str, int]


def job_owner(model: str) -> str:
    """Return the model tag of an experiment's jobs; no model has such a name, which may not hold a point."""
    return f"{model}.exp"


def make_plan(
    config: ModelConfig, state: LogState, code_digest: str, candidates: list[Candidate], champion: Champion | None
) -> ExperimentPlan:
    """Make the plan of an experiment from content alone: the same data, code, settings and champion are the same experiment.

    The gate is left out: it decides on numbers, and other thresholds need no other jobs.

    Args:
        config: the model's configuration with the overrides in place.
        state: the dataset log up to the version to work on.
        code_digest: digest of the model's code.
        candidates: what is trained.
        champion: what is compared with.

    """
    settings = config.model_dump(mode="json", include={"training", "evaluation", "contract", "split"})
    settings["training"]["candidates"] = [candidate.model_dump(mode="json") for candidate in candidates]
    work = work_digest(state.batches, code_digest, settings)
    key = digest({"work": work, "champion": champion.model_data if champion else None}, 12)
    return ExperimentPlan(
        model=config.name,
        run_key=f"v{state.latest}-{key}",
        work_digest=work,
        version=state.latest,
        batch=None,
        code_digest=code_digest,
        candidates=tuple(candidate.name for candidate in candidates),
        champion=champion,
        reason="experiment",
    )


def data_at(state: LogState, number: int | None, model: str, bucket: str, form: str) -> tuple[LogState, Data]:
    """Return the dataset log as of a version, the newest without a number, and the version's manifests in a training format.

    Raises:
        NoDataError: the log is empty, or a split has no rows.
        LookupError: there is no such version.

    """
    if not state.latest:
        raise NoDataError(
            f"model {model} has no dataset version yet: upload data and let the retraining DAG commit it (locally: make demo)"
        )
    state = state if number is None else state.readable_at(number)
    manifests = {split: manifest_entries(bucket, f"{model}/", state.training_objects(split, form)) for split in SPLITS}
    for split, entries in manifests.items():
        if len(entries) == 1:
            raise NoDataError(
                f"dataset version {state.latest} of {model} has no {split} rows: choose a later --data-version"
            )
    return state, Data(state.latest, manifests, state.rows_by_split())


def manifest_uris(data: Data, plan: ExperimentPlan, bucket: str) -> dict[str, str]:
    """Return where the manifests belong, named by their content."""
    root = f"s3://{bucket}/{plan.prefix}manifests/{data.version:06d}"
    return {split: f"{root}-{split}-{digest(entries)}.json" for split, entries in data.manifests.items()}


def experiment_context(context: SdkContext) -> ExperimentContext:
    """Return a step's context as an experiment's."""
    return ExperimentContext.model_validate(context.model_dump())
