"""A person's no and a person's yes on a real Airflow, about models that are better than the first one: it serves again after a rollback."""

import json

import pytest
from conftest import until

pytestmark = [pytest.mark.airflow, pytest.mark.e2e, pytest.mark.timeout(3600)]
DAG = "abalone_retraining"


@pytest.fixture(scope="module")
def told(session):
    """What the model's topic tells; a function that waits for a message about a run that holds a text."""
    sqs, ssm = session.client("sqs"), session.client("ssm")
    platform = json.loads(ssm.get_parameter(Name="/retraining/dev/abalone/platform")["Parameter"]["Value"])
    url = sqs.create_queue(QueueName="who-decides")["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    session.client("sns").subscribe(TopicArn=platform["topic_arn"], Protocol="sqs", Endpoint=arn)
    heard = []

    def messages(text):
        for message in sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages", []):
            heard.append(json.loads(message["Body"])["Message"])
            sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
        return [message for message in heard if text in message]

    return messages


@pytest.fixture(scope="module", autouse=True)
def first_model_serves(stack, session, run_dag):
    """Roll back to the model of version 1, which every model of the grown data set has beaten."""
    first = stack.summary["first_run"]["endpoint_config"]
    if serving(session) != first:
        run = run_dag("abalone_rollback", {"package": "1", "why": "a person is to decide"})
        assert run["state"] == "success", run
    assert serving(session) == first


def asked(api, seed):
    """Start a run that asks a person, and return its path below the API when it waits for the answer."""
    conf = {"force_retrain": True, "require_approval": True, "hyperparameters": {"seed": seed}}
    run_id = api.trigger(DAG, conf)["dag_run_id"]

    def waits():
        states = {task["task_id"]: task["state"] for task in api.tasks(DAG, run_id)}
        assert "failed" not in states.values(), states
        assert states["rejected"] != "success", "the gate kept the champion: there is nothing to ask"
        return states["await_approval"] == "awaiting_input"

    until(waits, "the run asks a person")
    return run_id


def answer(api, run_id, option):
    path = f"dags/{DAG}/dagRuns/{run_id}/taskInstances/await_approval/-1/hitlDetails"
    api.patch(path, {"chosen_options": [option]})
    run = until(lambda: (run := api.run(DAG, run_id))["state"] in ("success", "failed") and run, "the run ends")
    return run["state"], {task["task_id"]: task["state"] for task in api.tasks(DAG, run_id)}


def serving(session):
    return session.client("sagemaker").describe_endpoint(EndpointName="dev-abalone")["EndpointConfigName"]


def newest_package(session):
    found = session.client("sagemaker").list_model_packages(
        ModelPackageGroupName="dev-abalone-models", SortBy="CreationTime", SortOrder="Descending"
    )
    return found["ModelPackageSummaryList"][0]


def test_a_no_keeps_the_old_model_and_is_told_as_a_no(stack, api, session, told):
    before, package = serving(session), newest_package(session)["ModelPackageArn"]
    run_id = asked(api, seed=101)
    [message] = until(lambda: told("approval waits"), "a message says that approval waits")
    assert run_id in message or "await_approval" in message
    assert f"run {run_id} waits for a person's yes or no: http://127.0.0.1:" in stack.run("status").stdout
    refused = stack.run("run", "abalone_retraining")
    assert refused.returncode == 1
    assert "Answer it first: until then abalone_retraining starts no other run" in refused.stderr
    assert serving(session) == before
    assert newest_package(session)["ModelPackageArn"] == package  # nothing is registered before the answer

    state, tasks = answer(api, run_id, "Reject")

    assert state == "success"
    assert (tasks["register_model"], tasks["deploy_model"]) == ("skipped", "skipped")
    assert serving(session) == before
    assert (
        newest_package(session)["ModelPackageArn"] != package
    )  # what was declined is registered, so that nobody asks again
    assert newest_package(session)["ModelApprovalStatus"] == "Rejected"
    assert until(lambda: told("declined by a person"), "a message tells the no")


def test_a_yes_deploys_the_model(stack, api, session, told):
    before = serving(session)
    run_id = asked(api, seed=102)
    state, tasks = answer(api, run_id, "Approve")
    assert state == "success"
    assert tasks["verify_endpoint"] == tasks["deploy_model"] == "success"
    assert serving(session) != before
    assert newest_package(session)["ModelApprovalStatus"] == "Approved"
    assert until(lambda: len(told("approval waits")) == 2, "the second question is told")
