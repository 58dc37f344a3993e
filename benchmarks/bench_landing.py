"""What 10 new files cost to sense and to crawl, over landing zones of 10, 1,000 and 20,000 files that are known already.

Each landing zone lies in a bucket of one local_aws, whose access log counts every request, those of the crawler too. A crawl is played
three times, each with files of its own; the middle one counts. Exit 1 when a target is missed.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from figures import note
from own_account import ROOT, account

SIZES = (10, 1_000, 20_000)
NEW, ROUNDS, WRITERS = 10, 3, 16
MOST_GROWTH = 1.25
MOST_SENSING_SECONDS = 3.0
HEADER = "sex,length,diameter,height,whole_weight,shucked_weight,viscera_weight,shell_weight,rings\n"


def main() -> int:
    """Measure, print a table, and compare with the targets."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES, help="files in the landing zone")
    sizes = parser.parse_args().sizes
    sys.path.insert(0, str(ROOT / "plugins"))
    rows = []
    with tempfile.TemporaryDirectory() as folder, account(Path(folder)) as (url, log):
        for size in sizes:
            rows.append(measure(url, log, size))
    print("files   sensing s  requests   crawl s  requests")
    for row in rows:
        print("{size:>6,}  {sensing:>9.2f}  {sensing_requests:>8}  {crawl:>8.2f}  {crawl_requests:>8}".format(**row))
    first, last = rows[0], rows[-1]
    growth = {name: last[name] / first[name] for name in ("crawl", "crawl_requests")}
    print(f"crawl over {last['size']:,} files against {first['size']:,}: {growth['crawl']:.2f} x the seconds, ", end="")
    print(f"{growth['crawl_requests']:.2f} x the requests (at most {MOST_GROWTH})")
    note(
        {
            "crawl of 10 new files, times the seconds over few files": growth["crawl"],
            "crawl of 10 new files, times the requests over few files": growth["crawl_requests"],
            "sensing, s": last["sensing"],
        }
    )
    print(f"sensing {last['size']:,} files: {last['sensing']:.2f} s (at most {MOST_SENSING_SECONDS:g})")
    return int(max(growth.values()) > MOST_GROWTH or last["sensing"] > MOST_SENSING_SECONDS)


def measure(url: str, log: Path, size: int) -> dict[str, Any]:
    """Fill a landing zone, and sense and crawl new files in it."""
    from retraining.aws.clients import client
    from retraining.dataset.landing_zone import landed_files, unseen
    from retraining.dataset.log import DatasetLog
    from retraining.dataset.records import FileRecord, Version
    from retraining.settings.access import AwsAccess
    from retraining.settings.model_config import Landing

    access = AwsAccess(region="us-east-1", endpoint_url=url)
    s3, bucket, prefix = client("s3", access), f"landing-{size}", "bench/"
    s3.create_bucket(Bucket=bucket)
    crawler = define_crawler(client("glue", access), bucket)

    def put(key: str) -> FileRecord:
        body = (HEADER + "M,0.455,0.365,0.095,0.514,0.2245,0.101,0.15,15\n" * 5).encode()
        tag = s3.put_object(Bucket=bucket, Key=key, Body=body)["ETag"].strip('"')
        return FileRecord(key=key, etag=tag, size=len(body))

    with ThreadPoolExecutor(WRITERS) as pool:
        known = list(pool.map(put, (f"{prefix}new/{number:06}.csv" for number in range(size))))
    log_of_model = DatasetLog(s3, bucket, prefix)
    log_of_model.commit(
        Version(version=1, batch="b", created_at="now", files=tuple(known), rows={}, rows_by_split={}, training={})
    )
    sensing, crawls = [], []
    for turn in range(ROUNDS):
        keys = [put(f"{prefix}new/turn-{turn}-{number}.csv").key for number in range(NEW)]
        with counted(log) as sensed:
            state = log_of_model.read()
            fresh, _ = unseen(landed_files(s3, bucket, prefix, Landing()), state)
        assert len(fresh) == NEW * (turn + 1), len(fresh)
        sensing.append(sensed)
        with counted(log) as crawled:
            crawl(access, crawler, bucket, keys)
        crawls.append(crawled)
    return {
        "size": size,
        "sensing": statistics.median(item["seconds"] for item in sensing),
        "sensing_requests": max(item["requests"] for item in sensing),
        "crawl": statistics.median(item["seconds"] for item in crawls),
        "crawl_requests": statistics.median(item["requests"] for item in crawls),
    }


def define_crawler(glue: Any, bucket: str) -> str:
    """Create a database and a crawler of the landing zone, as infra/data_platform.yaml does."""
    name = bucket
    glue.create_database(DatabaseInput={"Name": name})
    glue.create_crawler(
        Name=name,
        Role="arn:aws:iam::000000000000:role/crawler",
        DatabaseName=name,
        TablePrefix="landing_",
        Targets={"S3Targets": [{"Path": f"s3://{bucket}/bench/new/"}]},
        SchemaChangePolicy={"UpdateBehavior": "UPDATE_IN_DATABASE", "DeleteBehavior": "DEPRECATE_IN_DATABASE"},
        Configuration=json.dumps({"Version": 1.0, "Grouping": {"TableGroupingPolicy": "CombineCompatibleSchemas"}}),
    )
    return name


def crawl(access: Any, crawler: str, bucket: str, keys: list[str]) -> None:
    """Do what the task crawl_data and its trigger do."""
    from retraining.jobs.glue_crawl import GlueCrawl

    job = GlueCrawl()
    targets = [{"Path": f"s3://{bucket}/{key}"} for key in keys]
    handle = job.submit(access, "bench", "crawl", {"Name": crawler, "Targets": {"S3Targets": targets}}).handle
    while (status := job.poll(access, handle)).outcome == "running":
        time.sleep(0.5)
    assert status.outcome == "succeeded", status
    assert sum(len(alike["tables"]) for alike in job.result(access, handle)["schemas"]) == len(keys)


@contextmanager
def counted(log: Path) -> Iterator[dict[str, float]]:
    """Count seconds and requests of what is done inside; looks of the poll at a crawler are left out, they depend on the waiting."""
    before, begun = len(log.read_text().splitlines()), time.perf_counter()
    found: dict[str, float] = {}
    yield found
    found["seconds"] = time.perf_counter() - begun
    lines = [json.loads(line) for line in log.read_text().splitlines()[before:]]
    found["requests"] = sum(line["operation"] != "GetCrawler" for line in lines)


if __name__ == "__main__":
    sys.exit(main())
