"""The `aws` command line, unmodified, against local_aws."""

import gzip
import json
import os
import shlex
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import pytest
from client_record import matches_the_record
from local_account import IMAGE, ROLE, TIMES, archive, channel, s3_input, s3_output, wait_for

pytestmark = [pytest.mark.local_aws]

ROOT = Path(__file__).parents[2]
REFUSED = 255
CODE = "retraining-code"
DATA = "retraining-dev-abalone-000000000000-us-east-1"
JOB = "retraining-dev-abalone-merge"
CRAWLER = "retraining-dev-abalone-landing"
FUNCTION = "retraining-dev-abalone-analyze-results"
ROWS = "sex,length,rings\nM,0.455,15\nF,0.53,9\nI,0.33,7\n"
#: Stands at the place of the merge job: a plain Python Glue job copies an object and says so.
SCRIPT = """
import sys, boto3
from awsglue.utils import getResolvedOptions
options = getResolvedOptions(sys.argv, ["bucket"])
body = boto3.client("s3").get_object(Bucket=options["bucket"], Key="abalone/raw/a.csv")["Body"].read()
boto3.client("s3").put_object(Bucket=options["bucket"], Key="copied.csv", Body=body)
print(f"copied {len(body)} bytes")
"""
TRAIN = """
import os, pathlib
rows = pathlib.Path(os.environ["SM_CHANNEL_TRAIN"], "a.csv").read_text().splitlines()
pathlib.Path(os.environ["SM_MODEL_DIR"], "rows.txt").write_text(str(len(rows)))
print(f"rows={len(rows)};")
"""
UPPER = "import sys; open(f'{sys.argv[2]}/a.csv', 'w').write(open(f'{sys.argv[1]}/a.csv').read().upper())"


@pytest.fixture(scope="module")
def aws(account, tmp_path_factory):
    """Return a function that runs `aws` with arguments; dictionaries and lists become JSON. It returns what `aws` printed."""
    home = tmp_path_factory.mktemp("home")
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(home),
        **account.variables,
        "AWS_PAGER": "",
        "AWS_EC2_METADATA_DISABLED": "true",
    }

    command = [sys.executable, Path(__file__).with_name("aws_cli_process.py")]
    process = subprocess.Popen(
        command, env=environment, cwd=home, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )

    def run(*arguments, fails=0):
        if arguments[0] == "sqs":
            # Version 1 of `aws` replaces the endpoint of SQS in us-east-1 by queue.amazonaws.com, whatever AWS_ENDPOINT_URL says.
            arguments = ("--endpoint-url", account.url, *arguments)
        texts = [json.dumps(item) if isinstance(item, dict | list) else str(item) for item in arguments]
        process.stdin.write(json.dumps(["--output", "json", *texts]) + "\n")
        process.stdin.flush()
        done = json.loads(process.stdout.readline())
        assert done["code"] == fails, done["output"] + done["errors"]
        if fails:
            return done["errors"]
        try:
            return json.loads(done["output"])
        except ValueError:
            return done["output"]

    run.home = home
    yield run
    process.stdin.close()
    assert process.wait(timeout=30) == 0
    process.stdout.close()


