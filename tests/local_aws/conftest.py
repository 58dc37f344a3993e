"""One real local_aws process for the whole folder, and one of a test's own where it is killed."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from local_account import BUCKET, Account

#: Of the account that most tests share: ACCOUNT_OPTIONS=--spares plays them with processes that waited for their jobs.
OPTIONS = os.environ.get("ACCOUNT_OPTIONS", "").split()


@pytest.fixture(scope="session")
def account(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Account]:
    """Yield the account that most tests share; it has one bucket."""
    with Account(tmp_path_factory.mktemp("local_aws") / "data", *OPTIONS) as account:
        account.s3.create_bucket(Bucket=BUCKET)
        yield account


@pytest.fixture
def own_account(tmp_path: Path) -> Iterator[Account]:
    """Yield an account of the test's own, to be killed and started again."""
    with Account(tmp_path / "data") as account:
        account.s3.create_bucket(Bucket=BUCKET)
        yield account
