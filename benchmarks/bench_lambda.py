"""Memory, time and precision of the Lambda ``analyze_results`` on 10 million rows, of numbers and of two classes.

    python benchmarks/bench_lambda.py [--output .local/bench] [--rows 10000000] [--task regression|binary]

Writes an evaluation file (about 500 MB, deleted afterwards), serves it on the loopback as S3 would, and lets a new
Python process call the real handler on it: boto3 and the download are part of what is measured. The result is compared
with numpy over the same values. The memory is the process's peak resident set, the time is to be held against the 15
minutes that a Lambda may run.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))  # so that it also runs as a plain script

from benchmarks.figures import note  # noqa: E402
from local_stack import layout  # noqa: E402

HANDLER_FOLDER = ROOT / "lambda_functions" / "analyze_results"
GROUPS = np.array(["M", "F", "I"])
BLOCK_ROWS = 250_000
TARGETS = {
    "regression": {"peak_mb": 128.0, "error": 1e-9, "seconds": 900.0},
    "binary": {"peak_mb": 128.0, "error": 1e-4, "seconds": 900.0},
}
CHILD = """
import json, resource, sys, time
from pathlib import Path
started = time.perf_counter()
import handler
result = handler.handler(json.loads(sys.argv[1]))
seconds = time.perf_counter() - started
status = Path("/proc/self/status")
# ru_maxrss also counts what the parent held when it started this process, VmHWM does not; macOS has bytes and no /proc.
peak = ([int(line.split()[1]) * 1024 for line in status.read_text().splitlines() if line.startswith("VmHWM")][0]
        if status.exists() else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
print(json.dumps({"result": result, "seconds": seconds, "cpu_seconds": time.process_time(), "peak_mb": peak / 2**20}))
"""


def write_rows(path: Path, rows: int) -> dict[str, float]:
    """Write ``rows`` rows of a regression to ``path`` and return numpy's figures for them."""
    rng = np.random.default_rng(0)
    columns: list[list[np.ndarray]] = [[], [], []]
    with path.open("w", encoding="utf-8") as file:
        file.write("row,truth,challenger,champion,group,file\n")
        for start in range(0, rows, BLOCK_ROWS):
            count = min(BLOCK_ROWS, rows - start)
            truth = rng.integers(1, 30, count).astype(float)
            challenger, champion = (truth + rng.standard_t(4, count) * 1.5 for _ in range(2))
            groups = GROUPS[rng.integers(0, 3, count)]
            for kept, values in zip(columns, (truth, challenger, champion), strict=True):
                kept.append(values)
            lines = zip(
                range(start + 1, start + count + 1),
                *(values.tolist() for values in (truth, challenger, champion, groups)),
                strict=True,
            )
            file.writelines(f"{row},{t!r},{a!r},{b!r},{group},0\n" for row, t, a, b, group in lines)
    truth, challenger, champion = (np.concatenate(kept) for kept in columns)
    squares, champion_squares = (challenger - truth) ** 2, (champion - truth) ** 2
    gaps = squares - champion_squares
    return {
        "challenger.rmse": float(np.sqrt(squares.mean())),
        "champion.rmse": float(np.sqrt(champion_squares.mean())),
        "paired.difference": float(gaps.mean()),
        "paired.standard_error": float(gaps.std() / np.sqrt(rows)),
    }


def write_classes(path: Path, rows: int) -> dict[str, float]:
    """Write ``rows`` rows of two classes to ``path`` and return exact figures for them."""
    rng = np.random.default_rng(0)
    kept: list[list[np.ndarray]] = [[], [], []]
    head = "row,truth,challenger,champion,group,loss_challenger,loss_champion,file,probability_challenger,probability_champion\n"
    with path.open("w", encoding="utf-8") as file:
        file.write(head)
        for start in range(0, rows, BLOCK_ROWS):
            count = min(BLOCK_ROWS, rows - start)
            truth = (rng.random(count) < 0.24).astype(int)
            p, q = (
                np.clip(1 / (1 + np.exp(1.5 - 2 * truth - rng.normal(0, 1.5, count))), 1e-12, 1 - 1e-12)
                for _ in range(2)
            )
            loss, other = (-np.log(np.where(truth == 1, score, 1 - score)) for score in (p, q))
            for place, values in zip(kept, (truth, p, q), strict=True):
                place.append(values)
            lines = zip(
                *(
                    v.tolist()
                    for v in (truth, p >= 0.5, q >= 0.5, GROUPS[rng.integers(0, 3, count)], loss, other, p, q)
                ),
                strict=True,
            )
            names = ("no", "yes")
            file.writelines(
                f"{start},{names[t]},{names[a]},{names[b]},{g},{u!r},{v!r},0,{x!r},{y!r}\n"
                for t, a, b, g, u, v, x, y in lines
            )
    truth, p, q = (np.concatenate(values) for values in kept)
    return {
        "challenger.auc": _auc(truth, p),
        "champion.auc": _auc(truth, q),
        "challenger.accuracy": float(np.mean((p >= 0.5) == truth)),
        "challenger.brier": float(np.mean((p - truth) ** 2)),
    }


def _auc(truth: np.ndarray, score: np.ndarray) -> float:
    """Return the exact area under the ROC curve; the scores have no ties."""
    ranks = np.empty(len(score))
    ranks[np.argsort(score)] = np.arange(1, len(score) + 1)
    positive = int(truth.sum())
    return float((ranks[truth == 1].sum() - positive * (positive + 1) / 2) / (positive * (len(truth) - positive)))


class OneObject(BaseHTTPRequestHandler):
    """Answers every GET with one file, as S3's GetObject does."""

    path_to_serve: Path

    def do_GET(self) -> None:
        """Send the file."""
        self.send_response(200)
        self.send_header("Content-Length", str(self.path_to_serve.stat().st_size))
        self.end_headers()
        with self.path_to_serve.open("rb") as file:
            while chunk := file.read(1 << 20):
                self.wfile.write(chunk)

    def log_message(self, format: str, *args: object) -> None:
        """Keep the terminal for the result."""


def run_handler(path: Path, task: str) -> dict[str, Any]:
    """Return what the handler makes of the file, in a process of its own that fetches it over HTTP."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Serving", (OneObject,), {"path_to_serve": path}))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("AWS_")},
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{server.server_port}",
        "AWS_ACCESS_KEY_ID": "local",
        "AWS_SECRET_ACCESS_KEY": "local",
        "AWS_DEFAULT_REGION": "us-east-1",
        "PYTHONPATH": str(HANDLER_FOLDER),
    }
    event = {"rows_uri": "s3://bucket/rows.csv", "task": task, "classes": ["no", "yes"] if task == "binary" else None}
    try:
        done = subprocess.run(
            [sys.executable, "-c", CHILD, json.dumps(event)],
            env=environment,
            check=True,
            stdout=subprocess.PIPE,
            text=True,
        )
    finally:
        server.shutdown()
        server.server_close()
    return json.loads(done.stdout)


def main() -> int:
    """Run the benchmark; the exit code says whether the targets are met."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=layout.LOCAL / "bench")
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--task", choices=[*TARGETS], action="append", help="default: all")
    args = parser.parse_args()
    args.output.mkdir(parents=True, exist_ok=True)
    documents = {task: measure(task, args.rows, args.output) for task in args.task or TARGETS}
    (args.output / "lambda.json").write_text(json.dumps(documents, indent=2) + "\n", encoding="utf-8")
    note({f"memory of {task}, MB": document["peak_mb"] for task, document in documents.items()})
    return 0 if all(document["met"] for document in documents.values()) else 1


def measure(task: str, rows: int, output: Path) -> dict[str, Any]:
    """Measure one task and print it."""
    with tempfile.TemporaryDirectory(dir=output) as folder:
        path = Path(folder) / "rows.csv"
        expected = (write_classes if task == "binary" else write_rows)(path, rows)
        size = path.stat().st_size / 2**20
        print(f"{task}: {rows:,} rows, {size:.0f} MB")
        measured = run_handler(path, task)
    result, targets = measured.pop("result"), TARGETS[task]
    found = {name: result[name.split(".")[0]][name.split(".")[1]] for name in expected}
    measured["error"] = max(abs(found[name] - expected[name]) for name in expected)
    for name, value in expected.items():
        print(f"{name:<22} numpy {value:.15f}  handler {found[name]:.15f}  difference {abs(found[name] - value):.1e}")
    print(
        f"peak memory {measured['peak_mb']:.0f} MB, {measured['seconds']:.1f} s, {measured['cpu_seconds']:.1f} s of a processor "
        f"({rows / measured['seconds']:,.0f} rows a second)"
    )
    met = all(measured[name] <= limit for name, limit in targets.items())
    wanted = ", ".join(f"{name} <= {limit:g}" for name, limit in targets.items())
    print(f"targets ({wanted}): {'met' if met else 'MISSED'}")
    return {"rows": rows, "file_mb": size, "targets": targets, "met": met, **measured}


if __name__ == "__main__":
    sys.exit(main())
