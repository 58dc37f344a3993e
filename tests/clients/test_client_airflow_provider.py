"""The amazon provider's own operators, hooks, sensors and triggers against local_aws, executed without a scheduler.

Deferrable operators are followed as the triggerer does it: the trigger they name runs in an event loop, and what it sends is given to the
method that the operator has named.
"""

import asyncio
import json

import pytest
from airflow.providers.amazon.aws.hooks.glue_catalog import GlueCatalogHook
from airflow.providers.amazon.aws.hooks.s3 import S3Hook
from airflow.providers.amazon.aws.hooks.sagemaker import SageMakerHook
from airflow.providers.amazon.aws.hooks.ssm import SsmHook
from airflow.providers.amazon.aws.operators.glue import GlueJobOperator
from airflow.providers.amazon.aws.operators.glue_crawler import (
    GlueCrawlerCreateOperator,
    GlueCrawlerDeleteOperator,
    GlueCrawlerRunOperator,
    GlueCrawlerUpdateOperator,
)
from airflow.providers.amazon.aws.operators.s3 import (
    S3CopyObjectOperator,
    S3CreateBucketOperator,
    S3CreateObjectOperator,
    S3DeleteBucketOperator,
    S3DeleteObjectsOperator,
    S3ListOperator,
)
from airflow.providers.amazon.aws.operators.sagemaker import (
    ApprovalStatus,
    SageMakerCreateExperimentOperator,
    SageMakerCreateNotebookOperator,
    SageMakerDeleteModelOperator,
    SageMakerEndpointConfigOperator,
    SageMakerEndpointOperator,
    SageMakerModelOperator,
    SageMakerProcessingOperator,
    SageMakerRegisterModelVersionOperator,
    SageMakerTrainingOperator,
    SageMakerTransformOperator,
)
from airflow.providers.amazon.aws.operators.sns import SnsPublishOperator
from airflow.providers.amazon.aws.operators.sqs import SqsPublishOperator
from airflow.providers.amazon.aws.sensors.glue import GlueJobSensor
from airflow.providers.amazon.aws.sensors.glue_crawler import GlueCrawlerSensor
from airflow.providers.amazon.aws.sensors.s3 import S3KeySensor
from airflow.providers.amazon.aws.sensors.sagemaker import (
    SageMakerEndpointSensor,
    SageMakerProcessingSensor,
    SageMakerTrainingSensor,
    SageMakerTransformSensor,
)
from airflow.providers.amazon.aws.sensors.sqs import SqsSensor
from airflow.sdk.exceptions import TaskDeferred
from botocore.exceptions import ClientError
from client_record import matches_the_record
from local_account import IMAGE, ROLE, TIMES, archive, channel, s3_input, s3_output, variant

pytestmark = [pytest.mark.local_aws, pytest.mark.usefixtures("environment")]

