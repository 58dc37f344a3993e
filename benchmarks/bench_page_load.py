"""What fifty people on the page leave of Airflow's own API, on a real Airflow.

    python benchmarks/bench_page_load.py [--people 50] [--seconds 120]

A stack of its own, with 500 versions, 5,000 files, 100,000 quarantined rows and a model that serves; its DAGs are paused, so that jobs
take no processor. A client asks Airflow's own API for DAGs, runs and task instances all the time: before, while people go from view to
view, judge and send files and try the model, and after. The people do what their browsers would, each request included. Exit 1 when the
95th percentile of that client grows beyond the target, or when any request fails.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Mapping
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import httpx
from bench_page import fill, p95
from figures import note
from own_account import ROOT
from own_stack import command, environment_of
from people import DAG, Noted, Person, crowd

TARGET = 1.5
QUIET_SECONDS, EVERY_SECONDS = 40, 0.25
OWN = (
    "dags?limit=50",
    f"dags/{DAG}/dagRuns?limit=50&order_by=-run_after",
    "dags/~/dagRuns/~/taskInstances?limit=50",
)


def main() -> int:
    """Measure, print a table, and compare with the target."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--people", type=int, default=50)
    parser.add_argument("--seconds", type=int, default=120, help="how long they look around")
    parser.add_argument("--versions", type=int, default=500)
    parser.add_argument("--rejected", type=int, default=100_000, help="quarantined rows")
    options = parser.parse_args()
    folders = ("plugins", "tests/page", "tests/local_aws", "tests/prediction_api")
    sys.path[:0] = [str(ROOT / folder) for folder in folders]
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder, environment_of(Path(folder)) as environment:
        command("up", environment)
        secrets = json.loads((Path(folder) / "secrets.json").read_text())
        prepare(Path(folder), environment, secrets, options.versions, options.rejected)
        url = f"http://127.0.0.1:{environment['AIRFLOW_PORT']}"
        server = int(json.loads((Path(folder) / "run" / "api-server.json").read_text())["pid"])
        found, noted = asyncio.run(measured(url, secrets["admin_password"], server, options.people, options.seconds))
    ratio = told(found, noted, options.people, options.seconds)
    note({"page: p95 of Airflow's own API beside people, times that of before": ratio})
    return int(ratio > TARGET or bool(noted.failures))


def prepare(
    folder: Path, environment: Mapping[str, str], secrets: Mapping[str, str], versions: int, rejected: int
) -> None:
    """Fill the data set, and let a model serve."""
    from asked_api import SCALE
    from local_account import BUCKET, Account

    from retraining.settings.access import AwsAccess

    account = Account(folder / "aws")
    account.url = f"http://127.0.0.1:{environment['LOCAL_AWS_PORT']}"
    account.access_key, account.secret_key = secrets["aws_access_key_id"], secrets["aws_secret_access_key"]
    os.environ |= {"AWS_ACCESS_KEY_ID": account.access_key, "AWS_SECRET_ACCESS_KEY": account.secret_key}
    platform = account.ssm.get_parameter(Name="/retraining/dev/abalone/platform")["Parameter"]["Value"]
    fill(AwsAccess(region="us-east-1", endpoint_url=account.url), json.loads(platform)["bucket"], versions, rejected)
    account.s3.create_bucket(Bucket=BUCKET)
    account.model("scale", SCALE)
    account.sagemaker.create_endpoint(EndpointName="dev-abalone", EndpointConfigName="scale")
    status = account.endpoint_settled("dev-abalone")["EndpointStatus"]
    if status != "InService":
        raise RuntimeError(f"the endpoint is {status}")


class Phase:
    """Seconds of requests to Airflow's own API, and the processor time of its server, as a share of one core."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.seconds: list[float] = []
        self.cores = 0.0


async def measured(url: str, password: str, server: int, people: int, seconds: int) -> tuple[list[Phase], Noted]:
    """Ask Airflow's own API before, during and after; return the three phases, and what people's requests took."""
    async with httpx.AsyncClient(timeout=60, trust_env=False) as client:
        login = await client.post(f"{url}/auth/token", json={"username": "admin", "password": password})
        token = login.raise_for_status().json()["access_token"]
        client.headers["Authorization"] = f"Bearer {token}"
        await paused(client, url)
        await Person(url, token, people, Noted()).open_every_view()
        phases = [Phase("before"), Phase(f"beside {people} people"), Phase("after")]
        await own_api(client, url, phases[0], QUIET_SECONDS, server)
        with ProcessPoolExecutor(1) as process:
            looking = process.submit(crowd, url, token, people, seconds)
            await own_api(client, url, phases[1], seconds, server)
            noted = await asyncio.wrap_future(looking)
        await own_api(client, url, phases[2], QUIET_SECONDS, server)
    return phases, noted


async def paused(client: httpx.AsyncClient, url: str) -> None:
    """Pause every DAG, and wait for the tasks that run: no further one starts."""
    dags = (await client.get(f"{url}/api/v2/dags?limit=200")).raise_for_status().json()["dags"]
    for dag in dags:
        (await client.patch(f"{url}/api/v2/dags/{dag['dag_id']}", json={"is_paused": True})).raise_for_status()
    running = f"{url}/api/v2/dags/~/dagRuns/~/taskInstances?state=running&state=queued"
    while (await client.get(running)).raise_for_status().json()["total_entries"]:
        await asyncio.sleep(1)


async def own_api(client: httpx.AsyncClient, url: str, phase: Phase, seconds: float, server: int) -> None:
    """Ask Airflow's own API for a while, one request after the other."""
    begun, used = time.monotonic(), processor_seconds(server)
    number = 0
    while time.monotonic() < begun + seconds:
        asked = time.monotonic()
        (await client.get(f"{url}/api/v2/{OWN[number % len(OWN)]}")).raise_for_status()
        phase.seconds.append(time.monotonic() - asked)
        number += 1
        await asyncio.sleep(max(0.0, asked + EVERY_SECONDS - time.monotonic()))
    phase.cores = (processor_seconds(server) - used) / (time.monotonic() - begun)


def processor_seconds(process: int) -> float:
    """Return the processor time of a process and the threads of it, and of those that it started and that ended."""
    fields = Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()
    return sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")


def told(found: list[Phase], noted: Noted, people: int, seconds: int) -> float:
    """Print what was measured; return by how much the 95th percentile of Airflow's own API has grown."""
    print(f"{'':<28}{'requests':>9}{'median ms':>11}{'p95 ms':>9}{'cores':>8}")
    for phase in found:
        print(f"{_row(f'Airflow, {phase.name}', phase.seconds)}{phase.cores:>8.2f}")
    for kind, taken in sorted(noted.seconds.items()):
        print(_row(f"people: {kind}", taken))
    asked = sum(map(len, noted.seconds.values()))
    print(f"{people} people sent {asked} requests in {seconds} s, {len(noted.failures)} failed")
    print("".join(f"  {failure}\n" for failure in noted.failures[:10]), end="")
    before, beside = p95(found[0].seconds), p95(found[1].seconds)
    print(f"p95 of Airflow's own API: {beside / before:.2f} times that of before, at most {TARGET:g}")
    return beside / before


def _row(name: str, seconds: list[float]) -> str:
    return f"{name:<28}{len(seconds):>9}{1000 * statistics.median(seconds):>11.0f}{1000 * p95(seconds):>9.0f}"


if __name__ == "__main__":
    sys.exit(main())
