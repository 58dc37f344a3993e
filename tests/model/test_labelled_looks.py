"""What the watch makes of labels: losses and errors, incidents, what is kept between looks, and the job of a look."""

import json
import shutil
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from abalone_artifacts import CONFIG, pack, write_job
from test_labels import NOON
from test_watching import OTHER_ROW, ROW, captured

from retraining.inside import losses, program
from retraining.inside.watching import kept_answers, ledger
from retraining.inside.watching.profile import profile
from retraining.inside.watching.scores import ERROR, LOSS, reference_scores, score_frame, scores, sound
from retraining.judging.drift import Detectors, Finding, counted
from retraining.judging.drift_incident import incident, is_labelled, sentence, what_happened, what_to_do
from retraining.serving import monitoring
from retraining.serving.monitoring import LabelFile

# Loss and error


def test_the_loss_of_a_row_is_the_tasks_own(tmp_path):
    found = scores("regression", np.array([3.0, 5.0]), np.array([[4.0], [2.0]]), ())
    assert (found[LOSS].tolist(), found[ERROR].tolist()) == ([1, 9], [1, -3])
    found = scores("binary", np.array([1.0, 0.0]), np.array([[0.25, 0.75], [0.5, 0.5]]), ("no", "yes"))
    assert found[LOSS].tolist() == pytest.approx([-np.log(0.75), np.log(2)]) and ERROR not in found
    assert scores("count", np.array([2.0]), np.array([[2.0]]), ())[LOSS].tolist() == [0]
    assert sound("binary", np.array([[0.4, 0.6], [0.4, 0.7], [np.nan, 1], [-0.5, 1.5]])).tolist() == [
        True,
        False,
        False,
        False,
    ]
    assert sound("count", np.array([[0.0], [0.1]])).tolist() == [False, True]
    assert sound("regression", np.array([[0.0], [np.inf]])).tolist() == [True, False]


def watched(reference, errors, per_look=100):
    """Return the look of the first alarm, and the detectors then."""
    detectors = Detectors(7300.0, 0.01)
    for number, start in enumerate(range(0, len(errors), per_look), start=1):
        part = errors[start : start + per_look]
        frame = score_frame("regression", np.zeros(len(part)), losses.Scored(part, part**2))
        detectors.see(list(counted(reference, profile(frame, reference))), 1.0, f"look {number}")
        if detectors.level >= 1:
            return number, detectors
    return None, detectors


@pytest.fixture(scope="module")
def reference():
    errors = np.random.default_rng(0).normal(size=600)
    frame = score_frame("regression", np.zeros(600), losses.Scored(errors, errors**2))
    return reference_scores(frame, "regression", "rings")


def test_errors_that_stay_raise_no_alarm_and_those_that_shift_or_grow_do(reference):
    draw = np.random.default_rng(1)
    assert watched(reference, draw.normal(size=10_000))[0] is None
    look, detectors = watched(reference, draw.normal(size=5_000) + 0.5)
    assert look is not None and look <= 8
    assert {(f.column, f.direction) for f in detectors.findings(0.05)} >= {(ERROR, 1)}
    look, detectors = watched(reference, draw.normal(size=10_000) * 1.5)
    assert look is not None and look <= 20
    assert (LOSS, 1) in {(f.column, f.direction) for f in detectors.findings()}


def test_a_smaller_loss_is_no_drift(reference):
    loss = {LOSS: reference[LOSS]}
    assert watched(loss, np.random.default_rng(2).normal(size=10_000) * 0.3)[0] is None
    assert watched(loss, np.random.default_rng(2).normal(size=10_000) * 2)[0] is not None


