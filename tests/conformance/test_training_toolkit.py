"""One table of training jobs, run by SageMaker's own training toolkit and by local_aws: the same arguments, variables and ends.

What differs on purpose: local_aws puts the last of the log into the sentence of a failure, where the scikit-learn image leaves it empty.
"""

import io
import json
import os
import re
import subprocess
import tarfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import pytest
from local_account import BUCKET, Account, archive
from toolkits.library_model import abalone, write_channels
from toolkits.training_table import TABLE

from local_stack import layout
from retraining.jobs.code_bundle import code_files, training_document
from retraining.jobs.requests import training_request

PROGRAM = Path(__file__).parent / "toolkits" / "training_container.py"
pytestmark = [
    pytest.mark.local_aws,
    pytest.mark.skipif(
        not layout.python("toolkits").exists(),
        reason="SageMaker's packages are not here: make conformance installs them",
    ),
]
SUBMITTED = "s3://account-bucket/code/{}.tar.gz"
#: Of the toolkit alone: which module trains, and whether libraries for many machines are installed.
OF_THE_TOOLKIT = {"framework_module", "is_smddprun_installed", "is_smddpmprun_installed", "is_modelparallel_enabled"}
INSTANCE = "ml.m5.large"


class End(NamedTuple):
    """How a job ended: the container's exit code, the failure as the toolkit says it, and what its model folder has."""

    code: int
    failure: str
    model: dict[str, bytes]


def title(name: str) -> str:
    """Return the name of a job."""
    return "job-" + re.sub(r"\W+", "-", name)


def configuration(name: str) -> dict[str, Any]:
    """Return the files of input/config, as SageMaker writes them."""
    job, group = TABLE[name], "homogeneousCluster"
    own = {
        "sagemaker_program": json.dumps(job.program),
        "sagemaker_submit_directory": json.dumps(SUBMITTED.format(title(name))),
    }
    resources = {
        "current_host": "algo-1",
        "hosts": ["algo-1"],
        "network_interface_name": "lo",
        "current_instance_type": INSTANCE,
        "current_group_name": group,
        "instance_groups": [{"instance_group_name": group, "instance_type": INSTANCE, "hosts": ["algo-1"]}],
    }
    return {
        "hyperparameters.json": job.hyperparameters | own,
        "inputdataconfig.json": {},
        "resourceconfig.json": resources,
    }


def in_container(base: Path, files: dict[str, Any], code: dict[str, bytes], capture: bool = False) -> End:
    """Run a job by the toolkit, with the files of input/config and those of its code."""
    for folder in ("model", "output/data", "input/config"):
        (base / folder).mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (base / "input" / "config" / name).write_text(json.dumps(content))
    for name, content in code.items():
        (base / "source" / name).parent.mkdir(parents=True, exist_ok=True)
        (base / "source" / name).write_bytes(content)
    environment = {"PATH": os.environ["PATH"], "SAGEMAKER_BASE_DIR": str(base), "HOME": str(base)}
    environment |= {"PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION": "python"}  # reads what an old compiler of protobuf wrote
    environment |= {"CAPTURE": "1"} if capture else {}
    done = subprocess.run(
        [layout.python("toolkits"), PROGRAM], env=environment, cwd=base, capture_output=True, text=True, check=False
    )
    failure, model = base / "output" / "failure", base / "model"
    found = {path.relative_to(model).as_posix(): path.read_bytes() for path in model.rglob("*") if path.is_file()}
    told = failure.read_text() if failure.exists() and done.returncode else ""
    return End(done.returncode, told or (done.stderr if done.returncode else ""), found)


def in_account(account: Account, name: str) -> End:
    """Run a job by local_aws."""
    job = TABLE[name]
    named = title(name)
    request = account.training_request(named, "")
    request["HyperParameters"] = configuration(name)["hyperparameters.json"]
    account.put(f"code/{named}.tar.gz", archive({job.program: job.script}))
    account.sagemaker.create_training_job(**request)
    found = account.training_end(named)
    model: dict[str, bytes] = {}
    if found["TrainingJobStatus"] == "Completed" and account.keys(f"models/{named}/output/model.tar.gz"):
        data = account.read(f"s3://{BUCKET}/models/{named}/output/model.tar.gz")
        with tarfile.open(fileobj=io.BytesIO(data)) as tar:
            model = {item.name.removeprefix("./"): tar.extractfile(item).read() for item in tar if item.isfile()}
    reason = re.fullmatch(r"AlgorithmError: (.*), exit code: (\d+)", found.get("FailureReason", ""), re.DOTALL)
    return End(int(reason[2]), reason[1], model) if reason else End(0, found.get("FailureReason", ""), model)


