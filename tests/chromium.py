"""Chromium for tests of pages: started once a module, and what axe, the checker of accessibility rules, finds on a page."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

PROGRAM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
needed = pytest.mark.skipif(PROGRAM is None, reason="there is no chromium on this machine")


@contextmanager
def started() -> Iterator[Any]:
    """Start a browser without a window."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=PROGRAM)
        yield browser
        browser.close()


@contextmanager
def opened(browser: Any, **context: Any) -> Iterator[Any]:
    """Open a page; at its end no script has failed and no dialog has shown, which is what foreign text that runs would do first."""
    troubles: list[str] = []
    context = browser.new_context(**context)
    page = context.new_page()
    page.on("pageerror", lambda error: troubles.append(str(error)))
    page.on("dialog", lambda dialog: (troubles.append(dialog.message), dialog.dismiss()))
    page.on("console", lambda line: troubles.append(line.text) if "Content Security" in line.text else None)
    yield page
    context.close()
    assert troubles == [], troubles


def violations(page: Any, *rules: str) -> list[str]:
    """Return what axe finds against its rules, all of them when none is named."""
    from axe_playwright_python.sync_playwright import Axe

    options = {"runOnly": {"type": "rule", "values": list(rules)}} if rules else None
    found = Axe().run(page, options=options).response
    assert found["passes"], "axe has looked at nothing"
    return [
        f"{item['id']}: {node['html'][:160]} {node['failureSummary'][:200]}"
        for item in found["violations"]
        for node in item["nodes"]
    ]


def in_both_colours(page: Any) -> list[str]:
    """Return what axe finds in light, and of the colours in dark: a page follows the system."""
    found = violations(page)
    page.emulate_media(color_scheme="dark")
    page.locator("html[data-theme=dark]").wait_for()
    found += violations(page, "color-contrast")
    page.emulate_media(color_scheme="light")
    return found


def width_on_a_phone(page: Any) -> int:
    """Return how wide a page is on a phone of 360 px; more is scrolled sideways."""
    page.set_viewport_size({"width": 360, "height": 740})
    return int(page.evaluate("document.documentElement.scrollWidth"))
