"""The whole loop on a real Airflow scheduler and a real local_aws: every job runs, nothing is replaced."""

import json
import subprocess

import pytest

from local_stack import layout
from local_stack.surveys import split_surveys

pytestmark = [pytest.mark.airflow, pytest.mark.e2e, pytest.mark.timeout(3600)]
DAG_ID = "abalone_retraining"
RUN_FIELDS = {
    "state",
    "seconds",
    "rows_new",
    "rows_accepted",
    "rows_duplicate",
    "rows_quarantined",
    "score_challenger",
    "score_champion",
    "decision",
    "reason",
    "endpoint",
    "model_package",
}
AWS_CLI = layout.VENVS / "dev" / "bin" / "aws"


@pytest.fixture(scope="module")
def packages(session):
    def listed():
        pages = (
            session.client("sagemaker")
            .get_paginator("list_model_packages")
            .paginate(ModelPackageGroupName="dev-abalone-models", SortBy="CreationTime", SortOrder="Descending")
        )
        return [package for page in pages for package in page["ModelPackageSummaryList"]]

    return listed


def test_the_demo_tells_what_its_jobs_measured(stack):
    summary = stack.summary
    assert set(summary) >= {"first_run", "retrain_run", "event_to_run_seconds", "sample_prediction", "setup_seconds"}
    for run in (summary["first_run"], summary["retrain_run"]):
        assert set(run) >= RUN_FIELDS
        assert run["state"] == "success"
        assert run["rows_new"] == run["rows_accepted"] + run["rows_duplicate"] + run["rows_quarantined"]
    assert summary["first_run"]["score_champion"] is None
    assert summary["retrain_run"]["decision"] == "approved"
    assert summary["retrain_run"]["score_challenger"] < summary["retrain_run"]["score_champion"]
    assert 1 < summary["sample_prediction"]["rings"] < 30


def test_the_event_and_not_a_person_started_the_retraining(stack, api):
    kinds = {run["run_type"] for run in api.runs(DAG_ID)}
    assert "asset_triggered" in kinds


def test_the_numbers_of_the_summary_are_those_of_the_jobs(stack, session):
    run = stack.summary["retrain_run"]
    bucket = json.loads(
        session.client("ssm").get_parameter(Name="/retraining/dev/abalone/platform")["Parameter"]["Value"]
    )["bucket"]
    rows = session.client("s3").get_object(Bucket=bucket, Key=f"abalone/runs/{run['run_key']}/evaluation/rows.csv")[
        "Body"
    ]
    header, *lines = rows.read().decode().splitlines()
    assert header == "row,truth,challenger,champion,group,loss_challenger,loss_champion,file"
    errors = [(float(line.split(",")[2]) - float(line.split(",")[1])) ** 2 for line in lines]
    assert (sum(errors) / len(errors)) ** 0.5 == pytest.approx(run["score_challenger"], rel=1e-9)
    assert len(lines) == run["rows_by_split"]["test"]


def test_the_endpoint_serves_the_newest_approved_package(stack, session, packages):
    sagemaker = session.client("sagemaker")
    newest = next(package for package in packages() if package["ModelApprovalStatus"] == "Approved")
    assert newest["ModelPackageArn"] == stack.summary["retrain_run"]["model_package"]
    registered = sagemaker.describe_model_package(ModelPackageName=newest["ModelPackageArn"])
    config = sagemaker.describe_endpoint(EndpointName="dev-abalone")["EndpointConfigName"]
    model = sagemaker.describe_endpoint_config(EndpointConfigName=config)["ProductionVariants"][0]["ModelName"]
    served = sagemaker.describe_model(ModelName=model)["PrimaryContainer"]["ModelDataUrl"]
    assert served == registered["InferenceSpecification"]["Containers"][0]["ModelDataUrl"]


def test_the_dataset_log_agrees_with_what_lies_in_s3(stack):
    done = stack.dataset("verify", "abalone")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "everything is as the log says" in done.stdout


