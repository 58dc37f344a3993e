"""What a request, a key, an archive or a job can reach: its own folder, its own environment, and nothing of this machine's."""

import ast
import http.client
import io
import json
import os
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError
from local_account import BUCKET, REPOSITORY, ROLE, Account, channel, s3_input, s3_output, wait_for

pytestmark = pytest.mark.local_aws

PASSES = "print('ran')"
MARKED = "must-not-reach-a-job"  # a secret in the environment of every local_aws that tests start
WRITE_ENVIRONMENT = "import json, os; json.dump(dict(os.environ), open('{path}', 'w'))"

#: What the containers of SageMaker and Glue have too, or what stands for it here: loopback, thread limits, the environment's Java.
COMMON = re.compile(
    r"PATH|LANG|LC_CTYPE|HOME|TMPDIR|PYTHON(PATH|UNBUFFERED|DONTWRITEBYTECODE)|(OMP|OPENBLAS|MKL)_NUM_THREADS|LOKY_MAX_CPU_COUNT"
    r"|AWS_(ENDPOINT_URL|ACCESS_KEY_ID|SECRET_ACCESS_KEY|REGION|DEFAULT_REGION|EC2_METADATA_DISABLED)|NO_PROXY|JAVA_HOME"
)
TRAINING = re.compile(r"SM_[A-Z0-9_]+|SAGEMAKER_REGION|TRAINING_JOB_(NAME|ARN)")
SPARK = re.compile(r"SPARK_[A-Z_]+|PYSPARK_[A-Z_]+|NUMEXPR_[A-Z_]+")


def files_below(*folders: Path) -> list[Path]:
    """Return all files; folders of jobs come and go meanwhile."""
    return [Path(folder) / name for top in folders for folder, _, names in os.walk(top) for name in names]


def content(path: Path) -> bytes:
    return path.read_bytes() if path.is_file() else b""


@pytest.fixture(scope="module", autouse=True)
def nothing_escapes(account: Account) -> Iterator[None]:
    """Whatever a test of this file sends, it writes nothing beside the account's own folders."""
    around = account.data_dir.parent
    before = set(around.iterdir())
    own = {path.name for path in account.data_dir.iterdir()}
    yield
    assert set(around.iterdir()) == before
    assert {path.name for path in account.data_dir.iterdir()} <= own | {"jobs"}
    assert not [
        path for path in files_below(account.data_dir / "jobs", account.data_dir / "state") if "escaped" in path.name
    ]


# -- paths ------------------------------------------------------------------------------------------------------------
def processing_reason(account: Account, name: str, **changes: Any) -> str:
    account.sagemaker.create_processing_job(**account.processing_request(name, PASSES, **changes))
    job = account.processing_end(name)
    assert job["ProcessingJobStatus"] == "Failed", job
    return str(job["FailureReason"])


@pytest.mark.parametrize(
    ("number", "path", "says"),
    [
        (1, "/opt/ml/processing/../../..", "points outside"),
        (2, "/opt/ml/../../escaped", "points outside"),
        (3, "/opt/mlescaped", "is not under /opt/ml"),
        (4, "/etc/escaped", "is not under /opt/ml"),
        (5, "escaped", "is not under /opt/ml"),
    ],
)  # fmt: skip
def test_a_local_path_cannot_leave_the_container(account: Account, number: int, path: str, says: str) -> None:
    source = account.put("security/in.csv", "1")
    assert says in processing_reason(account, f"path-{number}", ProcessingInputs=[s3_input("data", source, path)])


def test_an_output_path_cannot_leave_the_container(account: Account) -> None:
    outputs = {"Outputs": [s3_output("out", f"s3://{BUCKET}/security/stolen/", "/opt/ml/processing/../../../..")]}
    assert "points outside" in processing_reason(account, "path-output", ProcessingOutputConfig=outputs)
    assert account.keys("security/stolen/") == []


