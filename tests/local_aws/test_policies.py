"""The account with ``--enforce-policies``: who acts in a role may do what the role's policies say, and a refusal names all three."""

import contextlib
import json
from collections.abc import Iterator

import boto3
import pytest
from botocore.exceptions import ClientError
from local_account import BUCKET, IMAGE, Account, archive, wait_for

from local_aws.gateway.policies import asked
from local_aws.shared.access import Call, calls

SIGNED = "AWS4-HMAC-SHA256 Credential=K/20261126/{}/{}/aws4_request, SignedHeaders=host, Signature=0"
WITHOUT_TLS = {"Condition": {"Bool": {"aws:SecureTransport": "false"}}}
TRAIN = "import os; open(os.environ['SM_MODEL_DIR'] + '/model.txt', 'w').write('1')\n"


@pytest.fixture(scope="module")
def strict(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Account]:
    with Account(tmp_path_factory.mktemp("strict") / "data", "--enforce-policies") as account:
        account.s3.create_bucket(Bucket=BUCKET)
        yield account


def role(account: Account, name: str, *statements: dict) -> str:
    """Make or change a role that may do what the statements say; return its ARN."""
    iam = account.iam
    trust = {"Statement": [{"Effect": "Allow", "Principal": {"AWS": "*"}, "Action": "sts:AssumeRole"}]}
    with contextlib.suppress(iam.exceptions.EntityAlreadyExistsException):
        iam.create_role(RoleName=name, AssumeRolePolicyDocument=json.dumps(trust))
    document = {"Version": "2012-10-17", "Statement": list(statements)}
    iam.put_role_policy(RoleName=name, PolicyName="p", PolicyDocument=json.dumps(document))
    return f"arn:aws:iam::000000000000:role/{name}"


def allow(*actions: str, on: str = "*", **more: object) -> dict:
    return {"Effect": "Allow", "Action": list(actions), "Resource": on, **more}


def acting(account: Account, name: str, service: str, region: str = "us-east-1"):
    """Return a client with temporary keys of a role."""
    keys = account.sts.assume_role(RoleArn=f"arn:aws:iam::000000000000:role/{name}", RoleSessionName="test")[
        "Credentials"
    ]
    session = boto3.Session(keys["AccessKeyId"], keys["SecretAccessKey"], keys["SessionToken"], region_name=region)
    return session.client(service, endpoint_url=account.url)


def refusal(call, **params) -> str:
    with pytest.raises(ClientError) as error:
        call(**params)
    assert error.value.response["ResponseMetadata"]["HTTPStatusCode"] in (400, 403)
    return str(error.value)


def request(service, method, path, query="", headers=None, body=b"", region="us-east-1"):
    return list(asked(method, path, query, {"authorization": SIGNED.format(region, service), **(headers or {})}, body))


def test_what_a_request_needs():
    key = "arn:aws:s3:::b/a/b.csv"
    assert request("s3", "GET", "/b/a/b.csv") == [Call("s3:GetObject", key)]
    assert request("s3", "HEAD", "/b/a/b.csv", "versionId=v") == [Call("s3:GetObjectVersion", key)]
    [listing] = request("s3", "GET", "/b", "list-type=2&prefix=a%2F")
    assert (listing, listing.keys) == (Call("s3:ListBucket", "arn:aws:s3:::b"), (("s3:prefix", "a/"),))
    copy = {"x-amz-copy-source": "/b/old%20one?versionId=v"}
    assert request("s3", "PUT", "/b/a/b.csv", headers=copy) == [
        Call("s3:PutObject", key),
        Call("s3:GetObjectVersion", "arn:aws:s3:::b/old one"),
    ]
    several = (
        b"<Delete><Object><Key>x&amp;y</Key></Object><Object><Key>z</Key><VersionId>v</VersionId></Object></Delete>"
    )
    assert request("s3", "POST", "/b", "delete", body=several) == [
        Call("s3:DeleteObject", "arn:aws:s3:::b/x&y"),
        Call("s3:DeleteObjectVersion", "arn:aws:s3:::b/z"),
    ]
    assert request("s3", "GET", "/a/b.csv", headers={"host": "b.localhost:4566"}) == [Call("s3:GetObject", key)]
    assert request("s3", "POST", "/b/a/b.csv", "uploads") == [Call("s3:PutObject", key)]
    [invoked] = request("lambda", "POST", "/2015-03-31/functions/judge/invocations")
    assert invoked == Call("lambda:InvokeFunction", "arn:aws:lambda:us-east-1:000000000000:function:judge")
    [told] = request("sns", "POST", "/", body=b"Action=Publish&TopicArn=arn%3Aaws%3Asns%3Ax%3Ay%3At&Message=m")
    assert told == Call("sns:Publish", "arn:aws:sns:x:y:t")
    [asked_endpoint] = request("sagemaker", "POST", "/endpoints/e/invocations")
    assert asked_endpoint == Call("sagemaker:InvokeEndpoint", "arn:aws:sagemaker:us-east-1:000000000000:endpoint/e")


