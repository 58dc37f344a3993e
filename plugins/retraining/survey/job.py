"""Where a survey comes from and goes to: names, digests and the processing job's request, as plain functions.

The survey company makes new measurements from the current dataset version (docs/survey.md). Its command line and its DAG share this module.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from retraining.aws.naming import digest, file_digest
from retraining.contract.source import source_files
from retraining.dataset.state import LogState, manifest_entries
from retraining.jobs.requests import PROCESSING, output_uri, processing_input
from retraining.settings.machines.image_uris import image_uri
from retraining.settings.model_config import Instances, ModelConfig
from retraining.settings.platform import Platform
from retraining.settings.strict import Strict

CTGAN_IMAGE = "retraining-survey:ctgan-0.12.1"
"""Repository and tag of the image with CTGAN in the account's own registry; survey/Dockerfile makes it."""
HELD_BACK = "survey/held_back/"
"""Below the model's prefix: CSV files of real rows that ``replay`` may bring."""
STAMP, STAMP_DIGITS = "%Y%m%d%H%M%S", 14
"""End of a landed file's name: the second of its measurement, in UTC."""
PACKAGE = "generator"
"""Name of the code's package inside the job."""
Share = Annotated[float, Field(ge=0, le=1)]


class SurveyOptions(Strict):
    """What a survey shall be; the members are those of ``survey.generator.generate.Request``, and how late the file is."""

    method: Literal["ctgan", "copula", "replay"] = "copula"
    rows: Annotated[int, Field(ge=1, le=1_000_000)] = 100
    seed: int = 0
    fit_seed: int = 0
    epochs: Annotated[int, Field(ge=1)] = 300
    valid_only: bool = True
    drift: tuple[str, ...] = ()
    dirt: Share = 0.0
    dirt_kinds: tuple[str, ...] = ()
    duplicates: Share = 0.0
    known_rows: Share = 0.0
    late_days: Annotated[float, Field(ge=0)] = 0.0

    @property
    def real(self) -> bool:
        """Whether the rows are measurements, replayed as they are. Broken and repeated rows never get into the dataset, drifted ones do."""
        return self.method == "replay" and not self.drift

    def request(self, contract: Mapping[str, Any]) -> dict[str, Any]:
        """Return the generator's request."""
        return {**self.model_dump(mode="json", exclude={"late_days"}), "contract": dict(contract)}


class SurveyMachines(Strict):
    """On what the jobs run. CTGAN needs an image of one's own; the other methods run in SageMaker's scikit-learn image."""

    ctgan: Instances = Instances(image=CTGAN_IMAGE, instance_type="ml.m5.large", max_runtime_seconds=3600)
    others: Instances = Instances(
        image="sagemaker-scikit-learn:1.9-0-cpu-py3", instance_type="ml.m5.large", max_runtime_seconds=1800
    )

    def of(self, method: str) -> Instances:
        """Return the machines of a method."""
        return self.ctgan if method == "ctgan" else self.others


def landing_key(config: ModelConfig, options: SurveyOptions, moment: datetime) -> str:
    """Return the S3 key ``MODEL/new/MODEL.YYYYmmddHHMMSS``, below ``new/synthetic/`` unless the rows are real.

    A late file carries the time of its measurement, ``late_days`` before ``moment``.
    """
    folder = config.landing.new if options.real else config.landing.synthetic
    measured = moment - timedelta(days=options.late_days)
    return f"{config.name}/{folder}{config.name}.{measured:{STAMP}}"


def free_names(uri: str, seconds: int = 60) -> Iterator[str]:
    """Yield a landing URI and those of the seconds after it: two surveys of the same second must not replace each other."""
    place, moment = uri[:-STAMP_DIGITS], datetime.strptime(uri[-STAMP_DIGITS:], STAMP).replace(tzinfo=UTC)
    for second in range(seconds):
        yield f"{place}{moment + timedelta(seconds=second):{STAMP}}"


def generator_files(folder: Path) -> dict[str, bytes]:
    """Read the generator's code, by the path it has inside the job.

    Raises:
        FileNotFoundError: the folder holds no generator.

    """
    files = source_files() | {f"{PACKAGE}/{path.name}": path.read_bytes() for path in sorted(folder.glob("*.py"))}
    if f"{PACKAGE}/__main__.py" not in files:
        raise FileNotFoundError(
            f"{folder} holds no survey generator: dags/survey links to survey/generator, upload it with the DAGs"
        )
    return files