def test_a_run_without_new_data_is_skipped(run_dag):
    run = run_dag(DAG_ID, {})
    assert run["tasks"]["sense_new_data"] == "skipped"
    assert set(run["tasks"].values()) <= {"success", "skipped"}
    assert run["tasks"]["training"] == "skipped"


def test_a_second_run_on_unchanged_input_reuses_every_job_and_registers_nothing(session, packages, run_dag, stack):
    sagemaker, glue = session.client("sagemaker"), session.client("glue")

    def paid_work():
        return (
            {job["TrainingJobName"] for job in sagemaker.list_training_jobs()["TrainingJobSummaries"]},
            {job["ProcessingJobName"] for job in sagemaker.list_processing_jobs()["ProcessingJobSummaries"]},
            {run["Id"] for run in glue.get_job_runs(JobName="retraining-dev-abalone-merge")["JobRuns"]},
            {package["ModelPackageArn"] for package in packages()},
            {config["EndpointConfigName"] for config in sagemaker.list_endpoint_configs()["EndpointConfigs"]},
        )

    before = paid_work()
    run = run_dag(DAG_ID, {"force_retrain": True})
    assert run["state"] == "success"
    assert run["tasks"]["verify_endpoint"] == "success"
    assert paid_work() == before


def test_a_dry_run_neither_registers_nor_deploys(session, packages, run_dag):
    config = session.client("sagemaker").describe_endpoint(EndpointName="dev-abalone")["EndpointConfigName"]
    count = len(packages())
    run = run_dag(DAG_ID, {"force_retrain": True, "dry_run": True, "hyperparameters": {"seed": 7}})
    assert run["state"] == "success"
    assert run["tasks"]["register_model"] in ("skipped", None)
    assert len(packages()) in (
        count,
        count + 1,
    )  # one more only when the gate rejected: a rejected candidate is on record
    assert session.client("sagemaker").describe_endpoint(EndpointName="dev-abalone")["EndpointConfigName"] == config


def test_a_run_can_be_pinned_to_an_earlier_dataset_version(run_dag, session, stack):
    run = run_dag(DAG_ID, {"dataset_version": 1, "dry_run": True})
    assert run["state"] == "success"
    jobs = session.client("sagemaker").list_training_jobs()["TrainingJobSummaries"]
    assert stack.summary["first_run"]["training_job"] in {job["TrainingJobName"] for job in jobs}
    assert run["tasks"]["evaluate_model"] == "success"


def test_a_file_of_known_rows_is_merged_once_and_trains_nothing(stack, tmp_path, session):
    path = tmp_path / "again.csv"
    path.write_text("".join(split_surveys(layout.ROOT / "data" / "abalone.csv")[1][0].splitlines(keepends=True)[:40]))
    done = stack.run("retrain", str(path))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "check_data_quality: the new files add no row (" in done.stdout
    assert "of 40): there is nothing to train on" in done.stdout
    assert stack.dataset("verify", "abalone").returncode == 0


def test_a_rebuild_from_the_landed_files_is_identical_bit_by_bit(stack):
    done = stack.dataset("rebuild", "abalone")
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("identical to the original") == 3


def test_the_aws_cli_and_the_providers_hooks_need_only_the_standard_variables(stack, session):
    done = subprocess.run(
        [AWS_CLI, "sagemaker", "describe-endpoint", "--endpoint-name", "dev-abalone"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert json.loads(done.stdout)["EndpointStatus"] == "InService", done.stderr
    from airflow.providers.amazon.aws.hooks.sagemaker import SageMakerHook

    hook = SageMakerHook(aws_conn_id=None)
    assert hook.describe_endpoint("dev-abalone")["EndpointStatus"] == "InService"


def test_up_again_says_what_is_there_and_status_is_healthy(stack):
    again = stack.run("up")
    assert again.returncode == 0
    assert "data platform of" not in again.stdout  # it is up to date
    assert "starting" not in again.stdout
    status = stack.run("status")
    assert status.returncode == 0
    assert status.stdout.count("healthy") == 5
    assert "abalone        endpoint dev-abalone: model version " in status.stdout
    assert "report.html" in status.stdout
