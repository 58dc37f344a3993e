"""What people ask of SageMaker and Glue and this account has not: each is refused by its name, none is answered without effect."""

import boto3
import pytest
from botocore.exceptions import ClientError
from botocore.model import ListShape, MapShape, Shape, StructureShape
from local_account import BUCKET, ROLE, Account, variant

pytestmark = pytest.mark.local_aws

#: Operations behind the kinds of work that public examples do most.
ABSENT = {
    "sagemaker": """
        RetryPipelineExecution UpdatePipelineExecution CreateArtifact CreateContext
        CreateFeatureGroup CreateModelCard CreateMonitoringSchedule CreateDataQualityJobDefinition AddAssociation QueryLineage
        CreateAutoMLJob CreateInferenceComponent CreateNotebookInstance CreateDomain CreateCompilationJob CreateLabelingJob
        CreateMlflowTrackingServer CreateAlgorithm DeleteTrainingJob
    """,
    "glue": """
        StartTrigger StartWorkflowRun GetWorkflowRun CreateSession CreateDataQualityRuleset CreateRegistry CreateSchema ListCrawls
        GetTableVersions SearchTables BatchGetJobs BatchGetCrawlers CreateDevEndpoint CreateMLTransform StartCrawlerSchedule
    """,
    "emr": "RunJobFlow",
    "redshift-data": "ExecuteStatement",
}
CASES = [(service, operation) for service, names in ABSENT.items() for operation in names.split()]


def smallest(shape: Shape, name: str = "") -> object:
    """Return the smallest value of a shape that botocore lets pass."""
    if isinstance(shape, StructureShape):
        return {member: smallest(shape.members[member], member) for member in shape.required_members}
    if isinstance(shape, ListShape):
        return [smallest(shape.member, name)] * max(1, shape.metadata.get("min", 0))
    if isinstance(shape, MapShape):
        return {}
    if shape.type_name == "string":
        text = ROLE if "arn" in name.lower() or "role" in name.lower() else "x" * max(1, shape.metadata.get("min", 0))
        return shape.enum[0] if shape.enum else text  # type: ignore[attr-defined]
    return {"boolean": False, "timestamp": 0, "float": 0.5, "double": 0.5}.get(
        shape.type_name, shape.metadata.get("min", 1)
    )


@pytest.fixture(scope="module")
def client(account: Account):
    clients: dict[str, object] = {}

    def get(service: str) -> object:
        if service not in clients:
            clients[service] = boto3.client(
                service,
                "us-east-1",
                endpoint_url=account.url,
                aws_access_key_id=account.access_key,
                aws_secret_access_key=account.secret_key,
            )
        return clients[service]

    yield get
    for one in clients.values():
        one.close()  # type: ignore[attr-defined]


@pytest.mark.parametrize(("service", "operation"), CASES)
def test_an_operation_that_is_absent_says_so(client, service: str, operation: str) -> None:
    model = client(service).meta.service_model.operation_model(operation)
    with pytest.raises(ClientError) as caught:
        client(service)._make_api_call(operation, smallest(model.input_shape))
    assert caught.value.response["Error"]["Code"] == "UnknownOperationException", caught.value
    assert operation in caught.value.response["Error"]["Message"] or "not available" in str(caught.value)


def test_what_an_endpoint_cannot_do_here_is_refused_when_it_is_asked_for(account: Account) -> None:
    sagemaker = account.sagemaker
    image = {"Image": "1.dkr.ecr.us-east-1.amazonaws.com/sagemaker-scikit-learn:1"}
    for request in (
        {"Containers": [image, image | {"Mode": "MultiModel", "ModelDataUrl": f"s3://{BUCKET}/flows/"}]},
        {"PrimaryContainer": image | {"Mode": "MultiModel"}},
        {"PrimaryContainer": image | {"ModelDataUrl": "https://example.com/model.tar.gz"}},
    ):
        with pytest.raises(ClientError, match="ValidationException"):
            sagemaker.create_model(ModelName="refused", ExecutionRoleArn=ROLE, **request)
    sagemaker.create_model(ModelName="plain", ExecutionRoleArn=ROLE, PrimaryContainer=image)
    for request in (
        {
            "ProductionVariants": [variant("plain")],
            "ShadowProductionVariants": [variant("plain", VariantName="shadow")],
        },
        {"ProductionVariants": [{"VariantName": "v", "InstanceType": "ml.m5.large", "InitialInstanceCount": 1}]},
    ):
        with pytest.raises(ClientError, match="ValidationException"):
            sagemaker.create_endpoint_config(EndpointConfigName="refused", **request)


def test_what_a_job_cannot_do_here_is_refused_when_it_is_asked_for(account: Account) -> None:
    request = account.training_request("refused", "print(1)")
    for changes in (
        {"AlgorithmSpecification": {"AlgorithmName": "a", "TrainingInputMode": "File"}},
        {"ExperimentConfig": {"ExperimentName": "e"}},
        {"DebugRuleConfigurations": [{"RuleConfigurationName": "r", "RuleEvaluatorImage": "i"}]},
    ):
        with pytest.raises(ClientError, match="ValidationException"):
            account.sagemaker.create_training_job(**(request | changes))
