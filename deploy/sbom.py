"""Writes what is installed: a CycloneDX bill of materials, and a table of licences.

Everything comes from the metadata that the packages themselves carry (``dist-info``), read from the environments below a folder; nothing is
looked up in a network. The table also covers optional environments: rows of one that is not installed here are kept as they are. Standard
library only: ``python -m deploy.sbom --environments .local/venvs --output build/sbom.cdx.json``.
"""

from __future__ import annotations

import argparse
import json
import re
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import Distribution, MetadataPathFinder
from pathlib import Path
from typing import Any

from deploy.jars import Jar, jars_of

RUNTIME = ("airflow", "jobs", "local_aws")
OPTIONAL = ("sagemaker", "survey", "tensorflow", "xgboost")
UNKNOWN = "not stated"
NAMESPACE = uuid.UUID("6ba7b811-9dad-11d1-80b4-00c04fd430c8")  # RFC 4122's name space of URLs
LONGEST_LICENCE = 60  # a longer text in the License field is the licence itself, not its name


@dataclass(frozen=True, order=True)
class Component:
    """An installed package: normalised name, version, licence as it states it, and the environments that have it."""

    name: str
    version: str
    licence: str
    environments: tuple[str, ...] = ()

    @property
    def purl(self) -> str:
        """Package URL."""
        return f"pkg:pypi/{self.name}@{self.version}"


def installed(environments: Path, names: Iterable[str]) -> list[Component]:
    """Return the packages of some virtual environments.

    Raises:
        FileNotFoundError: an environment does not exist.

    """
    found: dict[tuple[str, str], Component] = {}
    for environment in names:
        places = sorted((environments / environment / "lib").glob("python3.*/site-packages"))
        if not places:
            raise FileNotFoundError(
                f"environment {environment} does not exist below {environments}: run make setup-dev first"
            )
        for distribution in MetadataPathFinder.find_distributions(_context([str(place) for place in places])):
            component = _component(distribution)
            known = found.get((component.name, component.version))
            used = (*(known.environments if known else ()), environment)
            found[component.name, component.version] = Component(
                component.name, component.version, component.licence, tuple(dict.fromkeys(used))
            )
    return sorted(found.values())


def split_by_presence(environments: Path) -> tuple[list[str], list[str]]:
    """Return the names of the environments to list, those of the run time in any case, and of the optional ones that are missing."""
    missing = [name for name in OPTIONAL if not (environments / name / "lib").is_dir()]
    return [*RUNTIME, *(name for name in OPTIONAL if name not in missing)], missing


def remembered(page: str, missing: Iterable[str]) -> list[Component]:
    """Return what an earlier table says about environments that are missing here."""
    rows = re.findall(r"^\| ([\w.-]+) \| ([^ |]+) \| (.+) \| ([\w, ]+) \|$", page, re.MULTILINE)
    kept = [
        Component(name, version, stated, tuple(used for used in environments.split(", ") if used in set(missing)))
        for name, version, stated, environments in rows
    ]
    return [component for component in kept if component.environments]


def merged(*lists: Iterable[Component]) -> list[Component]:
    """Return the components of several lists, each package and version once with all its environments."""
    found: dict[tuple[str, str], Component] = {}
    for component in (item for items in lists for item in items):
        known = found.get((component.name, component.version))
        used = sorted(
            {*component.environments, *(known.environments if known else ())}, key=[*RUNTIME, *OPTIONAL].index
        )
        found[component.name, component.version] = replace(known or component, environments=tuple(used))
    return sorted(found.values())


def licence(metadata: Mapping[str, Any], classifiers: Sequence[str]) -> str:
    """Return a package's licence: its SPDX expression, else its classifiers, else a short License field."""
    if expression := metadata.get("License-Expression"):
        return str(expression)
    stated = [
        item.rsplit(" :: ", 1)[-1] for item in classifiers if item.startswith("License :: ") and item.count("::") > 1
    ]
    if stated:
        return " OR ".join(sorted(set(stated)))
    text = " ".join(str(metadata.get("License") or "").split())
    return text if 0 < len(text) <= LONGEST_LICENCE and text.upper() != "UNKNOWN" else UNKNOWN


