"""Endpoints with more than one container, with many models, asked through S3, and answering in parts."""

import json
from pathlib import Path

import pytest
from botocore.exceptions import ClientError
from local_account import BUCKET, IMAGE, ROLE, Account, archive, variant, wait_for

from local_aws.sagemaker.hosting import streaming
from local_aws.sagemaker.hosting.containers import MOST_LOADED, MultiModel

pytestmark = pytest.mark.local_aws

ADD = "def model_fn(d):\n    return {number}\ndef transform_fn(m, body, kind, accept):\n    return f'{{float(body) + m}}', 'text/csv'\n"


def data(account: Account, key: str, number: float) -> str:
    return account.put(key, archive({"code/inference.py": ADD.format(number=number)}))


def container(url: str) -> dict:
    serving = {"SAGEMAKER_PROGRAM": "inference.py", "SAGEMAKER_SUBMIT_DIRECTORY": "/opt/ml/model/code"}
    return {"Image": IMAGE, "ModelDataUrl": url, "Environment": serving}


def serve(account: Account, name: str, model: dict, **config: object) -> None:
    account.sagemaker.create_model(ModelName=name, ExecutionRoleArn=ROLE, **model)
    account.sagemaker.create_endpoint_config(EndpointConfigName=name, ProductionVariants=[variant(name)], **config)
    account.sagemaker.create_endpoint(EndpointName=name, EndpointConfigName=name)
    endpoint = account.endpoint_settled(name)
    assert endpoint["EndpointStatus"] == "InService", endpoint


def ask(account: Account, name: str, **options: str) -> float:
    answer = account.sagemaker_runtime.invoke_endpoint(EndpointName=name, Body=b"1", ContentType="text/csv", **options)
    return float(answer["Body"].read())


