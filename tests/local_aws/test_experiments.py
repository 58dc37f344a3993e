"""Experiments are kept, found by what belongs to what, and tell their metrics."""

import boto3
import pytest
from botocore.exceptions import ClientError
from local_account import Account

pytestmark = pytest.mark.local_aws


def names(page: dict, noun: str) -> list[str]:
    return sorted(one[f"{noun}Name"] for one in page[f"{noun}Summaries"])


def test_components_belong_to_trials_and_trials_to_experiments(account: Account) -> None:
    sagemaker = account.sagemaker
    sagemaker.create_experiment(ExperimentName="Tides", Description="first")
    with pytest.raises(ClientError, match=r"ValidationException.*already exists"):
        sagemaker.create_experiment(ExperimentName="Tides")
    with pytest.raises(ClientError, match="ResourceNotFound"):
        sagemaker.create_trial(TrialName="orphan", ExperimentName="nowhere")
    for name in ("north", "south"):
        sagemaker.create_trial(TrialName=name, ExperimentName="Tides")
    created = sagemaker.create_trial_component(
        TrialComponentName="Fit", Parameters={"rate": {"NumberValue": 0.5}, "kind": {"StringValue": "svr"}}
    )
    assert created["TrialComponentArn"].endswith(":experiment-trial-component/fit")
    sagemaker.create_trial_component(TrialComponentName="alone")
    sagemaker.associate_trial_component(TrialName="north", TrialComponentName="Fit")
    assert names(sagemaker.list_trials(ExperimentName="Tides"), "Trial") == ["north", "south"]
    assert names(sagemaker.list_trials(TrialComponentName="Fit"), "Trial") == ["north"]
    assert names(sagemaker.list_trial_components(TrialName="north"), "TrialComponent") == ["Fit"]
    assert names(sagemaker.list_trial_components(TrialName="south"), "TrialComponent") == []
    assert names(sagemaker.list_trial_components(ExperimentName="Tides"), "TrialComponent") == ["Fit"]
    filters = [{"Name": "Parents.TrialName", "Operator": "Equals", "Value": "north"}]
    found = sagemaker.search(Resource="ExperimentTrialComponent", SearchExpression={"Filters": filters})["Results"]
    assert [one["TrialComponent"]["TrialComponentName"] for one in found] == ["Fit"]
    sagemaker.update_trial_component(
        TrialComponentName="Fit",
        Parameters={"depth": {"NumberValue": 3}},
        ParametersToRemove=["kind"],
        Status={"PrimaryStatus": "Completed"},
    )
    described = sagemaker.describe_trial_component(TrialComponentName="Fit")
    assert described["Parameters"] == {"rate": {"NumberValue": 0.5}, "depth": {"NumberValue": 3.0}}
    assert described["Status"] == {"PrimaryStatus": "Completed"}
    for call, arguments in (
        (sagemaker.delete_trial_component, {"TrialComponentName": "Fit"}),
        (sagemaker.delete_trial, {"TrialName": "north"}),
        (sagemaker.delete_experiment, {"ExperimentName": "Tides"}),
    ):
        with pytest.raises(ClientError, match="ValidationException"):
            call(**arguments)
    sagemaker.disassociate_trial_component(TrialName="north", TrialComponentName="Fit")
    sagemaker.delete_trial_component(TrialComponentName="Fit")
    for name in ("north", "south"):
        sagemaker.delete_trial(TrialName=name)
    sagemaker.delete_experiment(ExperimentName="Tides")
    with pytest.raises(ClientError, match="ResourceNotFound"):
        sagemaker.describe_experiment(ExperimentName="Tides")


def test_metrics_are_summed_up_by_name(account: Account) -> None:
    account.sagemaker.create_trial_component(TrialComponentName="Measured")
    metrics = boto3.client(
        "sagemaker-metrics", "us-east-1", endpoint_url=account.url,
        aws_access_key_id=account.access_key, aws_secret_access_key=account.secret_key,
    )  # fmt: skip
    data = [
        {"MetricName": "loss", "Timestamp": 1_700_000_000 + n, "Step": n, "Value": v} for n, v in enumerate((4, 1, 2))
    ]
    assert "Errors" not in metrics.batch_put_metrics(TrialComponentName="measured", MetricData=data)
    with pytest.raises(ClientError, match="ResourceNotFound"):
        metrics.batch_put_metrics(TrialComponentName="nobody", MetricData=data)
    metrics.close()
    [loss] = account.sagemaker.describe_trial_component(TrialComponentName="Measured")["Metrics"]
    found = [loss[name] for name in ("MetricName", "Count", "Min", "Max", "Last", "Avg")]
    assert found == ["loss", 3, 1, 4, 2, pytest.approx(7 / 3)]
