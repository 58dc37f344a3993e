"""A production account with data, which the tests of this folder share."""

from collections.abc import Iterator

import pytest
from local_account import Account
from production import SDK_PYTHON, Production


@pytest.fixture(scope="module")
def production(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Production]:
    if not SDK_PYTHON.exists():
        pytest.skip("the environment with the SageMaker SDK is not here: make setup-sdk")
    with Account(tmp_path_factory.mktemp("experiment") / "data") as account, pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ACCESS_KEY_ID", account.access_key)
        patch.setenv("AWS_SECRET_ACCESS_KEY", account.secret_key)
        yield Production(account)
