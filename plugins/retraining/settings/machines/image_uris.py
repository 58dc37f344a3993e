"""URIs of SageMaker's own images without the SageMaker SDK: from a table that ``make image-uris`` writes from the SDK."""

from __future__ import annotations

import difflib
import json
from functools import cache
from pathlib import Path
from typing import Annotated, Any, cast

from pydantic import AfterValidator


@cache
def _table() -> dict[str, Any]:
    return json.loads(Path(__file__).with_name("image_table.json").read_text(encoding="utf-8"))


def image_uri(image: str, region: str) -> str:
    """Return the full URI of ``REPOSITORY:TAG`` in a region; a full URI is returned as it is.

    Raises:
        LookupError: the table does not have the repository, the tag or the region; a full URI in model.yaml always works.

    """
    if ".dkr.ecr" in image:
        return image
    group = _group(image)
    registries = _table()["registries"][group["registries"]]
    if region not in registries or region in group["not_in"]:
        raise LookupError(
            f"image {image!r} has no registry in region {region!r} in the table; give a full URI in model.yaml"
        )
    domain = _table()["domains"].get(region, "amazonaws.com")
    return f"{registries[region]}.dkr.ecr.{region}.{domain}/{image}"


def known_image(image: str) -> str:
    """Return an image if it is a full URI, or the table has it for some region.

    Raises:
        ValueError: the table has no such repository or tag; the message names what there is.

    """
    if ".dkr.ecr" not in image:
        try:
            _group(image)
        except LookupError as error:
            raise ValueError(str(error)) from error
    return image


def _group(image: str) -> dict[str, Any]:
    repository, _, tag = image.partition(":")
    groups = _table()["repositories"].get(repository)
    if groups is None:
        near = difflib.get_close_matches(repository, _table()["repositories"], n=1)
        known = ", ".join(sorted(_table()["repositories"]))
        raise LookupError(
            f"image {image!r}: {f'did you mean {near[0]}? ' if near else ''}known repositories are {known}; "
            "or give a full URI in model.yaml"
        )
    group = next((group for group in groups if tag in _tags(group)), None)
    if group is None:
        raise LookupError(
            f"image {image!r}: the table has no such tag of {repository}; known are {_nearest(groups, tag)}; "
            "or give a full URI in model.yaml, which always wins"
        )
    return cast("dict[str, Any]", group)


def _tags(group: dict[str, Any]) -> list[str]:
    """Return the tags of a group: each version alone or with each of its suffixes."""
    return [
        f"{version}-{suffix}" if suffix else version
        for version, suffixes in group["versions"].items()
        for suffix in suffixes
    ]


def _nearest(groups: list[dict[str, Any]], tag: str) -> str:
    """Return what to name instead of an unknown tag: the tags of its version, or else all versions."""
    versions = [version for group in groups for version in group["versions"]]
    named = [version for version in versions if tag == version or tag.startswith(f"{version}-")]
    if not named:
        return f"the versions {', '.join(versions)}"
    longest = max(named, key=len)
    group = next(group for group in groups if longest in group["versions"])
    return ", ".join(known for known in _tags(group) if known == longest or known.startswith(f"{longest}-"))


def own_image(image: str) -> str:
    """Return an image if it is the full URI of one in a registry of ECR.

    Raises:
        ValueError: it is not.

    """
    if ".dkr.ecr" not in image:
        raise ValueError(
            f"container {image!r} is not in a registry of ECR, from which alone SageMaker takes images: give its full URI, such as "
            "123456789012.dkr.ecr.us-east-1.amazonaws.com/NAME:TAG"
        )
    return image


Image = Annotated[str, AfterValidator(known_image)]
"""``REPOSITORY:TAG`` of the table, or a full URI."""
OwnImage = Annotated[str, AfterValidator(own_image)]
"""Full URI of an image in a registry of one's own."""
