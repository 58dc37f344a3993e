"""The Java archives that Spark brings along: what they are, and what an advisory source knows about them.

A jar says what it is in its own ``META-INF/maven``; one that does not is named after its file. Standard library only.
"""

from __future__ import annotations

import json
import re
import urllib.request
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

OSV = "https://api.osv.dev/v1/querybatch"
SECONDS = 60
#: Of those that do not tell: the groups under which their makers publish them.
_GROUPS = {
    "lz4-java": "org.lz4",
    "snappy-java": "org.xerial.snappy",
    "libthrift": "org.apache.thrift",
    "zstd-jni": "com.github.luben",
}
_FILE = re.compile(r"(?P<name>.+?)-(?P<version>\d[\w.+-]*?)(?:-(?:tests|natives?|linux.*))?\.jar")


@dataclass(frozen=True, order=True)
class Jar:
    """A Java archive by its Maven coordinates; the group is empty when the jar does not tell."""

    group: str
    name: str
    version: str

    @property
    def purl(self) -> str:
        """Package URL."""
        return (
            f"pkg:maven/{self.group}/{self.name}@{self.version}"
            if self.group
            else f"pkg:generic/{self.name}@{self.version}"
        )


#: Vulnerable for years (CVE-2021-44228): a source that does not say so knows nothing.
KNOWN_BAD = Jar("org.apache.logging.log4j", "log4j-core", "2.14.1")


def jars_of(environments: Path) -> list[Jar]:
    """Return the jars of PySpark in the environments below a folder, shaded ones included."""
    found = {
        jar
        for path in environments.glob("*/lib/python3.*/site-packages/pyspark/jars/*.jar")
        for jar in coordinates(path)
    }
    return sorted(found)


def coordinates(path: Path) -> list[Jar]:
    """Return what a jar says that it and its contents are; its file's name when it says nothing."""
    found = []
    with zipfile.ZipFile(path) as archive:
        for name in archive.namelist():
            if name.startswith("META-INF/maven/") and name.endswith("/pom.properties"):
                lines = archive.read(name).decode("utf-8", "replace").splitlines()
                stated = dict(line.strip().partition("=")[::2] for line in lines if "=" in line)
                if {"groupId", "artifactId", "version"} <= stated.keys():
                    found.append(Jar(stated["groupId"], stated["artifactId"], stated["version"]))
    match = _FILE.fullmatch(path.name)
    if match is None:
        return found or [Jar("", path.stem, "unknown")]
    named = Jar(_GROUPS.get(match["name"], ""), match["name"], match["version"])
    return found or [named]


def vulnerabilities(jars: Sequence[Jar]) -> dict[Jar, list[str]] | None:
    """Return the advisories by jar, None when no source that knows anything can be reached."""
    asked = [KNOWN_BAD, *(jar for jar in jars if jar.group)]
    queries = [
        {"package": {"name": f"{jar.group}:{jar.name}", "ecosystem": "Maven"}, "version": jar.version} for jar in asked
    ]
    request = urllib.request.Request(
        OSV, json.dumps({"queries": queries}).encode(), {"Content-Type": "application/json"}
    )
    try:
        with urllib.request.urlopen(request, timeout=SECONDS) as answer:
            results = json.load(answer)["results"]
    except (OSError, ValueError, KeyError):
        return None
    named = {jar: [item["id"] for item in result.get("vulns", [])] for jar, result in zip(asked, results, strict=True)}
    if not named.pop(KNOWN_BAD):
        return None
    return {jar: ids for jar, ids in named.items() if ids}
