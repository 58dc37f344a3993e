"""The DAG of the survey company: make new measurements from the current dataset version and upload them as new data."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import Any

from airflow.providers.standard.operators.python import PythonOperator
from airflow.sdk import DAG, Param, chain
from airflow.sdk.exceptions import AirflowFailException

from retraining.aws.clients import client
from retraining.aws.documents import get_json, put_bytes_once, put_bytes_under_free_name, put_json
from retraining.aws.naming import canonical_json, digest
from retraining.aws.platform_parameter import read_platform
from retraining.dag.operators import AwsJobOperator
from retraining.dag.task_results import Result, with_results
from retraining.dataset.log import DatasetLog
from retraining.jobs.code_bundle import put_code
from retraining.settings.model_config import ModelConfig, load_model_config
from retraining.settings.platform import Platform
from retraining.survey import job as survey_job
from retraining.survey.job import SurveyMachines, SurveyOptions

log = logging.getLogger(__name__)

PLAN = Result("plan_survey")
ALL_SPLITS = ("train", "validation", "test")


class SurveySteps:
    """Task bodies of one model's surveys.

    Args:
        config: the model's configuration.
        generator: folder of the generator's code, which runs inside the job.
        machines: on what the jobs run.

    """

    def __init__(self, config: ModelConfig, generator: Path, machines: SurveyMachines) -> None:
        self.config = config
        self.generator = generator
        self.machines = machines
        self.access = config.aws

    @cached_property
    def platform(self) -> Platform:
        """The model's AWS resources."""
        return read_platform(self.config.platform_parameter, self.access)

    @property
    def _s3(self) -> Any:
        return client("s3", self.access)

    def poll_seconds(self) -> float:
        """Seconds between two looks at a job."""
        return self.platform.poll_seconds

    def plan_survey(self, params: Mapping[str, Any], run_id: str, dag_run: Any) -> dict[str, Any]:
        """Fix what this run makes: dataset version, options, seed, file name. Uploads code, request and manifests.

        Raises:
            AirflowFailException: there is no dataset version yet, or nothing to replay.

        """
        seed = params["seed"] if params.get("seed") is not None else int(digest(run_id, 7), 16)
        names = set(SurveyOptions.model_fields)
        given = {name: value for name, value in params.items() if name in names and value is not None}
        options = SurveyOptions.model_validate({**given, "seed": seed})
        bucket, prefix = self.platform.bucket, f"{self.config.name}/"
        state = DatasetLog(self._s3, bucket, prefix).read()
        if not state.rows_by_split().get("train"):
            raise AirflowFailException(
                f"model {self.config.name} has no dataset version to learn from: let {self.config.name}_retraining load its first data"
            )
        code = survey_job.generator_files(self.generator)
        root = f"s3://{bucket}/"
        places = {
            "code": f"{root}{survey_job.code_prefix(self.config, code)}",
            "train": self._put_manifest(state, ("train",)),
            "known": self._put_manifest(state, ALL_SPLITS),
            "held-back": f"{root}{prefix}{survey_job.HELD_BACK}",
            "model": f"{root}{survey_job.model_prefix(self.config, state.batches, options)}",
        }
        put_code(self._s3, places["code"], code)
        request = options.request(self.config.contract.model_dump(mode="json"))
        run = digest({"request": request, "places": places, "run": run_id})
        places["request"] = f"{root}{prefix}survey/requests/{digest(request)}/"
        places["output"] = f"{root}{prefix}survey/runs/{run}/"
        put_bytes_once(
            self._s3, places["request"] + "request.json", canonical_json(request).encode(), "application/json"
        )
        if options.method == "replay" and not self._exists(places["held-back"]):
            raise AirflowFailException(
                f"{places['held-back']} holds no CSV file of real rows to replay; upload one with its header, for example: "
                f"python -m survey --offer-held-back data/{self.config.name}.csv"
            )
        moment = getattr(dag_run, "run_after", None) or datetime.now(UTC)
        key = survey_job.landing_key(self.config, options, moment)
        log.info(
            "%d rows by %s from dataset version %d to s3://%s/%s",
            options.rows,
            options.method,
            state.latest,
            bucket,
            key,
        )
        return {
            "method": options.method,
            "version": state.latest,
            "places": places,
            "model_cached": self._exists(f"{places['model']}card.json"),
            "landing": f"{root}{key}",
        }

    def survey_request(self, plan: Mapping[str, Any]) -> dict[str, Any]:
        """Build the processing job's request."""
        return survey_job.survey_request(
            self.config, self.platform, self.machines, plan["method"], plan["places"], plan["model_cached"]
        )

    def upload_survey(self, plan: Mapping[str, Any]) -> dict[str, Any]:
        """Put the file into the landing zone, where its arrival wakes the retraining; once, also when this task is repeated.

        Raises:
            AirflowFailException: the job made no row.

        """
        from retraining.aws.documents import split_uri

        output = plan["places"]["output"]
        report = get_json(self._s3, f"{output}report.json")
        for note in report["notes"]:
            log.warning("%s", note)
        if not report["rows"]:
            raise AirflowFailException(
                f"the survey has no rows: {' '.join(report['notes'])} Report: {output}report.html"
            )
        bucket, key = split_uri(f"{output}survey.csv")
        body = self._s3.get_object(Bucket=bucket, Key=key)["Body"].read()
        uri = put_bytes_under_free_name(self._s3, survey_job.free_names(plan["landing"]), body, "text/csv")
        log.info("uploaded %s (%d rows); report: %sreport.html", uri, report["rows"], output)
        return {
            "file": uri,
            "rows": report["rows"],
            "rejected": report["violations"]["rejected"],
            "report": f"{output}report.html",
        }

    def notify_failure(self, context: Any) -> None:
        """Tell the model's topic that a survey failed; used as the DAG's failure callback."""
        run = context.get("dag_run") or context.get("run_id")
        facts = {"run": str(getattr(run, "run_id", run)), "reason": str(context.get("reason", ""))}
        subject = f"{self.config.name}: survey failed"
        client("sns", self.access).publish(TopicArn=self.platform.topic_arn, Subject=subject, Message=json.dumps(facts))

    def _put_manifest(self, state: Any, splits: tuple[str, ...]) -> str:
        bucket, prefix = self.platform.bucket, f"{self.config.name}/"
        entries = survey_job.split_manifest(bucket, prefix, state, splits, self.config.training.format)
        uri = f"s3://{bucket}/{prefix}dataset/manifests/{state.latest:06d}-{'-'.join(splits)}-{digest(entries)}.json"
        return put_json(self._s3, uri, entries)

    def _exists(self, uri: str) -> bool:
        from retraining.aws.documents import split_uri

        bucket, key = split_uri(uri)
        return bool(self._s3.list_objects_v2(Bucket=bucket, Prefix=key, MaxKeys=1).get("Contents"))


