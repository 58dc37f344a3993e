"""What local_aws costs by itself: seconds to start, memory at rest, and what a request takes more than at MiniStack alone.

Each round starts local_aws and, beside it, the bare MiniStack that answers for S3, SQS and STS in it, and sends both the same requests in
turns. With ``--against REVISION`` the local_aws of that revision of the repository is measured in the same rounds, in the environments of
this one. Exit 1 when a target is missed.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import psutil

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))  # so that it also runs as a plain script

from benchmarks.figures import note  # noqa: E402
from benchmarks.own_account import account, answers, free_port  # noqa: E402
from local_stack import layout  # noqa: E402

MOST_START_SECONDS, MOST_MEMORY_MB, MOST_OVERHEAD_MS = 1.5, 120.0, 3.0
REST_SECONDS = 3.0
BODY = b"x" * 1000


def main() -> int:
    """Measure in rounds, print a table, and compare with the targets."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--requests", type=int, default=300, help="of each kind in each round")
    parser.add_argument("--against", metavar="REVISION", help="a revision of this repository to measure, too")
    chosen = parser.parse_args()
    sys.path.insert(0, str(ROOT / "plugins"))
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        trees = {"local_aws": ROOT}
        if chosen.against:
            trees[chosen.against] = stack.enter_context(_checked_out(chosen.against, folder / "before"))
        measured: dict[str, list[dict[str, Any]]] = {name: [] for name in (*trees, "MiniStack")}
        for number in range(chosen.rounds):
            print(f"round {number + 1} of {chosen.rounds}", flush=True)
            for name, found in _round(trees, folder / str(number), chosen.requests).items():
                measured[name].append(found)
    figures = {name: _summary(rounds) for name, rounds in measured.items()}
    print(f"{'':<12} start s  memory MB  request p50 ms  p95 ms  more than MiniStack, p95 ms")
    for name, row in figures.items():
        row["overhead"] = row["p95"] - figures["MiniStack"]["p95"]
        print("{:<12} {start:>7.2f}  {memory:>9.0f}  {p50:>14.2f}  {p95:>6.2f}  {overhead:>27.2f}".format(name, **row))
    ours = figures["local_aws"]
    note(
        {
            "start of local_aws, s": ours["start"],
            "memory of local_aws at rest, MB": ours["memory"],
            "a request's overhead, p95, ms": ours["overhead"],
        }
    )
    print(f"targets: {MOST_START_SECONDS:g} s, {MOST_MEMORY_MB:g} MB, {MOST_OVERHEAD_MS:g} ms")
    missed = (
        ours["start"] > MOST_START_SECONDS or ours["memory"] > MOST_MEMORY_MB or ours["overhead"] > MOST_OVERHEAD_MS
    )
    return int(missed)


def _round(trees: dict[str, Path], folder: Path, requests: int) -> dict[str, dict[str, Any]]:
    """Start all of them, let them rest, and send each the same requests, in turns."""
    found: dict[str, dict[str, Any]] = {}
    with ExitStack() as stack:
        urls = {}
        for name, tree in trees.items():
            (place := folder / name.replace("/", "-")).mkdir(parents=True)
            begun = time.perf_counter()
            urls[name], _ = stack.enter_context(account(place, tree))
            found[name] = {"start": time.perf_counter() - begun}
        begun = time.perf_counter()
        urls["MiniStack"] = stack.enter_context(_ministack(folder / "ministack"))
        found["MiniStack"] = {"start": time.perf_counter() - begun}
        time.sleep(REST_SECONDS)
        for name, url in urls.items():
            found[name] |= {"memory": _memory(url), "seconds": []}
        kinds = {name: _requests(url) for name, url in urls.items()}
        for turn in range(-10, requests):
            for name, calls in kinds.items():
                for call in calls:
                    begun = time.perf_counter()
                    call()
                    if turn >= 0:  # those before load what is loaded once
                        found[name]["seconds"].append(time.perf_counter() - begun)
    return found


def _summary(rounds: list[dict[str, Any]]) -> dict[str, float]:
    milliseconds = sorted(1000 * second for found in rounds for second in found["seconds"])
    return {
        "start": statistics.median(found["start"] for found in rounds),
        "memory": statistics.median(found["memory"] for found in rounds),
        "p50": statistics.median(milliseconds),
        "p95": milliseconds[int(0.95 * len(milliseconds))],
    }


def _requests(url: str) -> list[Callable[[], Any]]:
    """Return short reading requests of three services in three protocols."""
    from retraining.aws.clients import client
    from retraining.settings.access import AwsAccess

    access = AwsAccess(region="us-east-1", endpoint_url=url)
    s3, sqs, sts = (client(service, access) for service in ("s3", "sqs", "sts"))
    s3.create_bucket(Bucket="bench")
    s3.put_object(Bucket="bench", Key="key", Body=BODY)
    queue = sqs.create_queue(QueueName="bench")["QueueUrl"]
    return [
        lambda: s3.get_object(Bucket="bench", Key="key")["Body"].read(),
        lambda: sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["All"]),
        lambda: sts.get_caller_identity(),
    ]


def _memory(url: str) -> float:
    """Return the resident memory, in MB, of the process that listens at a URL, and of its children."""
    port = int(url.rsplit(":", 1)[1])
    [owner] = {
        connection.pid
        for connection in psutil.net_connections("tcp")
        if connection.status == psutil.CONN_LISTEN and connection.laddr.port == port
    }
    process = psutil.Process(owner)
    return sum(each.memory_info().rss for each in (process, *process.children(recursive=True))) / 1e6


@contextmanager
def _ministack(folder: Path) -> Iterator[str]:
    """Run MiniStack alone, with its state on disk as local_aws keeps it; yields its URL."""
    folder.mkdir()
    port = free_port()
    environment = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ} | {
        "GATEWAY_PORT": str(port),
        "BIND_HOST": "127.0.0.1",
        "MINISTACK_HOST": "127.0.0.1",
        "SERVICES": "s3,sqs,sts",
        "PERSIST_STATE": "1",
        "STATE_DIR": str(folder / "state"),
        "S3_PERSIST": "1",
        "S3_DATA_DIR": str(folder / "s3"),
        "SFTP_ENABLED": "0",
        "IOT_MTLS_ENABLED": "0",
        "LOG_LEVEL": "WARNING",
    }
    command = [str(layout.python("local_aws").with_name("ministack"))]
    process = subprocess.Popen(
        command, cwd=folder, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    url = f"http://127.0.0.1:{port}"
    try:
        while not answers(f"{url}/_ministack/health"):
            if process.poll() is not None:
                raise RuntimeError("MiniStack did not start")
            time.sleep(0.05)
        yield url
    finally:
        process.terminate()
        process.wait(60)


@contextmanager
def _checked_out(revision: str, folder: Path) -> Iterator[Path]:
    """Check a revision out beside this one, and remove it again."""
    subprocess.run(["git", "worktree", "add", "--quiet", "--detach", folder, revision], cwd=ROOT, check=True)
    try:
        yield folder
    finally:
        subprocess.run(["git", "worktree", "remove", "--force", folder], cwd=ROOT, check=True)


if __name__ == "__main__":
    sys.exit(main())
