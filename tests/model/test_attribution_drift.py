"""Whether a model goes by other columns than it did: found where inputs change together, and no false alarm where nothing changed."""

import json

import abalone_artifacts
import numpy as np
import pandas as pd
import pytest
from abalone_artifacts import CONFIG, pack, train_artifact, write_job
from test_watching import captured

from retraining.inside import program
from retraining.inside.explaining.shapley import explain
from retraining.inside.watching.effects import EFFECT, REFERENCE_TIMES, Sample, effect_sizes, reference_effects
from retraining.inside.watching.profile import profile, reference_profile
from retraining.judging import drift_incident
from retraining.judging.drift import Detectors, counted
from retraining.serving import monitoring
from retraining.settings.periodic.monitor import Monitor

NAMES = ["a", "b", "c"]
EXPLAINED, ROWS, LOOKS = 40, 100, 60
ALARM, TOLERANCE = Monitor().alarm, Monitor().tolerance


def answers(frame: pd.DataFrame) -> np.ndarray:
    """The first column acts where the second is near to it, the third one alone."""
    a, b, c = (frame[name].to_numpy() for name in NAMES)
    return np.where(np.abs(a - b) < 0.5, 3 * a, 0.0) + c


def drawn(generator: np.random.Generator, rows: int, together: float = 0.0) -> pd.DataFrame:
    """Return normal columns, of which the first two may be correlated; each alone looks the same."""
    a, b, c = generator.normal(size=(3, rows))
    return pd.DataFrame({"a": a, "b": together * a + np.sqrt(1 - together**2) * b, "c": c})


def sizes(frame: pd.DataFrame) -> pd.DataFrame:
    background = drawn(np.random.default_rng(99), 15)
    return effect_sizes(NAMES, explain(answers, frame, answers(frame), background).values)


@pytest.fixture(scope="module")
def reference():
    generator = np.random.default_rng(0)
    effects = reference_effects(sizes(drawn(generator, REFERENCE_TIMES * EXPLAINED)), "y")
    return {**reference_profile(drawn(generator, 2000)), **effects}


@pytest.fixture(scope="module")
def pools():
    """Rows with their effects, from which looks are drawn: such as the model was trained on, and such as vary together."""
    made = {}
    for together in (0.0, 0.9):
        frame = drawn(np.random.default_rng(1), 1500, together)
        made[together] = pd.concat([frame, sizes(frame)], axis=1)
    return made


def watched(reference, pool, seed: int, looks: int) -> tuple[int | None, Detectors]:
    """Return the first look with an alarm, and the detectors then."""
    generator, detectors = np.random.default_rng(seed), Detectors(ALARM, TOLERANCE)
    for number in range(1, looks + 1):
        rows = pool.iloc[generator.integers(0, len(pool), ROWS)]
        explained = pool.iloc[generator.integers(0, len(pool), EXPLAINED)]
        seen = profile(rows[NAMES], reference) | profile(explained[pool.columns[3:]], reference)
        detectors.see(list(counted(reference, seen)), 1.0, f"look {number}")
        if detectors.level >= 1:
            return number, detectors
    return None, detectors


def test_a_model_that_goes_by_what_it_did_raises_no_alarm(reference, pools):
    assert [watched(reference, pools[0.0], seed, LOOKS)[0] for seed in range(8)] == [None] * 8


def test_inputs_that_change_together_are_found_by_what_the_model_goes_by(reference, pools):
    inputs = {name: known for name, known in reference.items() if not name.startswith(EFFECT)}
    for seed in range(4):
        assert watched(inputs, pools[0.9], seed, LOOKS)[0] is None, "no column alone shows it"
        day, detectors = watched(reference, pools[0.9], seed, LOOKS)
        assert day is not None and day <= 10
        found = {finding.column: finding.direction for finding in detectors.findings(0.1)}
        assert found and set(found) <= {f"{EFFECT}a", f"{EFFECT}b"} and set(found.values()) == {1}


