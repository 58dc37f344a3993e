"""Draws each view of the page, light and dark, wide and on a phone: ``python docs/page_pictures.py FOLDER [MODEL]``.

Somebody looks at them after a change of the page; they are kept out of the repository. It logs in to the Airflow that runs here.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
VIEWS = ("now", "history", "data", "drift", "send", "try")
SIZES = {"wide": (1400, 900), "phone": (360, 740)}
COLOURS = ("light", "dark")
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
SECONDS = 60


def pictures(browser: Any, airflow: str, password: str, model: str, folder: Path) -> Iterator[Path]:
    """Yield the files of the pictures, ``VIEW-COLOUR-SIZE.png``, as they are drawn.

    Args:
        browser: a Chromium that Playwright has started.
        airflow: address of the Airflow UI.
        password: of the user admin.
        model: whose views are drawn.
        folder: exists; the pictures go there.

    """
    page = browser.new_context().new_page()
    page.set_default_timeout(1000 * SECONDS)
    log_in(page, airflow, password)
    for view in VIEWS:
        page.goto(f"{airflow}/retraining/#/{model}/{view}")
        page.locator("main section, main .notice").first.wait_for()
        page.wait_for_load_state("networkidle")
        for size, (width, height) in SIZES.items():
            page.set_viewport_size({"width": width, "height": height})
            page.reload()  # plots are as wide as the window was when they were drawn
            page.locator("main section, main .notice").first.wait_for()
            page.wait_for_load_state("networkidle")
            for colour in COLOURS:
                page.emulate_media(color_scheme=colour)
                page.locator(f"html[data-theme={colour}]").wait_for()
                path = folder / f"{view}-{colour}-{size}.png"
                page.screenshot(path=path, full_page=True)
                yield path


def log_in(page: Any, airflow: str, password: str) -> None:
    """Log in as a person does, with the form of Airflow's simple auth manager."""
    page.goto(f"{airflow}/")
    page.locator("input[name=username]").fill("admin")
    page.locator("input[name=password]").fill(password)
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url(f"{airflow}/")


def main() -> int:
    """Draw the pictures of the stack that runs on this machine."""
    sys.path.insert(0, str(ROOT))
    from playwright.sync_api import sync_playwright

    from local_stack import layout
    from local_stack.airflow_api import AirflowApi
    from local_stack.airflow_settings import stack_secrets

    program = next(filter(None, map(shutil.which, BROWSERS)), None)
    if program is None:
        print(
            f"there is no {' or '.join(BROWSERS)} on this machine: install one, such as Debian's chromium",
            file=sys.stderr,
        )
        return 2
    if AirflowApi().health() is None:
        print(f"Airflow does not answer at {layout.AIRFLOW_URL}: make up starts it", file=sys.stderr)
        return 2
    folder, model = Path(sys.argv[1]), sys.argv[2] if len(sys.argv) > 2 else "abalone"
    folder.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program)
        for path in pictures(browser, layout.AIRFLOW_URL, stack_secrets()["admin_password"], model, folder):
            print(path, flush=True)
        browser.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
