"""Chromium before the page: one stage for all tests of this folder."""

import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from local_account import Account

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "page"))

from page_stage import Stage


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.browser)


@pytest.fixture(scope="session")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    folder = tmp_path_factory.mktemp("page")
    with Account(folder / "aws") as account:
        stage = Stage(folder, account)
        stage.start()
        yield stage
        stage.stop()


@pytest.fixture(scope="session")
def chromium(stage: Stage):
    from playwright.sync_api import sync_playwright

    program = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
    assert program, "no Chromium: install Debian's package chromium, or name one in CHROMIUM"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def visit(stage: Stage, chromium):
    """Return a function that opens the page as a person; whatever it should not do is collected, and must be nothing."""
    contexts, wrong = [], []

    def opened(person: str = "admin", path: str = "retraining/", width: int = 1400, theme: str = "light"):
        context = chromium.new_context(viewport={"width": width, "height": 900}, color_scheme=theme)
        context.add_cookies([{"name": "_token", "value": stage.token(person), "url": stage.url}])
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(60_000)
        page.on("dialog", lambda dialog: (wrong.append(f"dialog: {dialog.message}"), dialog.dismiss()))
        page.on("pageerror", lambda error: wrong.append(f"error: {error}"))
        page.on(
            "request",
            lambda request: (
                request.url.startswith((stage.url, "data:", "blob:", "about:")) or wrong.append(request.url)
            ),
        )
        page.goto(f"{stage.url}/{path}")
        return page

    yield opened
    for context in contexts:
        context.close()
    assert not wrong
