"""Nobody calls the account without its keys, unless it was opened: other users and pages in a browser reach the port too."""

import io
import json
import stat
import urllib.error
import urllib.request
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError
from local_account import BUCKET, ROLE, Account

pytestmark = pytest.mark.local_aws


def client(account: Account, service: str, key: str, secret: str, **options: Any) -> Any:
    return boto3.client(
        service, endpoint_url=account.url, region_name="us-east-1", aws_access_key_id=key, aws_secret_access_key=secret,
        config=Config(retries={"max_attempts": 1}, s3={"addressing_style": "path"}), **options,
    )  # fmt: skip


def unsigned(account: Account, method: str, path: str, body: bytes = b"", **headers: str) -> tuple[int, bytes]:
    request = urllib.request.Request(f"{account.url}{path}", body or None, headers, method=method)
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read()


CALLS = {
    "s3": lambda client: client.list_buckets(),
    "sqs": lambda client: client.list_queues(),
    "sns": lambda client: client.list_topics(),
    "ssm": lambda client: client.describe_parameters(),
    "sts": lambda client: client.get_caller_identity(),
    "iam": lambda client: client.list_roles(),
    "logs": lambda client: client.describe_log_groups(),
    "lambda": lambda client: client.list_functions(),
    "glue": lambda client: client.get_databases(),
    "cloudformation": lambda client: client.list_stacks(),
    "sagemaker": lambda client: client.list_models(),
    "sagemaker-runtime": lambda client: client.invoke_endpoint(EndpointName="none", Body=b"1"),
}


@pytest.mark.parametrize("service", CALLS)
def test_every_service_asks_for_the_account_s_keys(account: Account, service: str) -> None:
    for key, secret, code in (
        (account.access_key, "guessed", "SignatureDoesNotMatch"),
        ("guessed", account.secret_key, "InvalidClientTokenId"),
        ("000000000000", "test", "SignatureDoesNotMatch"),
    ):
        with pytest.raises(ClientError) as refused:
            CALLS[service](client(account, service, key, secret))
        assert refused.value.response["Error"]["Code"] == code
        assert "make env" in refused.value.response["Error"]["Message"]
    try:
        CALLS[service](account.__getattr__(service.replace("-", "_")))
    except ClientError as error:
        assert error.response["Error"]["Code"] not in ("SignatureDoesNotMatch", "InvalidClientTokenId")


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", f"/{BUCKET}"),
        ("PUT", f"/{BUCKET}/planted"),
        ("GET", "/?Action=CreateQueue&QueueName=planted"),
        ("POST", "/endpoints/any/invocations"),
        ("GET", "/2015-03-31/functions"),
        ("GET", "/_ministack/config"),
        ("GET", "/_localstack/health"),
    ],
)
def test_a_request_without_a_signature_is_refused(account: Account, method: str, path: str) -> None:
    status, body = unsigned(account, method, path)
    assert (status, b"MissingAuthenticationToken" in body) == (403, True)
    assert b"000000000000" not in body


def test_the_health_check_needs_no_keys(account: Account) -> None:
    assert unsigned(account, "GET", "/_local_aws/health")[0] == 200


def test_a_page_of_another_site_is_refused_even_where_a_browser_sends_no_origin(account: Account) -> None:
    status, body = unsigned(account, "GET", "/_local_aws/health", **{"Sec-Fetch-Site": "cross-site"})
    assert (status, b"pages of other sites" in body) == (403, True)


def test_a_body_or_path_that_was_changed_on_its_way_is_refused(account: Account) -> None:
    def change_body(request: Any, **_: Any) -> None:
        request.body = request.body.replace(b"mine", b"evil")

    def change_path(request: Any, **_: Any) -> None:
        request.url = request.url.replace("mine", "evil")

    for service, call, change in (
        ("ssm", lambda made: made.put_parameter(Name="mine", Value="1", Type="String"), change_body),
        ("s3", lambda made: made.put_object(Bucket=BUCKET, Key="mine", Body=b"1"), change_path),
    ):
        made = client(account, service, account.access_key, account.secret_key)
        made.meta.events.register_last("before-send", change)
        with pytest.raises(ClientError, match="SignatureDoesNotMatch"):
            call(made)


