"""Batch transform: filters and joins of records; weights of variants; Search over what exists."""

import pytest
from botocore.exceptions import ClientError
from local_account import BUCKET, Account, variant, wait_for

from local_aws.sagemaker.hosting.retained import retained
from local_aws.sagemaker.record_paths import Processing, select
from local_aws.shared.errors import JobError

pytestmark = pytest.mark.local_aws

#: A model that answers each row with the sum of its cells.
SUMS = """
def model_fn(model_dir):
    return None

def input_fn(body, content_type):
    return [[float(cell) for cell in line.split(",")] for line in body.splitlines()]

def predict_fn(rows, model):
    return [sum(row) for row in rows]

def output_fn(sums, accept):
    return "\\n".join(str(value) for value in sums), "text/csv"
"""


@pytest.mark.parametrize(
    ("path", "record", "part"),
    [
        ("$", ["a", "1"], ["a", "1"]),
        ("$[1:]", ["a", "1", "2"], ["1", "2"]),
        ("$[:-1]", ["a", "1", "2"], ["a", "1"]),
        ("$[0,2]", ["a", "1", "2"], ["a", "2"]),
        ("$[-1]", ["a", "1"], "1"),
        ("$.features", {"id": 1, "features": [1, 2]}, [1, 2]),
        ("$.a.b[0]", {"a": {"b": [7]}}, 7),
        ("$['id','SageMakerOutput']", {"id": 1, "x": 2, "SageMakerOutput": 3}, {"id": 1, "SageMakerOutput": 3}),
    ],
)
def test_parts_of_records(path: str, record: object, part: object) -> None:
    assert select(path, record) == part


@pytest.mark.parametrize("path", ["$[5]", "$.none", "$.id.x"])
def test_a_part_that_is_missing_is_an_error(path: str) -> None:
    with pytest.raises(ValueError, match="has nothing at"):
        select(path, {"id": 1} if "." in path else ["a"])


def test_json_records_are_joined_under_their_own_names() -> None:
    processing = Processing({"JoinSource": "Input", "InputFilter": "$.x"}, "application/json", "application/json")
    assert processing.request(b'{"id": 1, "x": [2]}') == b"[2]"
    assert processing.result(b'{"id": 1, "x": [2]}', b"[4]") == b'{"id": 1, "x": [2], "SageMakerOutput": [4]}'
    assert processing.result(b"[1]", b"2") == b'{"SageMakerInput": [1], "SageMakerOutput": 2}'
    with pytest.raises(JobError, match="answered 1 records to 2"):
        Processing({"JoinSource": "Input"}, "text/csv", "text/csv").result(b"1\n2\n", b"3\n")


def test_what_no_filter_can_be_is_named() -> None:
    assert "takes" in (Processing({}, "image/png", "").problem() or "")
    assert "JSONPath" in (Processing({"InputFilter": "1:"}, "text/csv", "").problem() or "")
    assert "same ContentType" in (Processing({"JoinSource": "Input"}, "text/csv", "application/json").problem() or "")
    assert Processing({"InputFilter": "$[1:]", "JoinSource": "Input"}, "text/csv", "").problem() is None


