"""A local_aws of its own for the deployment tests, and sessions for it."""

from collections.abc import Iterator

import pytest
from boto3.session import Session
from local_account import Account


@pytest.fixture(scope="module")
def account(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Account]:
    with Account(tmp_path_factory.mktemp("platform") / "data") as account:
        yield account


@pytest.fixture(scope="module")
def session(account) -> Iterator[Session]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ACCESS_KEY_ID", "test")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "test")
        patch.setenv("AWS_ENDPOINT_URL", account.url)
        yield Session(region_name="us-east-1")