@pytest.fixture(scope="module")
def platform(aws):
    """The data platform, deployed as a reader of the template would: code to a bucket, then `cloudformation deploy`."""
    aws("s3", "mb", f"s3://{CODE}")
    (aws.home / "merge.py").write_text(SCRIPT)
    with zipfile.ZipFile(aws.home / "analyze.zip", "w") as file:
        for part in (ROOT / "lambda_functions" / "analyze_results").glob("*.py"):
            file.write(part, part.name)
    with zipfile.ZipFile(aws.home / "modules.zip", "w") as file:
        file.writestr("merge_part.py", "")
    aws("s3", "cp", aws.home / "modules.zip", f"s3://{CODE}/glue/modules.zip")
    aws("s3", "cp", aws.home / "merge.py", f"s3://{CODE}/glue/merge.py")
    aws("s3", "cp", aws.home / "analyze.zip", f"s3://{CODE}/lambda/analyze.zip")
    aws(
        *("cloudformation", "deploy", "--template-file", ROOT / "infra" / "data_platform.yaml"),
        *("--stack-name", "platform", "--capabilities", "CAPABILITY_IAM", "--parameter-overrides"),
        *("EnvironmentName=dev", "ModelName=abalone", f"DataBucketName={DATA}"),
        *(f"ArtifactsBucket={CODE}", "GlueScriptKey=glue/merge.py", "GlueModulesKey=glue/modules.zip"),
        *("AnalyzeFunctionKey=lambda/analyze.zip", "CodeWriters=arn:aws:iam::000000000000:root"),
    )
    return json.loads(
        aws("ssm", "get-parameter", "--name", "/retraining/dev/abalone/platform", "--query", "Parameter.Value")
    )


def reached(aws, noun, status, *name):
    """Look until a job or an endpoint has a status: the waiters of `aws` would look only every 30 to 120 seconds."""
    member = "".join(part.capitalize() for part in noun.split("-")) + "Status"

    def now():
        described = aws("sagemaker", f"describe-{noun}", *name)
        assert described[member] in (status, "InProgress", "Creating"), described
        return described[member] == status

    wait_for(now, 90)


def test_who_am_i(aws):
    assert aws("sts", "get-caller-identity")["Account"] == "000000000000"


def test_the_stack_is_deployed_once_and_again_without_a_change(aws, platform):
    assert platform["bucket"] == DATA
    [stack] = aws("cloudformation", "describe-stacks", "--stack-name", "platform")["Stacks"]
    assert stack["StackStatus"] == "CREATE_COMPLETE"
    assert {item["OutputKey"]: item["OutputValue"] for item in stack["Outputs"]}["DataBucketName"] == DATA
    resources = aws("cloudformation", "describe-stack-resources", "--stack-name", "platform")["StackResources"]
    assert {"AWS::Glue::Job", "AWS::Lambda::Function", "AWS::S3::Bucket"} <= {
        item["ResourceType"] for item in resources
    }
    # `aws` names a change set by the second.
    time.sleep(1.1)
    again = aws(
        *("cloudformation", "deploy", "--template-file", ROOT / "infra" / "data_platform.yaml"),
        *("--stack-name", "platform", "--capabilities", "CAPABILITY_IAM", "--no-fail-on-empty-changeset"),
    )
    assert "No changes to deploy" in again
    events = aws("cloudformation", "describe-stack-events", "--stack-name", "platform", "--max-items", "5")
    assert len(events["StackEvents"]) == 5
    assert "Resources" in str(aws("cloudformation", "get-template", "--stack-name", "platform"))
    aws("cloudformation", "validate-template", "--template-body", f"file://{ROOT / 'infra' / 'data_platform.yaml'}")


def test_parameters(aws):
    aws("ssm", "put-parameter", "--name", "/clients/one", "--type", "String", "--value", "1")
    assert aws("ssm", "get-parameters-by-path", "--path", "/clients")["Parameters"][0]["Value"] == "1"
    aws("ssm", "delete-parameter", "--name", "/clients/one")


def test_files_are_copied_synchronised_listed_and_removed(aws, platform):
    folder = aws.home / "landing"
    folder.mkdir()
    (folder / "a.csv").write_text(ROWS)
    (folder / "b.csv.gz").write_bytes(gzip.compress(ROWS.encode()))
    (folder / "big.bin").write_bytes(os.urandom(9 * 1024 * 1024))  # sent in parts
    aws("s3", "cp", folder / "a.csv", f"s3://{DATA}/abalone/raw/a.csv")
    listed = aws("s3", "sync", folder, f"s3://{DATA}/sync/")
    assert listed.count("upload:") == 3
    assert "upload" not in aws("s3", "sync", folder, f"s3://{DATA}/sync/")
    assert "a.csv" in aws("s3", "ls", f"s3://{DATA}/sync/")
    aws("s3", "cp", f"s3://{DATA}/sync/big.bin", aws.home / "big.bin")
    assert (aws.home / "big.bin").read_bytes() == (folder / "big.bin").read_bytes()
    aws("s3", "mv", f"s3://{DATA}/sync/a.csv", f"s3://{DATA}/moved/a.csv")
    aws("s3", "rm", f"s3://{DATA}/sync/", "--recursive")
    keys = aws("s3api", "list-objects-v2", "--bucket", DATA, "--query", "Contents[].Key")
    assert sorted(keys) == ["abalone/raw/a.csv", "moved/a.csv"]


