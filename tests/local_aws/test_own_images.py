"""An image of one's own: the command that stands for it is trained and served by SageMaker's contract."""

import io
import json
import sys
import tarfile

import pytest
from botocore.exceptions import ClientError
from local_account import BUCKET, ROLE, Account, channel, variant, wait_for

from local_aws.sagemaker.images import read_commands

pytestmark = pytest.mark.local_aws
IMAGE = "123456789012.dkr.ecr.us-east-1.amazonaws.com/mine:1"
NOT_THERE = IMAGE.replace("mine", "not-there")
PROGRAM = """
import json, os, sys
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

ml = Path(os.environ["LOCAL_AWS_ML"])
config = ml / "input" / "config"

def train():
    settings = json.loads((config / "hyperparameters.json").read_text())
    if "wrong" in settings:
        (ml / "output" / "failure").write_text(settings["wrong"])
        sys.exit(3)
    rows = sorted(path.read_text() for path in (ml / "input" / "data" / "train").rglob("*.csv"))
    told = {"argv": sys.argv[1:], "settings": settings, "rows": rows, "env": dict(os.environ),
            "channels": json.loads((config / "inputdataconfig.json").read_text()),
            "hosts": json.loads((config / "resourceconfig.json").read_text())["hosts"]}
    (ml / "model" / "told.json").write_text(json.dumps(told))
    (ml / "output" / "data" / "plot.txt").write_text("plot")
    print("validation:loss=2.5;")

class Server(BaseHTTPRequestHandler):
    def reply(self, status, text):
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.end_headers()
        self.wfile.write(text.encode())

    def do_GET(self):
        self.reply(200 if self.path == "/ping" else 404, "")

    def do_POST(self):
        lines = self.rfile.read(int(self.headers["Content-Length"])).decode().split()
        if "bad" in lines:
            return self.reply(400, "no such row")
        answers = [sum(map(float, line.split(","))) for line in lines]
        self.reply(200, json.dumps({"predictions": answers, "accepts": self.headers["Accept"]}))

if sys.argv[-1] == "train":
    train()
else:
    HTTPServer((os.environ["LOCAL_AWS_ADDRESS"], int(os.environ["SAGEMAKER_BIND_TO_PORT"])), Server).serve_forever()
"""


@pytest.fixture(scope="module")
def own(tmp_path_factory):
    place = tmp_path_factory.mktemp("images")
    (place / "program.py").write_text(PROGRAM)
    elsewhere = tmp_path_factory.mktemp("elsewhere") / "program.py"
    elsewhere.write_text(PROGRAM)
    command = json.dumps([sys.executable, "./program.py", "first"])
    (place / "images.toml").write_text(
        f'[mine]\ncommand = {command}\n[not-there]\ncommand = ["no-such-program"]\n'
        + f"[far]\ncommand = {json.dumps([sys.executable, str(elsewhere)])}\n"
    )
    with Account(place / "data", "--images", str(place / "images.toml")) as account:
        account.s3.create_bucket(Bucket=BUCKET)
        account.put("rows/part=1/a.csv", "9,1,2\n8,3,4\n")
        account.put("rows/part=2/a.csv", "7,5,6\n")
        account.put("rows/part=3/a.csv", "0,0,0\n")
        yield account


def trained(account: Account, name: str, image: str = IMAGE, entry: tuple[str, ...] = (), **settings: str) -> dict:
    specification = {"TrainingImage": image, "TrainingInputMode": "File"}
    if entry:
        specification["ContainerArguments"] = list(entry)
    definitions = [{"Name": "validation:loss", "Regex": "validation:loss=([0-9.]+);"}]
    account.sagemaker.create_training_job(
        **account.training_request(
            name,
            "",
            AlgorithmSpecification=specification | {"MetricDefinitions": definitions},
            HyperParameters=settings,
            InputDataConfig=[channel("train", f"s3://{BUCKET}/rows/")],
        )
    )
    return account.training_end(name)


@pytest.fixture(scope="module")
def job(own):
    return trained(own, "own-train", alpha="0.5")


def test_train_is_its_argument_and_the_contract_its_surroundings(own, job):
    assert job["TrainingJobStatus"] == "Completed", job
    assert [metric["Value"] for metric in job["FinalMetricDataList"]] == [2.5]
    with tarfile.open(fileobj=io.BytesIO(own.read(job["ModelArtifacts"]["S3ModelArtifacts"]))) as tar:
        told = json.loads(tar.extractfile("told.json").read())
    assert told["argv"] == ["first", "train"]
    assert told["settings"] == {"alpha": "0.5"}
    assert told["rows"] == ["0,0,0\n", "7,5,6\n", "9,1,2\n8,3,4\n"]
    assert (list(told["channels"]), told["hosts"]) == (["train"], ["algo-1"])
    assert told["env"]["LOCAL_AWS_ML"].endswith("/opt/ml")
    assert told["env"]["TRAINING_JOB_NAME"] == "own-train"
    assert not [name for name in told["env"] if name.startswith(("SM_", "PARENT_"))]
    assert own.keys("models/own-train/output/") == [
        f"models/own-train/output/{name}.tar.gz" for name in ("model", "output")
    ]