def survey_dag(
    folder: Path,
    generator: Path,
    doc_md: str | None = None,
    schedule: str | None = None,
    machines: SurveyMachines | None = None,
) -> DAG:
    """Build the DAG ``NAME_survey`` of a model folder.

    Args:
        folder: holds model.yaml.
        generator: holds the generator's code.
        doc_md: what the Airflow UI shows about the DAG.
        schedule: a cron expression, None for runs by hand only.
        machines: image, instances and limits, where they differ from the default.

    Raises:
        ConfigError: model.yaml is wrong.

    """
    config = load_model_config(folder / "model.yaml")
    machines = machines or SurveyMachines()
    steps = SurveySteps(config, generator, machines)
    limit = max(machines.ctgan.max_runtime_seconds, machines.others.max_runtime_seconds)
    with DAG(
        dag_id=f"{config.name.replace('-', '_')}_survey",
        description=f"New measurements for {config.name}",
        doc_md=doc_md,
        schedule=schedule,
        start_date=datetime(2026, 1, 1, tzinfo=UTC),
        catchup=False,
        is_paused_upon_creation=False,  # a paused DAG starts no run, and its watcher hears of no file
        max_active_runs=1,
        dagrun_timeout=timedelta(hours=1, seconds=limit),
        tags=["survey", config.name],
        params=_params(),
        default_args={
            "owner": config.owner,
            "retries": 2,
            "retry_delay": timedelta(seconds=15),
            "execution_timeout": timedelta(minutes=10),
        },
        on_failure_callback=steps.notify_failure,
    ) as dag:
        plan_survey = PythonOperator(task_id="plan_survey", python_callable=steps.plan_survey)
        make_survey = AwsJobOperator(
            task_id="make_survey",
            kind="processing",
            model=config.name,
            step="survey",
            access=config.aws,
            python_callable=with_results(steps.survey_request, plan=PLAN),
            max_wait=timedelta(seconds=limit + 900),
            poll_seconds=steps.poll_seconds,
        )
        upload_survey = PythonOperator(
            task_id="upload_survey", python_callable=with_results(steps.upload_survey, plan=PLAN)
        )
        chain(plan_survey, make_survey, upload_survey)
    return dag


def _params() -> dict[str, Any]:
    """Return the form that the Airflow UI shows for a manual run."""
    share: dict[str, Any] = {"type": "number", "minimum": 0, "maximum": 1}
    return {
        "method": Param(
            "copula",
            type="string",
            enum=["copula", "ctgan", "replay"],
            title="Method",
            description="copula and ctgan invent rows, replay brings real ones that were held back.",
        ),
        "rows": Param(100, type="integer", minimum=1, maximum=1_000_000, title="Rows"),
        "epochs": Param(300, type="integer", minimum=1, title="CTGAN epochs"),
        "valid_only": Param(
            True, type="boolean", title="Valid rows only", description="Draw until all meet the contract."
        ),
        "drift": Param(
            [],
            type="array",
            items={"type": "string"},
            title="Drift",
            description="One per line: shell_weight*1.2, rings+3, sex=M:0.8,F:0.1,I:0.1",
        ),
        "dirt": Param(0, **share, title="Dirt", description="Share of rows to break, in each way the contract knows."),
        "dirt_kinds": Param(
            [],
            type="array",
            items={"type": "string"},
            title="Kinds of dirt",
            description="Only these: missing, below:height, rule.",
        ),
        "duplicates": Param(0, **share, title="Duplicates", description="Share of rows to repeat within the file."),
        "known_rows": Param(
            0, **share, title="Known rows", description="Share of rows to add that the dataset has already."
        ),
        "late_days": Param(
            0, type="number", minimum=0, title="Late", description="Days by which the file name is older."
        ),
        "seed": Param(
            None, type=["null", "integer"], minimum=0, title="Seed", description="Empty: another one in each run."
        ),
    }