def test_objects_and_buckets_by_s3api(aws, platform):
    target = ("--bucket", DATA, "--key", "log/1.json")
    (aws.home / "one.json").write_text("{}")
    aws("s3api", "put-object", *target, "--body", aws.home / "one.json", "--if-none-match", "*")
    assert "PreconditionFailed" in aws(
        "s3api", "put-object", *target, "--body", aws.home / "one.json", "--if-none-match", "*", fails=REFUSED
    )
    assert aws("s3api", "head-object", *target)["ContentLength"] == 2
    aws("s3api", "put-object-tagging", *target, "--tagging", {"TagSet": [{"Key": "a", "Value": "b"}]})
    assert aws("s3api", "get-object-tagging", *target)["TagSet"] == [{"Key": "a", "Value": "b"}]
    assert aws("s3api", "get-bucket-versioning", "--bucket", DATA)["Status"] == "Enabled"
    versions = aws("s3api", "list-object-versions", "--bucket", DATA, "--prefix", "log/")["Versions"]
    assert [version["Key"] for version in versions] == ["log/1.json"]
    assert "AES256" in str(aws("s3api", "get-bucket-encryption", "--bucket", DATA))
    assert "TlsOnly" in str(aws("s3api", "get-bucket-policy", "--bucket", DATA))
    configurations = aws("s3api", "get-bucket-notification-configuration", "--bucket", DATA)
    assert configurations["QueueConfigurations"][0]["QueueArn"].endswith("retraining-dev-abalone-new-data")
    assert DATA in str(aws("s3api", "list-buckets"))
    aws("s3api", "head-bucket", "--bucket", DATA)
    aws("s3api", "wait", "object-exists", *target)


def test_an_upload_is_announced_in_the_queue(aws, platform):
    aws("s3", "cp", f"s3://{DATA}/moved/a.csv", f"s3://{DATA}/abalone/new/a.csv")
    url = aws("sqs", "get-queue-url", "--queue-name", "retraining-dev-abalone-new-data")["QueueUrl"]
    attributes = aws("sqs", "get-queue-attributes", "--queue-url", url, "--attribute-names", "All")["Attributes"]
    assert int(attributes["ApproximateNumberOfMessages"]) >= 1
    received = (
        "sqs",
        "receive-message",
        "--queue-url",
        url,
        "--max-number-of-messages",
        "10",
        "--wait-time-seconds",
        "5",
    )
    messages = aws(*received)["Messages"]
    assert "abalone/new/a.csv" in "".join(message["Body"] for message in messages)
    for message in messages:
        aws("sqs", "delete-message", "--queue-url", url, "--receipt-handle", message["ReceiptHandle"])
    aws("sqs", "send-message", "--queue-url", url, "--message-body", "hello")
    aws("sqs", "purge-queue", "--queue-url", url)