@pytest.mark.parametrize(
    ("service", "target", "params", "resource"),
    [
        ("sqs", "AmazonSQS.GetQueueUrl", {"QueueName": "q"}, "sqs:{}:000000000000:q"),
        ("ssm", "AmazonSSM.GetParameter", {"Name": "/p"}, "ssm:{}:000000000000:parameter/p"),
        ("logs", "Logs_20140328.GetLogEvents", {"logGroupName": "g"}, "logs:{}:000000000000:log-group:g:*"),
        ("glue", "AWSGlue.StartJobRun", {"JobName": "j"}, "glue:{}:000000000000:job/j"),
        ("glue", "AWSGlue.StartCrawler", {"Name": "c"}, "glue:{}:000000000000:crawler/c"),
        ("sagemaker", "SageMaker.DescribeModel", {"ModelName": "m"}, "sagemaker:{}:000000000000:model/m"),
    ],
)
@pytest.mark.parametrize("region", ["us-east-1", "eu-central-1"])
def test_a_resource_is_in_the_region_that_its_request_is_signed_for(service, target, params, resource, region):
    body = json.dumps(params).encode()
    [call] = request(service, "POST", "/", headers={"x-amz-target": target}, body=body, region=region)
    assert call.resource == f"arn:aws:{resource.format(region)}"


def test_a_request_that_hands_over_a_role_needs_the_right_to_pass_it():
    made = list(calls("sagemaker", "CreateTrainingJob", {"TrainingJobName": "j", "RoleArn": "r", "Tags": [{}]}, "r"))
    assert [call.action for call in made] == ["sagemaker:CreateTrainingJob", "sagemaker:AddTags", "iam:PassRole"]
    assert made[2].keys == (("iam:passedtoservice", "sagemaker.amazonaws.com"),)


@pytest.mark.local_aws
def test_a_refusal_names_role_action_and_resource_and_nothing_happened(strict):
    role(strict, "reader", allow("s3:GetObject", on=f"arn:aws:s3:::{BUCKET}/open/*"))
    s3 = acting(strict, "reader", "s3")
    strict.s3.put_object(Bucket=BUCKET, Key="open/a", Body=b"1")
    assert s3.get_object(Bucket=BUCKET, Key="open/a")["Body"].read() == b"1"
    said = refusal(s3.put_object, Bucket=BUCKET, Key="open/a", Body=b"2")
    arn = "arn:aws:iam::000000000000:role/reader"
    assert f"User: {arn} is not authorized to perform: s3:PutObject on resource: arn:aws:s3:::{BUCKET}/open/a" in said
    assert strict.s3.get_object(Bucket=BUCKET, Key="open/a")["Body"].read() == b"1"
    assert "403" in refusal(s3.head_object, Bucket=BUCKET, Key="shut/a")
    assert "s3:DeleteObject" in refusal(s3.delete_objects, Bucket=BUCKET, Delete={"Objects": [{"Key": "open/a"}]})
    sagemaker = acting(strict, "reader", "sagemaker")
    assert "sagemaker:ListTrainingJobs on resource: *" in refusal(sagemaker.list_training_jobs)
    assert "ssm:GetParameter" in refusal(acting(strict, "reader", "ssm").get_parameter, Name="/p")
    assert "sqs:GetQueueUrl" in refusal(acting(strict, "reader", "sqs").get_queue_url, QueueName="q")


