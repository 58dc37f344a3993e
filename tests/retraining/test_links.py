"""Links lead somewhere: to the AWS console from AWS only, to the page of the Airflow UI from everywhere."""

from types import SimpleNamespace

import pytest

from retraining.aws.console import console_link, has_console
from retraining.dag.asking import PAGE, page_url
from retraining.dag.operators import JobLink, ReportLink
from retraining.settings.access import AwsAccess
from retraining_page import PREFIX

HANDLE = {"name": "abalone-train-1"}


@pytest.fixture(autouse=True)
def no_endpoint_of_the_shell(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)


@pytest.mark.parametrize(
    ("access", "there"),
    [
        (AwsAccess(region="eu-west-1"), True),
        (AwsAccess(region="cn-north-1"), True),
        (
            AwsAccess(region="us-east-1", endpoint_url="https://vpce-1-2.api.sagemaker.us-east-1.vpce.amazonaws.com"),
            True,
        ),
        (AwsAccess(region="us-east-1", endpoint_url="http://127.0.0.1:4566"), False),
        (AwsAccess(region="us-east-1", endpoint_url="https://amazonaws.com.example"), False),
    ],
)
def test_only_an_account_of_aws_has_a_console(access: AwsAccess, there: bool) -> None:
    assert has_console(access) is there
    assert console_link(access, "https://console") == ("https://console" if there else None)


def test_the_standard_variable_counts_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:4566")
    assert not has_console(AwsAccess(region="ap-south-1"))


def test_a_task_leads_to_the_job_that_it_awaits() -> None:
    operator = SimpleNamespace(handle=HANDLE, kind="training", access=AwsAccess(region="eu-west-1"))
    assert "eu-west-1.console.aws.amazon.com" in JobLink().get_link(operator, ti_key=None)
    assert JobLink().get_link(SimpleNamespace(**{**vars(operator), "handle": None}), ti_key=None) == ""
    local = AwsAccess(region="eu-west-1", endpoint_url="http://127.0.0.1:4566")
    assert JobLink().get_link(SimpleNamespace(**{**vars(operator), "access": local}), ti_key=None) == ""


def test_the_last_task_leads_to_its_run_on_the_page(monkeypatch: pytest.MonkeyPatch) -> None:
    from airflow.sdk.execution_time.xcom import XCom

    summary = {"model": "abalone", "run_key": "v3-0123456789ab"}
    monkeypatch.setenv("AIRFLOW__API__BASE_URL", "https://airflow.example/base/")
    monkeypatch.setattr(XCom, "get_value", staticmethod(lambda *, key, ti_key: summary))
    link = ReportLink().get_link(None, ti_key=None)
    assert link == "https://airflow.example/base/retraining/#/abalone/history/v3-0123456789ab"
    assert link == page_url("abalone", "v3-0123456789ab") and f"/{PAGE}" == PREFIX


def test_the_dag_offers_both() -> None:
    from pathlib import Path

    from retraining.dag.retraining_dag import retraining_dag

    dag = retraining_dag(Path(__file__).parents[2] / "dags" / "models" / "abalone")
    names = {task.task_id: [link.name for link in task.operator_extra_links] for task in dag.tasks}
    assert names["publish_report"] == ["Report"]
    assert all(names[task] == ["Job"] for task in ("preprocess_data", "training", "evaluate_model", "deploy_model"))


def test_the_message_of_a_run_links_to_console_and_page_where_they_are() -> None:
    from retraining.telling.run_report import outcome_of

    summary = {
        "decision": "approved",
        "run_key": "v3-0123456789ab",
        "dataset_version": 3,
        "metric": "rmse",
        "score_challenger": 2.0,
        "score_champion": 2.1,
        **dict.fromkeys(("rows_accepted", "rows_duplicate", "rows_quarantined", "files_refused"), 0),
        "rows_by_split": {},
        "model_package": None,
        "endpoint": "abalone",
        "endpoint_config": "config",
        "promoted": True,
        "training_job": "abalone-train-1",
        "refused": [],
        "report": "s3://bucket/abalone/runs/v3/report.html",
    }
    told = {"page": "https://airflow.example/retraining/", "region": "eu-west-1"}
    links = dict(outcome_of(summary, {}, {"reason": "So."}, link=lambda url: url, **told).links)
    assert list(links) == ["Run in the browser", "Report", "Report in the console", "Endpoint", "Training job"]
    assert all("eu-west-1.console.aws.amazon.com" in links[name] for name in list(links)[2:])
    links = dict(outcome_of(summary, {}, {"reason": "So."}, link=lambda url: None, **told).links)
    assert list(links) == ["Run in the browser", "Report"]