def test_a_crawl_fills_the_catalog(aws, platform):
    aws("glue", "start-crawler", "--name", CRAWLER)

    def crawled():
        crawler = aws("glue", "get-crawler", "--name", CRAWLER)["Crawler"]
        return crawler if crawler["State"] == "READY" else None

    crawler = wait_for(crawled)
    assert crawler["LastCrawl"]["Status"] == "SUCCEEDED", crawler["LastCrawl"]
    tables = aws("glue", "get-tables", "--database-name", "retraining_dev_abalone")["TableList"]
    assert "landing_raw" in {table["Name"] for table in tables}
    table = aws("glue", "get-table", "--database-name", "retraining_dev_abalone", "--name", "landing_raw")["Table"]
    assert [column["Name"] for column in table["StorageDescriptor"]["Columns"]] == ["sex", "length", "rings"]
    assert aws("glue", "get-databases")["DatabaseList"][0]["Name"] == "retraining_dev_abalone"
    assert aws("glue", "list-crawlers")["CrawlerNames"] == [CRAWLER]
    assert aws("glue", "get-crawler-metrics")["CrawlerMetricsList"][0]["TablesCreated"] >= 1


def test_a_glue_job_runs_and_its_log_can_be_read(aws, platform):
    command = {"Name": "pythonshell", "ScriptLocation": f"s3://{CODE}/glue/merge.py", "PythonVersion": "3.9"}
    aws("glue", "create-job", "--name", "copy", "--role", ROLE, "--command", command)
    run = aws("glue", "start-job-run", "--job-name", "copy", "--arguments", {"--bucket": DATA})["JobRunId"]
    state = ("glue", "get-job-run", "--job-name", "copy", "--run-id", run, "--query", "JobRun.JobRunState")
    assert wait_for(lambda: {"STARTING": "", "RUNNING": ""}.get(now := aws(*state), now)) == "SUCCEEDED"
    assert aws("s3", "cp", f"s3://{DATA}/copied.csv", "-") == ROWS
    assert f"copied {len(ROWS)} bytes" in str(
        aws("logs", "filter-log-events", "--log-group-name", "/aws-glue/python-jobs/output")
    )
    assert [item["Id"] for item in aws("glue", "get-job-runs", "--job-name", "copy")["JobRuns"]] == [run]
    assert set(aws("glue", "list-jobs")["JobNames"]) == {"copy", JOB}
    stopped = aws("glue", "batch-stop-job-run", "--job-name", "copy", "--job-run-ids", run)
    assert stopped["Errors"][0]["JobRunId"] == run
    assert aws("glue", "get-job", "--job-name", JOB)["Job"]["ExecutionProperty"]["MaxConcurrentRuns"] == 1
    aws("glue", "delete-job", "--job-name", "copy")


def test_a_function_is_invoked(aws, platform):
    answer = aws.home / "answer.json"
    payload = json.dumps({"GroundTruth": [1, 2, 3], "Predictions": [1.0, 2.0, 4.0]})
    (aws.home / "event.json").write_text(payload)
    result = aws("lambda", "invoke", "--function-name", FUNCTION, "--payload", f"file://{aws.home}/event.json", answer)
    assert result["StatusCode"] == 200
    answered = json.loads(answer.read_text())
    assert answered.get("n") == 3, answered
    assert aws("lambda", "get-function", "--function-name", FUNCTION)["Configuration"]["Runtime"] == "python3.12"
    assert FUNCTION in str(aws("lambda", "list-functions"))