def test_the_failure_file_is_the_reason(own):
    job = trained(own, "own-fails", wrong="no rows of winter")
    assert (job["TrainingJobStatus"], job["FailureReason"]) == (
        "Failed",
        "AlgorithmError: no rows of winter, exit code: 3",
    )


def test_arguments_of_the_request_take_the_place_of_train(own):
    job = trained(own, "own-other", entry=("again", "train"))
    with tarfile.open(fileobj=io.BytesIO(own.read(job["ModelArtifacts"]["S3ModelArtifacts"]))) as tar:
        assert json.loads(tar.extractfile("told.json").read())["argv"] == ["first", "again", "train"]


@pytest.mark.parametrize(
    ("image", "words"),
    [
        (NOT_THERE, "'no-such-program', see "),
        (IMAGE.replace("mine", "unnamed"), "name a command in /"),
        (
            IMAGE.replace("mine", "far"),
            "elsewhere0/program.py, which no job sees: a job has a /tmp of its own. Put it beside /",
        ),
    ],
)
def test_an_image_that_nothing_stands_for_says_so(own, image, words):
    job = trained(own, f"own-{len(image)}", image)
    assert job["TrainingJobStatus"] == "Failed"
    assert words in job["FailureReason"]


@pytest.fixture(scope="module")
def model(own, job):
    own.sagemaker.create_model(
        ModelName="own",
        PrimaryContainer={"Image": IMAGE, "ModelDataUrl": job["ModelArtifacts"]["S3ModelArtifacts"]},
        ExecutionRoleArn=ROLE,
    )
    return "own"


def test_serve_answers_at_the_port_that_it_is_told(own, model):
    own.sagemaker.create_endpoint_config(EndpointConfigName="own", ProductionVariants=[variant(model)])
    own.sagemaker.create_endpoint(EndpointName="own", EndpointConfigName="own")
    assert own.endpoint_settled("own")["EndpointStatus"] == "InService"
    answer = own.sagemaker_runtime.invoke_endpoint(
        EndpointName="own", ContentType="text/csv", Accept="application/json", Body="1,2\n3,4\n"
    )
    assert json.loads(answer["Body"].read()) == {"predictions": [3.0, 7.0], "accepts": "application/json"}
    with pytest.raises(ClientError) as refused:
        own.sagemaker_runtime.invoke_endpoint(EndpointName="own", ContentType="text/csv", Body="bad")
    assert refused.value.response["OriginalStatusCode"] == 400


def test_a_transform_job_sends_it_the_objects_of_a_manifest(own, model):
    names = ["part=1/a.csv", "part=2/a.csv"]
    manifest = own.put("manifests/rows.json", json.dumps([{"prefix": f"s3://{BUCKET}/rows/"}, *names]))
    own.sagemaker.create_transform_job(
        TransformJobName="own",
        ModelName=model,
        TransformInput={
            "DataSource": {"S3DataSource": {"S3DataType": "ManifestFile", "S3Uri": manifest}},
            "ContentType": "text/csv",
            "SplitType": "Line",
        },
        DataProcessing={"InputFilter": "$[1:]"},
        TransformOutput={"S3OutputPath": f"s3://{BUCKET}/answers", "Accept": "application/json"},
        TransformResources={"InstanceType": "ml.m5.large", "InstanceCount": 1},
    )
    found = wait_for(
        lambda: (
            (j := own.sagemaker.describe_transform_job(TransformJobName="own"))["TransformJobStatus"] != "InProgress"
            and j
        )
    )
    assert found["TransformJobStatus"] == "Completed", found
    assert own.keys("answers/") == [f"answers/{name}.out" for name in names]
    answers = [json.loads(own.read(f"s3://{BUCKET}/answers/{name}.out"))["predictions"] for name in names]
    assert answers == [[3.0, 7.0], [11.0]]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[mine\n", "cannot be read"),
        ("[mine]\n", r"\[mine\] needs command ="),
        ('[mine]\ncommand = "Rscript x"\n', r"\[mine\] needs command ="),
        ("[mine]\ncommand = []\n", r"\[mine\] needs command ="),
        ("mine = 1\n", r"\[mine\] needs command ="),
    ],
)
def test_a_file_of_commands_that_is_none_is_named(tmp_path, text, words):
    file = tmp_path / "images.toml"
    file.write_text(text)
    with pytest.raises(ValueError, match=words) as refused:
        read_commands(file)
    assert str(file) in str(refused.value)


def test_a_point_and_a_slash_mean_the_folder_of_the_file(tmp_path):
    (tmp_path / "images.toml").write_text('[a]\ncommand = ["./run", "x/y", "./z"]\n')
    assert read_commands(tmp_path / "images.toml") == {"a": [f"{tmp_path}/run", "x/y", f"{tmp_path}/z"]}