@pytest.mark.local_aws
def test_denials_and_conditions_count(strict):
    prefix = {"StringLike": {"s3:prefix": "open/*"}}
    role(
        strict,
        "lister",
        allow("s3:ListBucket", on=f"arn:aws:s3:::{BUCKET}", Condition=prefix),
        allow("s3:PutObject"),
        {"Effect": "Deny", "Action": "s3:*", "Resource": f"arn:aws:s3:::{BUCKET}/shut/*"},
    )
    s3 = acting(strict, "lister", "s3")
    s3.list_objects_v2(Bucket=BUCKET, Prefix="open/")
    assert "s3:ListBucket" in refusal(s3.list_objects_v2, Bucket=BUCKET)
    assert "s3:ListBucket" in refusal(s3.list_objects_v2, Bucket=BUCKET, Prefix="shut/")
    s3.put_object(Bucket=BUCKET, Key="open/b", Body=b"")
    assert "with an explicit deny" in refusal(s3.put_object, Bucket=BUCKET, Key="shut/b", Body=b"")


@pytest.mark.local_aws
def test_the_policy_of_a_bucket_counts_beside_those_of_the_role(strict):
    bucket = "with-a-policy"
    strict.s3.create_bucket(Bucket=bucket)
    shut, all_of_it = f"arn:aws:s3:::{bucket}/code/*", f"arn:aws:s3:::{bucket}/*"
    document = [
        {
            "Effect": "Deny",
            "Principal": "*",
            "Action": ["s3:PutObject", "s3:DeleteObject", "s3:DeleteObjectVersion"],
            "Resource": shut,
            "Condition": {
                "ArnNotLike": {"aws:PrincipalArn": "arn:aws:iam::000000000000:role/deploy*"},
                "ArnNotEquals": {"aws:PrincipalArn": role(strict, "one-more", allow("s3:*"))},
            },
        },
        {"Effect": "Deny", "Principal": "*", "Action": "s3:*", "Resource": all_of_it, **WITHOUT_TLS},
        {
            "Effect": "Allow",
            "Principal": {"AWS": role(strict, "guest", allow("sqs:ListQueues"))},
            "Action": "s3:GetObject",
            "Resource": shut,
        },
    ]
    strict.s3.put_bucket_policy(Bucket=bucket, Policy=json.dumps({"Version": "2012-10-17", "Statement": document}))
    for name in ("landing", "deployer"):
        role(strict, name, allow("s3:*"))
    version = (
        acting(strict, "deployer", "s3").put_object(Bucket=bucket, Key="code/a", Body=b"1").get("VersionId", "null")
    )
    acting(strict, "one-more", "s3").put_object(Bucket=bucket, Key="code/a", Body=b"1")
    landing = acting(strict, "landing", "s3")
    landing.put_object(Bucket=bucket, Key="new/a", Body=b"2")
    said = refusal(landing.put_object, Bucket=bucket, Key="code/a", Body=b"2")
    assert (
        f"s3:PutObject on resource: arn:aws:s3:::{bucket}/code/a with an explicit deny in a resource-based policy"
        in said
    )
    assert "resource-based" in refusal(landing.copy_object, Bucket=bucket, Key="code/a", CopySource=f"{bucket}/new/a")
    assert "resource-based" in refusal(landing.create_multipart_upload, Bucket=bucket, Key="code/a")
    gone = {"Objects": [{"Key": "code/a", "VersionId": version}]}
    assert "s3:DeleteObjectVersion" in refusal(landing.delete_objects, Bucket=bucket, Delete=gone)
    assert landing.get_object(Bucket=bucket, Key="code/a")["Body"].read() == b"1"
    guest = acting(strict, "guest", "s3")
    assert guest.get_object(Bucket=bucket, Key="code/a")["Body"].read() == b"1"
    assert "no identity-based policy allows" in refusal(guest.get_object, Bucket=bucket, Key="new/a")


