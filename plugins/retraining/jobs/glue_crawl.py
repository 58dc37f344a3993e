"""Runs of a Glue crawler."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import Any

from retraining.aws.clients import client
from retraining.aws.errors import error_code
from retraining.jobs.job import Asker, Handle, JobStatus, Submitted
from retraining.jobs.log_tail import cloudwatch_tail
from retraining.settings.access import AwsAccess


@dataclass(frozen=True)
class GlueCrawl:
    """A run of a Glue crawler that began after it was asked for; one already running may have listed S3 before the files landed."""

    def submit(
        self, access: AwsAccess, model: str, step: str, request: Mapping[str, Any], asker: Asker | None = None
    ) -> Submitted:
        """Start the crawler; one already running is waited for, then started again."""
        return Submitted({"crawler": request["Name"], "after": self._start(access, request["Name"])}, adopted=False)

    def poll(self, access: AwsAccess, handle: Handle) -> JobStatus:
        """Look at the crawler. When an earlier crawl has ended, ours is started."""
        crawler = client("glue", access).get_crawler(Name=handle["crawler"])["Crawler"]
        state, last = crawler["State"], crawler.get("LastCrawl", {})
        if state != "READY":
            return JobStatus(state, "running")
        started: datetime | None = last.get("StartTime")
        if started is None or started.timestamp() < int(handle["after"]):
            self._start(access, handle["crawler"])
            return JobStatus(state, "running", "an earlier crawl ended, ours is starting")
        if last.get("Status") == "SUCCEEDED":
            return JobStatus("SUCCEEDED", "succeeded")
        return JobStatus(last.get("Status", "UNKNOWN"), "failed", last.get("ErrorMessage", ""))

    def stop(self, access: AwsAccess, handle: Handle) -> None:
        """Stop the crawler."""
        from botocore.exceptions import ClientError

        try:
            client("glue", access).stop_crawler(Name=handle["crawler"])
        except ClientError as error:
            if error_code(error) not in ("CrawlerNotRunningException", "CrawlerStoppingException"):
                raise

    def result(self, access: AwsAccess, handle: Handle) -> dict[str, Any]:
        """Return the catalog tables below the crawler's prefix, with columns."""
        glue = client("glue", access)
        crawler = glue.get_crawler(Name=handle["crawler"])["Crawler"]
        pages = glue.get_paginator("get_tables").paginate(DatabaseName=crawler["DatabaseName"])
        prefix = crawler.get("TablePrefix", "")
        tables = [table for page in pages for table in page["TableList"] if table["Name"].startswith(prefix)]
        return {
            "name": handle["crawler"],
            "tables": {
                table["Name"]: [(column["Name"], column["Type"]) for column in table["StorageDescriptor"]["Columns"]]
                for table in tables
            },
        }

    def title(self, handle: Handle) -> str:
        """Name the crawler."""
        return f"Glue crawler {handle['crawler']}"

    def log_tail(self, access: AwsAccess, handle: Handle) -> list[str]:
        """Return the last lines of the crawler's log."""
        return cloudwatch_tail(access, "/aws-glue/crawlers", handle["crawler"])

    def console_url(self, region: str, handle: Handle) -> str:
        """Link to the crawler."""
        return f"https://{region}.console.aws.amazon.com/glue/home?region={region}#/v2/data-catalog/crawlers/view/{handle['crawler']}"

    @staticmethod
    def _start(access: AwsAccess, name: str) -> float:
        """Start the crawler and return the service's own time of the call, so that clock skew does not matter."""
        from botocore.exceptions import ClientError

        try:
            answer = client("glue", access).start_crawler(Name=name)
        except ClientError as error:
            if error_code(error) != "CrawlerRunningException":
                raise
            answer = error.response
        return parsedate_to_datetime(answer["ResponseMetadata"]["HTTPHeaders"]["date"]).timestamp()