BUCKET = "airflow-bucket"
CLUSTER = {"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 5}
ROWS = "sex,length,rings\nM,0.455,15\nF,0.53,9\nI,0.33,7\n"
UPPER = "import sys; open(f'{sys.argv[2]}/a.csv', 'w').write(open(f'{sys.argv[1]}/a.csv').read().upper())"
SERVING = {"SAGEMAKER_PROGRAM": "inference.py", "SAGEMAKER_SUBMIT_DIRECTORY": "/opt/ml/model/code"}
CONTAINER = {"Image": IMAGE, "ModelDataUrl": f"s3://{BUCKET}/models/times.tar.gz", "Environment": SERVING}


class TaskInstance:
    """Keeps what an operator pushes: its links to the AWS console."""

    def __init__(self):
        self.pushed = {}

    def xcom_push(self, key, value, **_):
        self.pushed[key] = value


@pytest.fixture(scope="module")
def bucket(environment):
    run(S3CreateBucketOperator, bucket_name=BUCKET)
    run(S3CreateObjectOperator, s3_bucket=BUCKET, s3_key="data/a.csv", data=ROWS)
    model = archive({"code/inference.py": TIMES.format(factor=3)})
    run(S3CreateObjectOperator, s3_bucket=BUCKET, s3_key="models/times.tar.gz", data=model)
    return BUCKET


def run(operator, **arguments):
    """Execute an operator or a sensor with AWS's standard variables for a connection, and all that it defers to."""
    task = operator(task_id="task", aws_conn_id=None, **arguments)
    instance = TaskInstance()
    context = {"ti": instance, "task_instance": instance, "task": task}
    try:
        return task.execute(context)
    except TaskDeferred as deferred:
        event = asyncio.run(first_event(deferred.trigger))
        return getattr(task, deferred.method_name)(context, event=event.payload, **(deferred.kwargs or {}))


async def first_event(trigger):
    events = trigger.run()
    try:
        return await asyncio.wait_for(anext(events), 90)
    finally:
        await events.aclose()


def test_s3(bucket):
    run(S3KeySensor, bucket_name=bucket, bucket_key="data/a.csv", poke_interval=1)
    run(S3KeySensor, bucket_name=bucket, bucket_key="data/*.csv", wildcard_match=True, deferrable=True, poke_interval=1)
    run(
        S3CopyObjectOperator,
        source_bucket_name=bucket,
        source_bucket_key="data/a.csv",
        dest_bucket_name=bucket,
        dest_bucket_key="copy/a.csv",
    )
    assert run(S3ListOperator, bucket=bucket, prefix="copy/") == ["copy/a.csv"]
    assert S3Hook(aws_conn_id=None).read_key("copy/a.csv", bucket) == ROWS
    run(S3DeleteObjectsOperator, bucket=bucket, prefix="copy/")
    assert run(S3ListOperator, bucket=bucket, prefix="copy/") == []
    run(S3CreateBucketOperator, bucket_name="airflow-empty")
    run(S3DeleteBucketOperator, bucket_name="airflow-empty")


def test_glue_crawlers(bucket):
    hook = GlueCatalogHook(aws_conn_id=None)
    hook.get_conn().create_database(DatabaseInput={"Name": "landing"})
    targets = {"S3Targets": [{"Path": f"s3://{bucket}/data/"}]}
    config = {"Name": "landing", "Role": ROLE, "DatabaseName": "landing", "Targets": targets}
    run(GlueCrawlerCreateOperator, config=config)
    run(GlueCrawlerRunOperator, crawler_name="landing", poll_interval=1)
    assert hook.get_table_location("landing", "data").rstrip("/") == f"s3://{bucket}/data"
    run(GlueCrawlerUpdateOperator, config=config | {"Description": "looks at the data"})
    run(GlueCrawlerRunOperator, crawler_name="landing", poll_interval=1, deferrable=True)
    run(GlueCrawlerSensor, crawler_name="landing", poke_interval=1)
    run(GlueCrawlerDeleteOperator, crawler_name="landing")


@pytest.mark.parametrize("deferrable", [False, True])
def test_glue_jobs(bucket, deferrable):
    run(S3CreateObjectOperator, s3_bucket=bucket, s3_key="code/hello.py", data="print('hello')", replace=True)
    finished = run(
        GlueJobOperator,
        job_name="hello",
        script_location=f"s3://{bucket}/code/hello.py",
        s3_bucket=bucket,
        iam_role_arn=ROLE,
        create_job_kwargs={"Command": {"Name": "pythonshell", "ScriptLocation": f"s3://{bucket}/code/hello.py"}},
        job_poll_interval=1,
        waiter_delay=1,
        deferrable=deferrable,
        verbose=not deferrable,
    )
    assert finished.startswith("jr_")
    if not deferrable:
        run(GlueJobSensor, job_name="hello", run_id=finished, poke_interval=1)


def training(name, script):
    hook = S3Hook(aws_conn_id=None)
    hook.load_bytes(archive({"train.py": script}), f"code/{name}.tar.gz", BUCKET, replace=True)
    return {
        "TrainingJobName": name,
        "RoleArn": ROLE,
        "AlgorithmSpecification": {"TrainingImage": IMAGE, "TrainingInputMode": "File"},
        "HyperParameters": {
            "sagemaker_program": "train.py",
            "sagemaker_submit_directory": f"s3://{BUCKET}/code/{name}.tar.gz",
        },
        "InputDataConfig": [channel("train", f"s3://{BUCKET}/data/")],
        "OutputDataConfig": {"S3OutputPath": f"s3://{BUCKET}/models"},
        "ResourceConfig": CLUSTER,
        "StoppingCondition": {"MaxRuntimeInSeconds": 60},
    }


def test_training(bucket):
    config = training("train-waiting", "print('trained')")
    result = run(SageMakerTrainingOperator, config=config, check_interval=1, print_log=False)
    assert result["Training"]["TrainingJobStatus"] == "Completed"
    run(SageMakerTrainingSensor, job_name="train-waiting", print_log=True, poke_interval=1)
    config = training("train-deferred", "print('trained')")
    run(SageMakerTrainingOperator, config=config, check_interval=1, deferrable=True)
    assert len(SageMakerHook(aws_conn_id=None).list_training_jobs(name_contains="train-")) == 2


def test_a_training_that_fails_fails_the_task_with_its_reason(bucket):
    with pytest.raises(Exception, match="AlgorithmError"):
        run(SageMakerTrainingOperator, config=training("bad", "raise SystemExit(3)"), check_interval=1, print_log=False)


def test_processing(bucket):
    name, work = "upper", "/opt/ml/processing"
    config = {
        "ProcessingJobName": name,
        "RoleArn": ROLE,
        "AppSpecification": {
            "ImageUri": IMAGE,
            "ContainerEntrypoint": ["python3", "-c", UPPER],
            "ContainerArguments": [f"{work}/input", f"{work}/output"],
        },
        "ProcessingInputs": [s3_input("data", f"s3://{bucket}/data/", f"{work}/input")],
        "ProcessingOutputConfig": {"Outputs": [s3_output("out", f"s3://{bucket}/{name}/", f"{work}/output")]},
        "ProcessingResources": {"ClusterConfig": CLUSTER},
    }
    run(SageMakerProcessingOperator, config=config, check_interval=1, deferrable=True, print_log=False)
    run(SageMakerProcessingSensor, job_name=name, poke_interval=1)
    assert S3Hook(aws_conn_id=None).read_key(f"{name}/a.csv", bucket) == ROWS.upper()


def test_deployment_and_transform(bucket):
    run(SageMakerModelOperator, config={"ModelName": "times", "ExecutionRoleArn": ROLE, "PrimaryContainer": CONTAINER})
    for name in ("one", "two"):
        config = {"EndpointConfigName": name, "ProductionVariants": [variant("times")]}
        run(SageMakerEndpointConfigOperator, config=config)
    for operation, name, deferrable in (("create", "one", False), ("update", "two", True)):
        run(
            SageMakerEndpointOperator,
            config={"EndpointName": "times", "EndpointConfigName": name},
            operation=operation,
            check_interval=1,
            deferrable=deferrable,
        )
        described = SageMakerHook(aws_conn_id=None).describe_endpoint("times")
        assert (described["EndpointStatus"], described["EndpointConfigName"]) == ("InService", name)
    run(SageMakerEndpointSensor, endpoint_name="times", poke_interval=1)
    S3Hook(aws_conn_id=None).load_string("1,2", "unscored/a.csv", bucket)
    source = {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": f"s3://{bucket}/unscored/"}}
    config = {
        "TransformJobName": "scored",
        "ModelName": "times",
        "TransformInput": {"DataSource": source, "ContentType": "text/csv"},
        "TransformOutput": {"S3OutputPath": f"s3://{bucket}/scored"},
        "TransformResources": {"InstanceType": "ml.m5.large", "InstanceCount": 1},
    }
    run(SageMakerTransformOperator, config=config, check_interval=1, deferrable=True)
    run(SageMakerTransformSensor, job_name="scored", poke_interval=1)
    assert S3Hook(aws_conn_id=None).read_key("scored/a.csv.out", bucket) == "3.0,6.0"
    run(SageMakerDeleteModelOperator, config={"ModelName": "times"})


def test_a_version_is_registered(bucket):
    for version in (1, 2):
        arn = run(
            SageMakerRegisterModelVersionOperator,
            image_uri=IMAGE,
            model_url=CONTAINER["ModelDataUrl"],
            package_group_name="airflow",
            model_approval=ApprovalStatus.APPROVED,
        )
        assert arn.endswith(f"model-package/airflow/{version}")


def test_messages_and_parameters(account):
    clients = {name: SageMakerHook(aws_conn_id=None).get_session().client(name) for name in ("sqs", "sns", "ssm")}
    url = clients["sqs"].create_queue(QueueName="outcomes")["QueueUrl"]
    topic = clients["sns"].create_topic(Name="outcomes")["TopicArn"]
    run(SqsPublishOperator, sqs_queue=url, message_content="retrain")
    run(SqsSensor, sqs_queue=url, poke_interval=1)
    run(SqsPublishOperator, sqs_queue=url, message_content="retrain")
    run(SqsSensor, sqs_queue=url, deferrable=True, poke_interval=1)
    assert run(SnsPublishOperator, target_arn=topic, message="approved")
    clients["ssm"].put_parameter(Name="/clients/one", Type="String", Value=json.dumps({"a": 1}))
    assert json.loads(SsmHook(aws_conn_id=None).get_parameter_value("/clients/one")) == {"a": 1}
    for client in clients.values():
        client.close()


def test_an_experiment_is_made(account):
    arn = run(SageMakerCreateExperimentOperator, name="experiment", description="by an operator")
    assert account.sagemaker.describe_experiment(ExperimentName="experiment")["ExperimentArn"] == arn


def test_operators_of_missing_operations_fail_with_awss_words(account):
    words = r"UnknownOperationException.*CreateNotebookInstance of sagemaker is not available"
    with pytest.raises(ClientError, match=words):
        run(SageMakerCreateNotebookOperator, instance_name="n", instance_type="ml.t3.medium", role_arn=ROLE)


def test_the_record_of_operations_is_what_was_seen(account):
    matches_the_record(account, "Airflow provider", "Airflow")
