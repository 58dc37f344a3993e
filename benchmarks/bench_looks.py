"""How late looks at jobs come when many models share one triggerer.

Each model waits for a job of its own (a processing job that sleeps) and watches a queue of its own, as one triggerer does it. Beside it the
same looks through asyncio's default pool, which the watchers share there. A look is late by the seconds between its time (the end of the
look before and the interval) and its start. Exit 1 when the target is missed.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import sys
import tempfile
import time
from concurrent.futures import Executor
from pathlib import Path
from typing import Any

from figures import note
from own_account import ROOT, account

MODELS = (1, 12, 30)
INTERVAL, WINDOW = 5.0, 45.0
MOST_LATE = 2.0
BUCKET = "looks"
ROLE = "arn:aws:iam::000000000000:role/bench"
IMAGE = "683313688378.dkr.ecr.us-east-1.amazonaws.com/sagemaker-scikit-learn:1.9-0-cpu-py3"


def main() -> int:
    """Measure, print a table, and compare with the target."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", type=int, nargs="+", default=MODELS, help="models that share the triggerer")
    models = parser.parse_args().models
    sys.path.insert(0, str(ROOT / "plugins"))
    rows = []
    with tempfile.TemporaryDirectory() as folder, account(Path(folder)) as (url, _):
        begin(url, max(models))
        for number in models:
            for name, pools in (("pools of their own", True), ("asyncio's pool", False)):
                rows.append((number, name, asyncio.run(lateness(url, number, pools))))
    print("models  threads                looks  median s     p95 s    most s")
    for number, name, late in rows:
        figures = (statistics.median(late), late[min(len(late) - 1, int(0.95 * len(late)))], late[-1]) if late else None
        shown = "  ".join(f"{value:>8.3f}" for value in figures) if figures else f"none came in {WINDOW:.0f} s"
        print(f"{number:>6}  {name:<20} {len(late):>7}  {shown}")
    worst = max(late[-1] if late else WINDOW for _, name, late in rows if name == "pools of their own")
    note({"latest look after its time, s": worst})
    print(f"latest look: {worst:.2f} s after its time (at most {MOST_LATE:g})")
    return int(worst > MOST_LATE)


def begin(url: str, models: int) -> None:
    """Start a sleeping job and make a queue for each model."""
    from retraining.aws.clients import client
    from retraining.settings.access import AwsAccess

    access = AwsAccess(region="us-east-1", endpoint_url=url)
    s3, sagemaker, sqs = client("s3", access), client("sagemaker", access), client("sqs", access)
    s3.create_bucket(Bucket=BUCKET)
    s3.put_object(Bucket=BUCKET, Key="run.py", Body=b"import time; time.sleep(3000)")
    for number in range(models):
        sqs.create_queue(QueueName=f"model-{number}")
        sagemaker.create_processing_job(
            ProcessingJobName=f"model-{number}",
            RoleArn=ROLE,
            AppSpecification={"ImageUri": IMAGE, "ContainerEntrypoint": ["python3", "/opt/ml/processing/input/run.py"]},
            ProcessingInputs=[
                {
                    "InputName": "code",
                    "S3Input": {
                        "S3Uri": f"s3://{BUCKET}/run.py",
                        "LocalPath": "/opt/ml/processing/input",
                        "S3DataType": "S3Prefix",
                        "S3InputMode": "File",
                    },
                }
            ],
            ProcessingResources={
                "ClusterConfig": {"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 5}
            },
        )


async def lateness(url: str, models: int, own_pools: bool) -> list[float]:
    """Return by how many seconds each look of the window came late, in order of size."""
    from retraining.dag import triggers
    from retraining.jobs.kinds import JOB_KINDS

    access = {"region": "us-east-1", "endpoint_url": url}
    job, late, due = JOB_KINDS["processing"], [], {}
    in_thread = triggers.in_thread

    def look(given: Any, handle: dict[str, str]) -> Any:
        name, now = handle["name"], time.monotonic()
        if name in due:
            late.append(max(0.0, now - due[name]))
        status = type(job).poll(job, given, handle)
        due[name] = time.monotonic() + INTERVAL
        return status

    async def counted(pool: Executor, function: Any, *arguments: Any) -> Any:
        if getattr(function, "__name__", "") == "poll":
            function = look
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(pool if own_pools else None, function, *arguments)

    triggers.in_thread = counted

    async def first_event(trigger: Any) -> None:
        async for event in trigger.run():
            raise RuntimeError(f"nothing should have ended: {event}")

    deadline = time.time() + 3600
    waits = [
        triggers.JobTrigger("processing", {"name": f"model-{number}"}, access, deadline, INTERVAL)
        for number in range(models)
    ]
    watches = [triggers.NewDataTrigger(f"model-{number}", "", access) for number in range(models)]
    tasks = [asyncio.create_task(first_event(trigger)) for trigger in [*waits, *watches]]
    try:
        await asyncio.wait(tasks, timeout=WINDOW, return_when=asyncio.FIRST_EXCEPTION)
        for task in tasks:
            if task.done():
                task.result()
    finally:
        triggers.in_thread = in_thread
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    return sorted(late)


if __name__ == "__main__":
    sys.exit(main())