@pytest.mark.parametrize("where", ["argument", "environment"])
def test_a_mapped_path_cannot_climb_out_of_the_container(account: Account, where: str) -> None:
    climbing = "--out=/opt/ml/processing/../../../../escaped"
    request = account.processing_request(f"climb-{where}", PASSES)
    if where == "argument":
        request["AppSpecification"]["ContainerArguments"] = [climbing]
    else:
        request["Environment"] = {"TARGET": climbing}
    account.sagemaker.create_processing_job(**request)
    job = account.processing_end(f"climb-{where}")
    assert job["ProcessingJobStatus"] == "Failed"
    assert "leaves /opt/ml" in job["FailureReason"]


@pytest.mark.parametrize("name", ["..", "a/../..", "../x", "", "a\0b"])
def test_a_channel_name_cannot_leave_the_container(account: Account, name: str) -> None:
    account.put("security/data/a.csv", "1")
    request = account.training_request(
        f"channel-{len(name)}", PASSES, InputDataConfig=[channel(name, f"s3://{BUCKET}/security/data/")]
    )
    try:
        account.sagemaker.create_training_job(**request)
    except ClientError as refused:
        assert "Member must" in str(refused)
    except Exception as refused:  # botocore checks lengths itself
        assert "Invalid length" in str(refused)
    else:
        job = account.training_end(f"channel-{len(name)}")
        assert (job["TrainingJobStatus"], "points outside" in job["FailureReason"]) == ("Failed", True)


@pytest.mark.parametrize("program", ["../../../../../../bin/true", "/bin/true", "code/../../escaped.py"])
def test_the_program_to_run_is_one_of_the_archive(account: Account, program: str) -> None:
    name = f"program-{len(program)}"
    request = account.training_request(name, PASSES)
    request["HyperParameters"]["sagemaker_program"] = json.dumps(program)
    account.sagemaker.create_training_job(**request)
    job = account.training_end(name)
    assert (job["TrainingJobStatus"], "points outside" in job["FailureReason"]) == ("Failed", True)


KEYS = {
    "climbing": "../escaped",
    "climbing-within": "a/../../../escaped",
    "absolute": "/escaped",
    "empty-parts": "a//./escaped",
    "dots": "..",
    "unicode": "é€😀\u202egnp.csv",
    "encoded": "a b+%2e%2e%2fescaped",
    "long": "n" * 900,
}


@pytest.mark.parametrize("key", KEYS.values(), ids=KEYS)
def test_a_key_of_any_name_is_kept_within_the_bucket_s_folder(account: Account, key: str) -> None:
    account.s3.put_object(Bucket=BUCKET, Key=key, Body=b"kept")
    try:
        listed = account.s3.list_objects_v2(Bucket=BUCKET, Prefix=key)["Contents"]
        assert [item["Key"] for item in listed] == [key]
        kept = [path for path in files_below(account.data_dir.parent) if content(path) == b"kept"]
        assert kept
        assert all(account.data_dir / "s3" in path.parents for path in kept)
    finally:
        account.s3.delete_object(Bucket=BUCKET, Key=key)


@pytest.mark.parametrize(
    ("key", "says"),
    [
        ("../escaped.csv", "points outside"),
        ("/escaped.csv", "points outside"),
        ("n" * 300, "is not the name of a file"),
    ],
)
def test_a_job_that_reads_a_key_that_is_no_path_fails_with_its_name(account: Account, key: str, says: str) -> None:
    prefix = f"security/keys-{len(key)}/"
    account.s3.put_object(Bucket=BUCKET, Key=prefix + key, Body=b"kept")
    job = account.train(
        f"key-{len(key)}", PASSES, InputDataConfig=[channel("train", f"s3://{BUCKET}/{prefix}")]
    )  # fmt: skip
    assert job["TrainingJobStatus"] == "Failed"
    assert says in job["FailureReason"]


