"""Uploads 100 rows to the stack that runs, follows the run to its end and prints its seconds as a line of JSON; for bench_demo.py.

Arguments: a seed; ``spares`` or ``none``.
"""

from __future__ import annotations

import csv
import io
import json
import random
import re
import sys
import time
from datetime import datetime
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))  # so that it also runs as a plain script

from local_stack import layout, processes, stack  # noqa: E402
from local_stack.airflow_api import AirflowApi  # noqa: E402
from local_stack.verbs.runs import data_bucket, upload_and_follow  # noqa: E402

MODEL = "abalone"
ROWS = 100
#: Local_aws's folders of what waits for a job: a driver and two Pythons.
WAITING = ("jobs/glue/.spares/*/work/ready", "jobs/.spares/*/work/ready")
WAITING_COUNT, LONGEST_SECONDS = 3, 120.0
#: What the scheduler's log says of a process that ran a task and held a worker slot meanwhile; a task that deferred has two.
HELD = re.compile(r"Workload finished .*\bduration=(?P<seconds>[0-9.]+) .*\bworkload_id=(?P<id>[0-9a-f-]+)")
NO_PROCESS = "EmptyOperator"


def main() -> int:
    """Make rows from a seed, send them, print."""
    seed, spares = int(sys.argv[1]), sys.argv[2] == "spares"
    if spares:
        wait_for_spares()
    api, session = AirflowApi(), stack.aws_session()
    bucket = data_bucket(session, MODEL)
    body = rows_like((layout.ROOT / "data" / "abalone.csv").read_text(), seed).encode()
    followed = upload_and_follow(
        session.client("s3"), api, bucket, {f"warm-{seed}.csv": body}, lambda line: None, MODEL
    )
    tasks = api.tasks(f"{MODEL}_retraining", followed["run_id"])
    ends = {task["task_id"]: task for task in tasks}
    verified, run_end = ends["verify_endpoint"], followed["upload_to_end_seconds"]
    last = max(datetime.fromisoformat(task["end_date"]) for task in ends.values() if task["end_date"])
    in_service = None
    if verified["state"] == "success":
        in_service = run_end - (last - datetime.fromisoformat(verified["end_date"])).total_seconds()
    print(
        json.dumps(
            {
                "event": followed["event_to_run_seconds"],
                "end": run_end,
                "service": in_service,
                "tasks": followed["tasks"],
                "slots": slot_seconds(tasks),
            }
        )
    )
    return 0


def wait_for_spares() -> None:
    """Wait until processes are ready, as they are when files come now and then."""
    until = time.monotonic() + LONGEST_SECONDS
    while time.monotonic() < until:
        ready = sum(len(list(layout.AWS_DATA.glob(pattern))) for pattern in WAITING)
        if ready >= WAITING_COUNT:
            return
        time.sleep(0.5)
    print("the spares did not get ready: the run goes without some", file=sys.stderr)


def slot_seconds(tasks: list[dict[str, Any]]) -> dict[str, list[float]]:
    """Return for how long the processes of each task held a worker slot, from fork to end."""
    names = {task["id"]: task["task_id"] for task in tasks if task["start_date"] and task["operator"] != NO_PROCESS}
    until = time.monotonic() + 10
    while True:
        held: dict[str, list[float]] = {}
        log = processes.log_file("scheduler").read_text(errors="replace")
        for line in HELD.finditer(log):
            if line["id"] in names:
                held.setdefault(names[line["id"]], []).append(float(line["seconds"]))
        ended = all(task["task_id"] in held for task in tasks if task["id"] in names and task["state"] == "success")
        if ended or time.monotonic() > until:  # the last line comes just after the run's end
            return held
        time.sleep(0.2)


def rows_like(text: str, seed: int) -> str:
    """Return rows of a CSV file, drawn at random, with all weights larger or smaller by a common factor near one."""
    drawn = random.Random(seed)
    header, *rows = list(csv.reader(io.StringIO(text)))
    weights = [place for place, name in enumerate(header) if name.endswith("weight")]
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(header)
    for row in drawn.sample(rows, ROWS):
        factor = drawn.uniform(0.98, 1.02)
        for place in weights:
            row[place] = f"{float(row[place]) * factor:.4f}"
        writer.writerow(row)
    return out.getvalue()


if __name__ == "__main__":
    sys.exit(main())
