"""Memory, time and precision of the Lambda ``analyze_results`` on 10 million rows.

    python benchmarks/bench_lambda.py [--output .local/bench] [--rows 10000000]

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
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
HANDLER_FOLDER = ROOT / "lambda_functions" / "analyze_results"
GROUPS = np.array(["M", "F", "I"])
BLOCK_ROWS = 250_000
TARGETS = {"peak_mb": 128.0, "rmse_error": 1e-9, "seconds": 900.0}
CHILD = """
import json, resource, sys, time
from pathlib import Path
started = time.perf_counter()
import handler
result = handler.handler({"rows_uri": sys.argv[1]})
seconds = time.perf_counter() - started
status = Path("/proc/self/status")
# ru_maxrss also counts what the parent held when it started this process, VmHWM does not; macOS has bytes and no /proc.
peak = ([int(line.split()[1]) * 1024 for line in status.read_text().splitlines() if line.startswith("VmHWM")][0]
        if status.exists() else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
print(json.dumps({"result": result, "seconds": seconds, "cpu_seconds": time.process_time(), "peak_mb": peak / 2**20}))
"""


def write_rows(path: Path, rows: int) -> dict[str, float]:
    """Write ``rows`` evaluation rows to ``path`` and return numpy's figures for them."""
    rng = np.random.default_rng(0)
    columns: list[list[np.ndarray]] = [[], [], []]
    with path.open("w", encoding="utf-8") as file:
        file.write("row,truth,challenger,champion,group\n")
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
            file.writelines(f"{row},{t!r},{a!r},{b!r},{group}\n" for row, t, a, b, group in lines)
    truth, challenger, champion = (np.concatenate(kept) for kept in columns)
    squares, champion_squares = (challenger - truth) ** 2, (champion - truth) ** 2
    total = np.sqrt(squares.mean()) + np.sqrt(champion_squares.mean())
    gaps = squares - champion_squares
    return {
        "rmse": float(np.sqrt(squares.mean())),
        "champion_rmse": float(np.sqrt(champion_squares.mean())),
        "rmse_difference": float(gaps.mean() / total),
        "standard_error": float(gaps.std(ddof=1) / np.sqrt(rows) / total),
    }


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


def run_handler(path: Path) -> dict[str, Any]:
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
    try:
        done = subprocess.run(
            [sys.executable, "-c", CHILD, "s3://bucket/rows.csv"],
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
    parser.add_argument("--output", type=Path, default=ROOT / ".local" / "bench")
    parser.add_argument("--rows", type=int, default=10_000_000)
    args = parser.parse_args()
    args.output.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=args.output) as folder:
        path = Path(folder) / "rows.csv"
        started = time.perf_counter()
        expected = write_rows(path, args.rows)
        size = path.stat().st_size / 2**20
        print(f"wrote {args.rows:,} rows, {size:.0f} MB, in {time.perf_counter() - started:.0f} s")
        measured = run_handler(path)
    result = measured.pop("result")
    found = {
        "rmse": result["challenger"]["rmse"],
        "champion_rmse": result["champion"]["rmse"],
        **{name: result["paired"][name] for name in ("rmse_difference", "standard_error")},
    }
    measured["rmse_error"] = max(abs(found[name] - expected[name]) for name in expected)
    for name, value in expected.items():
        print(f"{name:<16} numpy {value:.15f}  handler {found[name]:.15f}  difference {abs(found[name] - value):.1e}")
    rate = args.rows / measured["seconds"]
    print(f"peak memory {measured['peak_mb']:.0f} MB, {measured['seconds']:.1f} s ({rate:,.0f} rows a second)")
    met = all(measured[name] <= limit for name, limit in TARGETS.items())
    wanted = ", ".join(f"{name} <= {limit:g}" for name, limit in TARGETS.items())
    print(f"targets ({wanted}): {'met' if met else 'MISSED'}")
    document = {"rows": args.rows, "file_mb": size, "targets": TARGETS, **measured}
    (args.output / "lambda.json").write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
