"""The page that lists AWS's rules names checks that exist, and every check that is meant for one."""

import re

from deploy import artifacts

PAGE = (artifacts.ROOT / "docs" / "not-verified.md").read_text()


def test_every_rule_on_the_page_has_its_check():
    named = re.findall(r"`(test_\w+\.py)::(test_\w+)`", PAGE)
    assert len(named) > 15
    for file, name in named:
        text = (artifacts.ROOT / "tests" / "conformance" / file).read_text()
        assert f"def {name}(" in text, (file, name)
