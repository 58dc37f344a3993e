"""One local_aws per client, which keeps an access log."""

from collections.abc import Iterator

import pytest
from client_record import LOG
from local_account import Account


@pytest.fixture(scope="module")
def account(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[Account]:
    folder = tmp_path_factory.mktemp(request.module.__name__)
    with Account(folder / "data", "--access-log", str(folder / LOG)) as account:
        yield account


@pytest.fixture(scope="module")
def environment(account: Account) -> Iterator[None]:
    """Lead clients of this process to the account."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in account.variables.items():
            patch.setenv(name, value)
        yield
