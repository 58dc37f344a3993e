"""The HTTP face: guards, errors of the protocol, command line."""

import http.client
import json
import socket
import subprocess
from pathlib import Path
from urllib.parse import urlsplit

import boto3
import pytest
from botocore.auth import S3SigV4Auth, SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.config import Config
from botocore.credentials import Credentials
from botocore.exceptions import ClientError
from local_account import BUCKET, ENVIRONMENTS, REPOSITORY, Account

pytestmark = pytest.mark.local_aws


def request(
    account: Account, method: str = "GET", path: str = "/_local_aws/health", **headers: str
) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", account.port, timeout=10)
    try:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request(method, path, headers=named)
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1:4566", "[::1]:4566", "bucket.localhost:4566"])
def test_names_of_this_machine_are_served(account: Account, host: str) -> None:
    status, body = request(account, Host=host)
    assert status == 200
    assert json.loads(body)["status"] == "ok"


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "localhost.evil.example",
        "evil.example:4566",
        "",
        "127.0.0.1.nip.io",
        "evil.example@localhost",
        "evil.example@127.0.0.1:4566",
    ],
)
def test_other_host_names_are_refused(account: Account, host: str) -> None:
    status, body = request(account, Host=host)
    assert status == 403
    assert b"--allow-host" in body


def test_pages_of_other_sites_are_refused(account: Account) -> None:
    status, _ = request(
        account, "POST", "/", Host="localhost", Origin="https://evil.example", X_Amz_Target="AmazonSSM.X"
    )
    assert status == 403
    assert request(account, Host="localhost", Origin="http://localhost:8080")[0] == 200


def test_health_lists_the_operations(account: Account) -> None:
    health = json.loads(request(account)[1])
    assert {"CreateTrainingJob", "UpdateEndpoint", "CreateModelPackage"} <= set(health["services"]["sagemaker"])
    assert "StartJobRun" in health["services"]["glue"]


def test_it_listens_on_the_loopback_and_on_one_port_only(account: Account) -> None:
    assert account.process
    sockets = set()
    for descriptor in Path(f"/proc/{account.process.pid}/fd").iterdir():
        try:
            target = str(descriptor.readlink())
        except FileNotFoundError:
            continue
        if target.startswith("socket:["):
            sockets.add(target[8:-1])
    listening = []
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/{account.process.pid}/net/{table}").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == "0A" and fields[9] in sockets:
                listening.append(fields[1])
    assert listening == [f"0100007F:{account.port:04X}"]


def test_ministack_cannot_be_reset_from_outside(account: Account) -> None:
    headers = signed(account, "s3", "POST", f"{account.url}/_ministack/reset")
    status, body = request(account, "POST", "/_ministack/reset", **headers)
    assert status == 403
    assert b"closed" in body


