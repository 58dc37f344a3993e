"""Writes the table of SageMaker's own images that the library reads, from what the SageMaker SDK says.

Run in the environment that has the SDK, by ``make image-uris``; ``--check`` only compares. The library itself needs no SDK: it reads
the JSON file. A table is a plain value here, so that its text depends on nothing but the SDK's version.
"""

from __future__ import annotations

import argparse
import functools
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

TABLE = Path(__file__).resolve().parents[1] / "plugins" / "retraining" / "settings" / "machines" / "image_table.json"

#: Framework of the SDK -> the family of registries (AWS accounts by region) that its images share.
FAMILIES = {"sklearn": "algorithms", "xgboost": "algorithms", "tensorflow": "deep-learning", "pytorch": "deep-learning"}

#: What the table holds; older and special repositories (elastic inference, Graviton) are left to full URIs.
REPOSITORIES = (
    "pytorch-inference",
    "pytorch-training",
    "sagemaker-scikit-learn",
    "sagemaker-xgboost",
    "tensorflow-inference",
    "tensorflow-training",
)

#: The SDK derives the processor in a tag from an instance type: one of each kind.
_INSTANCES = {"cpu": "ml.m5.large", "gpu": "ml.g5.xlarge"}
_GRAVITON = "ml.c7g.large"
_USUAL_DOMAIN = "amazonaws.com"


class Image(NamedTuple):
    """One image and the registries that have it."""

    family: str
    repository: str
    version: str
    suffix: str
    registries: dict[str, str]


def main(arguments: list[str] | None = None) -> int:
    """Write the table, or tell whether it is stale."""
    parser = argparse.ArgumentParser(prog="python -m deploy.image_table", description=__doc__.partition("\n")[0])
    parser.add_argument("--check", action="store_true", help="compare only; exit code 1 when the table is stale")
    parser.add_argument("--output", type=Path, default=TABLE, help="the JSON file (default: %(default)s)")
    options = parser.parse_args(arguments)
    text = table_text(list(images_of_the_sdk()), domains_of_the_sdk())
    if not options.check:
        options.output.write_text(text, encoding="utf-8")
        return 0
    if options.output.read_text(encoding="utf-8") != text:
        print(
            f"{options.output.name} is not what the installed SageMaker SDK says: run make image-uris", file=sys.stderr
        )
        return 1
    return 0


def images_of_the_sdk() -> Iterator[Image]:
    """Yield every image of the repositories: all versions, short (2.19) and full (2.19.0), Pythons and processors."""
    for choice in _choices():
        repository, _, tag = choice.uri(next(iter(choice.registries))).partition("/")[2].partition(":")
        if not tag.startswith(choice.version):
            raise ValueError(f"{repository}:{tag}: the tag does not begin with the version {choice.version}")
        suffix = tag[len(choice.version) :].removeprefix("-")
        yield Image(FAMILIES[choice.framework], repository, choice.version, suffix, choice.registries)


def domains_of_the_sdk() -> dict[str, str]:
    """Return the domain of the registries of each region that has another than ``amazonaws.com``."""
    domains: dict[str, str] = {}
    for choice in _choices():
        for region in choice.registries.keys() - domains.keys():
            domains[region] = choice.uri(region).partition("/")[0].partition(f".dkr.ecr.{region}.")[2]
    return {region: domain for region, domain in domains.items() if domain != _USUAL_DOMAIN}


class _Choice(NamedTuple):
    """What one image is asked for with, and the registries of the SDK's own files that have it."""

    framework: str
    scope: str
    version: str
    python: str | None
    instance: str
    registries: dict[str, str]

    def uri(self, region: str) -> str:
        return str(
            _sdk().retrieve(
                self.framework,
                region,
                version=self.version,
                py_version=self.python,
                instance_type=self.instance,
                image_scope=self.scope,
            )
        )


