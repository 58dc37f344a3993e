"""The generated pages say what the code says, and cannot be written while words and code differ."""

import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

DOCS = Path(__file__).resolve().parents[1] / "docs"
sys.path.append(str(DOCS))

import dags_page  # noqa: E402 -- after the path
import numbers_page  # noqa: E402


def test_the_page_of_numbers_is_current():
    assert (DOCS / "numbers.md").read_text() == numbers_page.page(), "run make docs"


@pytest.mark.parametrize(("table", "key"), [("ANALYSIS", "paired.n"), ("MERGE", "reasons"), ("SUMMARY", "smoke")])
def test_a_key_without_a_word_and_a_word_without_a_key_stop_the_page(monkeypatch, table, key):
    words = getattr(numbers_page, table)
    monkeypatch.setattr(numbers_page, table, {name: text for name, text in words.items() if name != key})
    with pytest.raises(KeyError, match=key):
        numbers_page.page()
    monkeypatch.setattr(numbers_page, table, {**words, "speed": "of light"})
    with pytest.raises(KeyError, match="speed"):
        numbers_page.page()


@pytest.mark.parametrize(
    ("value", "shown"), [(None, "none"), (False, "`false`"), (0, "`0`"), ("", "empty"), ("all", "`all`"), ([], "`[]`")]
)
def test_a_default_is_shown_as_the_form_shows_it(value, shown):
    param = SimpleNamespace(schema={"type": ["null", "number"]}, value=value, description="a | b")
    assert dags_page._parameter("x", param) == f"| `x` | null or number | {shown} | a \\| b |\n"


def test_a_model_of_ones_own_changes_no_page(monkeypatch, tmp_path):
    """Its DAG file is not even read, so its mistakes are found by the checks of models and not by those of pages."""
    for path in (DOCS.parent / "dags").glob("abalone_*.py"):
        (tmp_path / "dags").mkdir(exist_ok=True)
        (tmp_path / "dags" / path.name).symlink_to(path)
    (tmp_path / "dags" / "models").symlink_to(DOCS.parent / "dags" / "models")
    (tmp_path / "dags" / "cars_retraining.py").write_text("raise SystemExit('was read')\n")
    monkeypatch.setattr(dags_page, "ROOT", tmp_path)
    assert dags_page.page() == (DOCS / "dags.md").read_text()