def test_a_key_that_is_a_file_and_a_folder_fails_the_job_with_its_name(account: Account) -> None:
    for key in ("security/both/a", "security/both/a/b"):
        account.put(key, "1")
    job = account.train("key-both", PASSES, InputDataConfig=[channel("train", f"s3://{BUCKET}/security/both/")])
    assert job["TrainingJobStatus"] == "Failed"
    assert "is not the name of a file" in job["FailureReason"]


def test_a_link_that_a_job_leaves_is_not_followed_by_the_upload(account: Account, tmp_path: Path) -> None:
    (tmp_path / "private.txt").write_text("private")
    script = (
        "import os, pathlib; out = pathlib.Path('processing/out'); "
        f"(out / 'file').symlink_to('{tmp_path}/private.txt'); (out / 'folder').symlink_to('{tmp_path}'); (out / 'a').write_text('a')"
    )
    outputs = {"Outputs": [s3_output("out", f"s3://{BUCKET}/security/links/", "/opt/ml/processing/out")]}
    request = account.processing_request("links", script, ProcessingOutputConfig=outputs)
    account.sagemaker.create_processing_job(**request)
    assert account.processing_end("links")["ProcessingJobStatus"] == "Completed"
    assert account.keys("security/links/") == ["security/links/a"]


@pytest.mark.spark
def test_keys_that_are_no_paths_outlive_a_spark_job_which_does_not_see_them(account: Account) -> None:
    account.s3.create_bucket(Bucket="strange-keys")
    strange = ["a//b", "a/./b", "../escaped", "/escaped", "n" * 300, "a/b/c"]
    for key in [*strange, "a/b"]:
        account.s3.put_object(Bucket="strange-keys", Key=key, Body=key.encode())
    script = (
        "import pyspark.sql, sys; rows = pyspark.sql.SparkSession.builder.getOrCreate().read.text('s3://strange-keys/a/b')\n"
        "assert [row.value for row in rows.collect()] == ['a/b']"
    )
    state, log = glue_run(account, "strange-keys", script, Arguments={"--bucket": "s3://strange-keys/"})
    assert state == "SUCCEEDED", log
    for key in [*strange, "a/b"]:
        assert account.s3.get_object(Bucket="strange-keys", Key=key)["Body"].read() == key.encode()
    listed = account.s3.list_objects_v2(Bucket="strange-keys")["Contents"]
    assert {item["Key"] for item in listed} == {*strange, "a/b"}


# -- function packages ------------------------------------------------------------------------------------------------
def function(account: Account, name: str, *members: tuple[str, bytes]) -> Any:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as package:
        for path, body in members:
            package.writestr(path, body)
    functions = account.__getattr__("lambda")
    functions.create_function(
        FunctionName=name, Runtime="python3.12", Role=ROLE, Handler="handler.handler", Code={"ZipFile": buffer.getvalue()},
        Environment={"Variables": {"MODE": "test"}},
    )  # fmt: skip
    return json.loads(functions.invoke(FunctionName=name)["Payload"].read())


def test_a_function_s_package_cannot_write_outside_of_its_folder(account: Account, tmp_path: Path) -> None:
    code = b"import os\ndef handler(event, context):\n    return os.getcwd()"
    absolute = tmp_path / "escaped.txt"
    folder = function(
        account, "zip-escape", ("handler.py", code), ("../../escaped.txt", b"x"), (str(absolute), b"x")
    )  # fmt: skip
    assert not absolute.exists()
    assert not list(Path(folder).parent.parent.glob("escaped.txt"))


def test_a_function_s_package_that_is_a_bomb_is_refused(account: Account) -> None:
    with pytest.raises(ClientError, match="Unzipped size must be smaller than 262144000 bytes"):
        function(account, "zip-bomb", ("handler.py", b""), *[(f"{number}", bytes(50_000_000)) for number in range(6)])


