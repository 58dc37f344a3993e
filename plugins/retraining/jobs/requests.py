"""The requests that go to AWS, as plain functions of configuration and plan.

Each returns the dict that the AWS API documents, in AWS spelling, without a name and without anything that changes from run to run: its
digest becomes the job's name.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from retraining.contract.notation.training_format import CONTENT_TYPES
from retraining.jobs.code_bundle import (
    JOB_PROGRAM,
    champion_document,
    document_uri,
    evaluation_document,
    training_document,
)
from retraining.jobs.endpoint_update import RETAINED
from retraining.jobs.plan import Champion, RunPlan
from retraining.settings.environment import alarm_names
from retraining.settings.machines.deployment import Deployment, Serverless
from retraining.settings.machines.image_uris import image_uri
from retraining.settings.machines.overrides import added
from retraining.settings.model_config import Evaluation, ModelConfig
from retraining.settings.periodic.periodic_job import PeriodicJob
from retraining.settings.platform import Platform
from retraining.settings.training.candidate import Candidate

PROCESSING = "/opt/ml/processing"
PROGRAM_VARIABLE = "SAGEMAKER_PROGRAM"
VARIANT = "AllTraffic"
CAPTURED = "captured/"
"""Below the model's prefix: what endpoints were asked and answered, by endpoint, variant and hour."""
CRAWLED_FILES = 100  # each is a target of the crawler and becomes a table


def glue_job_request(config: ModelConfig, platform: Platform, plan: RunPlan) -> dict[str, Any]:
    """StartJobRun for the merge of the plan's batch."""
    return {
        "JobName": platform.glue_job,
        "Arguments": {"--manifest": plan.manifest_uri(platform.bucket)},
        "WorkerType": config.etl.worker_type,
        "NumberOfWorkers": config.etl.number_of_workers,
        "Timeout": config.etl.max_runtime_minutes,
    }


def crawl_request(platform: Platform, keys: Sequence[str]) -> dict[str, Any]:
    """UpdateCrawler, so that the next crawl looks at these objects of the data bucket alone; of many at the last ``CRAWLED_FILES``."""
    targets = [{"Path": f"s3://{platform.bucket}/{key}"} for key in keys[-CRAWLED_FILES:]]
    return {"Name": platform.glue_crawler, "Targets": {"S3Targets": targets}}


def manifest_channel(uri: str) -> dict[str, Any]:
    """Return an S3 data source that names its objects one by one, so that only what the dataset log knows is read."""
    return {"S3DataType": "ManifestFile", "S3Uri": uri, "S3DataDistributionType": "FullyReplicated"}


def prefix_channel(uri: str) -> dict[str, Any]:
    """Return an S3 data source of everything below a prefix."""
    return {"S3DataType": "S3Prefix", "S3Uri": uri, "S3DataDistributionType": "FullyReplicated"}


def output_uri(uri: str) -> str:
    """Return a prefix of outputs as the services get it: after one that ends with a slash some write keys with ``//``."""
    return uri.rstrip("/")


