"""SageMaker hyperparameter tuning jobs, whose trials are training jobs that really train."""

from __future__ import annotations

import hashlib
import logging
import math
import time
from collections.abc import Mapping, Sequence
from typing import Any

from local_aws.sagemaker.jobs import ActiveJob, Document, JobService, StoppedEarly
from local_aws.sagemaker.training import TrainingJobs
from local_aws.sagemaker.tuning.ranges import read_ranges
from local_aws.sagemaker.tuning.strategies import Place, Search
from local_aws.shared.clients import Clients
from local_aws.shared.errors import ServiceError, describe_exception, validation_error
from local_aws.shared.listing import list_page, page_of
from local_aws.shared.settings import Settings
from local_aws.shared.store import Store

_LOG = logging.getLogger(__name__)

#: As AWS's page "Resource Limits for Automatic Model Tuning" says.
MOST_TRIALS = {"Random": 10_000, "Bayesian": 750}
MOST_PARALLEL = 100
MOST_METRICS = 20
MOST_STATIC = 100
#: A tuning job gives up after so many trials without one that gives the objective.
FRUITLESS = 5
_PAUSE = 0.1
#: What SageMaker adds to the hyperparameters of each trial.
_OBJECTIVE = "_tuning_objective_metric"
_RUNNING = ("InProgress", "Stopping")
_COUNTERS = {"Completed": "Completed", "InProgress": "InProgress", "Stopping": "InProgress"} | {
    "Failed": "NonRetryableError",
    "Stopped": "Stopped",
}