# -- environment and secrets ------------------------------------------------------------------------------------------
def environment_of_training(account: Account) -> dict[str, str]:
    script = "import json, os; open(os.environ['SM_OUTPUT_DATA_DIR'] + '/env', 'w').write(''); print('ENV', json.dumps(dict(os.environ)))"
    account.train("env-training", script, Environment={"MODE": "test", "AWS_ENDPOINT_URL_S3": "http://elsewhere"})
    return from_log((account.data_dir / "jobs/training-job/env-training/log.txt").read_text())


def environment_of_processing(account: Account) -> dict[str, str]:
    changes = {"Environment": {"MODE": "test", "AWS_PROFILE": "mine", "AWS_SESSION_TOKEN": "x"}}
    request = account.processing_request(
        "env-processing", "import json, os; print('ENV', json.dumps(dict(os.environ)))", **changes
    )
    account.sagemaker.create_processing_job(**request)
    account.processing_end("env-processing")
    return from_log((account.data_dir / "jobs/processing-job/env-processing/log.txt").read_text())


def environment_of_glue(account: Account) -> dict[str, str]:
    state, log = glue_run(account, "env-glue", "import json, os; print('ENV', json.dumps(dict(os.environ)))")
    assert state == "SUCCEEDED", log
    return from_log(log)


def glue_run(account: Account, name: str, script: str, **options: Any) -> tuple[str, str]:
    """Run a script to its end; return the state and what it printed."""
    command = {"Name": "glueetl", "ScriptLocation": account.put(f"scripts/{name}.py", script)}
    account.glue.create_job(Name=name, Role=ROLE, Command=command, GlueVersion="5.0")
    run = account.glue.start_job_run(JobName=name, **options)["JobRunId"]

    def ended() -> str | None:
        state = account.glue.get_job_run(JobName=name, RunId=run)["JobRun"]["JobRunState"]
        return state if state not in ("STARTING", "RUNNING") else None

    state = wait_for(ended, 90)
    folder = account.data_dir / f"jobs/glue/{name}/{run}"
    return state, "".join((folder / f"{stream}.txt").read_text() for stream in ("output", "error"))


def environment_of_endpoint(account: Account, name: str = "env-endpoint") -> dict[str, str]:
    account.model(
        name,
        "import json, os\ndef model_fn(d):\n    return 1\n"
        "def transform_fn(m, b, c, a):\n    return json.dumps(dict(os.environ)), 'application/json'",
        MODE="test",
    )
    account.sagemaker.create_endpoint(EndpointName=name, EndpointConfigName=name)
    account.endpoint_settled(name)
    return json.loads(account.invoke(name, "1"))


def test_a_model_server_answers_to_who_knows_its_secret_and_only_its_owner_can_read_that(account: Account) -> None:
    """Another user, a job of another model and a page in a browser reach its port, too."""
    seen = environment_of_endpoint(account, "secret")
    note = Path(seen["HOME"]).parent / "port"
    assert note.stat().st_mode & 0o077 == 0
    port, secret = note.read_text().split()
    assert len(secret) >= 32 and secret not in json.dumps(seen)
    for path in ("/invocations", "/ping", "/execution-parameters"):
        for name, given, status in (
            (None, "", 403),
            ("X-Local-Aws-Secret", secret[:-1], 403),
            ("X-Local-Aws-Secret", "\u00e9", 403),
            ("Cookie", secret, 403),
            ("X-Local-Aws-Secret", secret, {"/invocations": 200, "/ping": 405}.get(path, 404)),
        ):
            connection = http.client.HTTPConnection("127.0.0.1", int(port), timeout=10)
            connection.request("POST", path, b"1", {name: given} if name else {})
            response = connection.getresponse()
            response.read()
            connection.close()
            assert response.status == status, (path, name, given)


def environment_of_function(account: Account) -> dict[str, str]:
    code = b"import os\ndef handler(event, context):\n    return dict(os.environ)"
    return function(account, "env-function", ("handler.py", code))


def from_log(text: str) -> dict[str, str]:
    [line] = [line for line in text.splitlines() if line.startswith("ENV ")]
    return json.loads(line.removeprefix("ENV "))