def code_prefix(config: ModelConfig, files: Mapping[str, bytes]) -> str:
    """Return the S3 prefix of the generator's code, addressed by content."""
    return f"{config.name}/code/survey-{file_digest(dict(files))}/"


def model_prefix(config: ModelConfig, batches: Sequence[str], options: SurveyOptions) -> str:
    """Return the S3 prefix of the fitted CTGAN for a dataset version and fit options; other versions have other prefixes."""
    fitted = {
        "batches": list(batches),
        "columns": [column.name for column in config.contract.columns],
        "epochs": options.epochs,
        "fit_seed": options.fit_seed,
        "package": CTGAN_IMAGE,
    }
    return f"{config.name}/survey/models/{digest(fitted)}/"


def split_manifest(bucket: str, prefix: str, state: LogState, splits: Sequence[str], form: str) -> list[Any]:
    """Return a ManifestFile document of the training objects of some splits, in a training format."""
    objects = [output for split in splits for output in state.training_objects(split, form)]
    return manifest_entries(bucket, prefix, objects)


def survey_request(
    config: ModelConfig,
    platform: Platform,
    machines: SurveyMachines,
    method: str,
    places: Mapping[str, str],
    model_cached: bool,
) -> dict[str, Any]:
    """CreateProcessingJob that makes one survey file.

    Args:
        config: the model's configuration.
        platform: bucket and role.
        machines: image, instances and time limit per method.
        method: ctgan, copula or replay.
        places: S3 URIs: ``code``, ``request``, ``train`` (a manifest), ``output``; for ctgan ``model``; for replay ``known`` (a manifest)
            and ``held-back``.
        model_cached: whether a fitted model lies at ``model``; if not, the job writes it there.

    """
    machine = machines.of(method)
    inputs = {"code": "S3Prefix", "request": "S3Prefix", "train": "ManifestFile"}
    if method == "replay":
        inputs |= {"known": "ManifestFile", "held-back": "S3Prefix"}
    if method == "ctgan" and model_cached:
        inputs["model"] = "S3Prefix"
    arguments = ["--output", f"{PROCESSING}/output"]
    outputs = {"survey": (places["output"], f"{PROCESSING}/output")}
    for name in inputs:
        if name != "code":
            arguments += [f"--{name}", f"{PROCESSING}/input/{name}"]
    if method == "ctgan" and not model_cached:
        arguments += ["--model", f"{PROCESSING}/model"]
        outputs["model"] = (places["model"], f"{PROCESSING}/model")
    return {
        "AppSpecification": {
            "ImageUri": _image(machine.image, platform),
            "ContainerEntrypoint": ["python3", "-m", PACKAGE],
            "ContainerArguments": arguments,
        },
        "Environment": {"PYTHONPATH": f"{PROCESSING}/input/code"},
        "ProcessingInputs": [processing_input(name, places[name], kind) for name, kind in inputs.items()],
        "ProcessingOutputConfig": {
            "Outputs": [
                {
                    "OutputName": name,
                    "S3Output": {"S3Uri": output_uri(uri), "LocalPath": path, "S3UploadMode": "EndOfJob"},
                }
                for name, (uri, path) in outputs.items()
            ]
        },
        "ProcessingResources": {
            "ClusterConfig": {
                "InstanceType": machine.instance_type,
                "InstanceCount": 1,
                "VolumeSizeInGB": machine.volume_gb,
            }
        },
        "RoleArn": platform.survey_role_arn,
        "StoppingCondition": {"MaxRuntimeInSeconds": machine.max_runtime_seconds},
    }


def _image(image: str, platform: Platform) -> str:
    """Return the full URI: of the account's own registry for an image of one's own, else of SageMaker's."""
    if image.startswith("retraining-"):
        domain = "amazonaws.com.cn" if platform.region.startswith("cn-") else "amazonaws.com"
        return f"{platform.account}.dkr.ecr.{platform.region}.{domain}/{image}"
    return image_uri(image, platform.region)
