"""Asks an advisory source about the locked versions, and bandit about the sources; says so when a source cannot be reached.

Standard library only. Exit codes: 0 nothing found, 1 something found, 3 the advisory source could not be reached (bandit still ran).
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

from deploy.jars import jars_of, vulnerabilities

ROOT = Path(__file__).resolve().parent.parent
LOCKS = tuple(sorted(path.name for path in (ROOT / "requirements").glob("*.txt")))
SOURCES = (
    "dags",
    "deploy",
    "experiment",
    "glue_scripts",
    "lambda_functions",
    "local_aws",
    "local_stack",
    "plugins",
    "survey",
)
KNOWN_BAD = "requests==2.19.0\n"  # vulnerable for years (CVE-2018-18074): a source that does not say so knows nothing
ACCEPTED = {
    **{
        (
            f"glue_scripts/merge/by_spark/{module}.py",
            "B608",
        ): "SQL text holds names of the contract (lower-case letters, digits, underscores) and hexadecimal digits of other text"
        for module in ("cells", "counting", "duplicates", "lines", "merge", "outputs", "parsing", "session")
    },
    **{
        (
            f"plugins/retraining/command/{module}.py",
            "B608",
        ): "SQL text holds column names of the contract, own figures, and a temporary folder"
        for module in ("profile", "version_rows")
    },
    (
        "local_aws/glue/libraries/glue_rows/session.py",
        "B608",
    ): "names of tables come from the catalog of the job's own Spark session",
    ("deploy/ci/identity.py", "B310"): "the address is the one that GitHub gives its job",
    ("deploy/ci/plan_comment.py", "B310"): "the address is that of GitHub's API",
    ("deploy/jars.py", "B310"): "a fixed address",
    ("local_aws/testing.py", "B310"): "a port of the loopback",
    ("local_aws/shared/settings.py", "B104"): "compares with the address, does not bind to it",
    ("local_aws/sagemaker/images.py", "B108"): "compares paths with the folder that a job has of its own",
    ("local_aws/shared/running/isolation.py", "B108"): "covers the machine's /tmp with a folder of the job's own",
    ("local_aws/shared/running/spare_python.py", "B102"): "the script is the job that it runs",
    ("plugins/retraining/inside/artifact.py", "B202"): "every member is checked in the lines before",
}
SECONDS = 300
FOUND, NOT_REACHED = 1, 3


def main(arguments: Sequence[str] | None = None) -> int:
    """Run both tools; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m deploy.audit", description=__doc__)
    parser.add_argument("--tools", type=Path, required=True, help="bin folder with pip-audit and bandit")
    options = parser.parse_args(arguments)
    codes = [bandit(options.tools), advisories(options.tools), java(options.tools.parents[1])]
    return FOUND if FOUND in codes else max(codes)


def bandit(tools: Path) -> int:
    """Look for risky patterns of medium and high severity in the sources, other than those that are accepted with a reason."""
    command: list[str | Path] = [
        tools / "bandit",
        "--quiet",
        "--recursive",
        "--severity-level",
        "medium",
        "--format",
        "json",
        *SOURCES,
    ]
    done = subprocess.run(command, cwd=ROOT, check=False, timeout=SECONDS, capture_output=True, text=True)
    results = json.loads(done.stdout)["results"]
    left = [item for item in results if (item["filename"].removeprefix("./"), item["test_id"]) not in ACCEPTED]
    for item in left:
        say(f"bandit {item['test_id']} {item['filename']}:{item['line_number']}: {item['issue_text']}")
    say(f"bandit: {len(left)} finding(s) of medium or high severity, {len(results) - len(left)} accepted with a reason")
    return FOUND if left else 0


def advisories(tools: Path) -> int:
    """Ask about every lock, once the source has proved that it knows a famous vulnerability."""
    _, answer = ask(tools, KNOWN_BAD)
    if not any("requests" in line and "2.19.0" in line and "not found" not in line for line in answer.splitlines()):
        say(
            "pip-audit: no advisory source can be reached from here, so nothing is known about vulnerabilities; run make audit where "
            f"pypi.org answers. Its last words: {' '.join(answer.split())[-200:]}"
        )
        return NOT_REACHED
    found = 0
    for lock in LOCKS:
        pins = re.findall(
            r"^[\w.-]+(?:\[[\w,-]+\])?==[^ \\]+", (ROOT / "requirements" / lock).read_text(), re.MULTILINE
        )
        code, answer = ask(tools, "\n".join(pins) + "\n")
        say(f"pip-audit {lock}: {'no known vulnerability' if code == 0 else answer} ({len(pins)} packages)")
        found |= code
    return FOUND if found else 0


def java(environments: Path) -> int:
    """Ask about the jars of Spark: advisories about Python packages know nothing of what a package bundles."""
    jars = jars_of(environments)
    found = vulnerabilities(jars)
    if found is None:
        say(
            f"Spark's {len(jars)} jars: no advisory source can be reached from here (api.osv.dev); run make audit where it answers"
        )
        return NOT_REACHED
    for jar, ids in found.items():
        say(f"jar {jar.purl}: {', '.join(ids)}")
    unnamed = sum(1 for jar in jars if not jar.group)
    say(f"Spark's jars: {len(found)} of {len(jars)} with known vulnerabilities; {unnamed} do not say what they are")
    return FOUND if found else 0


def ask(tools: Path, pins: str) -> tuple[int, str]:
    """Run pip-audit on some pins; return its exit code and what it said."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "pins.txt"
        path.write_text(pins, encoding="utf-8")
        command: list[str | Path] = [tools / "pip-audit", "--requirement", path, "--no-deps", "--disable-pip"]
        try:
            done = subprocess.run(command, cwd=ROOT, check=False, timeout=SECONDS, capture_output=True, text=True)
        except subprocess.TimeoutExpired:
            return FOUND, "timed out"
    return done.returncode, done.stdout + done.stderr


def say(line: str) -> None:
    """Print at once, also into a pipe."""
    print(line, flush=True)


if __name__ == "__main__":
    raise SystemExit(main())
