"""The model that a request is about: its configuration, and clients of its platform.

The configuration is read from the DAG folder where there is one. The web server of MWAA has none: there it is what the model's DAG wrote
beside its data when it last looked for work.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from retraining.aws.clients import client
from retraining.aws.platform_parameter import read_platform
from retraining.contract.rules import Contract
from retraining.dataset.log import DatasetLog
from retraining.page.concurrency import listings
from retraining.settings.access import AwsAccess
from retraining.settings.environment import platform_parameter
from retraining.settings.model_config import ConfigError, ModelConfig, load_model_config
from retraining.settings.platform import Platform
from retraining.telling.page_settings import left_settings

PLATFORM_SECONDS, LEFT_SECONDS = 60, 5
"""How long a platform parameter, and the settings that a DAG has left, are believed."""
REMEMBERED_LOGS = 8
"""Dataset logs that are kept parsed: some 20 MB each with 5,000 files."""


class UnknownModelError(LookupError):
    """No model is known by a name; the message says what makes it known."""


@dataclass(frozen=True)
class KnownModel:
    """A model and how to reach what it consists of."""

    config: ModelConfig
    platform: Platform

    @property
    def name(self) -> str:
        """Its name."""
        return self.config.name

    @property
    def prefix(self) -> str:
        """Of its keys in the bucket."""
        return f"{self.config.name}/"

    @property
    def bucket(self) -> str:
        """Where its data lies."""
        return self.platform.bucket

    @property
    def contract(self) -> Contract:
        """What a row must be."""
        return Contract.of(self.config.contract.model_dump())

    @property
    def dataset(self) -> DatasetLog:
        """Its dataset log, which remembers what the requests before this one have read."""
        return _dataset(self.config.aws, self.bucket, self.prefix)

    @property
    def s3(self) -> Any:
        """A boto3 client."""
        return _s3(self.config.aws)

    @property
    def sagemaker(self) -> Any:
        """A boto3 client."""
        return client("sagemaker", self.config.aws)

    @property
    def runtime(self) -> Any:
        """A boto3 client that does not wait longer for an answer than a person does."""
        return client("sagemaker-runtime", self.config.aws, retry=False, read_timeout=25)


def known_model(name: str) -> KnownModel:
    """Return a model by name.

    Raises:
        UnknownModelError: no model folder has it, and no run told about it.
        ConfigError: its model.yaml is wrong.
        PlatformError: its platform is not deployed.

    """
    config = _from_folder(name)
    if config is None:
        access = AwsAccess()
        platform = _platform(platform_parameter(name), access, int(time.time()) // PLATFORM_SECONDS)
        try:
            left = _left(access, platform.bucket, name, int(time.time()) // LEFT_SECONDS)
        except LookupError as error:
            raise UnknownModelError(
                f"model {name} has not told this page its settings yet: start its retraining DAG once"
            ) from error
        return KnownModel(left, platform)
    moment = int(time.time()) // PLATFORM_SECONDS
    return KnownModel(config, _platform(config.platform_parameter, config.aws, moment))


def _from_folder(name: str) -> ModelConfig | None:
    """Return the settings of a model below the DAG folder; None when no folder has this model."""
    broken: ConfigError | None = None
    for path in sorted(_models_folder().glob("*/model.yaml")):
        try:
            config = _read(path, path.stat().st_mtime_ns)
        except ConfigError as error:
            if path.parent.name == name:
                broken = error
            continue
        if config.name == name:
            return config
    if broken:
        raise broken
    return None


def _models_folder() -> Path:
    from airflow.configuration import conf

    return Path(conf.get("core", "dags_folder")) / "models"


@lru_cache(maxsize=64)
def _read(path: Path, changed: int) -> ModelConfig:
    return load_model_config(path)


@lru_cache(maxsize=64)
def _left(access: AwsAccess, bucket: str, name: str, moment: int) -> ModelConfig:
    return left_settings(client("s3", access), bucket, name)


@lru_cache(maxsize=REMEMBERED_LOGS)
def _dataset(access: AwsAccess, bucket: str, prefix: str) -> DatasetLog:
    return DatasetLog(_s3(access), bucket, prefix)


@lru_cache(maxsize=64)
def _s3(access: AwsAccess) -> Any:
    made = client("s3", access)
    listings.remember(made)
    return made


@lru_cache(maxsize=64)
def _platform(parameter: str, access: AwsAccess, moment: int) -> Platform:
    return read_platform(parameter, access)
