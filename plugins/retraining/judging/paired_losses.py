"""Two models on the same validation rows: how much less one of them loses, and how sure that is.

Each training leaves the losses of its validation rows beside its artifact, in blocks of rows; blocks of the same rows are paired.
"""

from __future__ import annotations

import json
import logging
import math
import tarfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from retraining.aws.clients import client
from retraining.aws.documents import split_uri
from retraining.settings.access import AwsAccess

LOSSES_FILE = "validation_losses.json"
LARGEST = 4 << 20  # bytes

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Losses:
    """Losses of one model: number of rows, and the sum of their losses, of each block."""

    blocks: tuple[tuple[int, float], ...]


@dataclass(frozen=True)
class Paired:
    """Mean loss of one model minus that of another on the same rows, and the standard error of this difference."""

    difference: float
    standard_error: float
    rows: int

    @property
    def clearly_less(self) -> bool:
        """Whether the one loses less than the other by more than one standard error."""
        return self.difference < -self.standard_error


def paired(one: Losses, other: Losses) -> Paired:
    """Compare two models.

    The standard error is that of a ratio of sums over independent blocks: of blocks of one row, the usual one of a mean.

    Raises:
        ValueError: they were not measured on the same rows, or on too few.

    """
    counts = [count for count, _ in one.blocks]
    if counts != [count for count, _ in other.blocks]:
        raise ValueError("they were not measured on the same validation rows")
    rows, blocks = sum(counts), len(counts)
    if blocks < 2:
        raise ValueError(f"{rows} validation rows are too few to compare them on")
    sums = [mine - theirs for (_, mine), (_, theirs) in zip(one.blocks, other.blocks, strict=True)]
    mean = math.fsum(sums) / rows
    spread = math.fsum((total - count * mean) ** 2 for count, total in zip(counts, sums, strict=True))
    return Paired(mean, math.sqrt(spread * blocks / (blocks - 1)) / rows, rows)


def read_losses(access: AwsAccess, model_data: str) -> Losses:
    """Return the losses that the training of an artifact left beside it.

    Raises:
        ValueError: it left none that can be read; the message says where they should be.

    """
    from botocore.exceptions import ClientError

    uri = f"{model_data.rpartition('/')[0]}/output.tar.gz"
    bucket, key = split_uri(uri)
    try:
        found = _document(client("s3", access).get_object(Bucket=bucket, Key=key)["Body"])
    except (tarfile.TarError, zlib.error, EOFError, OSError, ValueError, ClientError) as error:
        raise ValueError(f"{uri} with the losses of its validation rows cannot be read: {error}") from error
    if found is None:
        raise ValueError(f"{uri} holds no {LOSSES_FILE}")
    return Losses(tuple(_blocks(found, uri)))


def _document(archive: Any) -> Any:
    with tarfile.open(fileobj=archive, mode="r|gz") as tar:
        for member in tar:
            if member.name.removeprefix("./") == LOSSES_FILE and member.isreg() and member.size <= LARGEST:
                return json.loads(tar.extractfile(member).read())  # type: ignore[union-attr]
    return None


def _blocks(document: Any, uri: str) -> Sequence[tuple[int, float]]:
    try:
        blocks = [(int(count), float(total)) for count, total in document["blocks"]]
    except (TypeError, KeyError, ValueError) as error:
        raise ValueError(f"{LOSSES_FILE} in {uri} is not what a training writes: {error}") from error
    if any(count < 1 or not math.isfinite(total) for count, total in blocks):
        raise ValueError(f"{LOSSES_FILE} in {uri} has a block without rows, or without a finite loss")
    return blocks
