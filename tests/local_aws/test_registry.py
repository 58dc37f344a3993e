"""Models, endpoint configurations and the model registry."""

import pytest
from botocore.exceptions import ClientError
from local_account import BUCKET, IMAGE, ROLE, TIMES, Account, variant

pytestmark = pytest.mark.local_aws


def refused(call, **request) -> tuple[str, str]:
    with pytest.raises(ClientError) as caught:
        call(**request)
    return caught.value.response["Error"]["Code"], caught.value.response["Error"]["Message"]


def package(group: str, **changes) -> dict:
    container = {"Image": IMAGE, "ModelDataUrl": f"s3://{BUCKET}/models/m.tar.gz"}
    specification = {
        "Containers": [container],
        "SupportedContentTypes": ["text/csv"],
        "SupportedResponseMIMETypes": ["text/csv"],
    }
    return {"ModelPackageGroupName": group, "InferenceSpecification": specification} | changes


def test_models_and_configs_are_unique_findable_and_deletable(account: Account) -> None:
    client = account.sagemaker
    account.model("registry-model", TIMES.format(factor=1))
    model = client.describe_model(ModelName="registry-model")
    assert model["ModelArn"].endswith(":model/registry-model")
    assert model["PrimaryContainer"]["Image"] == IMAGE
    assert model["ExecutionRoleArn"] == ROLE

    code, message = refused(client.create_model, ModelName="registry-model", PrimaryContainer={"Image": IMAGE})
    assert code == "ValidationException"
    assert message.startswith("Cannot create already existing model")
    code, message = refused(
        client.create_endpoint_config,
        EndpointConfigName="registry-model",
        ProductionVariants=[variant("registry-model")],
    )
    assert message.startswith("Cannot create already existing endpoint configuration")
    code, message = refused(
        client.create_endpoint_config, EndpointConfigName="no-model", ProductionVariants=[variant("unknown")]
    )
    assert (code, message.startswith("Could not find model")) == ("ValidationException", True)

    client.delete_endpoint_config(EndpointConfigName="registry-model")
    client.delete_model(ModelName="registry-model")
    assert refused(client.describe_model, ModelName="registry-model")[1].startswith("Could not find model")
    assert refused(client.delete_model, ModelName="registry-model")[0] == "ValidationException"
    code, message = refused(client.describe_endpoint_config, EndpointConfigName="registry-model")
    assert message.startswith("Could not find endpoint configuration")


def test_packages_are_versions_of_their_group(account: Account) -> None:
    client = account.sagemaker
    arn = client.create_model_package_group(ModelPackageGroupName="abalone")["ModelPackageGroupArn"]
    assert arn == "arn:aws:sagemaker:us-east-1:000000000000:model-package-group/abalone"
    assert "already exists" in refused(client.create_model_package_group, ModelPackageGroupName="abalone")[1]

    first = client.create_model_package(
        **package("abalone", ClientToken="token-1", CustomerMetadataProperties={"rmse": "2.1"})
    )["ModelPackageArn"]
    again = client.create_model_package(
        **package("abalone", ClientToken="token-1", CustomerMetadataProperties={"rmse": "2.1"})
    )["ModelPackageArn"]
    second = client.create_model_package(**package("abalone", ModelApprovalStatus="Approved"))["ModelPackageArn"]
    assert first == again == "arn:aws:sagemaker:us-east-1:000000000000:model-package/abalone/1"
    assert second.endswith("model-package/abalone/2")
    code, _ = refused(client.create_model_package, **package("abalone", ClientToken="token-1"))
    assert code == "ConflictException"

    described = client.describe_model_package(ModelPackageName=first)
    assert described["ModelPackageVersion"] == 1
    assert described["ModelApprovalStatus"] == "PendingManualApproval"
    assert described["ModelPackageStatus"] == "Completed"
    client.update_model_package(
        ModelPackageArn=first,
        ModelApprovalStatus="Rejected",
        ApprovalDescription="worse",
        CustomerMetadataProperties={"decision": "rejected"},
    )
    described = client.describe_model_package(ModelPackageName=first)
    assert described["ModelApprovalStatus"] == "Rejected"
    assert described["CustomerMetadataProperties"] == {"rmse": "2.1", "decision": "rejected"}

    approved = client.list_model_packages(ModelPackageGroupName="abalone", ModelApprovalStatus="Approved")
    assert [item["ModelPackageArn"] for item in approved["ModelPackageSummaryList"]] == [second]
    versions = client.list_model_packages(ModelPackageGroupName="abalone", SortOrder="Ascending")
    assert [item["ModelPackageVersion"] for item in versions["ModelPackageSummaryList"]] == [1, 2]

    assert refused(client.delete_model_package_group, ModelPackageGroupName="abalone")[0] == "ConflictException"
    client.delete_model_package(ModelPackageName=second)
    third = client.create_model_package(**package("abalone"))["ModelPackageArn"]
    assert third.endswith("/abalone/3"), "a version number is never given twice"
    for arn in (first, third):
        client.delete_model_package(ModelPackageName=arn)
    client.delete_model_package_group(ModelPackageGroupName="abalone")
    assert "does not exist" in refused(client.describe_model_package_group, ModelPackageGroupName="abalone")[1]
    assert "does not exist" in refused(client.create_model_package, **package("abalone"))[1]
    assert "does not exist" in refused(client.describe_model_package, ModelPackageName=first)[1]
