"""URIs of SageMaker's own images without the SageMaker SDK."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path


@cache
def _registries() -> dict[str, dict[str, str]]:
    return json.loads(Path(__file__).with_name("image_registries.json").read_text(encoding="utf-8"))


def image_uri(image: str, region: str) -> str:
    """Return the full URI of ``REPOSITORY:TAG`` in a region; a full URI is returned as it is.

    Raises:
        LookupError: the repository or the region is not in the table; a full URI in model.yaml always works.

    """
    if ".dkr.ecr." in image:
        return image
    repository = image.split(":", 1)[0]
    registries = _registries().get(repository)
    if registries is None:
        raise LookupError(
            f"image {image!r}: known repositories are {', '.join(sorted(_registries()))}; or give a full URI in model.yaml"
        )
    if region not in registries:
        raise LookupError(
            f"image {image!r} has no registry in region {region!r} in the table; give a full URI in model.yaml"
        )
    domain = "amazonaws.com.cn" if region.startswith("cn-") else "amazonaws.com"
    return f"{registries[region]}.dkr.ecr.{region}.{domain}/{image}"
