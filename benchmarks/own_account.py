"""A local_aws of one benchmark, on a free port and in a folder of its own, with an access log."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))  # so that it also runs as a plain script

from local_stack import layout  # noqa: E402

START_SECONDS = 120


@contextmanager
def account(folder: Path, tree: Path = ROOT) -> Iterator[tuple[str, Path]]:
    """Run the local_aws of a tree of sources; yields its URL and its access log."""
    port = free_port()
    data, log, url = folder / "data", folder / "access.jsonl", f"http://127.0.0.1:{port}"
    data.mkdir()
    (data / "credentials").write_text("[default]\naws_access_key_id = bench\naws_secret_access_key = bench\n")
    os.environ |= {"AWS_ACCESS_KEY_ID": "bench", "AWS_SECRET_ACCESS_KEY": "bench", "AWS_DEFAULT_REGION": "us-east-1"}
    command = [str(layout.python("local_aws")), "-m", "local_aws", "--port", str(port)]
    command += ["--data-dir", str(data), "--environments", str(layout.VENVS), "--access-log", str(log)]
    process = subprocess.Popen(command, cwd=tree, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + START_SECONDS
        while not answers(f"{url}/_local_aws/health"):
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError("local_aws did not start")
            time.sleep(0.05)
        yield url, log
    finally:
        process.terminate()
        process.wait(60)


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def answers(url: str) -> bool:
    """Return whether a URL answers 200."""
    try:
        return bool(urllib.request.urlopen(url, timeout=2).status == 200)
    except OSError:
        return False
