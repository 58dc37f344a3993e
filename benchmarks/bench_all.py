"""All benchmarks in a short form, held against their goals and against the last run on this machine.

Writes ``build/bench.json``: figures, their ratio to the last run's, seconds and exit code of each benchmark, the machine, the revision.
Exit 1 when a figure misses its goal or a benchmark failed. What got slower since the last run is told and does not fail: another program
may have been at work.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))  # so that it also runs as a plain script

from benchmarks.figures import FILE_VARIABLE  # noqa: E402
from local_stack import layout  # noqa: E402

GOALS = Path(__file__).with_name("goals.yaml")
WORSE = 1.25
"""How much larger than in the last run a figure is called slower."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run them, print the table, and write the file."""
    goals = yaml.safe_load(GOALS.read_text(encoding="utf-8"))
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=list(goals), default=list(goals), help="these benchmarks")
    parser.add_argument("--output", type=Path, default=ROOT / "build" / "bench.json")
    chosen = parser.parse_args(arguments)
    last = json.loads(chosen.output.read_text(encoding="utf-8")) if chosen.output.exists() else {}
    same = last.get("machine") == machine()
    found = {}
    for number, name in enumerate(chosen.only, 1):
        print(f"{number}/{len(chosen.only)} {name} {goals[name].get('arguments', '')}".rstrip(), flush=True)
        found[name] = run(name, goals[name], chosen.output.parent)
    rows = [
        row
        for name in chosen.only
        for row in judged(
            name,
            found[name],
            goals[name].get("figures", {}),
            last.get("benchmarks", {}).get(name, {}).get("figures", {}) if same else {},
        )
    ]
    document = {
        "measured_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "revision": revision(),
        "machine": machine(),
        "load": os.getloadavg()[0],
        "benchmarks": {**(last.get("benchmarks", {}) if same else {}), **found},
        "ratios": {f"{row['benchmark']}: {row['figure']}": row["ratio"] for row in rows if row["ratio"] is not None},
    }
    chosen.output.parent.mkdir(parents=True, exist_ok=True)
    chosen.output.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    print("\n" + "\n".join(table(rows)) + f"\nwritten: {chosen.output}")
    return int(any(row["missed"] for row in rows))


def run(name: str, goal: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """Run one benchmark; return its figures, seconds, exit code, and where its output lies."""
    folder.mkdir(parents=True, exist_ok=True)
    log = folder / f"bench-{name}.log"
    with tempfile.TemporaryDirectory() as temporary:
        noted = Path(temporary) / "figures.json"
        command = [str(layout.python(goal["environment"])), str(ROOT / "benchmarks" / f"bench_{name}.py")]
        began = time.monotonic()
        with log.open("w", encoding="utf-8") as output:
            done = subprocess.run(
                [*command, *str(goal.get("arguments", "")).split()],
                cwd=ROOT,
                env={**os.environ, FILE_VARIABLE: str(noted)},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                check=False,
            )
        figures = json.loads(noted.read_text(encoding="utf-8")) if noted.exists() else {}
    seconds = round(time.monotonic() - began, 1)
    return {"figures": figures, "seconds": seconds, "exit": done.returncode, "log": str(log.relative_to(folder))}


def judged(
    name: str, found: Mapping[str, Any], goals: Mapping[str, Mapping[str, float]], last: Mapping[str, float]
) -> list[dict[str, Any]]:
    """Hold the figures of one benchmark against its goals and the last ones.

    Args:
        name: of the benchmark.
        found: what `run` returned.
        goals: ``at_most`` or ``at_least`` by figure.
        last: figures of the last run on this machine.

    Returns:
        Rows of the table: ``benchmark``, ``figure``, ``value``, ``goal``, ``ratio`` to the last run, ``missed``, ``slower``.

    """
    rows = []
    for figure in dict.fromkeys([*goals, *found["figures"]]):
        value, goal = found["figures"].get(figure), goals.get(figure, {})
        least, most = goal.get("at_least"), goal.get("at_most")
        ratio = value / last[figure] if value is not None and last.get(figure) else None
        missed = bool(goal) and (
            value is None or (most is not None and value > most) or (least is not None and value < least)
        )
        rows.append(
            {
                "benchmark": name,
                "figure": figure,
                "value": value,
                "goal": f"at most {most:g}" if most is not None else f"at least {least:g}" if least is not None else "",
                "ratio": ratio,
                "missed": missed,
                "slower": ratio is not None and (ratio < 1 / WORSE if least is not None else ratio > WORSE),
            }
        )
    if found["exit"] and not any(row["missed"] for row in rows):
        said = f"exit code {found['exit']}: {found['log']}"
        nothing = dict.fromkeys(("value", "ratio"))
        rows.append({"benchmark": name, "figure": said, "goal": "0", **nothing, "missed": True, "slower": False})
    return rows


def table(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the lines of the table, and one line that says what was missed and what got slower."""
    lines = [f"{'benchmark':<10}{'figure':<60}{'measured':>10}  {'goal':<14}{'to the last':>11}"]
    for row in rows:
        value = "" if row["value"] is None else f"{row['value']:.4g}"
        ratio = "" if row["ratio"] is None else f"{row['ratio']:.2f} x"
        mark = "  MISSED" if row["missed"] else "  slower" if row["slower"] else ""
        lines.append(f"{row['benchmark']:<10}{row['figure']:<60}{value:>10}  {row['goal']:<14}{ratio:>11}{mark}")
    count = {word: sum(row[word] for row in rows) for word in ("missed", "slower")}
    return [
        *lines,
        f"{count['missed']} missed, {count['slower']} slower than in the last run by more than {WORSE - 1:.0%}",
    ]


def machine() -> dict[str, Any]:
    """Return what the figures depend on: processor, cores, memory, system, Python."""
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    models = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return {
        "processor": models[0] if models else platform.machine(),
        "cores": os.cpu_count(),
        "memory_gib": round(memory),
        "system": platform.system(),
        "python": platform.python_version(),
    }


def revision() -> str:
    """Return the commit, with a + when files differ from it; empty outside of a repository."""
    done = subprocess.run(
        ["git", "describe", "--always", "--abbrev=12", "--dirty=+"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout.strip()


if __name__ == "__main__":
    sys.exit(main())