def test_a_model_is_trained_served_and_asked(aws, account, platform):
    (aws.home / "source.tar.gz").write_bytes(archive({"train.py": TRAIN}))
    (aws.home / "times.tar.gz").write_bytes(archive({"code/inference.py": TIMES.format(factor=3)}))
    aws("s3", "cp", aws.home / "source.tar.gz", f"s3://{DATA}/code/source.tar.gz")
    aws("s3", "cp", aws.home / "times.tar.gz", f"s3://{DATA}/models/times.tar.gz")
    cluster = {"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 5}
    aws(
        *("sagemaker", "create-training-job", "--training-job-name", "cli-train", "--role-arn", ROLE),
        *("--algorithm-specification", {"TrainingImage": IMAGE, "TrainingInputMode": "File"}),
        *("--input-data-config", [channel("train", f"s3://{DATA}/abalone/raw/")]),
        *("--output-data-config", {"S3OutputPath": f"s3://{DATA}/models"}, "--resource-config", cluster),
        *("--stopping-condition", {"MaxRuntimeInSeconds": 60}),
        "--hyper-parameters",
        {"sagemaker_program": "train.py", "sagemaker_submit_directory": f"s3://{DATA}/code/source.tar.gz"},
    )
    assert "cli-train" in str(aws("sagemaker", "list-training-jobs"))
    aws("sagemaker", "create-model", "--model-name", "times", "--execution-role-arn", ROLE, "--primary-container", {
        "Image": IMAGE,
        "ModelDataUrl": f"s3://{DATA}/models/times.tar.gz",
        "Environment": {"SAGEMAKER_PROGRAM": "inference.py", "SAGEMAKER_SUBMIT_DIRECTORY": "/opt/ml/model/code"},
    })  # fmt: skip
    variant = {"VariantName": "all", "ModelName": "times", "InitialInstanceCount": 1, "InstanceType": "ml.m5.large"}
    aws("sagemaker", "create-endpoint-config", "--endpoint-config-name", "times", "--production-variants", [variant])
    aws("sagemaker", "create-endpoint", "--endpoint-name", "times", "--endpoint-config-name", "times")
    reached(aws, "endpoint", "InService", "--endpoint-name", "times")
    aws("sagemaker", "wait", "endpoint-in-service", "--endpoint-name", "times")
    answer = aws.home / "prediction.csv"
    (aws.home / "body.csv").write_text("1,2")
    aws(
        *("sagemaker-runtime", "invoke-endpoint", "--endpoint-name", "times", "--content-type", "text/csv"),
        *("--body", f"fileb://{aws.home}/body.csv", answer),
    )
    assert answer.read_text() == "3.0,6.0"
    reached(aws, "training-job", "Completed", "--training-job-name", "cli-train")
    aws("sagemaker", "wait", "training-job-completed-or-stopped", "--training-job-name", "cli-train")
    assert "rows=4;" in str(aws("logs", "filter-log-events", "--log-group-name", "/aws/sagemaker/TrainingJobs"))
    assert "/aws/sagemaker/TrainingJobs" in str(aws("logs", "describe-log-groups"))
    aws("s3api", "head-object", "--bucket", DATA, "--key", "models/cli-train/output/model.tar.gz")


def test_a_processing_job_runs_and_is_waited_for(aws, platform):
    work = "/opt/ml/processing"
    cluster = {"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 5}
    aws(
        *("sagemaker", "create-processing-job", "--processing-job-name", "cli-upper", "--role-arn", ROLE),
        "--app-specification",
        {
            "ImageUri": IMAGE,
            "ContainerEntrypoint": ["python3", "-c", UPPER],
            "ContainerArguments": [f"{work}/input", f"{work}/output"],
        },
        *("--processing-inputs", [s3_input("data", f"s3://{DATA}/abalone/raw/", f"{work}/input")]),
        "--processing-output-config",
        {"Outputs": [s3_output("out", f"s3://{DATA}/upper/", f"{work}/output")]},
        *("--processing-resources", {"ClusterConfig": cluster}),
    )
    reached(aws, "processing-job", "Completed", "--processing-job-name", "cli-upper")
    aws("sagemaker", "wait", "processing-job-completed-or-stopped", "--processing-job-name", "cli-upper")
    assert aws("s3", "cp", f"s3://{DATA}/upper/a.csv", "-") == ROWS.upper()
    assert "cli-upper" in str(aws("sagemaker", "list-processing-jobs", "--status-equals", "Completed"))


def test_the_registry_and_the_clean_up(aws, platform):
    aws("sagemaker", "create-model-package-group", "--model-package-group-name", "abalone")
    specification = {
        "Containers": [{"Image": IMAGE, "ModelDataUrl": f"s3://{DATA}/models/cli-train/output/model.tar.gz"}],
        "SupportedContentTypes": ["text/csv"],
        "SupportedResponseMIMETypes": ["text/csv"],
    }
    arn = aws(
        *("sagemaker", "create-model-package", "--model-package-group-name", "abalone"),
        *("--inference-specification", specification, "--query", "ModelPackageArn"),
    )
    aws("sagemaker", "update-model-package", "--model-package-arn", arn, "--model-approval-status", "Approved")
    package = aws("sagemaker", "describe-model-package", "--model-package-name", arn)
    assert (package["ModelPackageVersion"], package["ModelApprovalStatus"]) == (1, "Approved")
    listed = aws("sagemaker", "list-model-packages", "--model-package-group-name", "abalone")
    assert len(listed["ModelPackageSummaryList"]) == 1
    aws("sagemaker", "add-tags", "--resource-arn", arn, "--tags", [{"Key": "team", "Value": "a"}])
    assert aws("sagemaker", "list-tags", "--resource-arn", arn)["Tags"] == [{"Key": "team", "Value": "a"}]
    aws("sagemaker", "delete-endpoint", "--endpoint-name", "times")
    # `wait` alone would look again only after 30 seconds.
    wait_for(lambda: not aws("sagemaker", "list-endpoints")["Endpoints"])
    aws("sagemaker", "wait", "endpoint-deleted", "--endpoint-name", "times")
    aws("sagemaker", "delete-endpoint-config", "--endpoint-config-name", "times")
    aws("sagemaker", "delete-model", "--model-name", "times")
    aws("sagemaker", "delete-model-package", "--model-package-name", arn)
    aws("sagemaker", "delete-model-package-group", "--model-package-group-name", "abalone")


def test_what_the_account_lacks_is_refused_as_aws_refuses_an_operation(aws):
    error = aws("sagemaker", "list-notebook-instances", fails=REFUSED)
    assert "UnknownOperationException" in error
    assert "ListNotebookInstances of sagemaker is not available in local_aws" in error
    assert "UnknownOperationException" in aws("glue", "list-ml-transforms", fails=REFUSED)


def test_the_stack_is_deleted(aws, platform):
    aws("s3", "rb", f"s3://{CODE}", "--force")
    aws("cloudformation", "delete-stack", "--stack-name", "platform")
    aws("cloudformation", "wait", "stack-delete-complete", "--stack-name", "platform")
    assert "ParameterNotFound" in aws(
        "ssm", "get-parameter", "--name", "/retraining/dev/abalone/platform", fails=REFUSED
    )


def test_an_exchanged_artifact_is_restored_as_the_page_says(aws, account, tmp_path):
    # After all others: in the one process that runs the commands, `s3api get-object` takes the body from later downloads of `s3 cp`, too.
    bucket, key = "retraining-artifacts", "abalone/models/job/output/model.tar.gz"
    aws("s3api", "create-bucket", "--bucket", bucket)
    aws("s3api", "put-bucket-versioning", "--bucket", bucket, "--versioning-configuration", {"Status": "Enabled"})
    account.s3.put_object(Bucket=bucket, Key=key, Body=b"the artifact")
    account.s3.put_object(Bucket=bucket, Key=key, Body=b"another one")

    def play(command, version=""):
        words = command.replace("BUCKET", bucket).replace("KEY", key).replace("VERSION", version)
        return aws(*shlex.split(words)[1:])

    found = play("aws s3api list-object-versions --bucket BUCKET --prefix KEY")
    earlier = next(item["VersionId"] for item in found["Versions"] if not item["IsLatest"])
    kept = tmp_path / "earlier.tar.gz"
    got = play(
        "aws s3api get-object --bucket BUCKET --key KEY --version-id VERSION earlier.tar.gz".replace(
            "earlier.tar.gz", str(kept)
        ),
        earlier,
    )
    assert (kept.read_bytes(), got["VersionId"]) == (b"the artifact", earlier)
    play('aws s3api copy-object --bucket BUCKET --key KEY --copy-source "BUCKET/KEY?versionId=VERSION"', earlier)
    assert account.read(f"s3://{bucket}/{key}") == b"the artifact"


def test_the_record_of_operations_is_what_was_seen(account):
    matches_the_record(account, "aws CLI", "aws-cli/")