def train(account: Account, name: str, arn: str) -> dict:
    archive_key = f"code/{name}.tar.gz"
    account.s3.put_object(Bucket=BUCKET, Key=archive_key, Body=archive({"train.py": TRAIN}))
    account.sagemaker.create_training_job(
        TrainingJobName=name,
        AlgorithmSpecification={"TrainingImage": IMAGE, "TrainingInputMode": "File"},
        HyperParameters={
            "sagemaker_program": '"train.py"',
            "sagemaker_submit_directory": json.dumps(f"s3://{BUCKET}/{archive_key}"),
        },
        RoleArn=arn,
        OutputDataConfig={"S3OutputPath": f"s3://{BUCKET}/models"},
        ResourceConfig={"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 1},
        StoppingCondition={"MaxRuntimeInSeconds": 60},
    )
    ended = ("Completed", "Failed")
    return wait_for(
        lambda: (
            (job := account.sagemaker.describe_training_job(TrainingJobName=name))["TrainingJobStatus"] in ended and job
        )
    )


@pytest.mark.local_aws
def test_a_job_acts_in_its_role(strict):
    code, models = allow("s3:GetObject", on=f"arn:aws:s3:::{BUCKET}/code/*"), f"arn:aws:s3:::{BUCKET}/models/*"
    arn = role(strict, "trainer", code)
    failed = train(strict, "unable", arn)
    assert failed["TrainingJobStatus"] == "Failed"
    assert f"{arn} is not authorized to perform: s3:PutObject" in failed["FailureReason"]
    assert f"arn:aws:s3:::{BUCKET}/models/unable/output/model.tar.gz" in failed["FailureReason"]
    role(strict, "trainer", code, allow("s3:PutObject", on=models))
    assert train(strict, "able", arn)["TrainingJobStatus"] == "Completed"
    role(strict, "trainer", allow("s3:PutObject", on=models))
    assert "s3:GetObject" in train(strict, "blind", arn)["FailureReason"]


@pytest.mark.local_aws
def test_who_starts_a_job_must_be_allowed_to_hand_it_its_role(strict):
    arn = role(strict, "powerful", allow("s3:*"))
    only_sagemaker = {"StringEquals": {"iam:PassedToService": "glue.amazonaws.com"}}
    role(strict, "starter", allow("sagemaker:*"), allow("iam:PassRole", Condition=only_sagemaker))
    said = refusal(
        acting(strict, "starter", "sagemaker").create_model,
        ModelName="m",
        ExecutionRoleArn=arn,
        PrimaryContainer={"Image": IMAGE},
    )
    assert f"iam:PassRole on resource: {arn}" in said


@pytest.mark.local_aws
def test_without_the_option_roles_are_names_only(account):
    role(account, "nobody", allow("sqs:ListQueues"))
    assert acting(account, "nobody", "s3").list_objects_v2(Bucket=BUCKET)["KeyCount"] >= 0


@pytest.mark.local_aws
def test_policies_of_an_account_in_another_region_are_read_with_that_region(tmp_path):
    place, condition = "eu-central-1", {"StringEquals": {"aws:RequestedRegion": "eu-central-1"}}
    with Account(tmp_path / "data", "--enforce-policies", "--region", place) as account:
        arn = f"arn:aws:ssm:{place}:000000000000:parameter"
        role(account, "reader", allow("ssm:PutParameter", on=f"{arn}/p"), allow("sqs:ListQueues", Condition=condition))
        ssm = acting(account, "reader", "ssm", place)
        ssm.put_parameter(Name="/p", Value="1", Type="String")
        said = refusal(ssm.put_parameter, Name="/q", Value="1", Type="String")
        assert f"ssm:PutParameter on resource: {arn}/q" in said
        acting(account, "reader", "sqs", place).list_queues()
        elsewhere = acting(account, "reader", "ssm")
        assert "ssm:us-east-1:" in refusal(elsewhere.put_parameter, Name="/p", Value="1", Type="String")
        assert "sqs:ListQueues" in refusal(acting(account, "reader", "sqs").list_queues)
        job = f"sagemaker:DescribeModel on resource: arn:aws:sagemaker:{place}:000000000000:model/m"
        assert job in refusal(acting(account, "reader", "sagemaker", place).describe_model, ModelName="m")


@pytest.mark.local_aws
def test_everybody_may_ask_who_he_is(strict):
    role(strict, "nobody", {"Effect": "Deny", "Action": "sts:GetCallerIdentity", "Resource": "*"})
    assert "nobody" in acting(strict, "nobody", "sts").get_caller_identity()["Arn"]
