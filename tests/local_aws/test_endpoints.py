"""Endpoints answer HTTP, change their model without losing a request, and roll back when the new one is broken."""

import json
import threading

import pytest
from botocore.exceptions import ClientError
from local_account import BROKEN, BUCKET, TIMES, Account, variant, wait_for

pytestmark = pytest.mark.local_aws


#: A model that takes its time: at any moment of an update some request is under way.
SLOW_TIMES = TIMES.replace("def predict_fn(data, model):", "def predict_fn(data, model):\n    time.sleep(0.1)")
SLOW_TIMES = "import time\n" + SLOW_TIMES


def deploy(account: Account, name: str, factor: int = 2, inference: str = TIMES) -> None:
    account.model(f"{name}-{factor}", inference.format(factor=factor))
    account.sagemaker.create_endpoint(EndpointName=name, EndpointConfigName=f"{name}-{factor}")
    endpoint = account.endpoint_settled(name)
    assert endpoint["EndpointStatus"] == "InService", endpoint


def test_an_endpoint_predicts_reports_its_errors_and_goes_away(account: Account) -> None:
    deploy(account, "life")
    assert account.invoke("life", "1,2") == "2.0,4.0"
    answer = account.sagemaker_runtime.invoke_endpoint(EndpointName="life", ContentType="text/csv", Body="3")
    assert answer["InvokedProductionVariant"] == "AllTraffic"
    assert answer["ContentType"] == "text/csv; charset=utf-8"
    assert answer["Body"].read() == b"6.0"

    with pytest.raises(account.sagemaker_runtime.exceptions.ModelError) as caught:
        account.invoke("life", " ")
    # As in SageMaker's scikit-learn container: why it failed is in the log alone.
    assert caught.value.response["OriginalStatusCode"] == 500
    assert "Internal Server Error" in caught.value.response["OriginalMessage"]
    wait_for(lambda: "the body is empty" in account.log("/aws/sagemaker/Endpoints/life", "AllTraffic"))
    described = account.sagemaker.describe_endpoint(EndpointName="life")
    assert described["ProductionVariants"][0]["CurrentInstanceCount"] == 1

    client = account.sagemaker
    with pytest.raises(ClientError, match="Cannot create already existing endpoint"):
        client.create_endpoint(EndpointName="life", EndpointConfigName="life-2")
    with pytest.raises(ClientError, match="Could not find endpoint configuration"):
        client.update_endpoint(EndpointName="life", EndpointConfigName="unknown")
    client.delete_endpoint(EndpointName="life")
    client.get_waiter("endpoint_deleted").wait(EndpointName="life", WaiterConfig={"Delay": 1, "MaxAttempts": 20})
    with pytest.raises(ClientError, match="Could not find endpoint"):
        client.describe_endpoint(EndpointName="life")
    with pytest.raises(ClientError, match=r"ValidationError.*Endpoint life of account 000000000000 not found"):
        account.invoke("life", "1")


ECHO = """
from sagemaker_containers.beta.framework import worker

class Teapot(ValueError):
    status_code = 418

def model_fn(model_dir):
    return None

def transform_fn(model, body, content_type, accept):
    if body == "refuse":
        return worker.Response(response="why not", status=422, mimetype="text/plain")
    if body == "raise":
        raise Teapot("lost")
    return f"{content_type} {accept}", accept
"""


def test_what_a_request_leaves_out_and_what_an_exception_becomes_are_those_of_the_container(account: Account) -> None:
    deploy(account, "echo", inference=ECHO.replace("{", "{{").replace("}", "}}"))
    runtime = account.sagemaker_runtime
    answer = runtime.invoke_endpoint(EndpointName="echo", ContentType="text/csv", Body=b"1")
    assert (answer["Body"].read(), answer["ContentType"]) == (b"text/csv application/json", "application/json")
    answer = runtime.invoke_endpoint(EndpointName="echo", ContentType="text/csv", Accept="text/csv", Body=b"1")
    assert answer["Body"].read() == b"text/csv text/csv"
    for body, status, message in ((b"refuse", 422, "why not"), (b"raise", 500, "Internal Server Error")):
        with pytest.raises(runtime.exceptions.ModelError) as caught:
            runtime.invoke_endpoint(EndpointName="echo", ContentType="text/csv", Body=body)
        assert caught.value.response["OriginalStatusCode"] == status
        assert message in caught.value.response["OriginalMessage"]
    account.sagemaker.delete_endpoint(EndpointName="echo")


def test_an_update_under_load_fails_no_request(account: Account) -> None:
    deploy(account, "load", 2, SLOW_TIMES)
    account.model("load-3", SLOW_TIMES.format(factor=3))
    answers: list[str] = []
    failures: list[Exception] = []
    done = threading.Event()
    client = account.sagemaker_runtime

    def ask() -> None:
        while not done.is_set():
            try:
                answer = client.invoke_endpoint(EndpointName="load", ContentType="text/csv", Body="1")
                answers.append(answer["Body"].read().decode())
            except ClientError as error:
                failures.append(error)

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    wait_for(lambda: len(answers) > 20)
    account.sagemaker.update_endpoint(EndpointName="load", EndpointConfigName="load-3")
    updating = account.sagemaker.describe_endpoint(EndpointName="load")
    endpoint = account.endpoint_settled("load")
    count = len(answers)
    wait_for(lambda: len(answers) > count + 20)
    done.set()
    for thread in threads:
        thread.join()

    assert updating["EndpointStatus"] == "Updating"
    assert updating["PendingDeploymentSummary"]["EndpointConfigName"] == "load-3"
    assert (endpoint["EndpointStatus"], endpoint["EndpointConfigName"]) == ("InService", "load-3")
    assert failures == []
    assert set(answers) == {"2.0", "3.0"}
    assert answers[-1] == "3.0"
    account.sagemaker.delete_endpoint(EndpointName="load")