def test_an_incident_of_loss_says_what_the_model_loses_in_the_unit_and_that_labels_are_there(reference):
    _, detectors = watched(reference, np.random.default_rng(1).normal(size=5_000) - 0.5)
    history = [
        {"at": "look 0", "labelled": {"rows": 100, "loss": 900.0, "error": -300.0}},
        {"at": "look 9", "labelled": {"rows": 100, "loss": 400.0, "error": -50.0}},
        {"at": "look 9", "ranks": {}},
    ]
    document = incident(1, "v1", "now", detectors.findings(0), reference, {"rings": "rings"}, history)
    said = {change["column"]: change["sentence"] for change in document["changes"]}
    [finding] = [finding for finding in detectors.findings(0) if finding.column == ERROR]
    seen = f"in {finding.rows:,} labelled rows since look 1"
    before = np.random.default_rng(0).normal(size=600).mean()
    assert said[ERROR] == f"(error) is smaller: bias -0.5 rings {seen}, {before:+.4g} on the validation rows"
    assert all(change["labelled"] for change in document["changes"])
    larger = Finding(LOSS, "level", "", 1, "look 9", 200, 0.2, 0.9, 80)
    assert sentence(larger, {**reference[LOSS], "sum": 600.0}, "rings", history) == (
        "(loss) is larger: RMSE 2 rings in 200 labelled rows since look 9, 1 on the validation rows, +100.0%"
    )
    wider = Finding(ERROR, "spread", "", 1, "look 9", 200, 0.2, 0.9, 80)
    assert sentence(wider, reference[ERROR], "rings", history) == (
        "(error) is more extreme in 200 labelled rows since look 9 than on the validation rows"
    )
    assert what_happened(document).startswith(
        "Model v1 answers otherwise than on its validation rows, labels say: (error)"
    )
    assert is_labelled(document) and "upload the labelled rows" in what_to_do(False, "r", True)


# What a look reads, and what is kept between looks


def item(key: str, hours: float, size: int = 1, etag: str = "e") -> dict:
    when = datetime.fromtimestamp(NOON, UTC) + timedelta(hours=hours)
    return {"Key": f"abalone/monitor/labels/{key}", "ETag": f'"{etag}"', "Size": size, "LastModified": when}


NOW = datetime.fromtimestamp(NOON, UTC) + timedelta(hours=10)


def begun() -> dict:
    return monitoring.begun(None, "p/", datetime.fromtimestamp(NOON, UTC))


def test_label_files_are_read_in_the_order_in_which_they_came_and_once(monkeypatch):
    items = [
        item("b.csv", 1),
        item("a.csv", 2),
        item("early.csv", -1),
        item("_tmp", 1),
        item("x/", 1, 0),
        item("c.csv", 3),
    ]
    chosen, left = monitoring.new_labels(items, begun(), NOW, 30)
    assert ([file.key.rpartition("/")[2] for file in chosen], left) == (["b.csv", "a.csv", "c.csv"], 0)
    seen = begun() | {"label_files": [file.identity for file in chosen]}
    assert monitoring.new_labels(items, seen, NOW, 30) == ([], 0)
    assert [file.etag for file in monitoring.new_labels([item("a.csv", 4, etag="new")], seen, NOW, 30)[0]] == ["new"]
    assert monitoring.new_labels(items, begun(), NOW, 7.5 / 24)[0] == chosen[2:], "the others are too old"
    monkeypatch.setattr(monitoring, "LABEL_FILES_OF_A_LOOK", 2)
    assert monitoring.new_labels(items, begun(), NOW, 30) == (chosen[:2], 1)
    monkeypatch.setattr(monitoring, "LABEL_BYTES_OF_A_LOOK", 5)
    sized = [item("a", 1, 3), item("b", 2, 9), item("c", 3, 3)]
    assert monitoring.new_labels(sized, begun(), NOW, 30)[1] == 1
    monkeypatch.setattr(monitoring, "LABEL_FILES_OF_A_LOOK", 9)
    assert [monitoring.is_too_large(file) for file in monitoring.new_labels(sized, begun(), NOW, 30)[0]] == [
        False,
        True,
    ]