@pytest.fixture(scope="module")
def ends(tmp_path_factory):
    """Return how each job ended, in the container and in the account."""
    folder = tmp_path_factory.mktemp("training")
    with Account(folder / "data") as account, ThreadPoolExecutor(3) as pool:
        account.s3.create_bucket(Bucket=BUCKET)
        theirs = {
            name: pool.submit(
                in_container, folder / title(name), configuration(name), {job.program: job.script.encode()}
            )
            for name, job in TABLE.items()
        }
        ours = {name: pool.submit(in_account, account, name) for name in TABLE}
        return {name: (theirs[name].result(), ours[name].result()) for name in TABLE}


def plain(text: str) -> str:
    """Return a failure without what names this machine or comes from the log."""
    text = re.sub(r'ErrorMessage ".*"\nCommand', 'ErrorMessage ""\nCommand', text, flags=re.DOTALL)
    return re.sub(r'Command "\S+/python\S* ', 'Command "python ', text)


@pytest.mark.parametrize("name", TABLE)
def test_a_job_ends_with_the_code_and_the_failure_of_the_toolkit(ends, name):
    theirs, ours = ends[name]
    assert (theirs.code != 0, theirs.failure.startswith(TABLE[name].failure or "")) == (
        TABLE[name].failure is not None,
        True,
    ), theirs
    assert (ours.code, plain(ours.failure)) == (theirs.code, plain(theirs.failure))
    assert set(ours.model) == set(theirs.model)


@pytest.mark.parametrize("name", [name for name, job in TABLE.items() if job.failure is None])
def test_a_script_is_given_what_the_toolkit_gives(ends, name):
    theirs, ours = ends[name]
    assert {key: body for key, body in ours.model.items() if key != "seen.json"} == {
        key: body for key, body in theirs.model.items() if key != "seen.json"
    }
    if "seen.json" in theirs.model:
        given, got = (seen(end.model["seen.json"]) for end in (theirs, ours))
        assert (got["argv"], got["cwd"]) == (given["argv"], given["cwd"])
        assert got["whole"] == given["whole"]
        assert got["env"] == given["env"]


def seen(body: bytes) -> dict[str, Any]:
    """Return what a script saw, with the folder /opt/ml wherever it was, and without what only the toolkit itself can say."""
    found = json.loads(body)
    base = found["env"]["SM_MODEL_DIR"].removesuffix("/model")
    found = json.loads(body.decode().replace(base, "/opt/ml"))
    env = {key: value for key, value in found["env"].items() if key.removeprefix("SM_").lower() not in OF_THE_TOOLKIT}
    whole = json.loads(env.pop("SM_TRAINING_ENV"))
    left = {key: value for key, value in whole.items() if key not in OF_THE_TOOLKIT | {"job_name"}}
    return {"argv": found["argv"], "cwd": found["cwd"], "env": env, "whole": left}


@pytest.mark.parametrize("capture", [False, True])
def test_a_script_s_last_words_are_in_the_failure_where_an_image_captures_them(tmp_path, capture):
    job = TABLE["raises"]
    end = in_container(tmp_path, configuration("raises"), {job.program: job.script.encode()}, capture)
    assert (end.code, "ValueError: no rows" in end.failure) == (1, capture), end


@pytest.mark.parametrize("capture", [False, True])
def test_the_library_s_request_trains_by_the_toolkit_with_and_without_captured_errors(tmp_path, capture):
    """Images that capture errors hand the arguments through a shell without quotes; the library's request has none."""
    plan = abalone.PLAN.model_copy(update={"candidates": ("svr-hgb",)})
    candidate = abalone.CONFIG.training.candidates[0].model_copy(update={"hyperparameters": {"algorithm": "linear"}})
    platform = SimpleNamespace(bucket="b", region="us-east-1", train_role_arn="arn:aws:iam::111122223333:role/train")
    manifests = {split: f"s3://b/{split}.json" for split in ("train", "validation")}
    request = training_request(abalone.CONFIG, platform, plan, candidate, manifests)
    channels = {item["ChannelName"]: {"TrainingInputMode": "File"} for item in request["InputDataConfig"]}
    files = configuration("nothing") | {
        "hyperparameters.json": request["HyperParameters"],
        "inputdataconfig.json": channels,
    }
    data = tmp_path / "input" / "data"
    write_channels(data)
    abalone.write_job(data / "job", training_document(abalone.CONFIG, plan, candidate))
    end = in_container(tmp_path, files, code_files(abalone.MODEL, abalone.CONFIG), capture)
    assert (end.code, end.failure) == (0, "")
    assert {"model_card.json", "code/inference.py"} <= set(end.model)
