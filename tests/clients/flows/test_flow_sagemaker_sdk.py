"""What users of the SageMaker SDK leave to it and to the account: forms of output, packages, commands."""

import json
import os
import subprocess
from pathlib import Path

import pytest
from local_account import ENVIRONMENTS, IMAGE, REPOSITORY, ROLE, Account

PYTHON = ENVIRONMENTS / "sagemaker" / "bin" / "python"
pytestmark = [
    pytest.mark.local_aws,
    pytest.mark.skipif(
        not PYTHON.exists(), reason="the sagemaker environment is missing: python3 -m local_stack.bootstrap sagemaker"
    ),
]
SCRIPT = Path(__file__).with_name("sagemaker_sdk_flows.py")
FILES = {
    "data/a.csv": "1\n2\n",
    "source/requirements.txt": "scikit-learn>=1.0\npandas\n",
    "source/more.txt": "pandas\nno-such-library==1.0\n",
    "source/hyperparameters.yaml": "rate: 0.25\n",
    "source/told.py": """
import os, pathlib
me, data = os.environ["SM_CURRENT_HOST"], os.environ["SM_CHANNEL_TRAIN"]
pathlib.Path(os.environ["SM_MODEL_DIR"], me).write_text(",".join(sorted(os.listdir(data))))
""",
    "source/boost.py": "import xgboost\nprint(xgboost.DMatrix([[1.0]]).num_row())\n",
    "source/process.py": "import pandas\nprint('processed')\n",
    "source/train.py": """
import argparse, os, pathlib
parser = argparse.ArgumentParser()
parser.add_argument("--epochs", default="1")
options, _ = parser.parse_known_args()
assert pathlib.Path(os.environ["SM_CHANNEL_TRAIN"], "a.csv").read_text() == "1\\n2\\n"
pathlib.Path("/opt/ml/checkpoints/epoch.txt").write_text(options.epochs)
pathlib.Path(os.environ["SM_MODEL_DIR"], "model.txt").write_text("m")
""",
}
EXPECTED = {
    "with_nothing_but_defaults_and_requirements_that_are_there": ["Completed", "", "model.tar.gz"],
    "a_command_checkpoints_and_an_uncompressed_model": ["Completed", "", ["model/model.txt"], "3"],
    "a_framework_processor_with_requirements": ["Completed", ""],
    "hyperparameters_of_a_file": ["Completed", "", "0.25"],
    "two_instances_with_a_part_of_the_data_each": ["Completed", "", {"algo-1": "a.csv", "algo-2": "b.csv"}],
    "xgboost_in_script_mode": ["Completed", ""],
    "a_remote_function": 1.5,
    "a_run_of_an_experiment": [["depth", "rate"], [["loss", 1.0]]],
    "a_pipeline_of_a_trainer": ["Succeeded", ["Succeeded"]],
}


@pytest.fixture(scope="module")
def found(account: Account, tmp_path_factory: pytest.TempPathFactory) -> dict:
    """What the pieces of work found out."""
    folder = tmp_path_factory.mktemp("user")
    for name, text in FILES.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text)
    account.s3.create_bucket(Bucket="sdk-flows")
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(folder),
        **account.variables,
        "SAGEMAKER_ADMIN_CONFIG_OVERRIDE": str(REPOSITORY / "plugins/retraining/sdk/sdk_defaults.yaml"),
        "SAGEMAKER_VALIDATE_ROLE": "false",
    }
    command = [PYTHON, SCRIPT, folder, ROLE, IMAGE]
    done = subprocess.run(command, env=environment, cwd=folder, capture_output=True, text=True, timeout=480)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-6000:]
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize("piece", EXPECTED)
def test_a_piece_of_work_with_the_sdk(found: dict, piece: str) -> None:
    assert found[piece] == EXPECTED[piece], found[piece]


def test_a_package_that_is_missing_is_named_in_the_log(found: dict) -> None:
    status, [line] = found["requirements_that_are_missing"]
    assert status == "Failed"
    assert "lacks no-such-library==1.0 (the environment has no no-such-library)" in line
