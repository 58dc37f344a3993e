"""The picture of the README is drawn from a report as the library writes it."""

import importlib.util
import xml.dom.minidom
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SPEC = importlib.util.spec_from_file_location("report_picture", ROOT / "docs" / "report_picture.py")
report_picture = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(report_picture)

PLOTS = "".join(
    f'<svg viewBox="0 0 {size} 100" role="img" aria-label="{label}x"><text>{label}</text></svg>'
    for size, (label, _) in enumerate(report_picture.PLOTS, start=500)
)
WORDS = '<p class="over">o &amp; p</p><h1><b>approved</b></h1><p class="reason">It is better.</p>'
REPORT = f"<style>svg{{display:block}}</style>{WORDS}{PLOTS}"


def test_the_picture_holds_the_verdict_the_sentence_and_every_plot_with_its_own_scale():
    picture = xml.dom.minidom.parseString(report_picture.picture(REPORT))
    texts = [node.firstChild.data for node in picture.getElementsByTagName("text")]
    assert texts[:3] == ["o & p", "approved", "It is better."]
    assert [node.getAttribute("viewBox") for node in picture.getElementsByTagName("svg")[1:]] == [
        f"0 0 {size} 100" for size in range(500, 500 + len(report_picture.PLOTS))
    ]


def test_a_report_without_a_champion_has_no_picture():
    with pytest.raises(LookupError, match="take that of a run with a champion"):
        report_picture.picture(REPORT.replace("champion: x", "y"))


def test_the_committed_picture_is_whole():
    page = (ROOT / "README.md").read_text(encoding="utf-8")
    assert "docs/images/report.svg" in page
    picture = xml.dom.minidom.parse(str(ROOT / "docs" / "images" / "report.svg"))
    assert len(picture.getElementsByTagName("svg")) == 1 + len(report_picture.PLOTS)
