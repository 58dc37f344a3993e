"""A model's settings as its DAG leaves them beside the data, for the page: the web server of MWAA has no DAG folder to read them from."""

from __future__ import annotations

from typing import Any

from retraining.aws.documents import get_json, put_json
from retraining.settings.model_config import ModelConfig


def leave_settings(s3: Any, bucket: str, config: ModelConfig) -> None:
    """Write the settings of a model unless they stand there already."""
    uri, document = _uri(bucket, config.name), config.model_dump(mode="json", exclude={"aws"})
    try:
        if get_json(s3, uri) == document:
            return
    except LookupError:
        pass  # the first look for work
    put_json(s3, uri, document)


def left_settings(s3: Any, bucket: str, model: str) -> ModelConfig:
    """Return the settings that a model's DAG left.

    Raises:
        LookupError: it never looked for work.

    """
    return ModelConfig.model_validate(get_json(s3, _uri(bucket, model)))


def _uri(bucket: str, model: str) -> str:
    return f"s3://{bucket}/{model}/serving/settings/model.json"