def test_a_broken_update_rolls_back_and_says_so(account: Account) -> None:
    deploy(account, "rollback", 2)
    account.model("rollback-broken", BROKEN)
    client = account.sagemaker
    client.update_endpoint(EndpointName="rollback", EndpointConfigName="rollback-broken")
    with pytest.raises(ClientError, match="Cannot update in-progress endpoint"):
        client.update_endpoint(EndpointName="rollback", EndpointConfigName="rollback-broken")
    with pytest.raises(ClientError, match="in-progress"):
        client.delete_endpoint(EndpointName="rollback")
    endpoint = account.endpoint_settled("rollback")

    assert (endpoint["EndpointStatus"], endpoint["EndpointConfigName"]) == ("InService", "rollback-2")
    assert "did not pass the ping health check" in endpoint["FailureReason"]
    assert "this model is broken" in endpoint["FailureReason"]
    assert account.invoke("rollback", "1") == "2.0"
    client.delete_endpoint(EndpointName="rollback")


def test_a_model_that_never_gets_healthy_fails_the_new_endpoint(account: Account) -> None:
    account.model("slow", "import time\ndef model_fn(model_dir):\n    time.sleep(600)\n")
    slow = variant("slow", ContainerStartupHealthCheckTimeoutInSeconds=60)
    account.sagemaker.create_endpoint_config(EndpointConfigName="slow-60", ProductionVariants=[slow])
    account.model("broken", BROKEN)
    account.sagemaker.create_endpoint(EndpointName="broken", EndpointConfigName="broken")
    endpoint = account.endpoint_settled("broken")

    assert endpoint["EndpointStatus"] == "Failed"
    assert "this model is broken" in endpoint["FailureReason"]
    assert "this model is broken" in account.log("/aws/sagemaker/Endpoints/broken", "AllTraffic/")
    with pytest.raises(ClientError, match="Cannot update failed endpoint"):
        account.sagemaker.update_endpoint(EndpointName="broken", EndpointConfigName="slow-60")
    account.sagemaker.delete_endpoint(EndpointName="broken")


def test_captured_requests_reach_s3(account: Account) -> None:
    account.model("captured", TIMES.format(factor=5))
    capture = {
        "EnableCapture": True,
        "InitialSamplingPercentage": 100,
        "DestinationS3Uri": f"s3://{BUCKET}/capture",
        "CaptureOptions": [{"CaptureMode": "Input"}, {"CaptureMode": "Output"}],
        "CaptureContentTypeHeader": {"CsvContentTypes": ["text/csv"]},
    }
    account.sagemaker.create_endpoint_config(
        EndpointConfigName="captured-on", ProductionVariants=[variant("captured")], DataCaptureConfig=capture
    )
    account.sagemaker.create_endpoint(EndpointName="captured", EndpointConfigName="captured-on")
    described = account.endpoint_settled("captured")
    assert described["DataCaptureConfig"]["CaptureStatus"] == "Started"
    account.invoke("captured", "1", InferenceId="row-7")
    account.invoke("captured", "2")
    keys = wait_for(lambda: account.keys("capture/captured/AllTraffic/"))
    records = [json.loads(line) for key in keys for line in account.read(f"s3://{BUCKET}/{key}").decode().splitlines()]

    assert records[0]["captureData"]["endpointInput"] == {
        "observedContentType": "text/csv",
        "mode": "INPUT",
        "data": "1",
        "encoding": "CSV",
    }
    assert records[0]["captureData"]["endpointOutput"]["data"] == "5.0"
    assert records[0]["eventMetadata"]["inferenceId"] == "row-7"
    account.sagemaker.delete_endpoint(EndpointName="captured")


def test_a_batch_transform_scores_every_object(account: Account) -> None:
    account.model("batch", TIMES.format(factor=10))
    account.put("batch/in/a.csv", "1\n2\n")
    account.put("batch/in/b.csv", "3\n")
    account.sagemaker.create_transform_job(
        TransformJobName="batch",
        ModelName="batch",
        BatchStrategy="SingleRecord",
        TransformInput={
            "DataSource": {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": f"s3://{BUCKET}/batch/in/"}},
            "ContentType": "text/csv",
            "SplitType": "Line",
        },
        TransformOutput={"S3OutputPath": f"s3://{BUCKET}/batch/out", "AssembleWith": "Line"},
        TransformResources={"InstanceType": "ml.m5.large", "InstanceCount": 1},
    )

    def ended() -> dict | None:
        job = account.sagemaker.describe_transform_job(TransformJobName="batch")
        return job if job["TransformJobStatus"] != "InProgress" else None

    job = wait_for(ended)
    assert job["TransformJobStatus"] == "Completed", job
    assert account.read(f"s3://{BUCKET}/batch/out/a.csv.out") == b"10.0\n20.0\n"
    assert account.read(f"s3://{BUCKET}/batch/out/b.csv.out") == b"30.0\n"
