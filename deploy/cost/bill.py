"""The bill of one model in one deployment, as tables: an idle month, one run of each kind, and the month with its schedule."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal

from deploy.cost.items import TENTHS_OF_CENTS, Amount, Item, Table, exact, shown
from deploy.cost.prices import Prices
from retraining.settings.machines.deployment import Serverless
from retraining.settings.model_config import ModelConfig

HOURS = Decimal(730)
"""Of a month: a twelfth of 365 days."""
ENDPOINTS, ENDPOINTS_OF_ECR = 14, 2
"""Interface endpoints of infra/mwaa.yaml, and those of them that ``EcrEndpoints: "no"`` leaves out."""
ALARMS = 3
"""Of an endpoint, in infra/data_platform.yaml."""
MINUTE, HOUR = Decimal(60), Decimal(3600)
GLUE_LEAST_SECONDS = 60
DAY = datetime(2027, 1, 1, tzinfo=UTC)
"""The first day of a year of 365 days."""
PRESETS = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
}


@dataclass(frozen=True)
class Times:
    """Seconds that jobs are billed for; None is what prices.yaml assumes."""

    merge: float | None = None
    training: float | None = None
    evaluation: float | None = None
    smoke: float | None = None


@dataclass(frozen=True)
class Bill:
    """What one model costs.

    Args:
        config: the model.
        environment: parameters of infra/mwaa.yaml that the deployment's file sets.
        prices: of prices.yaml.
        times: measured ones in place of assumed ones.
        dags: kinds of the model's DAGs: a model without a batch or monitor DAG pays for none.
        platform: parameters of infra/data_platform.yaml that the deployment's file sets.

    """

    config: ModelConfig
    environment: Mapping[str, str]
    prices: Prices
    times: Times = Times()
    dags: frozenset[str] = frozenset({"batch", "monitor"})
    platform: Mapping[str, str] = field(default_factory=dict)

    # -- tables ------------------------------------------------------------------------------------------------------------------------

    def idle(self) -> Table:
        """Return a month with one model in use and no new data."""
        return Table(
            "An idle month", [*self._airflow(), *self._network(), *self._endpoint(), *self._watch(), *self._rest()]
        )

    def nat(self) -> Table:
        """Return a month of the network with a NAT gateway in place of interface endpoints."""
        return Table("A NAT gateway in place of the endpoints", self._gateway())

    def run(self) -> Table:
        """Return one retraining that deploys a model."""
        training, evaluation = self.config.training, self.config.evaluation
        count = len(training.candidates)
        times = f"{count} candidates, " if count > 1 else ""
        trials = training.tuning.trials if training.tuning else 0
        searched = [
            self._job(
                "Search", training.instance_type, training.instance_count, "training", trials, f"{trials} trials, "
            )
        ]
        own = any(candidate.container for candidate in training.candidates)
        asked = self._job(
            "Answers of containers", evaluation.instance_type, 1, "evaluation", 2, "challenger and champion, "
        )
        items = [
            *self._crawler(),
            self._merge(),
            self._job("Training", training.instance_type, training.instance_count, "training", count, times),
            *(searched if trials else []),
            *([asked] if own else []),
            self._job("Evaluation", evaluation.instance_type, evaluation.instance_count, "evaluation"),
            self._proof(),
            self._analysis(),
            self._writes("run"),
        ]
        return Table("One retraining run", items, TENTHS_OF_CENTS)

    def scoring(self) -> Table:
        """Return one batch of files to score."""
        batch = self.config.batch
        items = [self._job("Scoring", batch.instance_type, 1, "scoring"), self._writes("scoring")]
        return Table("One batch of files to score", items, TENTHS_OF_CENTS)

    def look(self) -> Table:
        """Return one look of the monitor."""
        items = [self._job("Reading", self.config.monitor.instance_type, 1, "look"), self._writes("look")]
        return Table("One look of the monitor", items, TENTHS_OF_CENTS)

    def http_api(self) -> Table:
        """Return a month's requests of the HTTP API, without the endpoint behind it."""
        assumed = self.prices.assumed["http_api"]
        count, seconds, kilobytes = assumed["requests"], exact(assumed["seconds"]), exact(assumed["log_kilobytes"])
        millions = exact(count) / 1_000_000
        work = count * seconds * assumed["megabytes"] / 1024
        logs = count * kilobytes / 1_000_000
        items = [
            Item.of(f"API Gateway, HTTP API: {count} requests", millions, "million", self.prices.price("http_api")),
            Item.of("Lambda: the requests", millions, "million", self.prices.price("lambda_requests")),
            Item.of(
                f"Lambda: {shown(seconds)} s each at {assumed['megabytes']} MB",
                work,
                "GB-second",
                self.prices.price("lambda"),
            ),
            Item.of(f"CloudWatch Logs: {kilobytes} KB each", logs, "GB", self.prices.price("logs")),
        ]
        return Table("Requests of the HTTP API", items, TENTHS_OF_CENTS)

    def month(self) -> Table:
        """Return the month in which every look of the schedules finds work."""
        idle, schedule = self.idle(), self.config.schedule
        items = [
            Item.of("Idle", 1, "month", idle.total),
            Item.of(f"Retraining, new data at each `{schedule.cron}`", looks(schedule.cron), "run", self.run().total),
        ]
        if self.config.deployment.mode == "serverless":
            assumed = self.prices.assumed["serverless"]
            count, seconds = assumed["requests"], exact(assumed["seconds"])
            items.append(self._answers(f"{count} requests of {shown(seconds)} s", count * seconds))
        if "batch" in self.dags:
            cron = self.config.batch.cron
            items.append(Item.of(f"Scoring, files at each `{cron}`", looks(cron), "batch", self.scoring().total))
        if "monitor" in self.dags and self.config.deployment.captured_percent:
            cron = self.config.monitor.cron
            items.append(Item.of(f"Monitor, requests at each `{cron}`", looks(cron), "look", self.look().total))
        if self.config.api:
            items.append(Item.of("HTTP API, its requests", 1, "month", self.http_api().total))
        return Table("A month in which every look finds work", items)

    # -- lines of a month --------------------------------------------------------------------------------------------------------------

    def _airflow(self) -> list[Item]:
        size = self.environment.get("EnvironmentClass", "mw1.small")
        items = [Item.of(f"MWAA {size}, with one worker", HOURS, "hour", self.prices.price("mwaa", size))]
        if (more := int(self.environment.get("MinWorkers", "1")) - 1) > 0:
            price = self.prices.price("mwaa_worker", size)
            items.append(Item.of(f"MWAA workers: {more} more all the time", HOURS * more, "hour", price))
        return items

    def _network(self) -> list[Item]:
        if self.environment.get("Egress", "endpoints") == "nat":
            return self._gateway()
        zones = 1 if self.environment.get("EndpointZones", "both") == "one" else 2
        count = ENDPOINTS - (ENDPOINTS_OF_ECR if self.environment.get("EcrEndpoints", "yes") == "no" else 0)
        what = f"Interface endpoints: {count} in {zones} zone{'s' if zones > 1 else ''}"
        return [Item.of(what, HOURS * count * zones, "hour", self.prices.price("interface_endpoint"))]

    def _gateway(self) -> list[Item]:
        gigabytes = self.prices.assumed["gigabytes"]["nat"]
        return [
            Item.of("NAT gateway", HOURS, "hour", self.prices.price("nat_gateway")),
            Item.of("its public address", HOURS, "hour", self.prices.price("nat_address")),
            Item.of(f"data through it, {gigabytes} GB", gigabytes, "GB", self.prices.price("nat_data")),
        ]

    def _endpoint(self) -> list[Item]:
        deployment = self.config.deployment
        if deployment.mode == "none":
            return []
        if deployment.mode == "serverless":
            return self._provisioned(deployment.serverless)
        many = f"{deployment.instance_count} x " if deployment.instance_count > 1 else ""
        price = self.prices.price("instance", deployment.instance_type)
        what = f"SageMaker endpoint, {many}{deployment.instance_type}"
        if scaled := deployment.autoscaling:
            what += f"; {scaled.min} to {scaled.max} of them as requests come"
        return [Item.of(what, HOURS * deployment.instance_count, "hour", price)]

    def _provisioned(self, capacity: Serverless) -> list[Item]:
        count = capacity.provisioned_concurrency
        if not count:
            return []
        gigabytes = exact(capacity.memory_mb) / 1024
        what = f"Serverless endpoint, {count} x {gigabytes} GB provisioned"
        return [Item.of(what, HOURS * count * gigabytes, "GB-hour", self.prices.price("provisioned_concurrency"))]

    def _watch(self) -> list[Item]:
        """Return what it costs to watch the endpoint: its alarms, and the dashboard."""
        if self.config.deployment.mode == "none":
            return []
        items = [Item.of("CloudWatch alarms", ALARMS, "alarm", self.prices.price("alarm"))]
        if self.platform.get("Dashboard", "yes") == "yes":
            items.append(Item.of("CloudWatch dashboard", 1, "month", self.prices.price("dashboard")))
        return items

    def _rest(self) -> list[Item]:
        size, watcher = self.prices.assumed["gigabytes"], exact(self.prices.assumed["watcher_seconds"])
        requests = HOURS * HOUR / watcher / 1_000_000
        return [
            Item.of("KMS key", 1, "month", self.prices.price("kms_key")),
            Item.of(f"S3, {size['s3']} GB", size["s3"], "GB-month", self.prices.price("s3_storage")),
            Item.of(
                f"MWAA database, {size['database']} GB",
                size["database"],
                "GB-month",
                self.prices.price("mwaa_database"),
            ),
            Item.of(f"CloudWatch Logs, {size['logs']} GB", size["logs"], "GB", self.prices.price("logs")),
            Item.of("SQS: watcher, two requests every 10 s", requests, "million", self.prices.price("sqs")),
        ]

    # -- lines of a run ----------------------------------------------------------------------------------------------------------------

    def _crawler(self) -> list[Item]:
        if not self.config.etl.crawl:
            return []
        dpus, minutes = exact(self.prices.assumed["crawler_dpus"]), self.prices.minutes("crawl")
        what = f"Crawler: {dpus} DPU, billed for at least {minutes} minutes"
        return [Item.of(what, dpus * minutes / MINUTE, "DPU-hour", self.prices.price("dpu"))]

    def _merge(self) -> Item:
        etl = self.config.etl
        seconds = max(self._seconds("merge"), Decimal(GLUE_LEAST_SECONDS))
        what = f"Merge: {etl.number_of_workers} workers {etl.worker_type}, {duration(seconds)}"
        dpus = self.prices.dpus.get(etl.worker_type)
        quantity = exact(dpus or 0) * etl.number_of_workers * seconds / HOUR
        return Item.of(what, quantity, "DPU-hour", self.prices.price("dpu") if dpus else None)

    def _job(self, title: str, instance: str, count: int, work: str, times: int = 1, words: str = "") -> Item:
        seconds = self._seconds(work)
        many = f"{count} x " if count > 1 else ""
        what = f"{title}: {words}{many}{instance}, {duration(seconds)}"
        return Item.of(what, seconds * count * times / HOUR, "hour", self.prices.price("instance", instance))

    def _proof(self) -> Item:
        """Return what it costs to verify a model: two fleets behind its endpoint, or without an endpoint a job."""
        deployment = self.config.deployment
        if deployment.mode == "none":
            return self._job("Smoke job", self.config.batch.instance_type, 1, "smoke")
        if deployment.mode == "serverless":
            return self._answers("Smoke requests", self.prices.assumed["serverless"]["smoke_seconds"])
        minutes = self.prices.minutes("shift")
        if deployment.canary:
            minutes += exact(deployment.canary.wait_seconds) / MINUTE
        second = "a second" if deployment.instance_count == 1 else f"{deployment.instance_count} more"
        what = f"Blue/green: {second} {deployment.instance_type} for {duration(minutes * MINUTE)}"
        price = self.prices.price("instance", deployment.instance_type)
        return Item.of(what, minutes / MINUTE * deployment.instance_count, "hour", price)

    def _answers(self, what: str, seconds: Amount) -> Item:
        """Return what a serverless endpoint costs while it answers."""
        memory = exact(self.config.deployment.serverless.memory_mb) / 1024
        words = f"{what}: {shown(exact(seconds))} s at {memory} GB"
        return Item.of(words, exact(seconds) * memory, "GB-second", self.prices.price("serverless"))

    def _analysis(self) -> Item:
        seconds, megabytes = self.prices.assumed["lambda"]["seconds"], self.prices.assumed["lambda"]["megabytes"]
        quantity = exact(seconds) * megabytes / 1024
        return Item.of(f"Lambda: {seconds} s at {megabytes} MB", quantity, "GB-second", self.prices.price("lambda"))

    def _writes(self, work: str) -> Item:
        count = self.prices.assumed["writes"][work]
        price = self.prices.price("s3_writes")
        return Item.of(f"S3: {count} writes and lists", exact(count) / 1000, "thousand", price)

    def _seconds(self, work: str) -> Decimal:
        measured = getattr(self.times, work, None)
        return self.prices.minutes(work) * MINUTE if measured is None else exact(measured)


def duration(seconds: Decimal) -> str:
    """Return a duration in whole minutes or in seconds."""
    if seconds % MINUTE == 0 and seconds:
        minutes = int(seconds / MINUTE)
        return f"{minutes} minute{'s' if minutes > 1 else ''}"
    return f"{seconds:.0f} s"


def looks(cron: str) -> Decimal:
    """Return how often a cron expression fires in a month: a twelfth of a year of 365 days."""
    from croniter import croniter_range

    minute, hour, *days = PRESETS.get(cron, cron).split()
    times = sum(1 for _ in croniter_range(DAY, DAY.replace(hour=23, minute=59), f"{minute} {hour} * * *"))
    matching = sum(1 for _ in croniter_range(DAY, DAY.replace(month=12, day=31), f"0 0 {' '.join(days)}"))
    return Decimal(times * matching) / 12