def test_operations_that_are_missing_say_so(account: Account) -> None:
    with pytest.raises(ClientError, match=r"UnknownOperationException.*CreateAutoMLJob of sagemaker is not available"):
        account.sagemaker.create_auto_ml_job(
            AutoMLJobName="x",
            InputDataConfig=[
                {
                    "DataSource": {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": "s3://b/p"}},
                    "TargetAttributeName": "y",
                }
            ],
            OutputDataConfig={"S3OutputPath": "s3://b/o"},
            RoleArn="arn:aws:iam::000000000000:role/service",
        )


def signed(account: Account, service: str, method: str, url: str, body: bytes = b"", **headers: str) -> dict[str, str]:
    """Return the headers of a request with its signature."""
    kind = S3SigV4Auth if service == "s3" else SigV4Auth
    request = AWSRequest(method, url, {name.replace("_", "-"): value for name, value in headers.items()}, body)
    request.context["payload_signing_enabled"] = True
    kind(Credentials(account.access_key, account.secret_key), service, "us-east-1").add_auth(request)
    return dict(request.headers.items())


@pytest.mark.parametrize(
    ("service", "operation", "words"),
    [
        ("emr", "list_clusters", "ListClusters of elasticmapreduce is not available"),
        ("ssm", "list_documents", "ListDocuments of ssm is not available"),
        ("ec2", "describe_vpcs", "The service ec2 is not available"),
        ("bedrock", "list_foundation_models", "The service bedrock is not available"),
        ("route53", "list_hosted_zones", "The service route53 is not available"),
        ("glue", "list_blueprints", "ListBlueprints of glue is not available"),
    ],
)
def test_services_and_operations_that_nobody_here_has_are_refused_as_aws_refuses_them(
    account: Account, service: str, operation: str, words: str
) -> None:
    with pytest.raises(ClientError, match="UnknownOperationException") as refusal:
        getattr(getattr(account, service), operation)()
    assert words in refusal.value.response["Error"]["Message"]
    assert "<" not in refusal.value.response["Error"]["Message"], "XML where JSON is read, or the other way round"


def test_other_errors_of_ministack_pass_as_they_are(account: Account) -> None:
    with pytest.raises(account.ssm.exceptions.ParameterNotFound):
        account.ssm.get_parameter(Name="/nobody")


def raw(account: Account, target: str, body: bytes) -> tuple[int, dict]:
    connection = http.client.HTTPConnection("127.0.0.1", account.port, timeout=10)
    service = {"SageMaker": "sagemaker", "AWSGlue": "glue"}[target.partition(".")[0]]
    headers = {"X_Amz_Target": target, "Content_Type": "application/x-amz-json-1.1"}
    connection.request("POST", "/", body, signed(account, service, "POST", f"{account.url}/", body, **headers))
    answer = connection.getresponse()
    result = answer.status, json.loads(answer.read())
    connection.close()
    return result


def test_requests_that_no_client_would_send_get_the_services_errors(account: Account) -> None:
    status, error = raw(account, "SageMaker.CreateModel", b"{}")
    assert (status, error["__type"]) == (400, "ValidationException")
    assert "Value null at 'modelName' failed to satisfy constraint: Member must not be null" in error["message"]
    assert raw(account, "SageMaker.CreateModel", b"not json")[1]["__type"] == "SerializationException"
    assert raw(account, "SageMaker.CreateModel", b"[1]")[1]["__type"] == "SerializationException"
    assert raw(account, "SageMaker.CreateModel", b'{"ModelName": 5}')[1]["__type"] == "SerializationException"
    assert raw(account, "SageMaker.Nonsense", b"{}")[1]["__type"] == "UnknownOperationException"
    assert raw(account, "AWSGlue.StartJobRun", b"{}")[1]["__type"] == "ValidationException"
    assert raw(account, "AWSGlue.CreateJob", b"{}")[1]["__type"] == "ValidationException"
    status, error = raw(account, "SageMaker.ListModels", b'{"SortOrder": "Sideways"}')
    assert "Member must satisfy enum value set: [Ascending, Descending]" in error["message"]
    status, error = raw(account, "SageMaker.ListModels", b'{"MaxResults": 1000}')
    assert "less than or equal to 100" in error["message"]


def test_a_request_to_an_endpoint_is_as_long_as_the_service_takes(account: Account) -> None:
    def refusal(size: int) -> str:
        with pytest.raises(ClientError) as caught:
            account.sagemaker_runtime.invoke_endpoint(EndpointName="nobody", Body=bytes(size))
        return str(caught.value.response["Error"]["Code"])

    assert refusal(6 << 20) == "ValidationError", "long enough to be sent on, and there is no such endpoint"
    assert refusal((6 << 20) + 1) == "RequestEntityTooLargeException"


def test_conditional_puts_and_host_style_buckets(account: Account) -> None:
    account.s3.create_bucket(Bucket="conditional")
    account.s3.put_object(Bucket="conditional", Key="log/1.json", Body=b"1", IfNoneMatch="*")
    with pytest.raises(ClientError, match="PreconditionFailed"):
        account.s3.put_object(Bucket="conditional", Key="log/1.json", Body=b"2", IfNoneMatch="*")
    host = f"conditional.localhost:{account.port}"
    headers = signed(account, "s3", "GET", f"http://{host}/log/1.json")
    status, body = request(account, path="/log/1.json", Host=host, **headers)
    assert (status, body) == (200, b"1")


def command(*options: str | Path) -> subprocess.CompletedProcess[str]:
    python = ENVIRONMENTS / "local_aws" / "bin" / "python"
    return subprocess.run(
        [python, "-m", "local_aws", *options], cwd=REPOSITORY, capture_output=True, text=True, timeout=60
    )


def test_a_port_in_use_is_one_clear_line_and_exit_code_2(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = command("--port", str(port), "--data-dir", tmp_path / "data", "--environments", ENVIRONMENTS)
    assert done.returncode == 2
    assert done.stderr.splitlines() == [
        f"local_aws cannot listen on 127.0.0.1:{port}: it is already in use. "
        "Stop the program that uses it or choose another --port."
    ]
    assert not (tmp_path / "data").exists()


def test_an_access_log_needs_a_folder(tmp_path: Path) -> None:
    log = tmp_path / "none" / "access.jsonl"
    done = command("--data-dir", tmp_path, "--environments", ENVIRONMENTS, "--access-log", log)
    assert done.returncode == 2
    assert f"--access-log {log}: its folder does not exist" in done.stderr


def test_missing_environments_are_named(tmp_path: Path) -> None:
    done = command("--data-dir", tmp_path, "--environments", tmp_path / "none")
    assert done.returncode == 2
    assert f"--environments {tmp_path / 'none'} is not a folder" in done.stderr


def test_allowed_names_are_served(tmp_path: Path) -> None:
    account = Account(tmp_path / "data", "--allow-host", "local-aws")
    account.start()
    try:
        assert request(account, Host="local-aws:4566")[0] == 200
        assert request(account, Host="bucket.local-aws:4566")[0] == 200
        assert request(account, Host="other:4566")[0] == 403
    finally:
        account.stop()


@pytest.mark.parametrize("chunked", [False, True], ids=["length", "chunks"])
def test_an_upload_that_breaks_off_leaves_no_object_and_the_one_before_whole(account: Account, chunked: bool) -> None:
    signer = boto3.client(
        "s3", endpoint_url=account.url, region_name="us-east-1", aws_access_key_id=account.access_key,
        aws_secret_access_key=account.secret_key, config=Config(signature_version="s3v4", s3={"addressing_style": "path"}),
    )  # fmt: skip

    def upload(key: str, whole: bool) -> None:
        address = urlsplit(signer.generate_presigned_url("put_object", Params={"Bucket": BUCKET, "Key": key}))
        length = "Transfer-Encoding: chunked" if chunked else "Content-Length: 20000"
        piece = b"2710\r\n" + b"x" * 10_000 + b"\r\n" if chunked else b"x" * 10_000
        end = b"0\r\n\r\n" if chunked else b""
        head = f"PUT {address.path}?{address.query} HTTP/1.1\r\nHost: {address.netloc}\r\n{length}\r\n\r\n"
        with socket.create_connection(("127.0.0.1", account.port), timeout=10) as connection:
            connection.sendall(head.encode() + (2 * piece + end if whole else piece))
            if whole:
                assert connection.recv(4096).startswith(b"HTTP/1.1 200")

    account.s3.put_object(Bucket=BUCKET, Key="stays", Body=b"before")
    for key in ("breaks off", "stays"):
        upload(key, whole=False)
    upload("whole", whole=True)
    assert account.read(f"s3://{BUCKET}/whole") == b"x" * 20_000
    assert account.read(f"s3://{BUCKET}/stays") == b"before"
    assert "breaks off" not in account.keys("")
