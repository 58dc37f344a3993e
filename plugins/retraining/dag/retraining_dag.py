"""Turns a model folder into its retraining DAG.

Parsing is pure: the factory reads ``model.yaml`` and nothing else. What AWS holds is looked up when a task runs.
"""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.providers.standard.operators.python import BranchPythonOperator, PythonOperator
from airflow.sdk import (
    DAG,
    Asset,
    AssetOrTimeSchedule,
    AssetWatcher,
    CronTriggerTimetable,
    Param,
    chain,
)
from airflow.sdk.exceptions import AirflowFailException

from retraining.dag.operators import (
    ANSWER,
    AwsJobOperator,
    ObservingJobOperator,
    QuestionOperator,
    ReportLink,
)
from retraining.dag.sdk_operator import SDK_STEPS_VARIABLE, in_form, with_chosen_forms
from retraining.dag.sensors import NewDataSensor
from retraining.dag.task_results import Result, with_results
from retraining.dag.tasks.retraining import RetrainingTasks
from retraining.dag.triggers import NewDataTrigger
from retraining.dag.verify_operator import VerifyOperator
from retraining.judging.candidates import LONGEST_ANALYSIS
from retraining.sdk.context import SDK_FILE
from retraining.settings.environment import queue_name
from retraining.settings.model_config import ConfigError, ModelConfig, load_model_config
from retraining.settings.run_parameters import HYPERPARAMETERS_SCHEMA

SHORT = timedelta(minutes=10)
CRAWL_LIMIT = timedelta(minutes=10)
LONGEST_QUESTION = timedelta(minutes=30)
"""How long an endpoint that cannot be asked is asked again."""
ANY_BRANCH = "none_failed_min_one_success"

PLAN = Result("claim_new_data")
DATASET = Result("check_data_quality")
TRAINED = Result("training", mapped=True, beside="tuning")
EVALUATED = Result("evaluate_model")
ANALYSIS = Result("analyze_results")
DECISION = Result("check_threshold", key="decision")
JUDGED = {
    "plan": PLAN,
    "dataset": DATASET,
    "trained": TRAINED,
    "evaluated": EVALUATED,
    "scored": Result("score_champion"),
    "analysis": ANALYSIS,
    "decision": DECISION,
    "crawled": Result("crawl_data"),
    "merged": Result("preprocess_data"),
}
"""What a report of a judged model is made of."""


