"""boto3's waiters, paginators, transfers and presigned URLs against local_aws."""

import io
import json
import urllib.request

import boto3
import pytest
from botocore.config import Config
from client_record import matches_the_record
from local_account import IMAGE, ROLE, TIMES, archive, channel, s3_input, s3_output, variant, wait_for

pytestmark = pytest.mark.local_aws

BUCKET = "boto3-bucket"
#: boto3's waiters look every 30 to 120 seconds unless told otherwise; what they look for is theirs.
SOON = {"Delay": 1, "MaxAttempts": 60}
CLUSTER = {"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 5}
UPPER = "import sys; open(f'{sys.argv[2]}/a.csv', 'w').write(open(f'{sys.argv[1]}/a.csv').read().upper())"


@pytest.fixture(scope="module")
def client(account):
    """Return a function that gives the client of a service, configured by nothing but what every client knows."""
    session = boto3.Session(account.access_key, account.secret_key, region_name="us-east-1")
    clients = {}

    def get(service, signature="v4"):
        if (service, signature) not in clients:
            # S3's presigned URLs are of version 2 by default, which AWS takes for buckets from before 2020 only.
            config = Config(signature_version=signature) if signature != "v4" else None
            clients[service, signature] = session.client(service, endpoint_url=account.url, config=config)
        return clients[service, signature]

    get("s3").create_bucket(Bucket=BUCKET)
    get("s3").get_waiter("bucket_exists").wait(Bucket=BUCKET, WaiterConfig=SOON)
    yield get
    for item in clients.values():
        item.close()


@pytest.fixture(scope="module")
def served(client):
    """The name of a model and of the endpoint that serves it."""
    body = io.BytesIO(archive({"code/inference.py": TIMES.format(factor=3)}))
    client("s3").upload_fileobj(body, BUCKET, "models/times.tar.gz")
    serving = {"SAGEMAKER_PROGRAM": "inference.py", "SAGEMAKER_SUBMIT_DIRECTORY": "/opt/ml/model/code"}
    container = {"Image": IMAGE, "ModelDataUrl": f"s3://{BUCKET}/models/times.tar.gz", "Environment": serving}
    sagemaker = client("sagemaker")
    sagemaker.create_model(ModelName="times", ExecutionRoleArn=ROLE, PrimaryContainer=container)
    for name in ("one", "two"):
        sagemaker.create_endpoint_config(EndpointConfigName=name, ProductionVariants=[variant("times")])
    sagemaker.create_endpoint(EndpointName="times", EndpointConfigName="one")
    sagemaker.get_waiter("endpoint_in_service").wait(EndpointName="times", WaiterConfig=SOON)
    return "times"


def pages(client, service, operation, member, size, **arguments):
    """Return all items of a list operation, read in pages of some size, and the number of pages."""
    paginator = client(service).get_paginator(operation)
    found = list(paginator.paginate(PaginationConfig={"PageSize": size}, **arguments))
    return [item for page in found for item in page.get(member, [])], len(found)


def create_training(client, name, script):
    key = f"code/{name}.tar.gz"
    client("s3").put_object(Bucket=BUCKET, Key=key, Body=archive({"train.py": script}))
    client("s3").put_object(Bucket=BUCKET, Key="data/a.csv", Body=b"m\nf\n")
    client("sagemaker").create_training_job(
        TrainingJobName=name,
        RoleArn=ROLE,
        AlgorithmSpecification={"TrainingImage": IMAGE, "TrainingInputMode": "File"},
        HyperParameters={"sagemaker_program": "train.py", "sagemaker_submit_directory": f"s3://{BUCKET}/{key}"},
        InputDataConfig=[channel("train", f"s3://{BUCKET}/data/")],
        OutputDataConfig={"S3OutputPath": f"s3://{BUCKET}/models"},
        ResourceConfig=CLUSTER,
        StoppingCondition={"MaxRuntimeInSeconds": 60},
        Tags=[{"Key": "number", "Value": name}],
    )


def test_training_jobs_are_waited_for_stopped_and_listed_in_pages(client):
    sagemaker = client("sagemaker")
    create_training(client, "quick", "print('done')")
    create_training(client, "endless", "import time\nwhile True:\n    time.sleep(0.1)")
    done = sagemaker.get_waiter("training_job_completed_or_stopped")
    done.wait(TrainingJobName="quick", WaiterConfig=SOON)
    sagemaker.stop_training_job(TrainingJobName="endless")
    done.wait(TrainingJobName="endless", WaiterConfig=SOON)
    assert sagemaker.describe_training_job(TrainingJobName="endless")["TrainingJobStatus"] == "Stopped"
    jobs, number = pages(client, "sagemaker", "list_training_jobs", "TrainingJobSummaries", 1)
    assert [job["TrainingJobName"] for job in jobs] == ["endless", "quick"]
    assert number == 2
    [arn] = [job["TrainingJobArn"] for job in jobs if job["TrainingJobName"] == "quick"]
    assert pages(client, "sagemaker", "list_tags", "Tags", 50, ResourceArn=arn)[0] == [
        {"Key": "number", "Value": "quick"}
    ]
    sagemaker.delete_tags(ResourceArn=arn, TagKeys=["number"])
    assert sagemaker.list_tags(ResourceArn=arn)["Tags"] == []


def test_processing_jobs_are_waited_for(client):
    client("s3").put_object(Bucket=BUCKET, Key="data/a.csv", Body=b"m\nf\n")
    work = "/opt/ml/processing"
    client("sagemaker").create_processing_job(
        ProcessingJobName="upper",
        RoleArn=ROLE,
        AppSpecification={
            "ImageUri": IMAGE,
            "ContainerEntrypoint": ["python3", "-c", UPPER],
            "ContainerArguments": [f"{work}/input", f"{work}/output"],
        },
        ProcessingInputs=[s3_input("data", f"s3://{BUCKET}/data/", f"{work}/input")],
        ProcessingOutputConfig={"Outputs": [s3_output("out", f"s3://{BUCKET}/upper/", f"{work}/output")]},
        ProcessingResources={"ClusterConfig": CLUSTER},
    )
    waiter = client("sagemaker").get_waiter("processing_job_completed_or_stopped")
    waiter.wait(ProcessingJobName="upper", WaiterConfig=SOON)
    assert pages(client, "sagemaker", "list_processing_jobs", "ProcessingJobSummaries", 1)[1] == 1
    assert client("s3").get_object(Bucket=BUCKET, Key="upper/a.csv")["Body"].read() == b"M\nF\n"
    client("sagemaker").create_processing_job(
        ProcessingJobName="endless",
        RoleArn=ROLE,
        AppSpecification={"ImageUri": IMAGE, "ContainerEntrypoint": ["python3", "-c", "while True: pass"]},
        ProcessingResources={"ClusterConfig": CLUSTER},
    )
    client("sagemaker").stop_processing_job(ProcessingJobName="endless")
    waiter.wait(ProcessingJobName="endless", WaiterConfig=SOON)


def test_an_endpoint_is_asked_updated_and_listed(client, served):
    runtime, sagemaker = client("sagemaker-runtime"), client("sagemaker")
    answer = runtime.invoke_endpoint(EndpointName=served, ContentType="text/csv", Body=b"1,2")
    assert answer["Body"].read() == b"3.0,6.0"
    sagemaker.update_endpoint(EndpointName=served, EndpointConfigName="two")
    sagemaker.get_waiter("endpoint_in_service").wait(EndpointName=served, WaiterConfig=SOON)
    assert sagemaker.describe_endpoint(EndpointName=served)["EndpointConfigName"] == "two"
    assert len(pages(client, "sagemaker", "list_endpoints", "Endpoints", 1)[0]) == 1
    assert pages(client, "sagemaker", "list_endpoint_configs", "EndpointConfigs", 1)[1] == 2
    assert pages(client, "sagemaker", "list_models", "Models", 5, NameContains="time")[0][0]["ModelName"] == served
    assert sagemaker.describe_model(ModelName=served)["PrimaryContainer"]["Image"] == IMAGE
    assert sagemaker.describe_endpoint_config(EndpointConfigName="two")["ProductionVariants"][0]["ModelName"] == served


def test_a_transform_job_is_waited_for(client, served):
    client("s3").put_object(Bucket=BUCKET, Key="unscored/a.csv", Body=b"1,2")
    source = {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": f"s3://{BUCKET}/unscored/"}}
    for name in ("scored", "halted"):
        client("sagemaker").create_transform_job(
            TransformJobName=name,
            ModelName=served,
            TransformInput={"DataSource": source, "ContentType": "text/csv"},
            TransformOutput={"S3OutputPath": f"s3://{BUCKET}/{name}"},
            TransformResources={"InstanceType": "ml.m5.large", "InstanceCount": 1},
        )
    client("sagemaker").stop_transform_job(TransformJobName="halted")
    waiter = client("sagemaker").get_waiter("transform_job_completed_or_stopped")
    for name in ("scored", "halted"):
        waiter.wait(TransformJobName=name, WaiterConfig=SOON)
    assert client("s3").get_object(Bucket=BUCKET, Key="scored/a.csv.out")["Body"].read() == b"3.0,6.0"
    assert pages(client, "sagemaker", "list_transform_jobs", "TransformJobSummaries", 1)[1] == 2


def test_packages_are_listed_in_pages(client):
    sagemaker = client("sagemaker")
    for name in ("first", "second"):
        sagemaker.create_model_package_group(ModelPackageGroupName=name)
    container = {"Image": IMAGE, "ModelDataUrl": f"s3://{BUCKET}/models/times.tar.gz"}
    specification = {"Containers": [container], "SupportedContentTypes": [], "SupportedResponseMIMETypes": []}
    for _ in range(3):
        sagemaker.create_model_package(ModelPackageGroupName="first", InferenceSpecification=specification)
    groups, _ = pages(client, "sagemaker", "list_model_package_groups", "ModelPackageGroupSummaryList", 1)
    assert {group["ModelPackageGroupName"] for group in groups} == {"first", "second"}
    found, number = pages(
        client, "sagemaker", "list_model_packages", "ModelPackageSummaryList", 2, ModelPackageGroupName="first"
    )
    assert ([package["ModelPackageVersion"] for package in found], number) == ([1, 2, 3], 2)
    group = sagemaker.describe_model_package_group(ModelPackageGroupName="first")
    assert group["ModelPackageGroupStatus"] == "Completed"


def test_glue_is_listed_in_pages(client):
    glue = client("glue")
    glue.create_database(DatabaseInput={"Name": "catalog"})
    storage = {"Columns": [{"Name": "a", "Type": "string"}], "Location": f"s3://{BUCKET}/data/"}
    for number in range(3):
        glue.create_table(DatabaseName="catalog", TableInput={"Name": f"t{number}", "StorageDescriptor": storage})
        glue.create_job(
            Name=f"job{number}", Role=ROLE, Command={"Name": "pythonshell", "ScriptLocation": f"s3://{BUCKET}/s.py"}
        )
        targets = {"S3Targets": [{"Path": f"s3://{BUCKET}/data/"}]}
        glue.create_crawler(Name=f"crawler{number}", Role=ROLE, DatabaseName="catalog", Targets=targets)
    for operation, member, count in (
        ("get_databases", "DatabaseList", 1),
        ("get_jobs", "Jobs", 3),
        ("get_crawlers", "Crawlers", 3),
        ("get_crawler_metrics", "CrawlerMetricsList", 3),
    ):
        assert len(pages(client, "glue", operation, member, 2)[0]) == count, operation
    assert len(glue.list_jobs(MaxResults=2)["JobNames"]) == 2
    assert len(pages(client, "glue", "get_tables", "TableList", 2, DatabaseName="catalog")[0]) == 3
    client("s3").put_object(Bucket=BUCKET, Key="s.py", Body=b"print('ran')")
    run = glue.start_job_run(JobName="job0")["JobRunId"]
    state = lambda: glue.get_job_run(JobName="job0", RunId=run)["JobRun"]["JobRunState"] == "SUCCEEDED"  # noqa: E731
    wait_for(state)
    assert len(pages(client, "glue", "get_job_runs", "JobRuns", 1, JobName="job0")[0]) == 1
    glue.start_crawler(Name="crawler0")
    wait_for(lambda: glue.get_crawler(Name="crawler0")["Crawler"]["State"] == "READY")
    glue.update_table(DatabaseName="catalog", TableInput={"Name": "t0", "StorageDescriptor": storage})
    glue.delete_table(DatabaseName="catalog", Name="t0")
    glue.delete_crawler(Name="crawler2")
    assert "crawler2" not in glue.list_crawlers()["CrawlerNames"]


def test_objects_are_transferred_presigned_and_listed_in_pages(client, tmp_path):
    s3 = client("s3")
    big = bytes(range(256)) * 40_000  # 10 MB: sent and fetched in parts
    s3.upload_fileobj(io.BytesIO(big), BUCKET, "many/big.bin")
    s3.download_file(BUCKET, "many/big.bin", str(tmp_path / "big.bin"))
    assert (tmp_path / "big.bin").read_bytes() == big
    assert s3.get_object(Bucket=BUCKET, Key="many/big.bin", Range="bytes=1-3")["Body"].read() == b"\x01\x02\x03"
    for number in range(3):
        s3.put_object(Bucket=BUCKET, Key=f"many/{number}", Body=b"x")
    assert pages(client, "s3", "list_objects_v2", "Contents", 2, Bucket=BUCKET, Prefix="many/")[1] == 2
    url = client("s3", "s3v4").generate_presigned_url(
        "get_object", Params={"Bucket": BUCKET, "Key": "many/0"}, ExpiresIn=60
    )
    with urllib.request.urlopen(url) as answer:
        assert answer.read() == b"x"
    s3.get_waiter("object_exists").wait(Bucket=BUCKET, Key="many/0")
    s3.delete_objects(Bucket=BUCKET, Delete={"Objects": [{"Key": f"many/{number}"} for number in range(3)]})
    s3.get_waiter("object_not_exists").wait(Bucket=BUCKET, Key="many/0")
    with pytest.raises(s3.exceptions.NoSuchKey):
        s3.get_object(Bucket=BUCKET, Key="many/0")
    s3.create_bucket(Bucket="short-lived")
    s3.delete_bucket(Bucket="short-lived")
    s3.get_waiter("bucket_not_exists").wait(Bucket="short-lived")


def test_topics_queues_and_logs(client):
    sns, sqs, logs = client("sns"), client("sqs"), client("logs")
    url = sqs.create_queue(QueueName="outcomes")["QueueUrl"]
    queue = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    topic = sns.create_topic(Name="outcomes")["TopicArn"]
    sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=queue)
    sns.publish(TopicArn=topic, Message="approved")
    received = sqs.receive_message(QueueUrl=url, WaitTimeSeconds=5)["Messages"]
    assert "approved" in received[0]["Body"]
    logs.create_log_group(logGroupName="/mine")
    logs.create_log_stream(logGroupName="/mine", logStreamName="s")
    events = [{"timestamp": 1_700_000_000_000, "message": "hello"}]
    logs.put_log_events(logGroupName="/mine", logStreamName="s", logEvents=events)
    assert logs.get_log_events(logGroupName="/mine", logStreamName="s")["events"][0]["message"] == "hello"
    assert pages(client, "logs", "describe_log_streams", "logStreams", 1, logGroupName="/mine")[1] == 1


def test_what_a_role_may_do_is_asked(client):
    iam = client("iam")
    trust = '{"Version": "2012-10-17", "Statement": []}'
    arn = iam.create_role(RoleName="asked", AssumeRolePolicyDocument=trust)["Role"]["Arn"]
    iam.attach_role_policy(RoleName="asked", PolicyArn="arn:aws:iam::aws:policy/AmazonSageMakerFullAccess")
    actions = ["sagemaker:CreateTrainingJob", "ec2:RunInstances"]
    found = iam.simulate_principal_policy(PolicySourceArn=arn, ActionNames=actions)["EvaluationResults"]
    assert [item["EvalDecision"] for item in found] == ["allowed", "implicitDeny"]


def test_endpoints_are_deleted_and_waited_for(client, served):
    client("sagemaker").delete_endpoint(EndpointName=served)
    client("sagemaker").get_waiter("endpoint_deleted").wait(EndpointName=served, WaiterConfig=SOON)


def test_tuning(client):
    name, sagemaker = "search", client("sagemaker")
    script = "import json, os\nprint(f\"loss={float(json.loads(os.environ['SM_HPS'])['x']) ** 2};\")\n"
    client("s3").put_object(Bucket=BUCKET, Key=f"code/{name}.tar.gz", Body=archive({"train.py": script}))
    parameters = {"sagemaker_program": "train.py", "sagemaker_submit_directory": f"s3://{BUCKET}/code/{name}.tar.gz"}
    sagemaker.create_hyper_parameter_tuning_job(
        HyperParameterTuningJobName=name,
        HyperParameterTuningJobConfig={
            "Strategy": "Random",
            "HyperParameterTuningJobObjective": {"Type": "Minimize", "MetricName": "loss"},
            "ResourceLimits": {"MaxNumberOfTrainingJobs": 2, "MaxParallelTrainingJobs": 2},
            "ParameterRanges": {"ContinuousParameterRanges": [{"Name": "x", "MinValue": "0", "MaxValue": "5"}]},
        },
        TrainingJobDefinition={
            "RoleArn": ROLE,
            "StaticHyperParameters": parameters,
            "AlgorithmSpecification": {
                "TrainingImage": IMAGE,
                "TrainingInputMode": "File",
                "MetricDefinitions": [{"Name": "loss", "Regex": "loss=([-+0-9.e]+);"}],
            },
            "OutputDataConfig": {"S3OutputPath": f"s3://{BUCKET}/models"},
            "ResourceConfig": CLUSTER,
            "StoppingCondition": {"MaxRuntimeInSeconds": 60},
        },
    )

    def look():
        job = sagemaker.describe_hyper_parameter_tuning_job(HyperParameterTuningJobName=name)
        return job if job["HyperParameterTuningJobStatus"] != "InProgress" else None

    job = wait_for(look)
    assert job["HyperParameterTuningJobStatus"] == "Completed", job
    pages = sagemaker.get_paginator("list_training_jobs_for_hyper_parameter_tuning_job")
    trials = [
        trial["FinalHyperParameterTuningJobObjectiveMetric"]["Value"]
        for page in pages.paginate(HyperParameterTuningJobName=name)
        for trial in page["TrainingJobSummaries"]
    ]
    best = job["BestTrainingJob"]["FinalHyperParameterTuningJobObjectiveMetric"]["Value"]
    assert len(trials) == 2
    assert best == min(trials)
    found = sagemaker.list_hyper_parameter_tuning_jobs(NameContains=name)["HyperParameterTuningJobSummaries"]
    assert [one["HyperParameterTuningJobName"] for one in found] == [name]


def test_operations_that_are_missing_are_refused_by_their_name(client):
    error = client("sagemaker").exceptions.ClientError
    with pytest.raises(error, match=r"UnknownOperationException.*ListAlgorithms of sagemaker is not available"):
        client("sagemaker").list_algorithms()
    with pytest.raises(error, match="UnknownOperationException"):
        client("sagemaker").list_auto_ml_jobs()
    with pytest.raises(error, match=r"UnknownOperationException.*ListDocuments of ssm is not available"):
        client("ssm").list_documents()


def test_a_state_machine_waits_for_a_query(client):
    parameters = {"QueryString": "select 2 as n", "ResultConfiguration": {"OutputLocation": f"s3://{BUCKET}/asked/"}}
    task = {
        "Type": "Task",
        "Resource": "arn:aws:states:::athena:startQueryExecution.sync",
        "Parameters": parameters,
        "End": True,
    }
    states, definition = client("stepfunctions"), {"StartAt": "ask", "States": {"ask": task}}
    arn = states.create_state_machine(name="asks", definition=json.dumps(definition), roleArn=ROLE)["stateMachineArn"]
    execution = states.start_execution(stateMachineArn=arn)["executionArn"]
    ended = wait_for(
        lambda: (found := states.describe_execution(executionArn=execution))["status"] != "RUNNING" and found
    )
    query = json.loads(ended["output"])["QueryExecution"]["QueryExecutionId"]
    assert client("athena").get_query_results(QueryExecutionId=query)["ResultSet"]["Rows"][1]["Data"] == [
        {"VarCharValue": "2"}
    ]


def test_the_record_of_operations_is_what_was_seen(account):
    matches_the_record(account, "boto3", "")
