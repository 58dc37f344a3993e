"""Every kind of paid work by its name, as operators and triggers ask for it."""

from __future__ import annotations

from retraining.jobs.endpoint_update import EndpointUpdate
from retraining.jobs.glue_crawl import GlueCrawl
from retraining.jobs.glue_job_run import GlueJobRun
from retraining.jobs.job import AwsJob
from retraining.jobs.sagemaker_job import SageMakerJob
from retraining.jobs.tuning.job import TuningJob

JOB_KINDS: dict[str, AwsJob] = {
    "training": SageMakerJob("Training", "jobs"),
    "tuning": TuningJob("HyperParameterTuning", "hyper-tuning-jobs", longest_name=32),
    "processing": SageMakerJob("Processing", "processing-jobs"),
    "transform": SageMakerJob("Transform", "transform-jobs"),
    "glue_job": GlueJobRun(),
    "glue_crawler": GlueCrawl(),
    "endpoint": EndpointUpdate(),
}
