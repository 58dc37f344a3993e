import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
MODULES = """
import sys
sys.path.insert(0, sys.argv[1])
import airflow.plugins_manager
before = set(sys.modules)
import retraining_page
print(sorted(set(sys.modules) - before))
"""


def test_loading_the_plugin_imports_nothing_but_its_file() -> None:
    done = subprocess.run(
        [sys.executable, "-c", MODULES, str(ROOT / "plugins")], capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[-1] == "['retraining_page']"


def test_airflow_takes_the_page_and_shows_it_on_each_dag() -> None:
    from airflow.api_fastapi.app import RESERVED_URL_PREFIXES
    from airflow.api_fastapi.core_api.datamodels.plugins import ExternalViewResponse

    from retraining_page import PREFIX, RetrainingPage

    assert not any(PREFIX.startswith(prefix) for prefix in RESERVED_URL_PREFIXES)
    views = [ExternalViewResponse.model_validate(view) for view in RetrainingPage.external_views]
    assert {view.destination for view in views} == {"nav", "dag"}
    assert all(view.href.startswith("retraining/") for view in views)


def test_the_page_comes_whole_and_small_from_its_own_folder() -> None:
    static = ROOT / "plugins" / "retraining" / "page" / "static"
    sizes = {path.name: path.stat().st_size for path in static.iterdir()}
    assert sum(size for name, size in sizes.items() if name.endswith((".js", ".css"))) <= 150_000
    for path in static.glob("*.*"):
        text = path.read_text()
        addresses = [line for line in text.splitlines() if "://" in line and "www.w3.org" not in line]
        assert all("s3://" in line for line in addresses), f"{path.name} leads elsewhere"
        assert "innerHTML" not in text and "insertAdjacentHTML" not in text and "eval(" not in text


def test_the_browser_is_told_of_every_script_of_the_first_view() -> None:
    static = ROOT / "plugins" / "retraining" / "page" / "static"
    needed, left = set(), ["page.js", "now.js"]
    while left:
        name = left.pop()
        needed.add(name)
        left += set(re.findall(r'^import .* from "\./(\w+\.js)"', (static / name).read_text(), re.MULTILINE)) - needed
    told = re.findall(
        r'<(?:link rel="modulepreload" href|script type="module" src)="assets/(.*?)"',
        (static / "index.html").read_text(),
    )
    assert sorted(told) == sorted(needed)


def test_what_is_shipped_to_mwaa_has_the_page() -> None:
    from deploy.sync import folder_files

    shipped = folder_files(ROOT / "plugins")
    assert {"retraining_page.py", "retraining/page/static/index.html", "retraining/page/static/page.js"} <= set(shipped)
