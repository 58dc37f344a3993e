"""The fixture ``local_account`` in a project that knows nothing of this one: its own tests, its own settings, its own pytest."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from local_account import ENVIRONMENTS, REPOSITORY

pytestmark = pytest.mark.local_aws

TESTS = """
import os
import subprocess
import sys

import boto3


def test_clients_of_this_process_and_of_others_lead_to_the_account(local_account):
    boto3.client("s3").create_bucket(Bucket="strange")
    code = "import boto3; print(boto3.client('s3').list_buckets()['Buckets'][0]['Name'])"
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "strange"
    assert "AWS_PROFILE" not in os.environ


def test_the_account_is_the_same_in_the_next_test(local_account):
    assert [one["Name"] for one in local_account.client("s3").list_buckets()["Buckets"]] == ["strange"]
    assert boto3.client("sts").get_caller_identity()["Account"] == "000000000000"


def test_without_the_fixture_nothing_leads_there():
    assert "AWS_ENDPOINT_URL" not in os.environ
    assert os.environ["AWS_PROFILE"] == "mine"
"""


def test_a_strange_project_tests_with_the_local_account(tmp_path: Path) -> None:
    (tmp_path / "conftest.py").write_text('pytest_plugins = ["local_aws.testing"]\n')
    (tmp_path / "pytest.ini").write_text(f"[pytest]\nlocal_aws_environments = {ENVIRONMENTS}\n")
    (tmp_path / "test_strange.py").write_text(TESTS)
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(tmp_path),
        "PYTHONPATH": str(REPOSITORY),
        "AWS_PROFILE": "mine",
    }
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(tmp_path)]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120)
    assert "3 passed" in done.stdout, done.stdout + done.stderr
