"""One account for all flows, so that they cost one start."""

from collections.abc import Iterator

import pytest
from local_account import BUCKET, Account


@pytest.fixture(scope="session")
def account(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Account]:
    with Account(tmp_path_factory.mktemp("flows") / "data") as account:
        account.s3.create_bucket(Bucket=BUCKET)
        yield account


@pytest.fixture(scope="module")
def environment(account: Account) -> Iterator[None]:
    """Lead clients of this process to the account."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in account.variables.items():
            patch.setenv(name, value)
        yield
