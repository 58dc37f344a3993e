"""`make bench`: figures against goals and the last run; every benchmark is in it, and what has a goal is noted by its script."""

import json
import re
from pathlib import Path

import pytest
import yaml

from benchmarks import bench_all
from benchmarks.figures import FILE_VARIABLE, note

FOLDER = Path(bench_all.__file__).parent
RAN = {"figures": {"latest look, s": 1.5}, "seconds": 3.0, "exit": 0, "log": "bench-looks.log"}


def test_every_benchmark_has_its_short_form():
    scripts = {path.stem.removeprefix("bench_") for path in FOLDER.glob("bench_*.py")} - {"all"}
    listed = set(yaml.safe_load(bench_all.GOALS.read_text()))
    # bench_trainers is a part of bench_model; the survey's benchmark writes its table into a page and has no short form.
    assert listed == scripts - {"trainers", "survey"}


@pytest.mark.parametrize(
    ("value", "goal", "last", "missed", "slower"),
    [
        (1.5, {"at_most": 2}, {}, False, False),
        (1.5, {"at_most": 1.4}, {}, True, False),
        (1.5, {"at_least": 1.6}, {}, True, False),
        (1.5, {}, {"latest look, s": 1.0}, False, True),
        (1.5, {}, {"latest look, s": 1.3}, False, False),
        (1.5, {"at_least": 1}, {"latest look, s": 2.0}, False, True),
    ],
)
def test_a_figure_is_held_against_its_goal_and_the_last_run(value, goal, last, missed, slower):
    found = RAN | {"figures": {"latest look, s": value}}
    [row] = bench_all.judged("looks", found, {"latest look, s": goal} if goal else {}, last)
    assert (row["missed"], row["slower"]) == (missed, slower)
    [_, line, summary] = bench_all.table([row])
    assert ("MISSED" in line, "slower" in line) == (missed, slower and not missed)
    assert summary.startswith(f"{int(missed)} missed, {int(slower)} slower")


def test_a_goal_without_a_figure_and_a_failure_without_a_reason_are_missed():
    [row] = bench_all.judged("looks", RAN | {"figures": {}}, {"latest look, s": {"at_most": 2}}, {})
    assert (row["value"], row["missed"]) == (None, True)
    [_, row] = bench_all.judged("looks", RAN | {"exit": 3}, {}, {})
    assert row["missed"]
    assert "exit code 3: bench-looks.log" in row["figure"]


def test_figures_are_noted_only_for_the_whole_run(tmp_path, monkeypatch):
    monkeypatch.delenv(FILE_VARIABLE, raising=False)
    note({"a": 1})
    monkeypatch.setenv(FILE_VARIABLE, str(tmp_path / "figures.json"))
    note({"a": 1, "b": 2.5})
    assert json.loads((tmp_path / "figures.json").read_text()) == {"a": 1.0, "b": 2.5}


@pytest.mark.parametrize("name", yaml.safe_load(bench_all.GOALS.read_text()))
def test_a_goal_is_about_a_figure_that_the_script_notes(name):
    goal = yaml.safe_load(bench_all.GOALS.read_text())[name]
    noted = re.findall(r'f?"([^"\n]+)"', (FOLDER / f"bench_{name}.py").read_text())
    patterns = [re.sub(r"\\\{[^}]*\\\}", ".+", re.escape(text)) for text in noted]
    for figure in goal.get("figures", {}):
        assert any(re.fullmatch(pattern, figure) and pattern.strip(".+") for pattern in patterns), figure


def test_the_whole_run_writes_figures_ratios_machine_and_revision(tmp_path, monkeypatch, capsys):
    values = iter((1.0, 1.4))
    monkeypatch.setattr(bench_all, "run", lambda *_: RAN | {"figures": {"parsing all DAG files, s": next(values)}})
    output = tmp_path / "bench.json"
    for code in (1, 1):
        assert bench_all.main(["--only", "parse", "--output", str(output)]) == code
    document = json.loads(output.read_text())
    assert document["ratios"] == {"parse: parsing all DAG files, s": 1.4}
    assert document["machine"] == bench_all.machine()
    assert set(document) == {"measured_at", "revision", "machine", "load", "benchmarks", "ratios"}
    assert "1 missed, 1 slower" in capsys.readouterr().out
