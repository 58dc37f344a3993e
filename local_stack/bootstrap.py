"""Creates the Python environments from the pinned requirements. Nothing is installed outside ``.local``.

Run by whatever Python is there: ``python3 -m local_stack.bootstrap airflow jobs``. Standard library only. ``spark-classes`` among the
names is no environment: it records the classes of a Spark job, which local_aws otherwise does itself when it has run for a while.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path

from local_stack import layout
from local_stack.preflight import PreflightError, check_disk, find_java, find_python

UV = layout.ROOT / "requirements" / "uv.constraints"  # the installer, which lives in a venv of its own
RUNTIME = ("local_aws", "jobs", "airflow")
SPARK_CLASSES = "spark-classes"
OF_SPARK = ("local_aws", "jobs")  # what they are recorded with
# A lock names all packages of its environment, so uv does not ask each what it wants: for the answer it would fetch pyspark, 430 MB, and
# again to build it. Only the build of PyTorch that fits the machine may want packages that no lock knows.
UNLOCKED = ("survey",)

# Jobs may not write into their environment, so what they may import is compiled ahead, without the tests of their libraries, a third of it.
# Airflow's processes may, and use half of theirs.
COMPILED_AS_USED = ("airflow",)
TESTS = r"/site-packages/.*/tests/"

BUILD = layout.ROOT / "requirements" / "build.constraints"  # what packages without wheels are built with
# The index has no wheel of pyspark. Most of the half minute in which one is built is compression, which nobody needs on the same disk.
UNCOMPRESSED = "pyspark:--build-option=--compression=stored"


def main(arguments: list[str]) -> int:
    """Create the named environments, or the three of the run time."""
    names = arguments or list(RUNTIME)
    try:
        ensure(names)
    except PreflightError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except subprocess.CalledProcessError as error:
        print(
            f"error: {' '.join(str(part) for part in error.cmd[:6])} ... ended with {error.returncode}; its output is above",
            file=sys.stderr,
        )
        return 1
    return 0


def ensure(names: list[str]) -> float:
    """Create those of the environments that are missing or older than their lock file, side by side; return the seconds it took.

    While one waits for the network, another has the processors. Where Spark's classes are asked for, they are recorded as soon as the two
    that it takes are there.

    Raises:
        CalledProcessError: one could not be created; the others were.

    """
    started = time.monotonic()
    record = SPARK_CLASSES in names
    environments = dict.fromkeys([*names, *(OF_SPARK if record else ())])
    stale = [name for name in environments if name != SPARK_CLASSES and not _is_current(name)]
    if stale:
        interpreter = find_python()
        if "jobs" in stale or "dev" in stale:
            find_java()
        check_disk(layout.LOCAL)
        uv = _uv(interpreter)
    with ThreadPoolExecutor(max_workers=max(1, len(stale))) as pool:
        creating = {name: pool.submit(_create, uv, interpreter, name) for name in stale}
        wait([creating[name] for name in OF_SPARK if name in creating])
        if record and all(map(_is_current, OF_SPARK)) and not _classes_marker().exists():
            _record_spark_classes()
        for created in creating.values():
            created.result()
    seconds = time.monotonic() - started
    _note_setup(seconds if stale else None)
    return seconds


def lock_file(name: str) -> Path:
    """Return the lock file of an environment.

    Raises:
        PreflightError: there is no such environment.

    """
    path = layout.ROOT / "requirements" / f"{name}.txt"
    if not path.exists():
        known = ", ".join(sorted(item.stem for item in path.parent.glob("*.txt")))
        raise PreflightError(f"there is no environment {name!r}; known are {known} and the step {SPARK_CLASSES}")
    return path


def _marker(name: str) -> Path:
    return layout.VENVS / name / ".lock-digest"


def _digest(name: str) -> str:
    return hashlib.sha256(lock_file(name).read_bytes()).hexdigest()


def _is_current(name: str) -> bool:
    marker, digest = _marker(name), _digest(name)
    return marker.exists() and marker.read_text() == digest and layout.python(name).exists()


def _uv(interpreter: str) -> Path:
    home = layout.VENVS / "uv"
    uv = home / "bin" / "uv"
    if not uv.exists():
        print(f"creating {home.relative_to(layout.LOCAL.parent)}", flush=True)
        subprocess.run([interpreter, "-m", "venv", "--clear", home], check=True)
        options = ["--quiet", "--disable-pip-version-check", "--require-hashes", "--requirement"]
        subprocess.run([home / "bin" / "pip", "install", *options, UV], check=True)
    return uv


def _create(uv: Path, interpreter: str, name: str) -> None:
    home = layout.VENVS / name
    started = time.monotonic()
    print(f"creating {home.relative_to(layout.LOCAL.parent)} from requirements/{name}.txt", flush=True)
    subprocess.run([uv, "venv", "--quiet", "--clear", "--python", interpreter, home], check=True)
    subprocess.run(
        [
            uv,
            "pip",
            "install",
            "--quiet",
            "--python",
            layout.python(name),
            "--requirement",
            lock_file(name),
            "--config-settings-package",
            UNCOMPRESSED,
            *([] if name in UNLOCKED else ["--no-deps"]),
        ],
        check=True,
        env=os.environ | _wheels(name) | {"UV_BUILD_CONSTRAINT": str(BUILD)},
    )
    if name not in COMPILED_AS_USED:
        folders = sorted(home.glob("lib/python*/site-packages"))
        # It counts a file that no Python could compile, a template for instance, as a failure.
        subprocess.run([layout.python(name), "-m", "compileall", "-qq", "-j", "0", "-x", TESTS, *folders], check=False)
    if name == "airflow":  # while the jobs' environment is made, which takes longer
        subprocess.run([layout.python(name), "-m", "local_stack.airflow_database"], cwd=layout.ROOT, check=False)
    _marker(name).write_text(_digest(name))
    print(f"  {home.relative_to(layout.LOCAL.parent)} is ready after {time.monotonic() - started:.0f} s", flush=True)


def _record_spark_classes() -> None:
    """Halve the start of every local Spark job, once, by recording the classes that it loads."""
    started = time.monotonic()
    print("recording the classes of a Spark job, so that local Glue jobs start in half the time", flush=True)
    command: list[str | Path] = [
        layout.python("local_aws"),
        "-m",
        "local_aws.glue.spark",
        "--environments",
        layout.VENVS,
        "--java-home",
        find_java(),
    ]
    done = subprocess.run(command, cwd=layout.ROOT, check=False)
    _classes_marker().touch()  # also when it failed: jobs run without, and no verb should try again
    outcome = "could not be recorded" if done.returncode else "are recorded"
    print(f"  the classes {outcome} after {time.monotonic() - started:.0f} s", flush=True)


def _classes_marker() -> Path:
    return layout.VENVS / "jobs" / ".classes-recorded"


def _wheels(name: str) -> dict[str, str]:
    """Return uv's variables for wheels that do not come from the package index.

    pip's ``PIP_FIND_LINKS`` is passed on: uv has a variable of its own. Of PyTorch the index has only a build of several GB with CUDA, so
    uv is told to take the build that fits this machine, unless such a place holds one or ``UV_TORCH_BACKEND`` says which.
    """
    places = os.environ.get("PIP_FIND_LINKS", "").split()
    made = {"UV_FIND_LINKS": ",".join(places)} if places and "UV_FIND_LINKS" not in os.environ else {}
    torch = "\ntorch==" in lock_file(name).read_text()
    if (
        torch
        and "UV_TORCH_BACKEND" not in os.environ
        and not any(any(Path(place).glob("torch-*.whl")) for place in places)
    ):
        made["UV_TORCH_BACKEND"] = "auto"
    return made


def _note_setup(seconds: float | None) -> None:
    """Remember how long the last real set-up took, for the demo's summary."""
    if seconds is not None:
        layout.LOCAL.mkdir(parents=True, exist_ok=True)
        (layout.LOCAL / "setup.json").write_text(json.dumps({"seconds": round(seconds, 1)}))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
