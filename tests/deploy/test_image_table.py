"""The table of images against the SDK that it comes from, and its text."""

import json
import os
import subprocess
from pathlib import Path

import pytest

from deploy.image_table import TABLE, Image, table_text
from local_stack import layout
from retraining.settings.machines.image_uris import image_uri

ROOT = Path(__file__).parents[2]
PYTHON = layout.python("sagemaker")
needs_the_sdk = pytest.mark.skipif(
    not PYTHON.exists(), reason="the sagemaker environment is missing: make image-uris creates it"
)
RETRIEVE = """
import json, sys
from sagemaker.core.image_uris import retrieve
print(json.dumps([retrieve(**arguments) for arguments in json.load(sys.stdin)]))
"""


def in_the_sdk(*arguments, **options):
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    return subprocess.run(
        [PYTHON, *arguments], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120, **options
    )


@needs_the_sdk
def test_the_table_is_what_the_sdk_says_now(tmp_path):
    done = in_the_sdk("-m", "deploy.image_table", "--check")
    assert done.returncode == 0, done.stderr[-2000:]
    stale = tmp_path / "table.json"
    stale.write_text(TABLE.read_text().replace("683313688378", "683313688379"))
    done = in_the_sdk("-m", "deploy.image_table", "--check", "--output", stale)
    assert done.returncode == 1
    assert "table.json is not what the installed SageMaker SDK says: run make image-uris" in done.stderr


@needs_the_sdk
def test_the_library_and_the_sdk_name_the_same_image_in_every_region():
    regions = json.loads(TABLE.read_text())["registries"]
    asked, answered = [], []
    for region in regions["algorithms"]:
        asked.append({"framework": "sklearn", "version": "1.9-0", "image_scope": "training", "region": region})
        answered.append(image_uri("sagemaker-scikit-learn:1.9-0-cpu-py3", region))
        asked.append({"framework": "xgboost", "version": "3.2-0", "region": region})
        answered.append(image_uri("sagemaker-xgboost:3.2-0", region))
    for region in regions["deep-learning"]:
        asked.append({"framework": "pytorch", "version": "2.10", "image_scope": "training", "region": region})
        answered.append(image_uri("pytorch-training:2.10-cpu-py313", region))
    for arguments in asked:
        arguments["instance_type"] = "ml.m5.large"
    done = in_the_sdk("-c", RETRIEVE, input=json.dumps(asked))
    assert done.returncode == 0, done.stderr[-2000:]
    assert json.loads(done.stdout) == answered


def image(version, suffix, registries, repository="r"):
    return Image("family", repository, version, suffix, registries)


def test_the_text_does_not_depend_on_the_order_of_the_images():
    both, one = {"eu-west-1": "1", "cn-north-1": "2"}, {"eu-west-1": "1"}
    images = [image("1.10", "gpu", both), image("1.9", "", one), image("1.10", "cpu", both), image("1.2", "cpu", one)]
    text = table_text(images, {"cn-north-1": "amazonaws.com.cn"})
    assert text == table_text(images[::-1], {"cn-north-1": "amazonaws.com.cn"})
    assert json.loads(text) == {
        "domains": {"cn-north-1": "amazonaws.com.cn"},
        "registries": {"family": {"cn-north-1": "2", "eu-west-1": "1"}},
        "repositories": {
            "r": [
                {"registries": "family", "not_in": ["cn-north-1"], "versions": {"1.2": ["cpu"], "1.9": [""]}},
                {"registries": "family", "not_in": [], "versions": {"1.10": ["cpu", "gpu"]}},
            ]
        },
    }
    assert '     "1.10": ["cpu", "gpu"]\n' in text


def test_two_accounts_in_one_region_are_no_table():
    with pytest.raises(ValueError, match="eu-west-1 has the registries 1 and 2"):
        table_text([image("1", "", {"eu-west-1": "1"}), image("2", "", {"eu-west-1": "2"})], {})
