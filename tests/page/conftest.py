"""The page over a real local_aws."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from local_account import Account
from page_site import BUCKET, PLATFORM, SECRET, Site, fill, mounted
from watched_model import fill_watch


@pytest.fixture(scope="session")
def account(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Account]:
    with Account(tmp_path_factory.mktemp("local_aws") / "data") as account:
        account.s3.create_bucket(Bucket=BUCKET)
        account.ssm.put_parameter(Name="/retraining/dev/abalone/platform", Value=json.dumps(PLATFORM), Type="String")
        fill(account.s3)
        fill_watch(account.s3)
        yield account


@pytest.fixture(scope="module")
def site(account: Account) -> Iterator[Site]:
    """Mount the plugin's application, its environment lasts a module; people differ by role, `outsider` may see no DAG of the model."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {
            "AWS_ENDPOINT_URL": account.url,
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AIRFLOW__API_AUTH__JWT_SECRET": SECRET,
            "AIRFLOW__CORE__AUTH_MANAGER": "auth_by_dag.AuthByDag",
        }.items():
            patch.setenv(name, value)
        patch.syspath_prepend(str(Path(__file__).parent))
        site = mounted()
        yield site
        site.loop.close()


@pytest.fixture(autouse=True)
def made_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let each request see what a test has just changed; a view that is being made is shared all the same."""
    from retraining.page import history_view
    from retraining.page.concurrency import shared, sparing

    monkeypatch.setattr(shared, "BELIEVED_SECONDS", 0.0)
    history_view._summaries.forget()
    sparing.answers.forget()
