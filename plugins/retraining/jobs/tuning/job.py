"""Hyperparameter tuning jobs of SageMaker: one job to the run, whose trials are training jobs that the service starts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from retraining.aws.clients import client
from retraining.jobs.job import Handle, JobStatus
from retraining.jobs.log_tail import cloudwatch_tail
from retraining.jobs.sagemaker_job import SageMakerJob, has_objects
from retraining.settings.access import AwsAccess

MOST_TOLD = 50
"""Trials that a result names, the best first: it has to stay small."""
FINAL = "FinalHyperParameterTuningJobObjectiveMetric"


@dataclass(frozen=True)
class TuningJob(SageMakerJob):
    """A tuning job. It is successful when a trial is that reported the objective and left its artifact."""

    def result(self, access: AwsAccess, handle: Handle) -> dict[str, Any]:
        """Return name, ARN, seconds, the best trial as a training's result, and the leaderboard.

        ``trials`` are the best ones by the objective: name, value, hyperparameters that were searched. ``counts`` says how many trials
        ``completed``, ``failed`` or were ``stopped``.
        """
        sagemaker = client("sagemaker", access)
        description = self._describe(sagemaker, handle["name"])
        best = description["BestTrainingJob"]
        minimized = best[FINAL]["Type"] == "Minimize"
        listed = sagemaker.list_training_jobs_for_hyper_parameter_tuning_job(
            HyperParameterTuningJobName=handle["name"],
            StatusEquals="Completed",
            SortBy="FinalObjectiveMetricValue",
            SortOrder="Ascending" if minimized else "Descending",
            MaxResults=MOST_TOLD,
        )["TrainingJobSummaries"]
        states = description["TrainingJobStatusCounters"]
        seconds = description["HyperParameterTuningEndTime"] - description["CreationTime"]
        return {
            "name": handle["name"],
            "arn": description["HyperParameterTuningJobArn"],
            "seconds": round(seconds.total_seconds(), 3),
            "best": {
                **SageMakerJob("Training", "jobs").result(access, {"name": best["TrainingJobName"]}),
                "value": best[FINAL]["Value"],
                "hyperparameters": best["TunedHyperParameters"],
            },
            "trials": [
                {
                    "name": trial["TrainingJobName"],
                    "value": trial[FINAL]["Value"],
                    "hyperparameters": trial["TunedHyperParameters"],
                }
                for trial in listed
            ],
            "counts": {
                "completed": states.get("Completed", 0),
                "failed": states.get("NonRetryableError", 0) + states.get("RetryableError", 0),
                "stopped": states.get("Stopped", 0),
            },
        }

    def title(self, handle: Handle) -> str:
        """Name the job."""
        return f"SageMaker hyperparameter tuning job {handle['name']}"

    def log_tail(self, access: AwsAccess, handle: Handle) -> list[str]:
        """Return the last lines of a trial that failed, if one did: the tuning job itself prints nothing."""
        listed = client("sagemaker", access).list_training_jobs_for_hyper_parameter_tuning_job(
            HyperParameterTuningJobName=handle["name"], StatusEquals="Failed", MaxResults=1
        )["TrainingJobSummaries"]
        return [
            line
            for trial in listed
            for line in cloudwatch_tail(access, "/aws/sagemaker/TrainingJobs", f"{trial['TrainingJobName']}/")
        ]

    def live_log(self, access: AwsAccess, handle: Handle) -> None:
        """Return nothing: the trials print, each into a log of its own."""
        return

    def _judge(self, access: AwsAccess, description: Mapping[str, Any]) -> JobStatus:
        status = self._status(description)
        if status.outcome != "succeeded":
            return status
        objective = description["HyperParameterTuningJobConfig"]["HyperParameterTuningJobObjective"]["MetricName"]
        best = description.get("BestTrainingJob")
        if not best or FINAL not in best:
            return JobStatus(status.state, "failed", f"none of its trials reported a {objective}")
        training = client("sagemaker", access).describe_training_job(TrainingJobName=best["TrainingJobName"])
        artifact = training["ModelArtifacts"]["S3ModelArtifacts"]
        if not has_objects(access, artifact):
            why = f"its best trial {best['TrainingJobName']} ended with exit code 0 but wrote nothing to {artifact}"
            return JobStatus(status.state, "failed", why)
        return status