def test_a_transform_leaves_the_id_out_and_puts_it_beside_the_answer(account: Account) -> None:
    account.model("sums", SUMS)
    account.put("sums/in/a.csv", "x,1,2\ny,3,4\n")
    source = {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": f"s3://{BUCKET}/sums/in/"}}
    request = {
        "TransformJobName": "sums",
        "ModelName": "sums",
        "TransformInput": {"DataSource": source, "ContentType": "text/csv", "SplitType": "Line"},
        "TransformOutput": {"S3OutputPath": f"s3://{BUCKET}/sums/out", "AssembleWith": "Line", "Accept": "text/csv"},
        "TransformResources": {"InstanceType": "ml.m5.large", "InstanceCount": 1},
        "DataProcessing": {"InputFilter": "$[1:]", "JoinSource": "Input", "OutputFilter": "$[0,-1]"},
    }
    with pytest.raises(ClientError, match="is no index, slice or name"):
        account.sagemaker.create_transform_job(**(request | {"DataProcessing": {"InputFilter": "$[x]"}}))
    account.sagemaker.create_transform_job(**request)
    waiter = account.sagemaker.get_waiter("transform_job_completed_or_stopped")
    waiter.wait(TransformJobName="sums", WaiterConfig={"Delay": 1, "MaxAttempts": 60})
    assert account.read(f"s3://{BUCKET}/sums/out/a.csv.out") == b"x,3.0\ny,7.0\n"


def test_weights_change_without_a_new_configuration_and_are_kept_on_request(account: Account) -> None:
    sagemaker = account.sagemaker
    for name in ("first", "second"):
        account.model(name, SUMS.replace("sum(row)", f"'{name}'"))
    variants = [variant(name, VariantName=name, InitialVariantWeight=1) for name in ("first", "second")]
    for config in ("weighed", "weighed-again"):
        sagemaker.create_endpoint_config(EndpointConfigName=config, ProductionVariants=variants)
    sagemaker.create_endpoint(EndpointName="weighed", EndpointConfigName="weighed")
    account.endpoint_settled("weighed")
    desired = [{"VariantName": "first", "DesiredWeight": 0.0}, {"VariantName": "second", "DesiredWeight": 5.0}]
    with pytest.raises(ClientError, match="not found in endpoint"):
        sagemaker.update_endpoint_weights_and_capacities(
            EndpointName="weighed", DesiredWeightsAndCapacities=[{"VariantName": "third", "DesiredWeight": 1.0}]
        )
    sagemaker.update_endpoint_weights_and_capacities(EndpointName="weighed", DesiredWeightsAndCapacities=desired)

    def weights() -> list[float]:
        endpoint = account.endpoint_settled("weighed")
        return [item["CurrentWeight"] for item in endpoint["ProductionVariants"]]

    assert weights() == [0.0, 5.0]
    assert {account.invoke("weighed", "1") for _ in range(8)} == {"second"}
    sagemaker.update_endpoint(
        EndpointName="weighed", EndpointConfigName="weighed-again", RetainAllVariantProperties=True
    )
    wait_for(lambda: account.endpoint_settled("weighed")["EndpointConfigName"] == "weighed-again")
    assert weights() == [0.0, 5.0]
    sagemaker.delete_endpoint(EndpointName="weighed")


def test_what_is_retained_unless_it_is_excluded() -> None:
    new = {"ProductionVariants": [{"VariantName": "a", "InitialVariantWeight": 1.0, "InitialInstanceCount": 1}]}
    old = {
        "ProductionVariants": [{"VariantName": "a", "InitialVariantWeight": 3.0, "InitialInstanceCount": 4}],
        "DataCaptureConfig": {"EnableCapture": True},
    }
    kept = retained(new, old, {"DesiredWeight"})
    assert kept["ProductionVariants"] == [{"VariantName": "a", "InitialVariantWeight": 1.0, "InitialInstanceCount": 4}]
    assert kept["DataCaptureConfig"] == {"EnableCapture": True}
    assert "DataCaptureConfig" not in retained(new, old, {"DataCaptureConfig"})


def test_search_finds_jobs_by_parameters_metrics_and_tags(account: Account) -> None:
    metrics = [{"Name": "score", "Regex": "score=([0-9.]+)"}]
    for name, score in (("search-a", "0.5"), ("search-b", "0.9")):
        request = account.training_request(name, f"print('score={score}')", Tags=[{"Key": "team", "Value": name[-1]}])
        request["AlgorithmSpecification"]["MetricDefinitions"] = metrics
        request["HyperParameters"]["depth.max"] = "3"
        account.sagemaker.create_training_job(**request)
    for name in ("search-a", "search-b"):
        account.training_end(name)

    def found(*filters: tuple[str, str, str], **options: object) -> list[str]:
        expression = {"Filters": [{"Name": n, "Operator": o, "Value": v} for n, o, v in filters]}
        answer = account.sagemaker.search(
            Resource="TrainingJob", SearchExpression=expression | {"Operator": options.pop("join", "And")}, **options
        )
        return [item["TrainingJob"]["TrainingJobName"] for item in answer["Results"]]

    mine = ("TrainingJobName", "Contains", "search-")
    assert found(mine, SortBy="Metrics.score", SortOrder="Ascending") == ["search-a", "search-b"]
    assert found(mine, ("Metrics.score", "GreaterThan", "0.7")) == ["search-b"]
    assert found(mine, ("Tags.team", "Equals", "a")) == ["search-a"]
    assert found(mine, ("HyperParameters.depth.max", "Equals", "4")) == []
    assert found(("Tags.team", "Equals", "a"), ("Metrics.score", "GreaterThan", "0.7"), join="Or", MaxResults=1) != []
    with pytest.raises(ClientError, match="local_aws searches"):
        account.sagemaker.search(Resource="FeatureGroup")