def test_a_pipeline_sends_what_one_container_answers_to_the_next(account: Account) -> None:
    one, ten = data(account, "forms/one.tar.gz", 1), data(account, "forms/ten.tar.gz", 10)
    serve(account, "pipeline", {"Containers": [container(one), container(ten), container(one)]})
    assert ask(account, "pipeline") == 13
    account.put("forms/in/a.csv", "5")
    account.sagemaker.create_transform_job(
        TransformJobName="pipeline",
        ModelName="pipeline",
        TransformInput={
            "DataSource": {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": f"s3://{BUCKET}/forms/in/"}},
            "ContentType": "text/csv",
        },
        TransformOutput={"S3OutputPath": f"s3://{BUCKET}/forms/out"},
        TransformResources={"InstanceType": "ml.m5.large", "InstanceCount": 1},
    )
    wait_for(
        lambda: (
            account.sagemaker.describe_transform_job(TransformJobName="pipeline")["TransformJobStatus"] == "Completed"
        )
    )
    assert float(account.read(f"s3://{BUCKET}/forms/out/a.csv.out")) == 17
    account.sagemaker.delete_endpoint(EndpointName="pipeline")


def test_a_multi_model_endpoint_loads_the_model_that_is_asked_for(account: Account) -> None:
    for number in (1, 2):
        data(account, f"many/deep/{number}.tar.gz", number)
    model = {"PrimaryContainer": container(f"s3://{BUCKET}/many/") | {"Mode": "MultiModel"}}
    serve(account, "many", model)
    asked = [ask(account, "many", TargetModel=f"deep/{number}.tar.gz") for number in (1, 2, 1)]
    assert asked == [2, 3, 2]
    data(account, "many/late.tar.gz", 5)
    assert ask(account, "many", TargetModel="late.tar.gz") == 6
    with pytest.raises(ClientError, match=r"ValidationError.*Failed to download model data\(bucket: .*missing"):
        ask(account, "many", TargetModel="missing.tar.gz")
    with pytest.raises(ClientError, match="needs a target model"):
        ask(account, "many")
    with pytest.raises(ClientError, match="does not support multi-model"):
        account.sagemaker.create_transform_job(
            TransformJobName="many",
            ModelName="many",
            TransformInput={
                "DataSource": {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": f"s3://{BUCKET}/many/"}}
            },
            TransformOutput={"S3OutputPath": f"s3://{BUCKET}/forms/out"},
            TransformResources={"InstanceType": "ml.m5.large", "InstanceCount": 1},
        )
    account.sagemaker.delete_endpoint(EndpointName="many")


class Loaded:
    """A model server that only says what becomes of it."""

    alive, role, log = True, None, Path("log")

    def __init__(self, url: str, stopped: list[str]) -> None:
        self.url, self.stopped = url, stopped

    def prepare(self) -> None: ...

    def start(self) -> None: ...

    def wait_healthy(self, *_: object) -> bool:
        return True

    def invoke(self, body: bytes, headers: dict, timeout: float) -> tuple[int, dict, bytes]:
        return 200, {}, self.url.encode()

    def stop(self) -> None:
        self.stopped.append(self.url)


def test_the_model_that_was_asked_longest_ago_makes_room() -> None:
    stopped: list[str] = []
    models = MultiModel(
        lambda found, _: Loaded(found["ModelDataUrl"], stopped), {"ModelDataUrl": "s3://b/m/"}, Path("log"), None
    )
    for number in range(MOST_LOADED):
        models.invoke(b"", {"X-Amzn-SageMaker-Target-Model": str(number)})
    models.invoke(b"", {"X-Amzn-SageMaker-Target-Model": "0"})
    assert models.invoke(b"", {"X-Amzn-SageMaker-Target-Model": "new"})[2] == b"s3://b/m/new"
    assert stopped == ["s3://b/m/1"]


def test_an_asynchronous_endpoint_answers_into_s3_and_tells(account: Account) -> None:
    topic = account.sns.create_topic(Name="async")["TopicArn"]
    queue = account.sqs.create_queue(QueueName="async")["QueueUrl"]
    arn = account.sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    account.sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn, Attributes={"RawMessageDelivery": "true"})
    output = {
        "S3OutputPath": f"s3://{BUCKET}/async/out",
        "S3FailurePath": f"s3://{BUCKET}/async/failed/",
        "NotificationConfig": {"SuccessTopic": topic, "ErrorTopic": topic},
    }
    typed = ADD.format(number=1).replace("'text/csv'", "kind")
    url = account.put("forms/async.tar.gz", archive({"code/inference.py": typed}))
    serve(account, "async", {"PrimaryContainer": container(url)}, AsyncInferenceConfig={"OutputConfig": output})
    assert account.sagemaker.describe_endpoint(EndpointName="async")["AsyncInferenceConfig"]["OutputConfig"] == output
    with pytest.raises(ClientError, match="use InvokeEndpointAsync"):
        ask(account, "async")
    runtime = account.sagemaker_runtime
    told = {}
    for name, body in (("good", "41"), ("bad", "no number")):
        source = account.put(f"async/in/{name}.csv", body)
        answer = runtime.invoke_endpoint_async(
            EndpointName="async", InputLocation=source, ContentType="text/csv", InferenceId=name
        )
        assert answer["InferenceId"] == name
        key = "OutputLocation" if name == "good" else "FailureLocation"
        told[name] = answer[key]
        wait_for(lambda uri=answer[key]: account.keys(uri.removeprefix(f"s3://{BUCKET}/")))
    assert float(account.read(told["good"])) == 42
    key = told["good"].removeprefix(f"s3://{BUCKET}/")
    assert account.s3.head_object(Bucket=BUCKET, Key=key)["ContentType"].startswith("text/csv")
    assert b"ModelError" in account.read(told["bad"]) or b"Received server error" in account.read(told["bad"])
    messages = []

    def both() -> bool:
        found = account.sqs.receive_message(QueueUrl=queue, MaxNumberOfMessages=10).get("Messages", [])
        messages.extend(json.loads(message["Body"]) for message in found)
        return len(messages) == 2

    wait_for(both)
    assert {m["inferenceId"]: m["invocationStatus"] for m in messages} == {"good": "Completed", "bad": "Failed"}
    account.sagemaker.delete_endpoint(EndpointName="async")


def test_an_answer_comes_as_a_stream_of_parts(account: Account) -> None:
    long = "def model_fn(d):\n    return 1\ndef transform_fn(m, body, kind, accept):\n    return body * 100_000, kind\n"
    url = account.put("forms/long.tar.gz", archive({"code/inference.py": long}))
    serve(account, "stream", {"PrimaryContainer": container(url)})
    answer = account.sagemaker_runtime.invoke_endpoint_with_response_stream(
        EndpointName="stream", Body=b"ab", ContentType="text/csv"
    )
    parts = [event["PayloadPart"]["Bytes"] for event in answer["Body"]]
    assert answer["ContentType"].startswith("text/csv")
    assert b"".join(parts) == b"ab" * 100_000
    assert len(parts) == -(-200_000 // streaming.PART_BYTES)
    with pytest.raises(ClientError, match="takes no target model"):
        ask(account, "stream", TargetModel="x.tar.gz")
    for member in ("TargetContainerHostname", "InferenceComponentName", "SessionId", "EnableExplanations"):
        with pytest.raises(ClientError, match=f"ValidationError.*{member} is not available"):
            ask(account, "stream", **{member: "a-name"})
    with pytest.raises(ClientError, match="not asynchronous"):
        account.sagemaker_runtime.invoke_endpoint_async(EndpointName="stream", InputLocation=f"s3://{BUCKET}/x")
    account.sagemaker.delete_endpoint(EndpointName="stream")
