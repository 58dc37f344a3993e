"""Metrics that the description of a training job lacks, from the model card in its artifact.

SageMaker reads metrics off the job's log: they may come late or never. The artifact is whole once the job is complete.
"""

from __future__ import annotations

import json
import logging
import tarfile
import zlib
from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Any

from retraining.aws.clients import client
from retraining.aws.documents import split_uri
from retraining.settings.access import AwsAccess

CARD = PurePosixPath("model_card.json")
LARGEST_CARD = 4 << 20  # bytes

log = logging.getLogger(__name__)


def with_metric(access: AwsAccess, result: Mapping[str, Any], metric: str) -> dict[str, Any]:
    """Return the result of a training job with the metrics of its model card, if ``metric`` is not among those that it has.

    An artifact of a training script of one's own may have no card: the result stays as it is.
    """
    metrics = result.get("metrics", {})
    if metric in metrics:
        return dict(result)
    bucket, key = split_uri(result["model_data"])
    try:
        found = card_metrics(client("s3", access).get_object(Bucket=bucket, Key=key)["Body"])
    except (tarfile.TarError, zlib.error, EOFError, OSError, ValueError) as error:
        log.warning("the artifact %s cannot be read: %s", result["model_data"], error)
        return dict(result)
    if metric in found:
        log.warning(
            "SageMaker has no %s of training job %s: taken from the model card in its artifact", metric, result["name"]
        )
    return {**result, "metrics": {**found, **metrics}}


def card_metrics(archive: Any) -> dict[str, float]:
    """Return ``SPLIT:METRIC`` of the model card in a ``model.tar.gz``, which is read as a stream; nothing if it has no card."""
    with tarfile.open(fileobj=archive, mode="r|gz") as tar:
        for member in tar:
            if PurePosixPath(member.name) == CARD and member.isreg() and member.size <= LARGEST_CARD:
                card = json.loads(tar.extractfile(member).read())  # type: ignore[union-attr]
                return {
                    f"{split}:{name}": float(value)
                    for split, figures in card.get("metrics", {}).items()
                    for name, value in figures.items()
                    if isinstance(value, int | float)
                }
    return {}