def test_answers_and_labels_are_carried_on_as_long_as_they_wait_for_each_other():
    state, day = begun(), 86_400
    files = [{"key": "k", "etag": "e", "came": NOON}, {"key": "left", "etag": "e", "came": NOON}]
    document = {"label_days": 2, "as_of": NOON, "files": files}
    state |= monitoring.label_state(state, "l1", {**document, "files": []}, None, True)
    assert (state["answers"], state["ledger"], state["label_files"]) == ([["l1", NOON]], None, [])
    state |= monitoring.label_state(state, "l2", {**document, "as_of": NOON + day}, {"left": ["left"]}, False)
    assert (state["answers"], state["ledger"]) == ([["l1", NOON]], ["l2", NOON + day])
    assert state["label_files"] == [["k", "e", NOON]]
    assert monitoring.kept_for_labels(state, NOON + day, 2) == (["l1"], "l2")
    assert monitoring.kept_for_labels(state, NOON + 4 * day, 2) == ([], None)
    assert monitoring.label_state(state, "l3", {**document, "as_of": NOON + 3 * day}, None, False)["answers"] == []
    assert monitoring.label_state(state, "l3", {}, None, True) == {}
    assert monitoring.kept_for_labels(begun(), NOON, 2) == ([], None)


def test_a_state_of_before_there_were_labels_is_read():
    old = {name: value for name, value in begun().items() if name not in ("answers", "ledger", "label_files")}
    assert len(monitoring.new_labels([item("a.csv", 1)], old, NOW, 30)[0]) == 1
    assert monitoring.kept_for_labels(old, NOON, 30) == ([], None)


def test_the_names_of_what_a_job_keeps_are_those_that_the_next_look_asks_for():
    assert (monitoring.ANSWERS_FILE, monitoring.LEDGER_FILE) == (kept_answers.ANSWERS_FILE, ledger.LEDGER_FILE)


# The job


def look(artifact, place, name, requests=(), files=(), earlier=(), as_of=NOON, days=30.0) -> dict:
    """Let the job of a look run, on what earlier ones left, and return its document."""
    folder = place / name
    inputs = folder / "input"
    pack(artifact, inputs / "model")
    if requests:
        (inputs / "captured").mkdir(parents=True)
        (inputs / "captured" / "a.jsonl").write_text("\n".join(requests) + "\n")
    made = []
    for at, (key, text) in enumerate(files):
        (inputs / "labels").mkdir(parents=True, exist_ok=True)
        if text is not None:
            (inputs / "labels" / f"{at:06d}").write_bytes(text.encode() if isinstance(text, str) else text)
        made.append(LabelFile(key=f"abalone/monitor/labels/{key}", etag="e", size=1, came=NOON))
    for at, other in enumerate(earlier):
        output = place / other / "output"
        (inputs / "answers" / other / "out").mkdir(parents=True)
        shutil.copy(output / "answers.bin", inputs / "answers" / other / "out")
        if at == len(earlier) - 1 and (output / "labels.bin").exists():
            (inputs / "ledger").mkdir()
            shutil.copy(output / "labels.bin", inputs / "ledger")
    config = CONFIG.model_copy(update={"monitor": CONFIG.monitor.model_copy(update={"label_days": days})})
    write_job(inputs / "job", monitoring.job_document(config, ["a"], labels=made, as_of=as_of))
    assert program.main(folder, ["--inputs", str(inputs), "--output", str(folder / "output")], {}) == 0
    return json.loads((folder / "output" / "look.json").read_text())


