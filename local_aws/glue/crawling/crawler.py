"""Glue crawlers: the operations, and the state of each crawler between crawls."""

from __future__ import annotations

import logging
import threading
import time
import uuid
from typing import Any

from botocore.exceptions import ClientError

from local_aws.glue.catalog import Catalog
from local_aws.glue.crawling.crawl import Crawl, CrawlStopped
from local_aws.shared.clients import Clients
from local_aws.shared.errors import JobError, ServiceError, describe_exception
from local_aws.shared.listing import page_of
from local_aws.shared.settings import Settings
from local_aws.shared.store import Store

_LOG = logging.getLogger(__name__)

_LOG_GROUP = "/aws-glue/crawlers"

Document = dict[str, Any]


class Crawlers:
    """StartCrawler, StopCrawler and the Get operations; definitions are MiniStack's."""

    def __init__(self, settings: Settings, store: Store, clients: Clients, catalog: Catalog) -> None:
        self._catalog = catalog
        self._settings = settings
        self._store = store
        self._clients = clients
        self._lock = threading.Lock()
        self._stops: dict[str, threading.Event] = {}

    # -- the API ---------------------------------------------------------------------------------------------------

    def start(self, params: Document) -> Document:
        """Begin a crawl; CrawlerRunningException while one is under way."""
        crawler = self._definition(params["Name"])
        name = crawler["Name"]
        with self._lock:
            if self._state(crawler).get("State", "READY") != "READY":
                raise ServiceError("CrawlerRunningException", f"Crawler with name {name} has already started")
            now = time.time()
            state = self._state(crawler)
            state |= {"State": "RUNNING", "StartTime": now, "CrawlId": str(uuid.uuid4())}
            self._store.put("crawler", name, state)
            stop = self._stops[name] = threading.Event()
        threading.Thread(target=self._execute, args=(crawler, state, stop), name=f"crawler-{name}", daemon=True).start()
        return {}

    def stop(self, params: Document) -> Document:
        """Ask a crawl to end."""
        crawler = self._definition(params["Name"])
        name = crawler["Name"]
        with self._lock:
            state = self._state(crawler)
            if state.get("State") == "STOPPING":
                raise ServiceError("CrawlerStoppingException", f"Crawler with name {name} is already stopping")
            if state.get("State") != "RUNNING":
                raise ServiceError("CrawlerNotRunningException", f"Crawler with name {name} isn't running")
            self._store.put("crawler", name, state | {"State": "STOPPING"})
            self._stops[name].set()
        return {}

    def get(self, params: Document) -> Document:
        """Return a crawler's definition and what its last crawl did."""
        return {"Crawler": self._shown(self._definition(params["Name"]))}

    def get_all(self, params: Document) -> Document:
        """Return a page of crawlers."""
        crawlers = [self._shown(crawler) for crawler in self._clients.catalog.get_crawlers()["Crawlers"]]
        return page_of(crawlers, params, "Crawlers", default_size=100)

    def list_names(self, params: Document) -> Document:
        """Return a page of crawler names."""
        names = [crawler["Name"] for crawler in self._clients.catalog.get_crawlers()["Crawlers"]]
        return page_of(self._catalog.tagged("crawler", names, params), params, "CrawlerNames", default_size=100)

    def update(self, params: Document) -> Document:
        """Change the definition of a crawler that does not run."""
        crawler = self._definition(params["Name"])
        with self._lock:
            if self._state(crawler).get("State", "READY") != "READY":
                raise ServiceError("CrawlerRunningException", f"Crawler with name {params['Name']} is running")
            self._clients.catalog.update_crawler(**params)
        return {}

    def delete(self, params: Document) -> Document:
        """Remove a crawler that does not run."""
        crawler = self._definition(params["Name"])
        with self._lock:
            if self._state(crawler).get("State", "READY") != "READY":
                raise ServiceError("CrawlerRunningException", f"Crawler with name {params['Name']} is running")
            self._clients.catalog.delete_crawler(Name=params["Name"])
            self._store.delete("crawler", params["Name"])
        return {}

    def metrics(self, params: Document) -> Document:
        """Return run times and counts of tables."""
        chosen = params.get("CrawlerNameList")
        metrics = []
        for crawler in self._clients.catalog.get_crawlers()["Crawlers"]:
            if chosen and crawler["Name"] not in chosen:
                continue
            state = self._state(crawler)
            runtimes = sorted(state.get("Runtimes", []))
            metrics.append(
                {
                    "CrawlerName": crawler["Name"],
                    "TimeLeftSeconds": 0.0,
                    "StillEstimating": state.get("State", "READY") != "READY",
                    "LastRuntimeSeconds": state["Runtimes"][-1] if runtimes else 0.0,
                    "MedianRuntimeSeconds": runtimes[len(runtimes) // 2] if runtimes else 0.0,
                    "TablesCreated": state.get("TablesCreated", 0),
                    "TablesUpdated": state.get("TablesUpdated", 0),
                    "TablesDeleted": state.get("TablesDeleted", 0),
                }
            )
        return page_of(metrics, params, "CrawlerMetricsList", default_size=100)

    def recover(self) -> None:
        """Report the crawls that an earlier process did not finish as failed."""
        for state in self._store.all("crawler"):
            if state.get("State", "READY") != "READY":
                error = "local_aws stopped while the crawler was running; start it again."
                self._end(state, "FAILED", error)

    def _definition(self, name: str) -> Document:
        try:
            return dict(self._clients.catalog.get_crawler(Name=name)["Crawler"])
        except ClientError as error:
            raise ServiceError("EntityNotFoundException", f"Crawler with name {name} does not exist") from error

    def _state(self, crawler: Document) -> Document:
        """Return what is known of a crawler's crawls; nothing is known of a namesake that was deleted."""
        created = crawler["CreationTime"].timestamp()
        state = self._store.get("crawler", crawler["Name"])
        if state is None or state["CreationTime"] != created:
            return {"Name": crawler["Name"], "CreationTime": created}
        return state

    def _shown(self, crawler: Document) -> Document:
        state = self._state(crawler)
        running = state.get("State", "READY") != "READY"
        elapsed = int((time.time() - state["StartTime"]) * 1000) if running else 0
        shown = {key: value for key, value in crawler.items() if key != "LastCrawl"}
        shown |= {"State": state.get("State", "READY"), "CrawlElapsedTime": elapsed}
        if "LastCrawl" in state:
            shown["LastCrawl"] = state["LastCrawl"]
        return shown

    # -- a crawl ---------------------------------------------------------------------------------------------------

    def _execute(self, crawler: Document, state: Document, stop: threading.Event) -> None:
        status, error, counts = "SUCCEEDED", "", {}
        try:
            counts = Crawl(self._clients).run(crawler, stop)
        except CrawlStopped:
            status = "CANCELLED"
        except (JobError, ServiceError) as problem:
            status, error = "FAILED", str(problem)
        except Exception as problem:
            _LOG.exception("crawler %s", crawler["Name"])
            status, error = "FAILED", describe_exception(problem)
        self._log(crawler["Name"], state, status, error, counts)
        self._end(state, status, error, counts)

    def _end(self, state: Document, status: str, error: str, counts: Document | None = None) -> None:
        last = {
            "Status": status,
            "LogGroup": _LOG_GROUP,
            "LogStream": state["Name"],
            "MessagePrefix": state["CrawlId"],
            "StartTime": state["StartTime"],
        }
        if error:
            last["ErrorMessage"] = error[:2000]
        runtimes = [*state.get("Runtimes", []), time.time() - state["StartTime"]][-20:]
        ended = state | {"State": "READY", "LastCrawl": last, "Runtimes": runtimes} | (counts or {})
        with self._lock:
            self._store.put("crawler", state["Name"], ended)

    def _log(self, name: str, state: Document, status: str, error: str, counts: Document) -> None:
        message = f"[{state['CrawlId']}] {status} {error or counts}"
        for create, names in (
            (self._clients.logs.create_log_group, {"logGroupName": _LOG_GROUP}),
            (self._clients.logs.create_log_stream, {"logGroupName": _LOG_GROUP, "logStreamName": name}),
        ):
            try:
                create(**names)
            except ClientError as problem:
                if problem.response["Error"]["Code"] != "ResourceAlreadyExistsException":
                    _LOG.warning("log of crawler %s: %s", name, problem)
                    return
        event = {"timestamp": int(time.time() * 1000), "message": message}
        self._clients.logs.put_log_events(logGroupName=_LOG_GROUP, logStreamName=name, logEvents=[event])