class TuningJobs(JobService):
    """CreateHyperParameterTuningJob and its kin."""

    kind = "hyper-parameter-tuning-job"
    title = "Hyper parameter tuning job"
    prefix = "HyperParameterTuningJob"
    default_order = "Ascending"
    summary_fields = (
        "HyperParameterTuningJobName",
        "HyperParameterTuningJobArn",
        "HyperParameterTuningJobStatus",
        "Strategy",
        "CreationTime",
        "HyperParameterTuningEndTime",
        "LastModifiedTime",
        "TrainingJobStatusCounters",
        "ObjectiveStatusCounters",
        "ResourceLimits",
    )

    def __init__(self, settings: Settings, store: Store, clients: Clients, training: TrainingJobs) -> None:
        super().__init__(settings, store, clients)
        self.training = training

    def on_create(self, document: Document) -> None:
        """Refuse what the service refuses, and what this account does not do."""
        config, definition = document["HyperParameterTuningJobConfig"], document.get("TrainingJobDefinition")
        if config["Strategy"] not in MOST_TRIALS:
            raise validation_error(
                f"local_aws tunes with the strategies Random and Bayesian, not {config['Strategy']}."
            )
        if config.get("TrainingJobEarlyStoppingType", "Off") != "Off":
            raise validation_error("local_aws stops no trial early: TrainingJobEarlyStoppingType must be Off.")
        if definition is None:
            raise validation_error("A tuning job needs a TrainingJobDefinition.")
        for name in ("HyperParameterTuningJobObjective", "ParameterRanges"):
            if name not in config:
                raise validation_error(f"HyperParameterTuningJobConfig.{name} is missing.")
        if "ResourceConfig" not in definition:
            raise validation_error("TrainingJobDefinition.ResourceConfig is missing.")
        _check_limits(config)
        _check_objective(config, definition)
        static = definition.get("StaticHyperParameters", {})
        if len(static) > MOST_STATIC:
            raise validation_error(f"{len(static)} static hyperparameters; at most {MOST_STATIC} are allowed.")
        for one in read_ranges(config["ParameterRanges"]):
            if one.name in static:
                raise validation_error(f"Hyperparameter {one.name} is both static and has a range to search.")
        self.training.on_create(self._request(document, "unnamed", {}) | {"CreationTime": 0.0})

    def on_finish(self, document: Document, now: float) -> None:
        """Note the end."""
        document["HyperParameterTuningEndTime"] = now

    def role_of(self, document: Document) -> str | None:
        """Return the ARN of the role of the trials."""
        return str(document["TrainingJobDefinition"]["RoleArn"])

    def describe(self, params: Document) -> Document:
        """Return the job's document with what became of its trials so far."""
        return self._told(super().describe(params))

    def list_jobs(self, params: Document) -> Document:
        """Return a page of summaries, by name unless asked otherwise."""
        documents = []
        for document in self.store.all(self.kind):
            config = document["HyperParameterTuningJobConfig"]
            own = {name: config[name] for name in ("Strategy", "ResourceLimits")}
            documents.append(self._told(document) | own)
        return list_page(
            documents,
            {"SortBy": "Name"} | params,
            result=f"{self.prefix}Summaries",
            fields=self.summary_fields,
            name_field=f"{self.prefix}Name",
            status_field=f"{self.prefix}Status",
            default_order=self.default_order,
        )

    def list_trials(self, params: Document) -> Document:
        """Return a page of the training jobs of a tuning job, by name unless asked otherwise."""
        document = self._get(params[f"{self.prefix}Name"])
        wanted = params.get("StatusEquals")
        found = [_summary(document, trial) for trial in self._trials(document)]
        found = [trial for trial in found if wanted in (None, trial["TrainingJobStatus"])]
        by = params.get("SortBy", "Name")
        if by == "FinalObjectiveMetricValue":
            found = [trial for trial in found if _FINAL in trial]
            found.sort(key=lambda trial: trial[_FINAL]["Value"])
        else:
            key = {"Name": "TrainingJobName", "Status": "TrainingJobStatus"}.get(by, "CreationTime")
            found.sort(key=lambda trial: trial[key])
        if params.get("SortOrder") == "Descending":
            found.reverse()
        return page_of(found, params, "TrainingJobSummaries", default_size=10)

    def _execute(self, name: str, job: ActiveJob) -> None:
        document = self._get(name)
        try:
            reason = self._search(document, job)
            self.finish(name, "Failed" if reason else "Completed", reason=reason)
        except StoppedEarly:
            self.finish(name, "Stopped")
        except ServiceError as error:
            self.finish(name, "Failed", reason=f"ClientError: {error.message}")
        except Exception as error:
            _LOG.exception("%s %s", self.kind, name)
            self.finish(name, "Failed", reason=f"InternalServerError: {describe_exception(error)}")
        finally:
            self.clients.job_keys.revoke(job.key)
            with self._lock:
                self.active.pop(name, None)

    def _search(self, document: Document, job: ActiveJob) -> str | None:
        """Run the trials; return why the tuning failed, None when it did not."""
        config = document["HyperParameterTuningJobConfig"]
        limits, objective = config["ResourceLimits"], config["HyperParameterTuningJobObjective"]
        seed = config.get("RandomSeed", document["HyperParameterTuningJobName"])
        search = Search(config["Strategy"], read_ranges(config["ParameterRanges"]), seed)
        sign = -1.0 if objective["Type"] == "Maximize" else 1.0
        running: dict[str, Place] = {}
        ended: list[Document] = []
        started, reason = 0, None
        while True:
            if job.aborted:
                raise StoppedEarly
            for trial in [self.training.describe({"TrainingJobName": one}) for one in running]:
                if trial["TrainingJobStatus"] in _RUNNING:
                    continue
                place, value = running.pop(str(trial["TrainingJobName"])), _value_of(trial, objective["MetricName"])
                ended.append(trial)
                if value is not None:
                    search.learn(place, sign * value)
            reason = reason or _fruitless(ended, objective["MetricName"], FRUITLESS)
            over = reason or job.stop_requested
            if over:
                self._stop_trials(running)
            while (
                not over
                and started < limits["MaxNumberOfTrainingJobs"]
                and len(running) < limits["MaxParallelTrainingJobs"]
            ):
                started += 1
                place, values = search.next()
                running[self._start(document, started, values)] = place
            if not running:
                break
            time.sleep(_PAUSE)
        if job.stop_requested:
            raise StoppedEarly
        return reason or _fruitless(ended, objective["MetricName"], 1)

    def _start(self, document: Document, number: int, values: Mapping[str, str]) -> str:
        """Start a trial; return its name."""
        seen = hashlib.sha256(repr(sorted(values.items())).encode()).hexdigest()[:8]
        name = f"{document['HyperParameterTuningJobName']}-{number:03d}-{seen}"
        self.training.create(self._request(document, name, values))
        return name

    def _request(self, document: Document, name: str, values: Mapping[str, str]) -> Document:
        """Return the request of a trial: the definition, the values to try, and the tags of the tuning job."""
        definition = {**document["TrainingJobDefinition"]}
        static = definition.pop("StaticHyperParameters", {})
        metric = document["HyperParameterTuningJobConfig"]["HyperParameterTuningJobObjective"]["MetricName"]
        arn = document["HyperParameterTuningJobArn"]
        return {
            **definition,
            "TrainingJobName": name,
            "HyperParameters": {**static, **values, _OBJECTIVE: metric},
            "TuningJobArn": arn,
            "Tags": (self.store.get("tags", arn) or {}).get("Tags", []),
        }

    def _stop_trials(self, names: Sequence[str] | Mapping[str, Any]) -> None:
        for name in list(names):
            try:
                self.training.stop({"TrainingJobName": name})
            except ServiceError:  # it ended meanwhile
                continue

    def _trials(self, document: Document) -> list[Document]:
        arn = document["HyperParameterTuningJobArn"]
        return [trial for trial in self.store.all(self.training.kind) if trial.get("TuningJobArn") == arn]

    def _told(self, document: Document) -> Document:
        trials = [_summary(document, trial) for trial in self._trials(document)]
        states = dict.fromkeys(("Completed", "InProgress", "RetryableError", "NonRetryableError", "Stopped"), 0)
        found = dict.fromkeys(("Succeeded", "Pending", "Failed"), 0)
        for trial in trials:
            states[_COUNTERS[trial["TrainingJobStatus"]]] += 1
            found[trial["ObjectiveStatus"]] += 1
        told = {**document, "TrainingJobStatusCounters": states, "ObjectiveStatusCounters": found}
        measured = [trial for trial in trials if _FINAL in trial]
        if measured:
            sign = -1 if measured[0][_FINAL]["Type"] == "Maximize" else 1
            told["BestTrainingJob"] = min(measured, key=lambda trial: sign * trial[_FINAL]["Value"])
        return told