def test_a_presigned_url_serves_what_it_names_until_its_time_is_over(account: Account) -> None:
    account.put("signed/a b.csv", "1,2")
    account.put("signed/c.csv", "3")
    made = boto3.client(
        "s3", endpoint_url=account.url, region_name="us-east-1", aws_access_key_id=account.access_key,
        aws_secret_access_key=account.secret_key, config=Config(signature_version="s3v4", s3={"addressing_style": "path"}),
    )  # fmt: skip
    parameters = {"Bucket": BUCKET, "Key": "signed/a b.csv"}
    url = made.generate_presigned_url("get_object", parameters, ExpiresIn=60).removeprefix(account.url)
    assert unsigned(account, "GET", url) == (200, b"1,2")
    assert unsigned(account, "GET", url.replace("a%20b.csv", "c.csv"))[0] == 403
    assert unsigned(account, "DELETE", url)[0] == 403
    assert unsigned(account, "GET", url.replace("Expires=60", "Expires=6000"))[0] == 403
    over = made.generate_presigned_url("get_object", parameters, ExpiresIn=0).removeprefix(account.url)
    status, body = unsigned(account, "GET", over)
    assert (status, b"has expired" in body) == (403, True)


def test_functions_and_assumed_roles_have_keys_of_their_own(account: Account) -> None:
    functions = account.__getattr__("lambda")
    code = "import boto3\ndef handler(event, context):\n    return [b['Name'] for b in boto3.client('s3').list_buckets()['Buckets']]"
    functions.create_function(
        FunctionName="signs", Runtime="python3.12", Role=ROLE, Handler="handler.handler", Timeout=30,
        Code={"ZipFile": zipped("handler.py", code)},
    )  # fmt: skip
    assert BUCKET in json.loads(functions.invoke(FunctionName="signs")["Payload"].read())
    account.iam.create_role(RoleName="signer", AssumeRolePolicyDocument=json.dumps(TRUST))
    arn = "arn:aws:iam::000000000000:role/signer"
    given = account.sts.assume_role(RoleArn=arn, RoleSessionName="test")["Credentials"]
    session = {"aws_session_token": given["SessionToken"]}
    assumed = client(account, "s3", given["AccessKeyId"], given["SecretAccessKey"], **session)
    assert assumed.list_buckets()["Buckets"]
    with pytest.raises(ClientError, match="SignatureDoesNotMatch"):
        client(account, "s3", given["AccessKeyId"], "guessed", **session).list_buckets()


TRUST = {
    "Version": "2012-10-17",
    "Statement": [{"Effect": "Allow", "Principal": {"AWS": "*"}, "Action": "sts:AssumeRole"}],
}


def zipped(name: str, text: str) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as package:
        package.writestr(name, text)
    return buffer.getvalue()


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[Account]:
    with Account(tmp_path / "data", "--any-credentials") as account:
        yield account


def test_an_account_that_was_opened_takes_any_keys_and_none(opened: Account) -> None:
    assert client(opened, "s3", "any", "thing").list_buckets()["Buckets"] == []
    assert unsigned(opened, "GET", "/")[0] == 200


def test_keys_are_made_at_the_first_start_for_their_owner_only(tmp_path: Path) -> None:
    account = Account(tmp_path / "data", "--credentials", str(tmp_path / "keys"))
    account.start()
    try:
        mode = stat.S_IMODE((tmp_path / "keys").stat().st_mode)
        words = dict(line.split(" = ") for line in (tmp_path / "keys").read_text().splitlines()[1:])
        made = client(account, "s3", words["aws_access_key_id"], words["aws_secret_access_key"])
        assert (mode, made.list_buckets()["Buckets"]) == (0o600, [])
        assert len(words["aws_secret_access_key"]) >= 40
        with pytest.raises(ClientError, match="InvalidClientTokenId"):
            client(account, "s3", "test", "test").list_buckets()
    finally:
        account.stop()


def test_a_job_s_own_keys_end_with_the_process(own_account: Account) -> None:
    """What a job printed into its log is of no use after the next start."""
    job = own_account.train("prints", "import os; print('KEY', os.environ['AWS_SECRET_ACCESS_KEY'])")
    assert job["TrainingJobStatus"] == "Completed"
    log = (own_account.data_dir / "jobs/training-job/prints/log.txt").read_text()
    secret = log.split("KEY ")[1].split()[0]
    assert client(own_account, "s3", "local-aws", secret).list_buckets()["Buckets"]
    own_account.stop()
    own_account.start()
    with pytest.raises(ClientError, match="SignatureDoesNotMatch"):
        client(own_account, "s3", "local-aws", secret).list_buckets()
