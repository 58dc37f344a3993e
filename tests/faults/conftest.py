"""One local_aws for the folder, a model of its own for each test, and a proxy that misbehaves between the two."""

from __future__ import annotations

import shutil
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import pytest
import yaml
from faulty_proxy import FaultyProxy
from invariants import RunRecord, assert_invariants
from local_account import BUCKET, Account

from deploy import data_platform
from retraining.aws.clients import client
from retraining.settings.access import AwsAccess

ROOT = Path(__file__).resolve().parents[2]
MODEL_FOLDER = ROOT / "dags" / "models" / "abalone"
SETTINGS = {"PollSeconds": "0.1", "SettleSeconds": "0"}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Everything in this folder starts a real local_aws; what is not in the fast subset is marked `faults`."""
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.local_aws)
            if item.get_closest_marker("faults_fast") is None:
                item.add_marker(pytest.mark.faults)


@dataclass
class World:
    """An account, a model with its deployed platform, and the faulty way to it."""

    account: Account
    proxy: FaultyProxy
    model: str
    folder: Path
    bucket: str

    @property
    def access(self) -> AwsAccess:
        """The faulty way."""
        return AwsAccess(region="us-east-1", endpoint_url=self.proxy.url)

    @property
    def glue_job(self) -> str:
        return f"retraining-dev-{self.model}-merge"

    def put(self, name: str, body: str) -> str:
        """Land a file without faults; return its key."""
        key = f"{self.model}/{name}"
        self.account.s3.put_object(Bucket=self.bucket, Key=key, Body=body.encode())
        return key

    def check(self, *runs: RunRecord, watched: Any = ()) -> None:
        """Check all invariants."""
        assert_invariants(self.account, self.model, self.bucket, runs=runs, watched=watched, glue_job=self.glue_job)

    def check_glue_job(self, job: str) -> None:
        """Check all invariants with another Glue job than the platform's."""
        assert_invariants(self.account, self.model, self.bucket, glue_job=job)


@pytest.fixture(scope="session", autouse=True)
def credentials() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ACCESS_KEY_ID", "test")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "test")
        patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        yield


@pytest.fixture(scope="session")
def account(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Account]:
    """The account that most tests share."""
    with Account(tmp_path_factory.mktemp("local_aws") / "data") as account:
        account.s3.create_bucket(Bucket=BUCKET)
        yield account


@pytest.fixture
def own_account(tmp_path: Path) -> Iterator[Account]:
    """An account of the test's own, to be killed."""
    with Account(tmp_path / "data") as account:
        account.s3.create_bucket(Bucket=BUCKET)
        yield account


@pytest.fixture(scope="session")
def new_world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[Account], World]]:
    """Make worlds; their proxies end with the session."""
    proxies: list[FaultyProxy] = []

    def make(account: Account) -> World:
        proxy = FaultyProxy(account.url)
        proxies.append(proxy)
        model = f"m{uuid.uuid4().hex[:6]}"
        session = boto3.Session("test", "test", region_name="us-east-1")
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("AWS_ENDPOINT_URL", account.url)
            _, outputs = data_platform.deploy(session, "dev", model, SETTINGS, lambda line: None)
        folder = model_folder(tmp_path_factory.mktemp("models") / model, model, proxy)
        return World(account, proxy, model, folder, outputs["DataBucketName"])

    yield make
    for proxy in proxies:
        proxy.close()
    client.cache_clear()


def model_folder(folder: Path, model: str, proxy: FaultyProxy) -> Path:
    """Copy the abalone model under another name, with a quick algorithm and a gate that small data can pass."""
    shutil.copytree(MODEL_FOLDER, folder, ignore=shutil.ignore_patterns("__pycache__"))
    config = yaml.safe_load((folder / "model.yaml").read_text())
    config |= {"name": model, "aws": {"region": "us-east-1", "endpoint_url": proxy.url}}
    config["gate"] |= {"min_test_rows": 5, "guards": {"rmse": 50.0, "bias": 50.0}, "worst_group": {"rmse": 50.0}}
    config["training"]["candidates"] = [{"name": "linear", "hyperparameters": {"algorithm": "linear", "seed": 0}}]
    config["deployment"]["endpoint"] = model
    (folder / "model.yaml").write_text(yaml.safe_dump(config))
    return folder


@pytest.fixture
def world(account: Account, new_world: Callable[[Account], World]) -> World:
    """A world of the test's own on the shared account."""
    return new_world(account)


def abalone_rows(start: int, count: int) -> str:
    """Return rows of the original data as a file without a header, as surveys arrive."""
    lines = (ROOT / "data" / "abalone.csv").read_text().splitlines()[1:]
    return "\n".join(lines[start : start + count]) + "\n"