def test_an_incident_says_the_size_in_the_unit_of_the_target(reference, pools):
    _, detectors = watched(reference, pools[0.9], 0, LOOKS)
    document = drift_incident.incident(1, "v1", "now", detectors.findings(), reference, {"y": "rings", "a": "mm"})
    sentences = {change["column"]: change["sentence"] for change in document["changes"]}
    assert "effect of a is larger: a middle value of about" in sentences[f"{EFFECT}a"]
    assert " rings in " in sentences[f"{EFFECT}a"]


def test_sampled_rows_are_spread_over_all_and_do_not_depend_on_the_blocks():
    frame = pd.DataFrame({"x": np.arange(1000.0), "t": pd.Series(["a"] * 999 + [np.nan], dtype=object)})
    whole, parts = Sample(50), Sample(50)
    whole.see(frame)
    for start in range(0, 1000, 90):
        parts.see(frame[start : start + 90])
    assert whole.rows == parts.rows and len(whole.rows) == 50
    places = sorted(row["x"] for row in whole.rows)
    assert max(np.diff([0, *places, 999])) < 60
    few = Sample(50)
    few.see(frame[997:])
    assert sorted(few.rows, key=lambda row: row["x"])[-1] == {"x": 999.0, "t": None}
    assert Sample(0).rows == []


@pytest.fixture
def config(monkeypatch):
    config = CONFIG.model_copy(update={"monitor": CONFIG.monitor.model_copy(update={"explained_rows": 10})})
    monkeypatch.setattr(abalone_artifacts, "CONFIG", config)
    return config


def test_a_look_explains_rows_and_a_model_that_cannot_costs_no_look(config, channels, abalone, tmp_path):
    artifact = tmp_path / "artifact"
    train_artifact(channels, artifact, algorithm="linear")
    frozen = json.loads((artifact / "profile.json").read_text())
    effects = {name: known for name, known in frozen.items() if name.startswith(EFFECT)}
    assert {known["n"] for known in effects.values()} == {REFERENCE_TIMES * 10}
    assert {known["in"] for known in effects.values()} == {"rings"}
    assert set(effects) == {f"{EFFECT}{column.name}" for column in config.contract.columns if column.name != "rings"}

    inputs = tmp_path / "input"
    (inputs / "captured").mkdir(parents=True)
    lines = [captured(",".join(map(str, row[1:]))) for row in abalone[3000:3100].itertuples(index=False)]
    (inputs / "captured" / "a.jsonl").write_text("\n".join(lines) + "\n")
    write_job(inputs / "job", monitoring.job_document(config, ["a"]))
    look = looked(artifact, inputs, tmp_path)
    assert {look["rows"][name]["n"] for name in effects} == {10} and look["rows"]["length"]["n"] == 100
    assert "not_explained" not in look

    (artifact / "background.csv").unlink()
    look = looked(artifact, inputs, tmp_path)
    assert not set(effects) & set(look["rows"]) and look["rows"]["length"]["n"] == 100
    assert "train it again" in look["not_explained"]


def looked(artifact, inputs, place) -> dict:
    pack(artifact, inputs / "model")
    assert program.main(place, ["--inputs", str(inputs), "--output", str(place / "output")], {}) == 0
    return json.loads((place / "output" / "look.json").read_text())


def test_nothing_is_explained_unless_it_is_asked_for(linear_artifact):
    assert not any(name.startswith(EFFECT) for name in json.loads((linear_artifact / "profile.json").read_text()))
    assert "explained_rows" not in monitoring.job_document(CONFIG, ["a"], "f" * 64)


def test_an_exchanged_artifact_is_not_loaded(config):
    document = monitoring.job_document(config, ["a"], "f" * 64)
    assert (document["explained_rows"], document["artifacts"]) == (10, {"model": "f" * 64})


def test_the_probability_that_a_column_moves_is_its_size_in_a_classification():
    two = effect_sizes(["x"], np.array([[[0.3, -0.3]], [[-0.1, 0.1]]]))
    assert two[f"{EFFECT}x"].tolist() == pytest.approx([0.3, 0.1])
    assert "in" not in reference_effects(two, None)[f"{EFFECT}x"]
