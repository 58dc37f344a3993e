"""One local_aws for each module that needs one."""

from collections.abc import Iterator

import pytest
from local_account import BUCKET, Account


@pytest.fixture(scope="module")
def account(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Account]:
    with Account(tmp_path_factory.mktemp("local_aws") / "data") as account:
        account.s3.create_bucket(Bucket=BUCKET)
        yield account