@pytest.mark.parametrize(
    ("read", "allowed", "request_s"),
    [
        (environment_of_training, [COMMON, TRAINING], {"MODE"}),
        (environment_of_processing, [COMMON], {"MODE", "PROCESSING_JOB_NAME"}),
        (environment_of_glue, [COMMON, SPARK], set()),
        (environment_of_endpoint, [COMMON], {"MODE", "SAGEMAKER_PROGRAM", "SAGEMAKER_SUBMIT_DIRECTORY"}),
    ],
)
def test_a_job_sees_the_service_s_environment_and_its_request_s_and_nothing_else(
    account: Account, read: Any, allowed: list[re.Pattern[str]], request_s: set[str]
) -> None:
    seen = read(account)
    strange = {name for name in seen if not any(pattern.fullmatch(name) for pattern in allowed)}
    assert strange == request_s
    assert seen["AWS_ENDPOINT_URL"] == account.url
    assert MARKED not in json.dumps(seen)
    for name in ("HOME", "TMPDIR"):
        assert seen[name].startswith(str(account.data_dir / "jobs"))


def test_a_function_sees_nothing_of_the_environment_that_local_aws_was_started_in(account: Account) -> None:
    seen = environment_of_function(account)
    assert (seen["MODE"], "PARENT_SECRET" in seen) == ("test", False)
    assert MARKED not in json.dumps(seen)


def test_nothing_that_it_writes_is_open_to_other_users_of_the_machine(account: Account) -> None:
    account.train("private", "print('kept to itself')")
    assert account.data_dir.stat().st_mode & 0o077 == 0
    own = ("process.log", "credentials")  # the test wrote these
    open_to_others = [
        path
        for path in files_below(account.data_dir)
        if path.name not in own
        and not any(part.startswith("container") or part == ".spares" for part in path.parts)
        and path.stat().st_mode & 0o077
    ]
    assert open_to_others == []


def test_no_secret_of_the_starting_shell_is_written_anywhere(account: Account) -> None:
    """Runs last in this file: by now jobs of every kind have run, failed, logged and been described."""
    account.train("leak-fails", "raise SystemExit('failed')")
    account.stop()
    try:
        found = [path for path in files_below(account.data_dir) if MARKED.encode() in content(path)]
    finally:
        account.start()
    assert found == []


# -- shells -----------------------------------------------------------------------------------------------------------
def shell_calls(source: str) -> list[int]:
    """Return the lines that hand a text to a shell."""
    lines = []
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Call):
            continue
        name = ast.unparse(node.func)
        shell = any(
            word.arg == "shell" and not (isinstance(word.value, ast.Constant) and word.value.value is False)
            for word in node.keywords
        )
        if shell or re.fullmatch(
            r"(os\.(system|popen|spawn\w*)|subprocess\.(getoutput|getstatusoutput)|asyncio\.create_subprocess_shell|pty\.spawn"
            r"|eval|exec)",
            name,
        ):
            lines.append(node.lineno)
    return lines


def test_the_search_for_shells_finds_them() -> None:
    for text in (
        "os.system(x)",
        "subprocess.run(x, shell=True)",
        "subprocess.run(x, shell=flag)",
        "os.popen(x)",
        "eval(x)",
    ):
        assert shell_calls(text) == [1], text
    assert shell_calls("subprocess.run([x], shell=False)") == []


def test_nothing_is_handed_to_a_shell() -> None:
    folders = ("local_aws", "local_stack", "plugins", "dags", "glue_scripts", "lambda_functions", "survey", "deploy")
    files = [path for folder in folders for path in sorted((REPOSITORY / folder).rglob("*.py"))]
    assert len(files) > 80
    found = [str(path.relative_to(REPOSITORY)) for path in files for _ in shell_calls(path.read_text(encoding="utf-8"))]
    assert found == [
        "local_aws/shared/running/spare_python.py"
    ]  # a job's Python script, in the process that waited for it
