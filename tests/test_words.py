"""The pages are written in the words of the field: docs/words.py finds private and old ones, in prose only."""

import importlib.util
from pathlib import Path

SPEC = importlib.util.spec_from_file_location("words", Path(__file__).resolve().parents[1] / "docs" / "words.py")
words = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(words)


def test_the_pages_hold_none_of_them():
    assert [(page.name, each) for page in words.pages() for each in words.found(page.read_text(encoding="utf-8"))] == []


def test_a_refused_word_is_found_in_prose_and_not_in_code():
    page = "Mend it.\n```text\nmend\n```\nRecommended: `mend` and a person's word.\n"
    assert list(words.found(page)) == [(1, "Mend", "fix"), (5, "person's word", "approval")]
