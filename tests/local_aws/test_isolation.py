"""A job has /opt/ml and /tmp to itself and sees neither the account's files nor another job's; it never writes to this machine's."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from local_account import BUCKET, ROLE, Account, archive, channel, s3_input, s3_output, wait_for

from local_aws.sagemaker.container_jobs import refuse_literal_paths
from local_aws.shared.errors import JobError
from local_aws.shared.running import isolation
from local_aws.shared.running.processes import can_isolate
from local_aws.shared.sandbox import Sandbox

pytestmark = pytest.mark.local_aws

PLAIN = json.dumps({"ml": None, "tmp": "/tmp", "kept": [], "cwd": "/"})
needs_namespaces = pytest.mark.skipif(
    subprocess.run([sys.executable, "-I", "-S", isolation.__file__, PLAIN, "true"], check=False).returncode != 0,
    reason="this kernel gives no mount namespaces",
)  # fmt: skip

LITERAL = """
import json, os, pathlib, tempfile
rows = pathlib.Path("/opt/ml/input/data/train/rows.csv").read_text()
config = json.loads(pathlib.Path("/opt/ml/input/config/resourceconfig.json").read_text())
os.makedirs("/opt/ml/checkpoints", exist_ok=True)
pathlib.Path("/opt/ml/checkpoints/marker-of-a-test").write_text("x")
pathlib.Path("/tmp/marker-of-a-test").write_text("x")
pathlib.Path("/opt/ml/model/seen.json").write_text(json.dumps({
    "rows": rows, "host": config["current_host"], "model_dir": os.environ["SM_MODEL_DIR"], "cwd": os.getcwd(), "file": __file__,
    "account": sorted(os.listdir(DATA)), "jobs": sorted(os.listdir(DATA + "/jobs/training-job")), "tmp": tempfile.gettempdir(),
}))
"""


@needs_namespaces
def test_a_training_script_with_literal_paths_runs_and_leaves_this_machine_alone(account: Account) -> None:
    account.train("neighbour", "print('was here')")
    account.put("literal/rows.csv", "1,2")
    before = {path: Path(path).exists() for path in ("/opt/ml", "/opt/ml/checkpoints", "/tmp/marker-of-a-test")}
    script = f"DATA = {str(account.data_dir)!r}" + LITERAL
    job = account.train("literal", script, InputDataConfig=[channel("train", f"s3://{BUCKET}/literal/")])
    assert job["TrainingJobStatus"] == "Completed", job["FailureReason"]
    account.s3.download_file(BUCKET, "models/literal/output/model.tar.gz", str(account.data_dir / "m.tar.gz"))
    seen = json.loads(subprocess.check_output(["tar", "-xzOf", account.data_dir / "m.tar.gz", "seen.json"]))
    assert (seen["rows"], seen["host"]) == ("1,2", "algo-1")
    assert (seen["model_dir"], seen["cwd"], seen["file"]) == ("/opt/ml/model", "/opt/ml/code", "/opt/ml/code/train.py")
    assert (seen["account"], seen["jobs"]) == (["jobs"], ["literal"])
    assert {path: Path(path).exists() for path in before} == before


@needs_namespaces
def test_a_processing_script_with_literal_paths_runs(account: Account) -> None:
    source = account.put("literal/in/rows.csv", "a,b")
    script = """
import os, pathlib
os.makedirs("/opt/ml/processing/scratch")
text = pathlib.Path("/opt/ml/processing/input/data/rows.csv").read_text()
pathlib.Path("/opt/ml/processing/output/upper.csv").write_text(text.upper())
"""
    code = account.put("literal/run.py", script)
    account.sagemaker.create_processing_job(
        **account.processing_request(
            "literal", script,
            ProcessingInputs=[
                s3_input("code", code, "/opt/ml/processing/input/code"),
                s3_input("data", source, "/opt/ml/processing/input/data"),
            ],
            ProcessingOutputConfig={"Outputs": [s3_output("out", f"s3://{BUCKET}/literal/out", "/opt/ml/processing/output")]},
        )
    )  # fmt: skip
    job = account.processing_end("literal")
    assert job["ProcessingJobStatus"] == "Completed", job
    assert account.read(f"s3://{BUCKET}/literal/out/upper.csv") == b"A,B"


@needs_namespaces
def test_a_model_server_finds_its_model_at_the_literal_path(account: Account) -> None:
    inference = (
        "import os, pathlib\n"
        "def model_fn(d):\n    return [d, pathlib.Path('/opt/ml/model/weights.txt').read_text()]\n"
        f"def transform_fn(m, b, c, a):\n    return ' '.join([*m, *os.listdir({str(account.data_dir)!r})]), c"
    )
    data = account.put(
        "models/literal-with-weights.tar.gz", archive({"code/inference.py": inference, "weights.txt": "42"})
    )
    account.model("literal", inference)
    image = account.sagemaker.describe_model(ModelName="literal")["PrimaryContainer"]
    account.sagemaker.delete_model(ModelName="literal")
    account.sagemaker.create_model(
        ModelName="literal", ExecutionRoleArn=ROLE, PrimaryContainer=image | {"ModelDataUrl": data}
    )
    account.sagemaker.create_endpoint(EndpointName="literal", EndpointConfigName="literal")
    endpoint = account.endpoint_settled("literal")
    assert endpoint["EndpointStatus"] == "InService", endpoint
    assert account.invoke("literal", "1") == "/opt/ml/model 42 jobs"


@needs_namespaces
@pytest.mark.spark
def test_a_glue_script_sees_neither_keys_nor_objects_of_the_account(account: Account) -> None:
    script = (
        "import os, sys\nfrom pyspark.sql import SparkSession\n"
        "print('ROWS', SparkSession.builder.getOrCreate().range(3).count())\n"
        f"print('SEES', sorted(os.listdir({str(account.data_dir)!r})), sorted(os.listdir('/tmp')))\n"
    )
    location = account.put("scripts/sees.py", script)
    account.glue.create_job(
        Name="sees", Role=ROLE, Command={"Name": "glueetl", "ScriptLocation": location}, GlueVersion="5.0"
    )
    run = account.glue.start_job_run(JobName="sees")["JobRunId"]

    def ended() -> str | None:
        state = account.glue.get_job_run(JobName="sees", RunId=run)["JobRun"]["JobRunState"]
        return state if state not in ("STARTING", "RUNNING") else None

    state = wait_for(ended, 120)
    log = (account.data_dir / f"jobs/glue/sees/{run}/output.txt").read_text()
    assert (state, "ROWS 3" in log, "SEES ['jobs']" in log) == ("SUCCEEDED", True, True), log


@pytest.mark.skipif(not os.access("/opt", os.W_OK), reason="the user of this machine cannot write to /opt anyhow")
def test_without_namespaces_a_literal_path_is_refused_where_it_would_be_written(tmp_path: Path) -> None:
    sandbox = Sandbox(tmp_path)
    (sandbox.ml / "code").mkdir(parents=True)
    script = sandbox.ml / "code" / "train.py"
    script.write_text("import os\n# /opt/ml is SageMaker's\nmodel = os.environ['SM_MODEL_DIR']\n")
    refuse_literal_paths(sandbox)
    script.write_text("import os\nos.makedirs('/opt/ml/checkpoints')\n")
    with pytest.raises(JobError, match=r"train.py line 2 names /opt/ml"):
        refuse_literal_paths(sandbox)


def test_the_probe_leaves_nothing_behind(tmp_path: Path) -> None:
    assert can_isolate(tmp_path / "probe") in (True, False)
    assert list(tmp_path.iterdir()) == []
