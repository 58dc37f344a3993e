"""Runs of a Glue crawler over named files.

None of Glue's own modes follows a batch: a full crawl lists the landing zone, a crawl of new folders passes by a folder that it knows, and
the event mode lists the whole folder of each event. So the files themselves are the crawler's targets, set anew before each crawl.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import Any

from retraining.aws.clients import client
from retraining.aws.errors import error_code
from retraining.jobs.job import Asker, Handle, JobStatus, Submitted
from retraining.jobs.log_tail import cloudwatch_tail
from retraining.settings.access import AwsAccess

CLOCK_SLACK_SECONDS = 5  # a crawl's start is stamped by another clock than the answer to the call
TABLES_AT_ONCE = 100  # most that BatchDeleteTable takes
COLUMNS_KEPT = 500  # of a table in a result


@dataclass(frozen=True)
class GlueCrawl:
    """A crawl of the targets in its request that began after it was asked for; one already running is waited for."""

    def submit(
        self, access: AwsAccess, model: str, step: str, request: Mapping[str, Any], asker: Asker | None = None
    ) -> Submitted:
        """Point the crawler at the request's targets and start it.

        Args:
            access: how to reach AWS.
            model: the model's name.
            step: the step's name.
            request: of UpdateCrawler, ``{"Name", "Targets"}``.
            asker: the run that asks; a crawler carries no names of runs.

        """
        previous = self._last_start(self._crawler(access, request["Name"]))
        after = self._start(access, request)
        return Submitted({"request": dict(request), "after": after, "previous": previous}, adopted=False)

    def poll(self, access: AwsAccess, handle: Handle) -> JobStatus:
        """Look at the crawler. When an earlier crawl has ended, ours is started."""
        crawler = self._crawler(access, handle["request"]["Name"])
        state, last = crawler["State"], crawler.get("LastCrawl", {})
        if state != "READY":
            return JobStatus(state, "running")
        started = self._last_start(crawler)
        if started is None or started == handle["previous"] or started < handle["after"] - CLOCK_SLACK_SECONDS:
            self._start(access, handle["request"])
            return JobStatus(state, "running", "an earlier crawl ended, ours is starting")
        if last.get("Status") == "SUCCEEDED":
            return JobStatus("SUCCEEDED", "succeeded")
        return JobStatus(last.get("Status", "UNKNOWN"), "failed", last.get("ErrorMessage", ""))

    def stop(self, access: AwsAccess, handle: Handle) -> None:
        """Stop the crawler."""
        from botocore.exceptions import ClientError

        try:
            client("glue", access).stop_crawler(Name=handle["request"]["Name"])
        except ClientError as error:
            if error_code(error) not in ("CrawlerNotRunningException", "CrawlerStoppingException"):
                raise

    def result(self, access: AwsAccess, handle: Handle) -> dict[str, Any]:
        """Return the tables that the crawler keeps of the targets, those with the same columns together; of wide tables the first columns.

        ``schemas`` is ``[{"columns": [[name, type], ...], "tables": {name: location}}, ...]``: of a batch the files are mostly alike.
        """
        targets = {target["Path"] for target in handle["request"]["Targets"]["S3Targets"]}
        found: dict[tuple[tuple[str, str], ...], dict[str, str]] = {}
        for table in self._tables(access, self._crawler(access, handle["request"]["Name"])):
            columns = table["StorageDescriptor"]["Columns"]
            location = table["StorageDescriptor"]["Location"]
            if location.rstrip("/") in targets and "DEPRECATED_BY_CRAWLER" not in table.get("Parameters", {}):
                alike = found.setdefault(
                    tuple((column["Name"], column["Type"]) for column in columns[:COLUMNS_KEPT]), {}
                )
                alike[table["Name"]] = location
        schemas = [
            {"columns": [list(column) for column in columns], "tables": tables} for columns, tables in found.items()
        ]
        return {"name": handle["request"]["Name"], "schemas": schemas}

    def title(self, handle: Handle) -> str:
        """Name the crawler."""
        return f"Glue crawler {handle['request']['Name']}"

    def log_tail(self, access: AwsAccess, handle: Handle) -> list[str]:
        """Return the last lines of the crawler's log."""
        return cloudwatch_tail(access, "/aws-glue/crawlers", handle["request"]["Name"])

    def live_log(self, access: AwsAccess, handle: Handle) -> None:
        """Return None: its log is of all its work, not of this piece."""
        return None

    def console_url(self, region: str, handle: Handle) -> str:
        """Link to the crawler."""
        name = handle["request"]["Name"]
        return (
            f"https://{region}.console.aws.amazon.com/glue/home?region={region}#/v2/data-catalog/crawlers/view/{name}"
        )

    def _start(self, access: AwsAccess, request: Mapping[str, Any]) -> float:
        """Start the crawler on its targets; return the service's own time of the call, so that clock skew does not matter.

        The tables of earlier crawls are removed first: one table per landed file would fill the catalogue, and listing them would
        cost more with each batch.
        """
        from botocore.exceptions import ClientError

        glue = client("glue", access)
        try:
            crawler = self._crawler(access, request["Name"])
            if crawler["State"] == "READY":
                names = [table["Name"] for table in self._tables(access, crawler)]
                for first in range(0, len(names), TABLES_AT_ONCE):
                    some = names[first : first + TABLES_AT_ONCE]
                    glue.batch_delete_table(DatabaseName=crawler["DatabaseName"], TablesToDelete=some)
            glue.update_crawler(**request)
            answer = glue.start_crawler(Name=request["Name"])
        except ClientError as error:
            if error_code(error) != "CrawlerRunningException":
                raise
            answer = error.response
        return parsedate_to_datetime(answer["ResponseMetadata"]["HTTPHeaders"]["date"]).timestamp()

    @staticmethod
    def _crawler(access: AwsAccess, name: str) -> dict[str, Any]:
        crawler: dict[str, Any] = client("glue", access).get_crawler(Name=name)["Crawler"]
        return crawler

    @staticmethod
    def _tables(access: AwsAccess, crawler: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
        """Yield the tables that this crawler wrote; those of others in the database are left alone."""
        pages = client("glue", access).get_paginator("get_tables").paginate(DatabaseName=crawler["DatabaseName"])
        for table in (table for page in pages for table in page["TableList"]):
            if table.get("Parameters", {}).get("UPDATED_BY_CRAWLER") == crawler["Name"]:
                yield table

    @staticmethod
    def _last_start(crawler: Mapping[str, Any]) -> float | None:
        started: datetime | None = crawler.get("LastCrawl", {}).get("StartTime")
        return started.timestamp() if started else None
