"""Alarms, subscription and dashboard of a model: made with its endpoint's name, under the names that a canary asks for, and removed."""

import json

import pytest

from deploy import data_platform, environment, settings
from deploy.stacks import delete_stack
from retraining.settings import environment as deployments

pytestmark = pytest.mark.local_aws
MODEL = "abalone"
MAIL = "on-call@example.com"


def deployed(session, **platform: str):
    """Deploy the platform as the deploy command does; return its outputs."""
    project = environment.Project(
        session, settings.Deployment("dev", "us-east-1", platform=platform), print, with_environment=False
    )
    request = project.platform_request(project.models[0])
    data_platform.ensure_artifacts_bucket(session, "dev")
    return data_platform.deploy(session, "dev", MODEL, request.parameters, print)[1]


def alarms(session) -> dict[str, dict]:
    return {alarm["AlarmName"]: alarm for alarm in session.client("cloudwatch").describe_alarms()["MetricAlarms"]}


def dashboards(session) -> list[str]:
    found = session.client("cloudwatch").list_dashboards()["DashboardEntries"]
    return [entry["DashboardName"] for entry in found]


def test_an_endpoint_has_the_alarms_that_a_canary_asks_for_and_they_go_with_it(session):
    topic = deployed(session, OutcomeEmail=MAIL)["OutcomeTopicArn"]
    found = alarms(session)
    assert sorted(found) == sorted(deployments.alarm_names(MODEL))
    for alarm in found.values():
        assert alarm["Namespace"] == "AWS/SageMaker"
        variant = {"EndpointName": "dev-abalone", "VariantName": "AllTraffic"}
        assert {item["Name"]: item["Value"] for item in alarm["Dimensions"]} == variant
        assert (alarm["AlarmActions"], alarm["OKActions"]) == ([topic], [topic])
        assert alarm["TreatMissingData"] == "notBreaching"
    subscribed = session.client("sns").list_subscriptions_by_topic(TopicArn=topic)["Subscriptions"]
    assert [(item["Protocol"], item["Endpoint"]) for item in subscribed] == [("email", MAIL)]
    body = session.client("cloudwatch").get_dashboard(DashboardName="retraining-dev-abalone")["DashboardBody"]
    shown = json.dumps(json.loads(body))
    assert shown.count("dev-abalone") >= 3
    assert all(alarm["AlarmArn"] in shown for alarm in found.values())

    assert deployed(session, Dashboard="no")["OutcomeTopicArn"] == topic
    assert dashboards(session) == []
    assert session.client("sns").list_subscriptions_by_topic(TopicArn=topic)["Subscriptions"] == []
    assert len(alarms(session)) == 3
    deployed(session, EndpointName="")  # as of a model with deployment.mode none
    assert alarms(session) == {}
    deployed(session)
    assert dashboards(session) == ["retraining-dev-abalone"]
    delete_stack(session, data_platform.stack_name("dev", MODEL), print)
    assert (alarms(session), dashboards(session)) == ({}, [])
