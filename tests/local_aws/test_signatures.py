"""Nobody calls the account without its keys, unless it was opened: other users and pages in a browser reach the port too."""

import contextlib
import hashlib
import io
import json
import re
import socket
import stat
import urllib.error
import urllib.request
import zipfile
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.auth import S3SigV4Auth, SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.config import Config
from botocore.credentials import Credentials
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


PRINTS_KEY = "import os; print('KEY', os.environ['AWS_ACCESS_KEY_ID'], os.environ['AWS_SECRET_ACCESS_KEY'])"


def test_a_job_s_own_keys_end_with_it(account: Account) -> None:
    """What a job printed into its log is of no use afterwards, and opens no other job's way."""
    seen = []
    for name in ("prints-1", "prints-2"):
        script = PRINTS_KEY + "; import boto3; print('SEES', len(boto3.client('s3').list_buckets()['Buckets']))"
        assert account.train(name, script)["TrainingJobStatus"] == "Completed"
        log = (account.data_dir / f"jobs/training-job/{name}/log.txt").read_text()
        assert "SEES" in log
        key, secret = log.split("KEY ")[1].split()[:2]
        seen.append((key, secret))
        with pytest.raises(ClientError, match="InvalidClientTokenId"):
            client(account, "s3", key, secret).list_buckets()
    assert len({part for pair in seen for part in pair}) == 4


def test_a_model_server_s_keys_end_with_it(account: Account) -> None:
    tells = (
        "import json, os\ndef model_fn(d):\n    return 1\n"
        "def transform_fn(m, b, c, a):\n    return json.dumps([os.environ['AWS_ACCESS_KEY_ID'], os.environ['AWS_SECRET_ACCESS_KEY']]), c"
    )
    account.model("tells-key", tells)
    account.sagemaker.create_endpoint(EndpointName="tells-key", EndpointConfigName="tells-key")
    account.endpoint_settled("tells-key")
    key, secret = json.loads(account.invoke("tells-key", "1"))
    assert client(account, "s3", key, secret).list_buckets()["Buckets"]
    account.sagemaker.delete_endpoint(EndpointName="tells-key")
    waiter = account.sagemaker.get_waiter("endpoint_deleted")
    waiter.wait(EndpointName="tells-key", WaiterConfig={"Delay": 1, "MaxAttempts": 20})
    with pytest.raises(ClientError, match="InvalidClientTokenId"):
        client(account, "s3", key, secret).list_buckets()


# -- what a signature covers ------------------------------------------------------------------------------------------


def signed(
    account: Account,
    service: str,
    method: str,
    path: str,
    body: bytes,
    headers: dict[str, str],
    date: str | None = None,
) -> dict[str, str]:
    """Return the headers of a request signed for a service; `date` in the form of X-Amz-Date replaces the clock's."""
    request = AWSRequest(method=method, url=f"{account.url}{path}", data=body, headers=headers)
    signer = (S3SigV4Auth if service == "s3" else SigV4Auth)(
        Credentials(account.access_key, account.secret_key), service, "us-east-1"
    )
    if date is None:
        signer.add_auth(request)
    else:
        request.context["timestamp"] = date
        signer._modify_request_before_signing(request)
        canonical = signer.canonical_request(request)
        signer._inject_signature_to_request(
            request, signer.signature(signer.string_to_sign(request, canonical), request)
        )
    return dict(request.headers.items())


LIST_JOBS = {"X-Amz-Target": "SageMaker.ListTrainingJobs", "Content-Type": "application/x-amz-json-1.1"}


def test_a_link_to_an_object_opens_no_other_door(account: Account) -> None:
    account.put("linked/report.html", "report")
    made = boto3.client(
        "s3", endpoint_url=account.url, region_name="us-east-1", aws_access_key_id=account.access_key,
        aws_secret_access_key=account.secret_key, config=Config(signature_version="s3v4", s3={"addressing_style": "path"}),
    )  # fmt: skip
    link = made.generate_presigned_url("get_object", {"Bucket": BUCKET, "Key": "linked/report.html"})
    path = link.removeprefix(account.url)
    assert unsigned(account, "GET", path) == (200, b"report")
    for target in (
        "SageMaker.ListTrainingJobs",
        "AWSGlue.GetDatabases",
        "AmazonSSM.DescribeParameters",
        "AmazonSQS.ListQueues",
    ):
        status, body = unsigned(account, "GET", path, b"{}", **{"X-Amz-Target": target})
        assert (status, b"not signed" in body or b"scoped" in body) == (403, True), target
    status, _ = unsigned(account, "GET", path, **{"x-amz-copy-source": "/other/secret"})
    assert status == 403
    old = boto3.client(
        "s3", endpoint_url=account.url, region_name="us-east-1", aws_access_key_id=account.access_key,
        aws_secret_access_key=account.secret_key, config=Config(signature_version="s3"),
    ).generate_presigned_url("get_object", {"Bucket": BUCKET, "Key": "linked/report.html"})  # fmt: skip
    status, body = unsigned(account, "GET", old.removeprefix(account.url))
    assert (status, b"s3v4" in body) == (403, True)