def retraining_dag(folder: Path, doc_md: str | None = None) -> DAG:
    """Build the DAG ``NAME_retraining`` of a model folder.

    Args:
        folder: holds model.yaml and the code that runs inside the jobs.
        doc_md: what the Airflow UI shows about the DAG, usually the DAG file's docstring.

    Raises:
        ConfigError: model.yaml is wrong.

    """
    declared = load_model_config(folder / "model.yaml")
    config = with_chosen_forms(declared, os.environ.get(SDK_STEPS_VARIABLE, ""))
    if not (folder / SDK_FILE).exists():
        if declared.steps.sdk:
            raise ConfigError(
                f"{folder / 'model.yaml'}: steps {', '.join(declared.steps.sdk)} need {folder / SDK_FILE}, which does not exist"
            )
        config = declared  # the environment chooses among the forms that a model has
    if config.unread_overrides:
        raise ConfigError(f"{folder / 'model.yaml'}: {config.unread_overrides}")
    steps = RetrainingTasks(config, folder)
    name = config.name
    asset = Asset(
        name=f"{name}_new_data",
        uri=f"x-retraining://{name}/new",
        watchers=[
            AssetWatcher(
                name=f"{name}_queue",
                trigger=NewDataTrigger(queue_name(name), f"{name}/{config.landing.new}", config.aws.model_dump()),
            )
        ],
    )
    job: dict[str, Any] = {"model": name, "access": config.aws, "poll_seconds": steps.poll_seconds}
    with DAG(
        dag_id=f"{name.replace('-', '_')}_retraining",
        description=config.description,
        doc_md=doc_md,
        schedule=AssetOrTimeSchedule(
            timetable=CronTriggerTimetable(config.schedule.cron, timezone="UTC"), assets=[asset]
        ),
        start_date=datetime(2026, 1, 1, tzinfo=UTC),
        catchup=False,
        is_paused_upon_creation=False,  # a paused DAG starts no run, and its watcher hears of no file
        max_active_runs=1,
        dagrun_timeout=_limit_of_a_run(config),
        tags=["retraining", name],
        params=_params(config),
        default_args={
            "owner": config.owner,
            "retries": 2,
            "retry_delay": timedelta(seconds=15),
            "retry_exponential_backoff": True,
            "max_retry_delay": timedelta(minutes=5),
            "execution_timeout": SHORT,
            "on_failure_callback": steps.note_failure,
        },
        on_failure_callback=steps.notify_failure,
    ) as dag:
        start = EmptyOperator(task_id="start")
        verifying: dict[str, Any] = {
            "model": name,
            "access": config.aws,
            "poll_seconds": steps.poll_seconds,
            "max_wait": timedelta(seconds=config.deployment.max_wait_seconds),
            "patience": LONGEST_QUESTION,
        }
        unfinished: dict[str, Any] = {
            **verifying,
            "python_callable": steps.settle_endpoint,
            "taken_back": steps.settled_back,
            "patience": timedelta(seconds=config.deployment.max_wait_seconds),
        }
        settle_endpoint = VerifyOperator(task_id="settle_endpoint", **unfinished)
        sense_new_data = NewDataSensor(task_id="sense_new_data", look=steps.look_for_work)
        claim_new_data = PythonOperator(task_id="claim_new_data", python_callable=steps.claim_new_data)
        crawl_data = ObservingJobOperator(
            task_id="crawl_data",
            kind="glue_crawler",
            step="crawl",
            python_callable=with_results(steps.crawl_request, plan=PLAN),
            max_wait=CRAWL_LIMIT,
            patience=CRAWL_LIMIT,
            on_failure_callback=None,
            **job,
        )
        after_crawl = EmptyOperator(task_id="after_crawl", trigger_rule="all_done")  # also of a crawl that was killed
        preprocess_data = AwsJobOperator(
            task_id="preprocess_data",
            kind="glue_job",
            step="merge",
            python_callable=with_results(steps.merge_request, plan=PLAN),
            max_wait=timedelta(minutes=config.etl.max_runtime_minutes + 10),
            **job,
        )
        check_data_quality = PythonOperator(
            task_id="check_data_quality", python_callable=with_results(steps.check_data_quality, plan=PLAN)
        )
        list_candidates = PythonOperator(
            task_id="list_candidates", python_callable=with_results(steps.list_candidates, plan=PLAN)
        )
        training_operator, training_body = in_form(
            config.steps.training,
            "training",
            with_results(steps.training_request, plan=PLAN, dataset=DATASET),
            with_results(steps.training_context, plan=PLAN, dataset=DATASET),
        )
        training = training_operator.partial(
            task_id="training",
            kind="training",
            step="train",
            **training_body,
            max_wait=timedelta(seconds=config.training.max_runtime_seconds + 900),
            on_success=with_results(steps.trained, plan=PLAN),
            map_index_template="{{ task.op_kwargs['candidate'] }}",
            max_active_tis_per_dagrun=config.training.parallel,
            **job,
        ).expand(op_kwargs=list_candidates.output)
        trainings: list[Any] = [training]
        if tuning := config.training.tuning:
            trainings.append(
                AwsJobOperator(
                    task_id="tuning",
                    kind="tuning",
                    step="tune",
                    python_callable=with_results(steps.tuning_request, plan=PLAN, dataset=DATASET),
                    max_wait=tuning.longest(config.training.max_runtime_seconds),
                    on_success=with_results(steps.tuned, plan=PLAN),
                    **job,
                )
            )
        score_champion = ObservingJobOperator(
            task_id="score_champion",
            kind="scoring",
            step="champion",
            python_callable=with_results(steps.champion_request, plan=PLAN, dataset=DATASET),
            max_wait=timedelta(seconds=config.evaluation.max_runtime_seconds + 900),
            forgives=AirflowFailException,
            **job,
        )
        # A failed candidate is named, and vetoes nobody.
        after_training = EmptyOperator(task_id="after_training", trigger_rule="all_done_min_one_success")
        judged: Any = after_training
        if any(candidate.container for candidate in config.training.candidates):
            judged = AwsJobOperator(
                task_id="score_challenger",
                kind="transform",
                step="challenger",
                python_callable=with_results(steps.challenger_request, plan=PLAN, dataset=DATASET, trained=TRAINED),
                max_wait=timedelta(seconds=config.evaluation.max_runtime_seconds + 900),
                **job,
            )
            after_training >> judged
        evaluation_operator, evaluation_body = in_form(
            config.steps.evaluation,
            "evaluation",
            with_results(
                steps.evaluation_request,
                plan=PLAN,
                dataset=DATASET,
                trained=TRAINED,
                scored=Result("score_champion"),
                asked=Result("score_challenger"),
            ),
            with_results(steps.evaluation_context, plan=PLAN, dataset=DATASET, trained=TRAINED),
        )
        evaluate_model = evaluation_operator(
            task_id="evaluate_model",
            kind="processing",
            step="evaluate",
            **evaluation_body,
            max_wait=timedelta(seconds=config.evaluation.max_runtime_seconds + 900),
            **job,
        )
        analyze_results = PythonOperator(
            task_id="analyze_results",
            python_callable=with_results(steps.analyze_results, plan=PLAN, dataset=DATASET),
            execution_timeout=timedelta(seconds=LONGEST_ANALYSIS) + SHORT,
        )
        check_threshold = BranchPythonOperator(
            task_id="check_threshold",
            python_callable=with_results(steps.check_threshold, plan=PLAN, dataset=DATASET, analysis=ANALYSIS),
        )
        register_candidate = with_results(
            steps.register_model, plan=PLAN, dataset=DATASET, trained=TRAINED, evaluated=EVALUATED, decision=DECISION
        )
        approved = EmptyOperator(task_id="approved")
        rejected = PythonOperator(task_id="rejected", python_callable=register_candidate)
        ask_for_approval = PythonOperator(
            task_id="ask_for_approval",
            python_callable=with_results(
                steps.ask_for_approval,
                **JUDGED,
            ),
        )
        await_approval = QuestionOperator(
            task_id="await_approval",
            subject=f"Deploy the new {name} model?",
            body="{{ ti.xcom_pull(task_ids='check_threshold', key='decision')['reason'] }}",
            defaults="Reject",
            response_timeout=timedelta(hours=config.approval.timeout_hours),
            execution_timeout=None,
            retries=0,
        )
        register_model = PythonOperator(
            task_id="register_model", python_callable=register_candidate, trigger_rule=ANY_BRANCH
        )
        kind, step, request = "endpoint", "deploy", steps.deploy_request
        known: dict[str, Any] = {"plan": PLAN, "package": Result("register_model"), "deployed": Result("deploy_model")}
        verify = with_results(steps.verify_endpoint, **known)
        if config.endpoint is None:  # a job proves the model, and its approval makes it the champion
            kind, step, request = "processing", "smoke", steps.smoke_request
            verify = with_results(steps.verify_smoke, **known, trained=TRAINED)
        deploy_model = AwsJobOperator(
            task_id="deploy_model",
            kind=kind,
            step=step,
            python_callable=with_results(request, plan=PLAN, trained=TRAINED),
            max_wait=timedelta(seconds=config.deployment.max_wait_seconds),
            longest_pause=60.0,
            on_failure=with_results(steps.deployment_failed, plan=PLAN, package=Result("register_model")),
            **job,
        )
        verify_endpoint = VerifyOperator(
            task_id="verify_endpoint",
            python_callable=verify,
            taken_back=steps.taken_back,
            **verifying,
        )
        publish_report = PythonOperator(
            task_id="publish_report",
            python_callable=with_results(
                steps.publish_report,
                **JUDGED,
                registered=Result("register_model"),
                rejected=Result("rejected"),
                verified=Result("verify_endpoint"),
                answer=Result("await_approval", key=ANSWER),
            ),
            trigger_rule=ANY_BRANCH,
        )
        publish_report.operator_extra_links = (ReportLink(),)
        end = EmptyOperator(task_id="end")
        stop_leftovers = PythonOperator(task_id="stop_leftovers", python_callable=steps.stop_leftovers).as_teardown()
        close_endpoint = VerifyOperator(task_id="close_endpoint", **unfinished).as_teardown()
        chain(start, settle_endpoint, sense_new_data, claim_new_data, preprocess_data, check_data_quality)
        chain(claim_new_data, crawl_data, after_crawl, check_data_quality)
        chain(claim_new_data, list_candidates, training)
        chain(check_data_quality, trainings, after_training)
        chain(check_data_quality, score_champion, evaluate_model)
        chain(
            judged,
            evaluate_model,
            analyze_results,
            check_threshold,
            [approved, rejected],
        )
        # Not from approved: the branch would count the question among what follows it, and never skip it.
        chain(check_threshold, ask_for_approval, await_approval, register_model)
        chain(
            approved,
            register_model,
            deploy_model,
            verify_endpoint,
            publish_report,
            end,
        )
        end >> [stop_leftovers, close_endpoint]
        approved >> publish_report
        rejected >> publish_report  # not from await_approval: a person's no skips what directly follows it
    return dag


