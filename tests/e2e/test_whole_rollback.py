"""The rollback DAG on a real Airflow scheduler; it runs after the other tests of the stack, whose champion it abandons."""

import json

import pytest

pytestmark = [pytest.mark.airflow, pytest.mark.e2e, pytest.mark.timeout(3600)]


def test_a_rollback_returns_to_the_first_model_on_record(stack, session, run_dag):
    sagemaker, s3 = session.client("sagemaker"), session.client("s3")
    bucket = json.loads(
        session.client("ssm").get_parameter(Name="/retraining/dev/abalone/platform")["Parameter"]["Value"]
    )["bucket"]
    before = sagemaker.describe_endpoint(EndpointName="dev-abalone")["EndpointConfigName"]
    run = run_dag("abalone_rollback", {"package": "1", "why": "the newer model drifts"})
    assert run["state"] == "success", run
    assert set(run["tasks"].values()) == {"success"}

    after = sagemaker.describe_endpoint(EndpointName="dev-abalone")["EndpointConfigName"]
    assert before != after == stack.summary["first_run"]["endpoint_config"]
    approved = sagemaker.list_model_packages(ModelPackageGroupName="dev-abalone-models", ModelApprovalStatus="Approved")
    assert [item["ModelPackageVersion"] for item in approved["ModelPackageSummaryList"]] == [1]
    listed = s3.list_objects_v2(Bucket=bucket, Prefix="abalone/rollbacks/")["Contents"]
    records = [json.loads(s3.get_object(Bucket=bucket, Key=item["Key"])["Body"].read()) for item in listed]
    [record] = [record for record in records if record["why"] == "the newer model drifts"]
    assert record["who"]
    assert record["done_at"]
