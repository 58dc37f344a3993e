"""``pip`` of a job: ``python -m pip install -r requirements.txt`` succeeds when the job's environment has what is asked for.

A job here runs with the packages of the environment that stands for its image. What that lacks, or has in another version, is refused by
name, so that nobody trains with another library than the one asked for. Only the standard library: it runs in any environment.
"""

import importlib.metadata
import operator
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

_REQUIREMENT = re.compile(r"([A-Za-z0-9][A-Za-z0-9._-]*)\s*(\[[^\]]*\])?\s*\(?([^;)]*)\)?\s*(?:;(.*))?")
_CLAUSE = re.compile(r"(===|==|!=|~=|>=|<=|>|<)\s*([A-Za-z0-9.*+!_-]+)")
_MARKER = re.compile(r"python_version\s*(==|!=|>=|<=|>|<)\s*['\"]([0-9.]+)['\"]")
_COMPARED: "dict[str, Callable[[tuple[int, ...], tuple[int, ...]], bool]]" = {
    "==": operator.eq,
    "!=": operator.ne,
    ">=": operator.ge,
    "<=": operator.le,
    ">": operator.gt,
    "<": operator.lt,
}
#: Options of ``pip install`` that take the next word.
_WITH_VALUE = (
    "-i", "--index-url", "--extra-index-url", "--trusted-host", "-c", "--constraint", "-f", "--find-links", "--timeout", "--retries",
    "--progress-bar", "--cache-dir", "--log", "--proxy", "--cert", "--upgrade-strategy", "--root-user-action",
)  # fmt: skip


def unmet(requirement: str) -> str:
    """Return why this environment does not do for a requirement such as ``pandas>=2,<3``; nothing when it does."""
    match = _REQUIREMENT.fullmatch(requirement.strip())
    if not match:
        return f"{requirement} (only names with versions are understood)"
    name, _, clauses, marker = match.groups()
    if marker and not _applies(marker):
        return ""
    wanted = [_CLAUSE.fullmatch(clause.strip()) for clause in filter(None, clauses.split(","))]
    if not all(wanted):
        return f"{requirement} (only names with versions are understood)"
    try:
        version = importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return f"{requirement} (the environment has no {name})"
    if all(_fits(version, sign, bound) for sign, bound in (clause.groups() for clause in wanted if clause)):
        return ""
    return f"{requirement} (the environment has {name} {version})"


def _applies(marker: str) -> bool:
    match = _MARKER.fullmatch(marker.strip())
    if not match:
        return True
    return _COMPARED[match.group(1)](_release(f"{sys.version_info[0]}.{sys.version_info[1]}"), _release(match.group(2)))


def _release(version: str) -> "tuple[int, ...]":
    digits = re.match(r"v?(?:\d+!)?(\d+(?:\.\d+)*)", version)
    numbers = [int(part) for part in digits.group(1).split(".")] if digits else []
    while numbers and numbers[-1] == 0:
        numbers.pop()
    return tuple(numbers)


def _fits(version: str, sign: str, bound: str) -> bool:
    if bound.endswith(".*"):
        length = bound.count(".")
        same = version.split(".")[:length] == bound.split(".")[:length]
        return same if sign == "==" else not same
    if sign == "===":
        return version == bound
    if sign == "~=":
        parts = bound.split(".")
        return _release(version) >= _release(bound) and version.split(".")[: len(parts) - 1] == parts[:-1]
    return _COMPARED[sign](_release(version), _release(bound))


def requirements(words: "list[str]") -> Iterator[str]:
    """Yield what the words after ``pip install`` ask for; files of requirements are read.

    Raises:
        OSError: such a file cannot be read.

    """
    rest = iter(words)
    for word in rest:
        if word in ("-r", "--requirement"):
            yield from _of_file(Path(next(rest, "")))
        elif word.startswith("--requirement="):
            yield from _of_file(Path(word.partition("=")[2]))
        elif word in ("-e", "--editable"):
            yield f"-e {next(rest, '')}"
        elif word in _WITH_VALUE:
            next(rest, "")
        elif not word.startswith("-"):
            yield word


def _of_file(path: Path) -> Iterator[str]:
    text = path.read_text(encoding="utf-8-sig").replace("\\\n", " ")
    for line in text.splitlines():
        words = re.sub(r"(^|\s)#.*", "", line).strip()
        words = re.sub(r"\s--hash=\S+", "", words).strip()
        if words.startswith(("-r", "--requirement")):
            yield from _of_file(path.parent / re.split(r"[\s=]+", words, maxsplit=1)[1])
        elif (words and not words.startswith("-")) or words.startswith(("-e", "--editable")):
            yield words


def _uninstall(words: "list[str]") -> int:
    """Skip what is not there, as pip does; what is there stays, and that is an error."""
    kept = []
    for name in requirements(words):
        if unmet(name):
            sys.stderr.write(f"WARNING: Skipping {name} as it is not installed.\n")
        else:
            kept.append(name)
    if kept:
        sys.stderr.write(f"local_aws uninstalls no packages: {', '.join(kept)} belongs to the job's environment\n")
    return 1 if kept else 0


def main(words: "list[str]") -> int:
    """Answer one command of pip; the exit code is pip's."""
    command = next((word for word in words if not word.startswith("-")), "")
    if command in ("list", "freeze"):
        for found in sorted({f"{one.name}=={one.version}" for one in importlib.metadata.distributions()}):
            sys.stdout.write(f"{found}\n")
        return 0
    if {"--version", "-V"} & set(words):
        sys.stdout.write("pip of local_aws, which installs nothing\n")
        return 0
    if command == "uninstall":
        return _uninstall(words[words.index("uninstall") + 1 :])
    if command != "install":
        sys.stderr.write(f"local_aws: pip of a job has no command {command or ' '.join(words)}\n")
        return 1
    after = words[words.index("install") + 1 :]
    try:
        asked = list(requirements(after))
    except OSError as error:
        sys.stderr.write(f"ERROR: Could not open requirements file: {error}\n")
        return 1
    missing = [reason for reason in map(unmet, asked) if reason]
    for one in asked:
        sys.stdout.write(f"Requirement already satisfied: {one}\n" if not unmet(one) else "")
    if missing:
        sys.stderr.write(
            f"local_aws installs no packages: a job runs with those of its environment (requirements/jobs.txt), which lacks "
            f"{'; '.join(missing)}\n"
        )
    return 1 if missing else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