_FINAL = "FinalHyperParameterTuningJobObjectiveMetric"


def _check_limits(config: Document) -> None:
    limits, strategy = config["ResourceLimits"], config["Strategy"]
    trials, parallel = limits.get("MaxNumberOfTrainingJobs"), limits["MaxParallelTrainingJobs"]
    if trials is None:
        raise validation_error("ResourceLimits.MaxNumberOfTrainingJobs is missing.")
    if trials > MOST_TRIALS[strategy]:
        raise validation_error(
            f"MaxNumberOfTrainingJobs is {trials}; at most {MOST_TRIALS[strategy]} are allowed with strategy {strategy}."
        )
    if parallel > min(trials, MOST_PARALLEL):
        raise validation_error(
            f"MaxParallelTrainingJobs is {parallel}; at most MaxNumberOfTrainingJobs, {trials}, and {MOST_PARALLEL} are allowed."
        )


def _check_objective(config: Document, definition: Document) -> None:
    metrics = [metric["Name"] for metric in definition["AlgorithmSpecification"].get("MetricDefinitions", [])]
    if config["HyperParameterTuningJobObjective"]["MetricName"] not in metrics:
        raise validation_error(
            "A metric is required for this hyperparameter tuning job objective. Provide a metric in the metric definitions."
        )
    if len(metrics) > MOST_METRICS:
        raise validation_error(f"{len(metrics)} metrics are defined; at most {MOST_METRICS} are allowed.")


def _value_of(trial: Document, metric: str) -> float | None:
    """Return the objective of a trial that completed; None of one without a finite value."""
    if trial["TrainingJobStatus"] != "Completed":
        return None
    values = [item["Value"] for item in trial.get("FinalMetricDataList", []) if item["MetricName"] == metric]
    return values[0] if values and math.isfinite(values[0]) else None


def _fruitless(ended: Sequence[Document], metric: str, enough: int) -> str | None:
    """Return why a tuning job gives up when ``enough`` trials have ended and none of them gave the objective."""
    if len(ended) < enough or any(_value_of(trial, metric) is not None for trial in ended):
        return None
    if any(trial["TrainingJobStatus"] == "Completed" for trial in ended):
        return (
            f"No objective metrics found after running {len(ended)} training jobs. Please ensure that the custom algorithm is emitting the "
            "objective metric as defined by the regular expression provided."
        )
    return f"No training job succeeded after {len(ended)} attempts. Please take a look at the training job failures to get more details."


def _summary(document: Document, trial: Document) -> Document:
    """Return a training job as the lists of its tuning job show it."""
    config = document["HyperParameterTuningJobConfig"]
    objective = config["HyperParameterTuningJobObjective"]
    static = document["TrainingJobDefinition"].get("StaticHyperParameters", {})
    shown = (
        "TrainingJobName TrainingJobArn CreationTime TrainingStartTime TrainingEndTime TrainingJobStatus FailureReason"
    )
    found = {name: trial[name] for name in shown.split() if name in trial}
    found["TuningJobName"] = document["HyperParameterTuningJobName"]
    found["TunedHyperParameters"] = {
        name: value for name, value in trial["HyperParameters"].items() if name not in static and name != _OBJECTIVE
    }
    value = _value_of(trial, objective["MetricName"])
    if value is not None:
        found[_FINAL] = {**objective, "Value": value}
    pending = trial["TrainingJobStatus"] in _RUNNING
    found["ObjectiveStatus"] = "Succeeded" if value is not None else "Pending" if pending else "Failed"
    return found