def _params(config: ModelConfig) -> dict[str, Any]:
    """Return the form that the Airflow UI shows for a manual run."""
    names = [candidate.name for candidate in config.training.candidates]
    return {
        "force_retrain": Param(
            False, type="boolean", title="Retrain without new data", description="Train even when there is nothing new."
        ),
        "dry_run": Param(
            False, type="boolean", title="Dry run", description="Train and judge, but neither register nor deploy."
        ),
        "require_approval": Param(
            config.approval.required,
            type="boolean",
            title="Ask a person",
            description=f"A better model waits up to {config.approval.timeout_hours} h for a person's approval; no answer means no.",
        ),
        "guards": Param(
            {},
            type="object",
            title="Guards",
            description=f"Limits on the test rows instead of model.yaml's, for example {json.dumps(dict(config.gate.guards))}.",
        ),
        "candidate": Param(
            "all", type="string", enum=["all", *names], title="Candidates", description="Which algorithms to train."
        ),
        "hyperparameters": Param(
            {},
            type="object",
            title="Hyperparameters",
            description='Added to every candidate\'s own, for example {"seed": 1} or {"params": {"svr_C": 3}}.',
            **HYPERPARAMETERS_SCHEMA,
        ),
        "dataset_version": Param(
            None,
            type=["null", "integer"],
            minimum=1,
            title="Dataset version",
            description="Train on this version instead of merging new files.",
        ),
    }


def _limit_of_a_run(config: ModelConfig) -> timedelta:
    """Return a limit that no healthy run reaches: all steps at their own limits, and a person's answer."""
    seconds = (
        config.training.max_runtime_seconds + config.evaluation.max_runtime_seconds + config.deployment.max_wait_seconds
    )
    limit = timedelta(hours=4 + config.approval.timeout_hours, minutes=config.etl.max_runtime_minutes, seconds=seconds)
    tuning = config.training.tuning
    return limit + (tuning.longest(config.training.max_runtime_seconds) if tuning else timedelta())
