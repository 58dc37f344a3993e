"""The SageMaker SDK, unmodified and in its own environment, against local_aws: from training to clean-up."""

import json
import os
import subprocess
from pathlib import Path

import pytest
from client_record import calls, matches_the_record
from local_account import ENVIRONMENTS, IMAGE, ROLE, TIMES

PYTHON = ENVIRONMENTS / "sagemaker" / "bin" / "python"
pytestmark = [
    pytest.mark.local_aws,
    pytest.mark.skipif(
        not PYTHON.exists(), reason="the sagemaker environment is missing: python3 -m local_stack.bootstrap sagemaker"
    ),
]
SCRIPT = Path(__file__).with_name("sagemaker_sdk_client.py")
DEFAULTS = Path(__file__).parents[2] / "plugins" / "retraining" / "sdk" / "sdk_defaults.yaml"
TRAIN = f'''
import argparse, os, pathlib
parser = argparse.ArgumentParser()
parser.add_argument("--factor", type=int)
factor = parser.parse_args().factor
rows = pathlib.Path(os.environ["SM_CHANNEL_TRAIN"], "a.csv").read_text().splitlines()
code = pathlib.Path(os.environ["SM_MODEL_DIR"], "code")
code.mkdir()
(code / "inference.py").write_text("""{TIMES}""".replace("{{factor}}", str(factor)))
print(f"rows={{len(rows)}};")
'''
UPPER = "import sys; open(f'{sys.argv[2]}/a.csv', 'w').write(open(f'{sys.argv[1]}/a.csv').read().upper())"


@pytest.fixture(scope="module")
def story(account, tmp_path_factory):
    """What the SDK's client found out from beginning to end."""
    folder = tmp_path_factory.mktemp("scientist")
    for name, text in {"data/a.csv": "m\nf\n", "source/train.py": TRAIN, "source/upper.py": UPPER}.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text)
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(folder),
        **account.variables,
        # The SDK's own switches: no usage reports, and no look at the rights of a role that local_aws does not enforce.
        "SAGEMAKER_ADMIN_CONFIG_OVERRIDE": str(DEFAULTS),
        "SAGEMAKER_VALIDATE_ROLE": "false",
    }
    command = [PYTHON, SCRIPT, folder, ROLE, IMAGE]
    done = subprocess.run(command, env=environment, cwd=folder, capture_output=True, text=True, timeout=480)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-6000:]
    return json.loads(done.stdout.splitlines()[-1])


def test_a_model_trainer_job_trains(story):
    assert story["training"] == "Completed"
    assert story["metrics"] == {"rows": 2.0}
    assert story["listed"] == [True]


def test_a_script_processor_processes(story):
    assert (story["processing"], story["upper"]) == ("Completed", "M\nF\n")


def test_a_package_is_registered_approved_and_served(story):
    assert story["package"] == ["Approved", 1]
    assert story["packages"] == 1
    assert story["prediction"] == "3.0,6.0"


def test_a_transformer_scores_files(story):
    assert (story["transform"], story["scored"].strip()) == ("Completed", "3.0,6.0")


def test_nothing_is_left_over(story):
    assert (story["endpoints"], story["models"]) == ([], [])


def test_the_record_of_operations_is_what_was_seen(story, account):
    assert calls(account, "lib/AWS-SageMakerCore"), "the SDK names itself in its requests"
    matches_the_record(account, "SageMaker SDK", "")
