"""The part of Glue that MiniStack only pretends: crawls and job runs."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from botocore.exceptions import ClientError

from local_aws.glue.catalog import Catalog
from local_aws.glue.crawling.crawler import Crawlers
from local_aws.glue.job_runs import JobRuns
from local_aws.shared.clients import Clients
from local_aws.shared.errors import ServiceError
from local_aws.shared.requests.members import check_members
from local_aws.shared.requests.validation import check_request
from local_aws.shared.settings import Settings
from local_aws.shared.store import Store

Document = dict[str, Any]


class Glue:
    """Crawls and job runs of the account; definitions and the catalog stay in MiniStack."""

    def __init__(self, settings: Settings, store: Store, clients: Clients) -> None:
        self.runs = JobRuns(settings, store, clients)
        self.catalog = Catalog(settings, clients)
        self.crawlers = Crawlers(settings, store, clients, self.catalog)
        self._operations: dict[str, Callable[[Document], Document]] = {
            "StartCrawler": self.crawlers.start,
            "StopCrawler": self.crawlers.stop,
            "GetCrawler": self.crawlers.get,
            "GetCrawlers": self.crawlers.get_all,
            "ListCrawlers": self.crawlers.list_names,
            "UpdateCrawler": self.crawlers.update,
            "DeleteCrawler": self.crawlers.delete,
            "GetCrawlerMetrics": self.crawlers.metrics,
            "ListJobs": self.catalog.list_jobs,
            "UpdatePartition": self.catalog.update_partition,
            "BatchDeletePartition": self.catalog.delete_partitions,
            "StartJobRun": self.runs.start,
            "GetJobRun": self.runs.get,
            "GetJobRuns": self.runs.list_runs,
            "BatchStopJobRun": self.runs.stop,
            "GetJobBookmark": self.runs.bookmarks.get,
            "ResetJobBookmark": self.runs.bookmarks.reset,
            "DeleteJob": self.runs.delete_job,
        }

    @property
    def operations(self) -> frozenset[str]:
        """Return the names of the operations that are answered here."""
        return frozenset(self._operations)

    def call(self, operation: str, params: Document) -> Document:
        """Answer one request; ServiceError for what the service refuses."""
        check_request("glue", operation, params)
        check_members("glue", operation, params)
        try:
            return self._operations[operation](params)
        except ClientError as error:
            # MiniStack holds the definitions: what it refuses is the answer.
            raise ServiceError(error.response["Error"]["Code"], error.response["Error"]["Message"]) from error

    def is_job_key(self, access_key: str) -> bool:
        """Return whether an S3 request with this key comes from the script of a running Spark job."""
        return self.runs.has_key(access_key)

    async def before_s3(self, access_key: str) -> None:
        """Bring to S3 what the Spark job with this key wrote, so that its own S3 request sees it."""
        await asyncio.to_thread(self.runs.publish, access_key)

    async def after_s3(self, access_key: str, changed: tuple[str, str] | None) -> None:
        """Bring to the Spark job with this key what its own S3 request changed: an object (bucket, key), or None if it may be several."""
        await asyncio.to_thread(self.runs.refresh, access_key, changed)

    def s3_changed(self, access_key: str) -> None:
        """Note that a request with this key has changed S3."""
        self.runs.others_wrote(access_key)

    def recover(self) -> None:
        """Report what an earlier process left running as failed."""
        self.runs.recover()
        self.crawlers.recover()

    def shutdown(self) -> None:
        """End all running jobs."""
        self.runs.shutdown()
