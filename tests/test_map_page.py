"""docs/map.md is what the sources say: rooms, imports, and a way whose steps exist."""

import importlib.util
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SPEC = importlib.util.spec_from_file_location("map_page", ROOT / "docs" / "map_page.py")
map_page = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(map_page)


def test_the_page_is_what_the_code_says():
    assert (ROOT / "docs" / "map.md").read_text(encoding="utf-8") == map_page.page()


def test_every_room_has_a_row_and_imports_only_those_above_it():
    rooms = map_page.order()
    folders = {path.parent.name for path in map_page.LIBRARY.glob("*/__init__.py")}
    assert set(rooms) == folders
    for room, others in map_page.imports(rooms).items():
        assert [other for other in others if rooms.index(other) >= rooms.index(room)] == []


@pytest.mark.parametrize("name", ["jobs.plan.make_plans", "dataset.log.DatasetLog.pledge", "nowhere.x"])
def test_a_step_that_the_library_does_not_have_is_seen(name):
    with pytest.raises(LookupError, match=name):
        map_page.find(name)
