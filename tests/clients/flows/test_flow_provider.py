"""What the amazon provider's own examples do with Glue's catalog, and which of its operators are refused."""

import asyncio
import json

import pytest
from airflow.providers.amazon.aws.hooks.glue_catalog import GlueCatalogHook
from airflow.providers.amazon.aws.operators.glue import GlueDataQualityOperator
from airflow.providers.amazon.aws.operators.glue_crawler import GlueCrawlerCreateOperator, GlueCrawlerRunOperator
from airflow.providers.amazon.aws.operators.sagemaker import (
    SageMakerAutoMLOperator,
    SageMakerCreateNotebookOperator,
    SageMakerStartPipelineOperator,
    SageMakerTuningOperator,
)
from airflow.providers.amazon.aws.sensors.glue_catalog_partition import GlueCatalogPartitionSensor
from airflow.providers.amazon.aws.triggers.glue import GlueCatalogPartitionTrigger
from botocore.exceptions import ClientError
from local_account import BUCKET, ROLE, Account

pytestmark = [pytest.mark.local_aws, pytest.mark.usefixtures("environment")]

CRAWLER = {
    "Name": "provider",
    "Role": ROLE,
    "DatabaseName": "made_by_provider",
    "Targets": {"S3Targets": [{"Path": f"s3://{BUCKET}/provider/data/"}]},
}


def run(operator, **arguments):
    task = operator(task_id="task", aws_conn_id=None, **arguments)
    return task.execute({"ti": None, "task": task})


def test_a_crawler_makes_its_database_and_the_sensor_sees_its_partitions(account: Account) -> None:
    account.put("provider/data/category=mixed/a.csv", "apple,0.5\nmilk,2.5\n")
    run(GlueCrawlerCreateOperator, config=CRAWLER)
    run(GlueCrawlerRunOperator, crawler_name="provider", poll_interval=1, wait_for_completion=True)
    table = {"database_name": "made_by_provider", "table_name": "data"}
    run(GlueCatalogPartitionSensor, **table, expression="category='mixed'", poke_interval=0.2, timeout=10)
    sensor = GlueCatalogPartitionSensor(task_id="t", aws_conn_id=None, **table, expression="category='other'")
    assert not sensor.poke({})
    trigger = GlueCatalogPartitionTrigger(**table, expression="category='mixed'", aws_conn_id=None, waiter_delay=1)

    async def first_event() -> dict:
        events = trigger.run()
        try:
            return (await asyncio.wait_for(anext(events), 30)).payload
        finally:
            await events.aclose()

    assert asyncio.run(first_event())["status"] == "success"
    hook = GlueCatalogHook(aws_conn_id=None)
    assert hook.get_partitions("made_by_provider", "data") == {("mixed",)}
    client = hook.get_conn()
    client.batch_delete_partition(
        DatabaseName="made_by_provider", TableName="data", PartitionsToDelete=[{"Values": ["mixed"]}]
    )
    assert hook.get_partitions("made_by_provider", "data") == set()


def test_a_tuning_operator_waits_for_the_trials(account: Account) -> None:
    account.put("provider/data/category=mixed/a.csv", "apple,0.5\nmilk,2.5\n")
    script = "import json, os\nprint(f\"loss={json.loads(os.environ['SM_HPS'])['x']};\")\n"
    training = account.training_request("provider-tuning", script)
    channel = {
        "ChannelName": "train",
        "DataSource": {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": f"s3://{BUCKET}/provider/data/"}},
    }
    algorithm = training["AlgorithmSpecification"] | {
        "MetricDefinitions": [{"Name": "loss", "Regex": "loss=([-+0-9.e]+);"}]
    }
    config = {
        "HyperParameterTuningJobName": "provider-tuning",
        "HyperParameterTuningJobConfig": {
            "Strategy": "Random",
            "HyperParameterTuningJobObjective": {"Type": "Minimize", "MetricName": "loss"},
            "ResourceLimits": {"MaxNumberOfTrainingJobs": 2, "MaxParallelTrainingJobs": 1},
            "ParameterRanges": {"IntegerParameterRanges": [{"Name": "x", "MinValue": "1", "MaxValue": "9"}]},
        },
        "TrainingJobDefinition": {
            "StaticHyperParameters": training["HyperParameters"],
            "AlgorithmSpecification": algorithm,
            "InputDataConfig": [channel],
            **{name: training[name] for name in ("RoleArn", "OutputDataConfig", "ResourceConfig", "StoppingCondition")},
        },
    }
    job = run(SageMakerTuningOperator, config=config, check_interval=1)["Tuning"]
    assert job["HyperParameterTuningJobStatus"] == "Completed"
    assert job["TrainingJobStatusCounters"]["Completed"] == 2


def test_an_operator_waits_for_a_pipeline(account: Account) -> None:
    account.put("code/provider-pipeline/run.py", "print('ran')")
    arguments = account.processing_request("provider-pipeline", "print('ran')")
    del arguments["ProcessingJobName"]
    definition = {
        "Version": "2020-12-01",
        "Parameters": [{"Name": "Level", "Type": "Integer", "DefaultValue": 1}],
        "Steps": [{"Name": "look", "Type": "Processing", "Arguments": arguments}],
    }
    account.sagemaker.create_pipeline(
        PipelineName="provider-pipeline",
        PipelineDefinition=json.dumps(definition),
        RoleArn=ROLE,
        ClientRequestToken="x" * 32,
    )
    arn = run(
        SageMakerStartPipelineOperator,
        pipeline_name="provider-pipeline",
        pipeline_params={"Level": "2"},
        wait_for_completion=True,
        check_interval=1,
    )
    execution = account.sagemaker.describe_pipeline_execution(PipelineExecutionArn=arn)
    assert execution["PipelineExecutionStatus"] == "Succeeded"
    parameters = account.sagemaker.list_pipeline_parameters_for_execution(PipelineExecutionArn=arn)
    assert parameters["PipelineParameters"] == [{"Name": "Level", "Value": "2"}]


REFUSED = {
    "automl": (SageMakerAutoMLOperator, {"job_name": "a", "s3_input": f"s3://{BUCKET}/a", "target_attribute": "y",
                                         "s3_output": f"s3://{BUCKET}/o", "role_arn": ROLE}),
    "notebook": (SageMakerCreateNotebookOperator, {"instance_name": "n", "instance_type": "ml.t3.medium", "role_arn": ROLE}),
    "data quality": (GlueDataQualityOperator, {"name": "q", "ruleset": "Rules = [ RowCount > 1 ]"}),
}  # fmt: skip


@pytest.mark.parametrize("kind", REFUSED)
def test_an_operator_of_an_absent_service_fails_with_awss_words(account: Account, kind: str) -> None:
    operator, arguments = REFUSED[kind]
    with pytest.raises(Exception, match="not available in local_aws") as caught:
        run(operator, **arguments)
    found, seen = caught.value, []
    while found is not None:
        seen.append(found)
        found = found.__cause__ or found.__context__
    assert any(isinstance(one, ClientError) for one in seen) or "UnknownOperation" in str(caught.value)