def test_labels_of_a_look_find_answers_of_earlier_ones_and_say_what_the_model_lost(linear_artifact, tmp_path):
    asked = [captured(ROW, inferenceId=f"r{at}", answer=f'{{"predictions": [{at}.5]}}') for at in range(40)]
    first = look(linear_artifact, tmp_path, "one", asked[:30])
    assert "labels" not in first and (tmp_path / "one" / "output" / "answers.bin").stat().st_size == 30 * 24
    table = "inference_id,rings\n" + "".join(f"r{at},{at}\n" for at in range(1, 35))
    odd = [
        ("a/../b.csv", table),
        ("a b\u200b.csv", table),
        ("broken.csv", b"\xff\xfe"),
        ("huge.csv", None),
        ("b.csv", "inference_id,rings\nr1,1\nr2,9\n"),
    ]
    found = look(linear_artifact, tmp_path, "two", asked[30:32], odd, ["one"])
    said = found["labels"]
    assert (said["files"], said["labels"], said["matched"], said["waiting"]) == (2, 36, 31, 3)
    assert (said["repeated"], said["contradicting"]) == (1, 1)
    assert [entry["key"].rpartition("/")[2] for entry in said["refused"]] == ["b.csv", "broken.csv", "huge.csv"]
    assert all(entry["reason"] and entry["remedy"] for entry in said["refused"])
    assert said["totals"] == {"rows": 31, "loss": 31 * 0.25, "error": 31 * 0.5}
    assert found["rows"][LOSS]["n"] == found["rows"][ERROR]["n"] == 31
    assert found["rows"]["length"]["n"] == 2
    last = look(linear_artifact, tmp_path, "three", asked[32:], (), ["one", "two"])
    assert (last["labels"]["matched"], last["labels"]["waiting"]) == (3, 0)
    only = look(
        linear_artifact, tmp_path, "four", (), [("c.csv", "inference_id,rings\nr36,1\nr1,1\n")], ["one", "two", "three"]
    )
    assert (only["labels"]["matched"], only["labels"]["repeated"], only["tally"]["rows"]) == (1, 1, 0)
    assert set(only["rows"]) == {LOSS, ERROR}
    late = look(linear_artifact, tmp_path, "five", asked[:1], (), ["four"], as_of=NOON + 31 * 86_400)
    assert (late["labels"]["expired"], late["labels"]["waiting"]) == (0, 0)


def test_a_repeated_look_makes_the_same(linear_artifact, tmp_path):
    asked = [captured(ROW, inferenceId="a"), captured(OTHER_ROW, inferenceId="b")]
    files = [("a.csv", "inference_id,rings\na,7\nz,8\n")]
    documents = [look(linear_artifact, tmp_path, name, asked, files) for name in ("one", "again")]
    assert documents[0] == documents[1]
    for name in ("answers.bin", "labels.bin"):
        first, second = ((tmp_path / run / "output" / name).read_bytes() for run in ("one", "again"))
        assert first == second


def test_what_cannot_be_remembered_waits_in_its_files_in_their_order(linear_artifact, tmp_path, monkeypatch):
    monkeypatch.setattr(ledger, "MOST", 3)
    tables = [f"inference_id,rings\n{rows}" for rows in ("a,7\nb,8\n", "c,7\nd,8\n", "e,9\n")]
    said = look(
        linear_artifact, tmp_path, "one", [captured(ROW)], [(f"{at}.csv", text) for at, text in enumerate(tables)]
    )["labels"]
    assert [key.rpartition("/")[2] for key in said["left"]] == ["1.csv", "2.csv"]
    assert (said["labels"], said["waiting"]) == (2, 2)


def test_a_model_of_before_there_were_labels_has_its_loss_counted_but_not_judged(linear_artifact, tmp_path):
    folder = tmp_path / "old"
    shutil.copytree(linear_artifact, folder)
    profile = json.loads((folder / "profile.json").read_text())
    (folder / "profile.json").write_text(
        json.dumps({name: profile[name] for name in profile if name not in (LOSS, ERROR)})
    )
    found = look(folder, tmp_path, "one", [captured(ROW, inferenceId="a")], [("a.csv", "inference_id,rings\na,7\n")])
    assert found["labels"]["totals"] == {"rows": 1, "loss": 6.25, "error": 2.5}
    assert not {LOSS, ERROR} & set(found["rows"])


def test_without_label_days_no_answer_is_kept(linear_artifact, tmp_path):
    assert "labels" not in look(linear_artifact, tmp_path, "one", [captured(ROW)], days=0.0)
    assert [path.name for path in (tmp_path / "one" / "output").iterdir()] == ["look.json"]