def _choices() -> Iterator[_Choice]:
    for framework in FAMILIES:
        for scope, body in _sdk().config_for_framework(framework).items():
            aliases = body.get("version_aliases", {})
            for version in (*body["versions"], *aliases):
                for python, entry in _pythons(body["versions"][aliases.get(version, version)]):
                    if entry["repository"] in REPOSITORIES:
                        processors = body.get("processors") or entry.get("processors") or ["cpu"]
                        for processor in processors:
                            instance = _GRAVITON if scope == "inference_graviton" else _INSTANCES[processor]
                            yield _Choice(framework, scope, version, python, instance, entry["registries"])


def _pythons(entry: dict[str, Any]) -> Iterator[tuple[str | None, dict[str, Any]]]:
    """Yield the Pythons of a version; where each has a repository of its own, the version holds one entry for each."""
    if "repository" in entry:
        for python in entry.get("py_versions") or [None]:
            yield python, entry
    else:
        yield from entry.items()


@functools.cache
def _sdk() -> Any:
    """Return the SDK's module, its reads of its own files kept: it reads them again for every URI."""
    from sagemaker.core import common_utils, image_uris  # noqa: TID251 - this module runs in the SDK's environment

    image_uris.config_for_framework = functools.cache(image_uris.config_for_framework)
    common_utils._botocore_resolver = functools.cache(common_utils._botocore_resolver)
    return image_uris


# -- the text --------------------------------------------------------------------------------------------------------


def table_text(images: list[Image], domains: dict[str, str]) -> str:
    """Return the table as JSON with one line for each region and each version, in an order of its own.

    ``domains``: by region, where it is not ``amazonaws.com``. ``registries``: accounts by family and region.
    ``repositories``: for each, groups of versions; a group is in all regions of its family but those ``not_in`` lists. A version's
    tags are the version itself, followed by ``-`` and each suffix; an empty suffix adds nothing.

    Raises:
        ValueError: a family has two accounts in one region, so that the table could not be written like this.

    """
    registries: dict[str, dict[str, str]] = {}
    for image in images:
        accounts = registries.setdefault(image.family, {})
        for region, account in image.registries.items():
            if accounts.setdefault(region, account) != account:
                raise ValueError(f"{image.repository}: {region} has the registries {accounts[region]} and {account}")
    groups: dict[str, dict[tuple[str, tuple[str, ...]], dict[str, set[str]]]] = {}
    for image in images:
        absent = tuple(sorted(registries[image.family].keys() - image.registries.keys()))
        versions = groups.setdefault(image.repository, {}).setdefault((image.family, absent), {})
        versions.setdefault(image.version, set()).add(image.suffix)
    table = {
        "domains": dict(sorted(domains.items())),
        "registries": {family: dict(sorted(accounts.items())) for family, accounts in sorted(registries.items())},
        "repositories": {
            repository: sorted(
                (
                    {
                        "registries": family,
                        "not_in": _Line(absent),
                        "versions": {name: _Line(sorted(versions[name])) for name in sorted(versions, key=_order)},
                    }
                    for (family, absent), versions in found.items()
                ),
                key=lambda group: _order(next(iter(group["versions"]))),
            )
            for repository, found in sorted(groups.items())
        },
    }
    return _render(table, "") + "\n"


class _Line(list[str]):
    """A list that is written on one line."""


def _order(version: str) -> tuple[tuple[int, ...], str]:
    return tuple(int(number) for number in re.findall(r"\d+", version)), version


def _render(value: Any, indent: str) -> str:
    inner = indent + " "
    if isinstance(value, dict):
        lines = [f"{inner}{json.dumps(name)}: {_render(item, inner)}" for name, item in value.items()]
        return "{\n" + ",\n".join(lines) + f"\n{indent}}}"
    if isinstance(value, list) and not isinstance(value, _Line):
        return "[\n" + ",\n".join(f"{inner}{_render(item, inner)}" for item in value) + f"\n{indent}]"
    return json.dumps(value)


if __name__ == "__main__":
    sys.exit(main())