def bill(components: Sequence[Component], name: str, version: str, jars: Sequence[Jar] = ()) -> dict[str, Any]:
    """Return a CycloneDX 1.5 document without a time: the same packages give the same bytes, serial number included."""
    listed = [
        {
            "type": "library",
            "bom-ref": item.purl,
            "name": item.name,
            "version": item.version,
            "purl": item.purl,
            "licenses": [{"license": {"name": item.licence}}],
            "properties": [{"name": "environment", "value": used} for used in item.environments],
        }
        for item in components
    ]
    listed += [
        {
            "type": "library",
            "bom-ref": jar.purl,
            "group": jar.group,
            "name": jar.name,
            "version": jar.version,
            "purl": jar.purl,
        }
        for jar in jars
    ]
    serial = uuid.uuid5(NAMESPACE, json.dumps([name, version, listed], sort_keys=True))
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "serialNumber": f"urn:uuid:{serial}",
        "version": 1,
        "metadata": {"component": {"type": "application", "bom-ref": name, "name": name, "version": version}},
        "components": listed,
    }


def licence_page(components: Sequence[Component]) -> str:
    """Return the licences as a Markdown page."""
    rows = [
        f"| {item.name} | {item.version} | {item.licence} | {', '.join(item.environments)} |" for item in components
    ]
    silent = sum(item.licence == UNKNOWN for item in components)
    return "\n".join(
        [
            "# Licences of dependencies",
            "",
            "<!-- written by `make sbom` from the metadata of the installed packages -->",
            "",
            f"{len(components)} packages as they state their licence themselves; {silent} state none. Optional environments are "
            f"listed, too: {', '.join(OPTIONAL)}. The bill of materials `build/sbom.cdx.json` (CycloneDX 1.5) has those that "
            "are installed where it is made.",
            "",
            "CTGAN and RDT, in the environment `survey` only, are under the Business Source License 1.1 (RDT calls it BSL-1.1), "
            "which is not an open-source licence: both may be used, but not to offer others what they do as a commercial service. "
            "Everything but the survey method `ctgan` runs without it.",
            "",
            "| package | version | licence | environments |",
            "|---|---|---|---|",
            *rows,
            "",
        ]
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Write both; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m deploy.sbom", description=__doc__)
    parser.add_argument("--environments", type=Path, required=True)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--licences", type=Path)
    options = parser.parse_args(arguments)
    names, missing = split_by_presence(options.environments)
    components = installed(options.environments, names)
    jars = jars_of(options.environments)
    project = _project(Path(__file__).resolve().parent.parent / "pyproject.toml")
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text(json.dumps(bill(components, *project, jars), indent=1) + "\n", encoding="utf-8")
    if options.licences:
        earlier = options.licences.read_text(encoding="utf-8") if options.licences.exists() else ""
        listed = merged(components, remembered(earlier, missing))
        options.licences.write_text(licence_page(listed), encoding="utf-8")
    print(f"{options.output}: {len(components)} packages of {', '.join(names)}, {len(jars)} jars of Spark")
    if missing:
        print(f"not installed here, licences as they were: {', '.join(missing)}")
    return 0


def _context(path: list[str]) -> Any:
    from importlib.metadata import DistributionFinder

    return DistributionFinder.Context(path=path)


def _component(distribution: Distribution) -> Component:
    metadata: Any = distribution.metadata
    name = re.sub(r"[-_.]+", "-", metadata["Name"]).lower()
    version = distribution.version.partition("+")[
        0
    ]  # a build for one kind of machine, such as +cpu, is the same release
    return Component(name, version, licence(metadata, metadata.get_all("Classifier") or []))


def _project(path: Path) -> tuple[str, str]:
    import tomllib

    project = tomllib.loads(path.read_text(encoding="utf-8"))["project"]
    return project["name"], project["version"]


if __name__ == "__main__":
    raise SystemExit(main())