def training_request(
    config: ModelConfig,
    platform: Platform,
    plan: RunPlan,
    candidate: Candidate,
    manifests: Mapping[str, str],
    document: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """CreateTrainingJob for one candidate.

    Args:
        config: the model's configuration.
        platform: bucket and role.
        plan: code and dataset version.
        candidate: algorithm and hyperparameters.
        manifests: S3 URI of the manifest of the splits ``train`` and ``validation``.
        document: its ``job.json``; by default that of the candidate as it is.

    """
    training = config.training
    told: Mapping[str, Any] = candidate.hyperparameters
    if not candidate.container:
        told = {
            "sagemaker_program": training.script or JOB_PROGRAM,
            "sagemaker_submit_directory": plan.source_uri(platform.bucket),
            "sagemaker_region": platform.region,
        }
    job = document_uri(platform.bucket, plan, document or training_document(config, plan, candidate))
    request = {
        "AlgorithmSpecification": {
            "TrainingImage": image_uri(training.image_of(candidate), platform.region),
            "TrainingInputMode": "File",
            "MetricDefinitions": [{"Name": name, "Regex": regex} for name, regex in sorted(training.metrics.items())],
        },
        "HyperParameters": {name: _told(value, plain=bool(candidate.container)) for name, value in told.items()},
        "InputDataConfig": [
            *(
                {
                    "ChannelName": split,
                    "DataSource": {"S3DataSource": manifest_channel(manifests[split])},
                    "ContentType": CONTENT_TYPES[training.format],
                }
                for split in ("train", "validation")
            ),
            {"ChannelName": "job", "DataSource": {"S3DataSource": prefix_channel(job)}},
        ],
        "OutputDataConfig": {"S3OutputPath": output_uri(f"s3://{platform.bucket}/{plan.prefix}models/")},
        "ResourceConfig": {
            "InstanceType": training.instance_type,
            "InstanceCount": training.instance_count,
            "VolumeSizeInGB": training.volume_gb,
        },
        "RoleArn": platform.train_role_arn,
        "StoppingCondition": {"MaxRuntimeInSeconds": training.max_runtime_seconds},
    }
    return added(request, training.overrides)


def _told(value: Any, plain: bool) -> str:
    """Return a hyperparameter as a text: JSON for SageMaker's toolkit, of a ``plain`` one a text as it is."""
    return value if plain and isinstance(value, str) else json.dumps(value)


def evaluation_request(
    config: ModelConfig,
    platform: Platform,
    plan: RunPlan,
    test_manifest: str,
    challenger: str,
    champion: str | None,
    digests: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """CreateProcessingJob that scores both models on the same test rows.

    Args:
        config: the model's configuration.
        platform: bucket and role.
        plan: code and output place.
        test_manifest: S3 URI of the manifest of the test split.
        challenger: S3 URI of the challenger's model.tar.gz, or the prefix of the answers of its container.
        champion: the same of the champion, whose answers are also there when it was scored apart; None for a first model.
        digests: SHA-256 of both, by role.

    """
    models = {"challenger": challenger} | ({"champion": champion} if champion else {})
    inputs = {
        "code": plan.code_uri(platform.bucket),
        "job": document_uri(platform.bucket, plan, evaluation_document(config, plan, digests)),
        "test": test_manifest,
        **models,
    }
    return library_job(
        platform,
        image_uri(config.evaluation.image, platform.region),
        config.evaluation,
        inputs,
        ("evaluation", f"s3://{platform.bucket}/{plan.run_prefix}evaluation/"),
        manifests=("test",),
        program=config.evaluation.script or JOB_PROGRAM,
    )


def champion_request(
    config: ModelConfig,
    platform: Platform,
    plan: RunPlan,
    test_manifest: str,
    champion: Champion,
    digests: Mapping[str, str],
) -> dict[str, Any]:
    """CreateProcessingJob that writes down what the champion answers to the test rows, in the image that it serves in.

    Args:
        config: the model's configuration.
        platform: bucket and role.
        plan: code and output place.
        test_manifest: S3 URI of the manifest of the test split.
        champion: its artifact and its image.
        digests: SHA-256 of its artifact, by its role.

    """
    inputs = {
        "code": plan.code_uri(platform.bucket),
        "job": document_uri(platform.bucket, plan, champion_document(config, plan, digests)),
        "test": test_manifest,
        "champion": champion.model_data,
    }
    output = ("champion", plan.champion_uri(platform.bucket))
    return library_job(platform, champion.image, config.evaluation, inputs, output, manifests=("test",))


def transform_request(config: ModelConfig, model: str, rows: str, output: str) -> dict[str, Any]:
    """CreateTransformJob that asks a container of one's own for its answers to the test rows, without their target.

    Args:
        config: the model's configuration.
        model: name of the SageMaker model.
        rows: S3 URI of the manifest of the test split, CSV with the target first.
        output: S3 prefix of the answers, a file for each object of the manifest.

    """
    machines = config.evaluation
    return {
        "ModelName": model,
        "BatchStrategy": "MultiRecord",
        "MaxPayloadInMB": 6,
        "TransformInput": {
            "DataSource": {"S3DataSource": {"S3DataType": "ManifestFile", "S3Uri": rows}},
            "ContentType": "text/csv",
            "SplitType": "Line",
        },
        "DataProcessing": {"InputFilter": "$[1:]"},
        "TransformOutput": {"S3OutputPath": output_uri(output), "Accept": "application/json"},
        "TransformResources": {"InstanceType": machines.instance_type, "InstanceCount": 1},
    }


def scored_apart(config: ModelConfig, platform: Platform, champion: Champion | None) -> bool:
    """Whether the champion serves in another image than the library's models would, or by itself, so that a job in that image scores it.

    Not where the evaluation is the model folder's own: that scores both as it likes.
    """
    if champion is None or not champion.image or config.steps.evaluation == "sdk" or config.evaluation.script:
        return False
    return champion.own or champion.image != image_uri(config.deployment.image, platform.region)


def library_job(
    platform: Platform,
    image: str,
    machines: Evaluation | PeriodicJob,
    inputs: Mapping[str, str],
    output: tuple[str, str],
    *,
    manifests: Collection[str] = (),
    program: str = JOB_PROGRAM,
) -> dict[str, Any]:
    """CreateProcessingJob that runs a program of the code bundle in the role of evaluations.

    Args:
        platform: bucket and role.
        image: URI of the container's image.
        machines: where it runs.
        inputs: S3 URIs by name; ``code`` is the bundle.
        output: name, and S3 URI of what the job leaves below /opt/ml/processing/output.
        manifests: names of the inputs whose URI is that of a list of objects; the others are prefixes.
        program: file of the bundle.

    """
    name, uri = output
    request = {
        "AppSpecification": {
            "ImageUri": image,
            "ContainerEntrypoint": ["python3", f"{PROCESSING}/input/code/{program}"],
            "ContainerArguments": ["--inputs", f"{PROCESSING}/input", "--output", f"{PROCESSING}/output"],
        },
        "ProcessingInputs": [
            processing_input(name, uri, "ManifestFile" if name in manifests else "S3Prefix")
            for name, uri in inputs.items()
        ],
        "ProcessingOutputConfig": {
            "Outputs": [
                {
                    "OutputName": name,
                    "S3Output": {
                        "S3Uri": output_uri(uri),
                        "LocalPath": f"{PROCESSING}/output",
                        "S3UploadMode": "EndOfJob",
                    },
                }
            ]
        },
        "ProcessingResources": {
            "ClusterConfig": {
                "InstanceType": machines.instance_type,
                "InstanceCount": machines.instance_count,
                "VolumeSizeInGB": machines.volume_gb,
            }
        },
        "NetworkConfig": {"EnableNetworkIsolation": machines.network_isolation},
        "RoleArn": platform.evaluate_role_arn,
        "StoppingCondition": {"MaxRuntimeInSeconds": machines.max_runtime_seconds},
    }
    return added(request, machines.overrides)


def processing_input(name: str, uri: str, data_type: str) -> dict[str, Any]:
    """Return an input of a processing job, which finds it below /opt/ml/processing/input/NAME."""
    return {
        "InputName": name,
        "S3Input": {
            "S3Uri": uri,
            "LocalPath": f"{PROCESSING}/input/{name}",
            "S3DataType": data_type,
            "S3InputMode": "File",
            "S3DataDistributionType": "FullyReplicated",
        },
    }


def serving_container(
    config: ModelConfig, platform: Platform, model_data: str, candidate: str | None = None
) -> dict[str, Any]:
    """Return a model's container: ``deployment.image`` running the inference code inside the artifact, or the candidate's own."""
    if candidate and (own := config.training.container_of(candidate)):
        return {"Image": own, "ModelDataUrl": model_data}
    return {
        "Image": image_uri(config.deployment.image, platform.region),
        "ModelDataUrl": model_data,
        "Environment": {
            PROGRAM_VARIABLE: "inference.py",
            "SAGEMAKER_SUBMIT_DIRECTORY": "/opt/ml/model/code",
            "SAGEMAKER_REGION": platform.region,
        },
    }


def serves_by_itself(container: Mapping[str, Any]) -> bool:
    """Tell whether a model's container brings its own server: it is not told which program of the artifact serves."""
    return PROGRAM_VARIABLE not in container.get("Environment", {})


def endpoint_config_request(config: ModelConfig, platform: Platform, model: str) -> dict[str, Any]:
    """CreateEndpointConfig with one variant, and data capture where there is one."""
    deployment = config.deployment
    variant = {"VariantName": VARIANT, "ModelName": model, "InitialVariantWeight": 1.0}
    capacity = _serverless(deployment.serverless) if deployment.mode == "serverless" else _machines(deployment)
    request: dict[str, Any] = {"ProductionVariants": [{**variant, **capacity}]}
    if deployment.captured_percent:
        request["DataCaptureConfig"] = {
            "EnableCapture": True,
            "InitialSamplingPercentage": deployment.captured_percent,
            "DestinationS3Uri": output_uri(f"s3://{platform.bucket}/{config.name}/{CAPTURED}"),
            "CaptureOptions": [{"CaptureMode": "Input"}, {"CaptureMode": "Output"}],
            "CaptureContentTypeHeader": {"CsvContentTypes": ["text/csv"], "JsonContentTypes": ["application/json"]},
        }
    return request


def _machines(deployment: Deployment) -> dict[str, Any]:
    return {
        "InstanceType": deployment.instance_type,
        "InitialInstanceCount": deployment.instance_count,
        "ContainerStartupHealthCheckTimeoutInSeconds": deployment.startup_timeout_seconds,
    }


def _serverless(capacity: Serverless) -> dict[str, Any]:
    found = {"MemorySizeInMB": capacity.memory_mb, "MaxConcurrency": capacity.max_concurrency}
    if capacity.provisioned_concurrency:
        found["ProvisionedConcurrency"] = capacity.provisioned_concurrency
    return {"ServerlessConfig": found}


def update_request(config: ModelConfig, endpoint_config: str) -> dict[str, Any]:
    """CreateEndpoint or UpdateEndpoint at once; a model that is scaled keeps its instances, whatever number the config begins with."""
    kept = RETAINED if config.deployment.autoscaling else {}
    return {"EndpointName": config.endpoint, "EndpointConfigName": endpoint_config, **kept}


def endpoint_request(config: ModelConfig, endpoint_config: str) -> dict[str, Any]:
    """CreateEndpoint or UpdateEndpoint, blue/green with a canary and alarms where model.yaml asks for it."""
    request = update_request(config, endpoint_config)
    canary = config.deployment.canary
    if canary:
        request["DeploymentConfig"] = {
            "BlueGreenUpdatePolicy": {
                "TrafficRoutingConfiguration": {
                    "Type": "CANARY",
                    "CanarySize": {"Type": "CAPACITY_PERCENT", "Value": canary.percent},
                    "WaitIntervalInSeconds": canary.wait_seconds,
                },
                "TerminationWaitInSeconds": 60,
                "MaximumExecutionTimeoutInSeconds": max(600, config.deployment.max_wait_seconds),
            },
        }
        names = alarm_names(config.name) if canary.alarms is None else canary.alarms
        if names:  # SageMaker refuses an empty list
            alarms = [{"AlarmName": name} for name in names]
            request["DeploymentConfig"]["AutoRollbackConfiguration"] = {"Alarms": alarms}
    return request
