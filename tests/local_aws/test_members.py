"""No member of a request is accepted and ignored: each acts, is kept for a reason that the docs tell, or is refused."""

import pytest
from botocore.exceptions import ClientError
from local_account import BUCKET, Account, archive, s3_output, variant

from local_aws.gateway.support import OWN
from local_aws.shared.errors import ServiceError
from local_aws.shared.requests.members import ACTS, KEPT, RECORDS, check_members, is_known, paths_of

OPERATIONS = [
    (service, operation)
    for service in ("sagemaker", "sagemaker-runtime", "glue")
    for operation in OWN[service]
    if operation not in RECORDS
]


@pytest.mark.parametrize(("service", "operation"), OPERATIONS)
def test_what_the_tables_name_exists_and_all_else_is_refused(service: str, operation: str) -> None:
    known = frozenset(ACTS.get(operation, "").split()) | KEPT.get(operation, {}).keys()
    paths = paths_of(service, operation)
    assert known <= paths, known - paths
    assert not set(ACTS.get(operation, "").split()) & KEPT.get(operation, {}).keys()
    for path in paths:
        above = [other for other in paths if other.startswith(path + ".")]
        if above or is_known(path, known):
            continue
        request: object = "given"
        for name in reversed(path.split(".")):
            request = {name: request}
        with pytest.raises(ServiceError, match="would ignore it"):
            check_members(service, operation, listed(service, operation, request))


def listed(service: str, operation: str, request: object) -> dict:
    """Return a request with lists where the operation takes lists."""
    from botocore.model import ListShape, StructureShape

    from local_aws.shared.requests.validation import operation_model

    def shaped(shape: object, value: object) -> object:
        if isinstance(shape, ListShape):
            return [shaped(shape.member, value)]
        if isinstance(shape, StructureShape) and isinstance(value, dict):
            return {name: shaped(shape.members[name], item) for name, item in value.items()}
        return value

    return shaped(operation_model(service, operation).input_shape, request)  # type: ignore[return-value]


def test_every_operation_with_a_request_is_in_a_table() -> None:
    unclassified = [
        operation for service, operation in OPERATIONS if paths_of(service, operation) and operation not in ACTS
    ]
    assert unclassified == []


def test_a_value_that_says_nothing_is_no_request() -> None:
    check_members("sagemaker", "CreateTrainingJob", {"DebugRuleConfigurations": [], "ExperimentConfig": {}})
    check_members("sagemaker", "UpdateEndpoint", {"EndpointName": "e", "RetainDeploymentConfig": False})
    with pytest.raises(ServiceError, match="RetainDeploymentConfig"):
        check_members("sagemaker", "UpdateEndpoint", {"EndpointName": "e", "RetainDeploymentConfig": True})


@pytest.mark.local_aws
def test_pipes_and_experiments_are_refused_when_they_are_asked_for(account: Account) -> None:
    request = account.training_request("refused", "print(1)")
    for change, words in (
        ({"ExperimentConfig": {"ExperimentName": "e"}}, "ExperimentConfig.ExperimentName"),
        ({"DebugRuleConfigurations": [{"RuleConfigurationName": "r", "RuleEvaluatorImage": "i"}]}, "DebugRule"),
    ):
        with pytest.raises(ClientError, match=words):
            account.sagemaker.create_training_job(**(request | change))
    with pytest.raises(ClientError, match=r"one of InstanceType and ServerlessConfig"):
        account.model("capacity", "x")
        both = variant("capacity", ServerlessConfig={"MemorySizeInMB": 1024, "MaxConcurrency": 1})
        account.sagemaker.create_endpoint_config(EndpointConfigName="both", ProductionVariants=[both])


@pytest.mark.local_aws
def test_checkpoints_go_to_s3_and_come_back_also_from_a_job_that_failed(account: Account) -> None:
    script = (
        "import pathlib, sys\n"
        "path = pathlib.Path('/opt/ml/checkpoints/epoch.txt')\n"
        "epoch = int(path.read_text()) if path.exists() else 0\n"
        "path.write_text(str(epoch + 1))\n"
        "sys.exit(1 if epoch == 0 else 0)\n"
    )
    config = {"S3Uri": f"s3://{BUCKET}/checkpoints/run"}
    first = account.train("checkpoints-1", script, CheckpointConfig=config)
    assert first["TrainingJobStatus"] == "Failed"
    assert account.read(f"s3://{BUCKET}/checkpoints/run/epoch.txt") == b"1"
    second = account.train("checkpoints-2", script, CheckpointConfig=config)
    assert second["TrainingJobStatus"] == "Completed", second
    assert account.read(f"s3://{BUCKET}/checkpoints/run/epoch.txt") == b"2"
    assert first["ModelArtifacts"]["S3ModelArtifacts"].endswith("checkpoints-1/output/model.tar.gz")


@pytest.mark.local_aws
def test_a_job_in_isolation_has_no_network(account: Account) -> None:
    script = "import boto3\nboto3.client('s3').list_buckets()\n"
    request = account.processing_request("isolated", script, NetworkConfig={"EnableNetworkIsolation": True})
    account.sagemaker.create_processing_job(**request)
    job = account.processing_end("isolated")
    assert job["ProcessingJobStatus"] == "Failed"
    assert "EndpointConnectionError" in job["FailureReason"]
    script = "import pathlib; pathlib.Path('/opt/ml/processing/output/x').write_text('1')"
    outputs = {"Outputs": [s3_output("out", f"s3://{BUCKET}/isolated/out", "/opt/ml/processing/output")]}
    request = account.processing_request(
        "isolated-works", script, NetworkConfig={"EnableNetworkIsolation": True}, ProcessingOutputConfig=outputs
    )
    account.sagemaker.create_processing_job(**request)
    assert account.processing_end("isolated-works")["ProcessingJobStatus"] == "Completed"
    assert account.read(f"s3://{BUCKET}/isolated/out/x") == b"1"


@pytest.mark.local_aws
def test_a_model_whose_artifact_was_replaced_does_not_serve(account: Account) -> None:
    data = account.put("models/pinned.tar.gz", archive({"code/inference.py": "def model_fn(d):\n    return 1\n"}))
    etag = account.s3.head_object(Bucket=BUCKET, Key="models/pinned.tar.gz")["ETag"].strip('"')
    source = {"S3Uri": data, "S3DataType": "S3Object", "CompressionType": "Gzip", "ETag": etag}
    container = {"Image": account.training_request("unused", "")["AlgorithmSpecification"]["TrainingImage"]}
    container |= {"ModelDataSource": {"S3DataSource": source}, "Environment": {"SAGEMAKER_PROGRAM": "inference.py"}}
    role = "arn:aws:iam::000000000000:role/service"
    account.sagemaker.create_model(ModelName="pinned", ExecutionRoleArn=role, PrimaryContainer=container)
    account.sagemaker.create_endpoint_config(EndpointConfigName="pinned", ProductionVariants=[variant("pinned")])
    account.put("models/pinned.tar.gz", archive({"code/inference.py": "raise SystemExit('evil')"}))
    account.sagemaker.create_endpoint(EndpointName="pinned", EndpointConfigName="pinned")
    endpoint = account.endpoint_settled("pinned")
    assert (endpoint["EndpointStatus"], "was replaced" in endpoint["FailureReason"]) == ("Failed", True)
