"""What a function of a model folder's ``sdk_jobs.py`` is told: plain values, and a session of the SageMaker SDK.

The same dataset, machines, limits and places as the declarative requests of ``job_requests`` have, so that both forms do the same work.
This module is imported in two environments: beside Airflow, where contexts are built, and beside the SDK, where they are used.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import Field

from retraining.jobs.code_bundle import document_uri, evaluation_document, training_document
from retraining.jobs.plan import RunPlan
from retraining.jobs.requests import output_uri
from retraining.settings.machines.image_uris import image_uri
from retraining.settings.model_config import Instances, ModelConfig
from retraining.settings.platform import Platform
from retraining.settings.strict import Strict
from retraining.settings.training.candidate import Candidate

SDK_FILE = "sdk_jobs.py"
SDK_FUNCTIONS = {"training": "training", "evaluation": "processing"}
"""Function of ``sdk_jobs.py`` -> kind of job that it has to submit, a key of ``jobs.kinds.JOB_KINDS``."""


class SdkContext(Strict):
    """One step of one run, as ``training(ctx)`` and ``evaluation(ctx)`` get it. JSON-able: it travels between processes."""

    model: str
    """The model's name."""
    bucket: str
    """The model's data bucket."""
    region: str
    role_arn: str
    """IAM role under which the job runs."""
    image: str
    """Full URI of the step's image."""
    instance_type: str
    instance_count: int
    volume_gb: int
    max_runtime_seconds: int
    """The job's own time limit."""
    columns: tuple[str, ...]
    """Columns of the data set's CSV files, which have no header; the target comes first."""
    target: str
    group: str | None = None
    """Column to report errors by."""
    dataset_version: int
    manifests: dict[str, str]
    """S3 URI of the dataset version's manifest by split: ``train``, ``validation``, ``test``. Read them with S3DataType ManifestFile."""
    network_isolation: bool = False
    """Whether the job shall have no network; a training needs one, to fetch its code."""
    output_path: str
    """S3 prefix, without a slash at its end, for what the job writes: models of a training, results of an evaluation."""
    code_uri: str = ""
    """S3 prefix of the run's copy of the model folder's Python files."""
    job_uri: str = ""
    """S3 prefix of ``job.json``, which tells job.py what to do: give it to the job as the channel or input ``job``."""
    source_dir: str = "source"
    """Local folder with the model's code, relative to the working directory: the folder's Python files, the library's and job.py."""
    hyperparameters: dict[str, Any] = Field(default_factory=dict)
    """Of the candidate that is trained, the run's own added; ``job.json`` has them, too."""
    metrics: dict[str, str] = Field(default_factory=dict)
    """Regular expressions of the metrics in a training job's log, by name."""
    challenger: str | None = None
    """S3 URI of the model.tar.gz to evaluate."""
    champion: str | None = None
    """S3 URI of the model.tar.gz to compare it with; None for a first model."""

    @property
    def code_prefix(self) -> str:
        """S3 prefix, in the data bucket, for code that the SDK uploads."""
        return f"{self.model}/code/sdk/"

    def session(self) -> Any:
        """Return a session of the SageMaker SDK; endpoint and credentials come from the standard AWS variables."""
        import boto3
        from sagemaker.core.helper.session_helper import Session

        return Session(
            boto_session=boto3.Session(region_name=self.region),
            default_bucket=self.bucket,
            default_bucket_prefix=f"{self.code_prefix}uploads",
        )


def training_context(
    config: ModelConfig, platform: Platform, plan: RunPlan, candidate: Candidate, manifests: Mapping[str, str]
) -> SdkContext:
    """Return the context of the training of one candidate; the arguments are those of ``job_requests.training_request``."""
    return _context(
        config,
        platform,
        plan,
        config.training,
        platform.train_role_arn,
        image=config.training.image_of(candidate),
        manifests={split: manifests[split] for split in ("train", "validation")},
        output_path=output_uri(f"s3://{platform.bucket}/{plan.prefix}models/"),
        job_uri=document_uri(platform.bucket, plan, training_document(config, plan, candidate)),
        hyperparameters=dict(candidate.hyperparameters),
        metrics=dict(sorted(config.training.metrics.items())),
    )


def evaluation_context(
    config: ModelConfig,
    platform: Platform,
    plan: RunPlan,
    test_manifest: str,
    challenger: str,
    champion: str | None,
    digests: Mapping[str, str] | None = None,
) -> SdkContext:
    """Return the context of an evaluation; the arguments are those of ``job_requests.evaluation_request``."""
    return _context(
        config,
        platform,
        plan,
        config.evaluation,
        platform.evaluate_role_arn,
        manifests={"test": test_manifest},
        job_uri=document_uri(platform.bucket, plan, evaluation_document(config, plan, digests)),
        output_path=output_uri(f"s3://{platform.bucket}/{plan.run_prefix}evaluation/"),
        challenger=challenger,
        champion=champion,
        network_isolation=config.evaluation.network_isolation,
    )


def _context(
    config: ModelConfig,
    platform: Platform,
    plan: RunPlan,
    machines: Instances,
    role_arn: str,
    image: str | None = None,
    **of_the_step: Any,
) -> SdkContext:
    return SdkContext(
        model=config.name,
        bucket=platform.bucket,
        region=platform.region,
        role_arn=role_arn,
        image=image_uri(image or machines.image, platform.region),
        instance_type=machines.instance_type,
        instance_count=machines.instance_count,
        volume_gb=machines.volume_gb,
        max_runtime_seconds=machines.max_runtime_seconds,
        columns=config.contract.training_columns,
        target=config.contract.target,
        group=config.evaluation.group,
        dataset_version=plan.version,
        code_uri=plan.code_uri(platform.bucket),
        **of_the_step,
    )
