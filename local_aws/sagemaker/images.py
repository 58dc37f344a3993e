"""Which local environment stands for a container image."""

from __future__ import annotations

from pathlib import Path

from local_aws.shared.errors import JobError
from local_aws.shared.settings import Settings

#: Repository name of an image (the part before the tag) -> virtual environment below the environments folder.
ENVIRONMENTS = {
    "sagemaker-scikit-learn": "jobs",
    "sagemaker-xgboost": "xgboost",
    "retraining-survey": "survey",
    # SageMaker Distribution, the image of Studio: it brings the SageMaker SDK, which @remote needs inside the job.
    "sagemaker-distribution-prod": "sagemaker",
    "tensorflow-training": "tensorflow",
    "tensorflow-inference": "tensorflow",
}
#: Virtual environment -> the call of make that creates it.
CREATED_BY = {
    "jobs": "make setup",
    "sagemaker": "make setup-sdk",
    "survey": "make setup-survey",
    "tensorflow": "make setup-tensorflow",
    "xgboost": "make setup-xgboost",
}


def repository(image: str) -> str:
    """Return the repository name of an image URI: ``HOST/sagemaker-xgboost:3`` -> ``sagemaker-xgboost``."""
    return image.split("@")[0].rsplit("/", 1)[-1].split(":")[0]


def python_for_image(settings: Settings, image: str) -> Path:
    """Return the interpreter that runs what the image would run; JobError when there is none."""
    environment = ENVIRONMENTS.get(repository(image))
    if environment is None:
        raise JobError(
            f"the image {image} is not known to local_aws, which runs: {', '.join(sorted(ENVIRONMENTS))}. "
            "Use one of these or run the job on AWS."
        )
    python = settings.python(environment)
    if not python.exists():
        raise JobError(
            f"the image {image} runs locally in the virtual environment {environment!r}, "
            f"which does not exist below {settings.environments}: {CREATED_BY[environment]} creates it."
        )
    return python