def test_a_signature_is_for_one_service(account: Account) -> None:
    right = signed(account, "sagemaker", "POST", "/", b"{}", LIST_JOBS)
    assert unsigned(account, "POST", "/", b"{}", **right)[0] == 200
    for service in ("s3", "sqs", "glue"):
        status, body = unsigned(account, "POST", "/", b"{}", **signed(account, service, "POST", "/", b"{}", LIST_JOBS))
        assert (status, b"correct service: 'sagemaker'" in body) == (403, True), service
    later = signed(account, "sagemaker", "POST", "/", b"{}", {})
    assert unsigned(account, "POST", "/", b"{}", **later, **LIST_JOBS)[0] == 403


def test_a_signature_is_of_its_time(account: Account) -> None:
    now = datetime.now(UTC)
    for minutes, status in ((-10, 200), (10, 200), (-20, 403), (20, 403), (-60 * 24 * 365 * 6, 403)):
        date = (now + timedelta(minutes=minutes)).strftime("%Y%m%dT%H%M%SZ")
        made = signed(account, "sagemaker", "POST", "/", b"{}", LIST_JOBS | {"X-Amz-Date": date}, date)
        assert unsigned(account, "POST", "/", b"{}", **made)[0] == status, minutes


def test_a_body_is_the_one_that_was_signed(account: Account) -> None:
    path = f"/{BUCKET}/signed-body"
    made = signed(account, "s3", "PUT", path, b"hello", {})
    status, body = unsigned(account, "PUT", path, b"HACKED", **made)
    assert (status, b"XAmzContentSHA256Mismatch" in body) == (400, True)
    assert account.keys("signed-body") == []
    assert unsigned(account, "PUT", path, b"hello", **signed(account, "s3", "PUT", path, b"hello", {}))[0] == 200
    digest = {"x-amz-content-sha256": hashlib.sha256(b"{}").hexdigest()}
    made = signed(account, "sagemaker", "POST", "/", b"{}", LIST_JOBS | digest)
    assert unsigned(account, "POST", "/", b"{}", **made)[0] == 200
    assert unsigned(account, "POST", "/", b'{"MaxResults": 1}', **made)[0] == 403


def test_a_stranger_cannot_fill_the_memory(own_account: Account) -> None:
    """Whoever knows an access key id, which is no secret, sends bodies without an end under a signature of zeros."""
    process = Path(f"/proc/{own_account.process.pid}/status")

    def resident() -> int:
        return int(re.search(r"VmRSS:\s+(\d+)", process.read_text())[1]) // 1024

    scope = f"{own_account.access_key}/20260101/us-east-1/sqs/aws4_request"
    head = (
        f"POST / HTTP/1.1\r\nHost: 127.0.0.1:{own_account.port}\r\nX-Amz-Date: 20260101T000000Z\r\n"
        f"Authorization: AWS4-HMAC-SHA256 Credential={scope}, SignedHeaders=host, Signature={'0' * 64}\r\n"
    )
    with socket.create_connection(("127.0.0.1", own_account.port), timeout=20) as announced:
        announced.sendall(f"{head}Content-Length: 300000000\r\n\r\n".encode())
        assert b" 413 " in announced.recv(4096).split(b"\r\n")[0]
    before = resident()
    piece = b"100000\r\n" + b"x" * 0x100000 + b"\r\n"
    with socket.create_connection(("127.0.0.1", own_account.port), timeout=20) as endless:
        endless.sendall(f"{head}Transfer-Encoding: chunked\r\n\r\n".encode())
        with contextlib.suppress(OSError):
            for _ in range(200):
                endless.sendall(piece)
    assert resident() - before < 64
    assert unsigned(own_account, "GET", "/_local_aws/health")[0] == 200
