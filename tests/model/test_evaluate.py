import csv
import io
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path
from types import SimpleNamespace

import joblib
import numpy as np
import pandas as pd
import pytest
from abalone_artifacts import COLUMNS, MODEL, evaluation_job, pack, write_job

from lambda_functions.analyze_results import handler
from retraining.inside import artifact, evaluation, program, serving
from retraining.inside.artifact_process import ArtifactProcess
from retraining.jobs.code_bundle import code_files


@pytest.fixture(scope="module")
def challenger(default_artifact, tmp_path_factory) -> Path:
    return pack(default_artifact, tmp_path_factory.mktemp("challenger"))


@pytest.fixture(scope="module")
def champion(linear_artifact, tmp_path_factory) -> Path:
    return pack(linear_artifact, tmp_path_factory.mktemp("champion"))


def arrange(folder: Path, test: Path, challenger: Path, champion: Path | None = None, **changes) -> Path:
    """Lay out the inputs of a processing job; return their folder."""
    inputs = folder.parent / f"{folder.name}-inputs"
    write_job(inputs / "job", evaluation_job(**changes))
    for name, source in {"test": test, "challenger": challenger, "champion": champion}.items():
        if source:
            (inputs / name).symlink_to(source, target_is_directory=True)
    return inputs


def run(output: Path, test: Path, challenger: Path, champion: Path | None = None, **changes) -> dict:
    """Evaluate in this process; return the summary."""
    inputs = arrange(output, test, challenger, champion, **changes)
    assert program.main(MODEL, ["--inputs", str(inputs), "--output", str(output)], {}) == 0
    return json.loads((output / "summary.json").read_text())


def answering(predictions: str) -> str:
    """Return the source of an inference.py that answers ``predictions``, an expression in ``rows``, the number of rows."""
    return f"""
import json
def model_fn(folder): return None
def input_fn(body, content_type): return len(json.loads(body)["instances"]) if content_type != "text/csv" else 1
def predict_fn(rows, model): return {predictions}
def output_fn(prediction, accept): return json.dumps({{"predictions": prediction}})
"""


def fake_artifact(folder: Path, inference: str = "", **files: str) -> Path:
    """Pack an artifact whose serving code is ``inference``, for answers that no sound model gives."""
    code = folder / "unpacked" / "code"
    code.mkdir(parents=True)
    for name, text in (files or {"inference.py": inference}).items():
        (code / name).write_text(text)
    return pack(folder / "unpacked", folder)


def rows_of(output: Path) -> pd.DataFrame:
    return pd.read_csv(output / "rows.csv", float_precision="round_trip")


@pytest.fixture(scope="module")
def evaluated(channels, challenger, champion, tmp_path_factory) -> Path:
    """Return the output of one evaluation of two real artifacts."""
    output = tmp_path_factory.mktemp("evaluated")
    run(output, channels / "test", challenger, champion)
    return output


def test_both_models_are_scored_on_every_test_row(evaluated, default_artifact, linear_artifact, abalone):
    rows, test = rows_of(evaluated), abalone[2200:2409]
    assert list(rows.columns) == list(evaluation.COLUMNS)
    for role in ("challenger", "champion"):
        assert np.array_equal(rows[f"loss_{role}"], (rows[role] - rows["truth"]) ** 2)
    assert list(rows["row"]) == list(range(1, 210))
    assert np.array_equal(rows["truth"], test["rings"])
    assert np.array_equal(rows["group"], test["sex"])
    for role, folder in (("challenger", default_artifact), ("champion", linear_artifact)):
        model = joblib.load(folder / "model.joblib")
        assert rows[role].to_numpy() == pytest.approx(model.predict(test.drop(columns="rings")), rel=1e-12)


def test_the_summary_is_what_the_lambda_makes_of_the_rows(evaluated):
    summary = json.loads((evaluated / "summary.json").read_text())
    with (evaluated / "rows.csv").open("rb") as body:
        analysis = handler.analyze_csv(body)
    assert [summary.pop(name) for name in ("task", "classes", "champion_failed")] == ["regression", [], None]
    assert summary.pop("files") == ["batch=a"]
    assert summary.pop("not_explained") == "evaluation.explain_seconds is 0"
    assert summary.pop("n") == analysis["n"]
    for role in ("challenger", "champion"):
        assert analysis[role] == pytest.approx(summary.pop(role), rel=1e-9)
    assert summary == {}


def test_the_smoke_request_is_answered_by_the_artifact_as_recorded(evaluated, default_artifact):
    smoke = json.loads((evaluated / "smoke.json").read_text())
    model = serving.model_fn(str(default_artifact))
    answer, _ = serving.transform_fn(model, smoke["body"], smoke["content_type"], "application/json")
    assert json.loads(answer)["predictions"] == [smoke["prediction"]]
    predicted = rows_of(evaluated)["challenger"]
    assert smoke["prediction"] == pytest.approx(predicted[0], rel=1e-12)
    asked = {row["why"]: row["prediction"] for row in smoke["rows"]}
    assert asked["largest answer"] == pytest.approx(predicted.max(), rel=1e-12)
    assert asked["smallest answer"] == pytest.approx(predicted.min(), rel=1e-12)


def test_a_text_of_two_lines_is_one_row_of_a_smoke_request():
    class Challenger:
        def ask(self, body, content_type):
            self.rows = list(csv.reader(io.StringIO(body, newline="")))

        def answers(self, kind, rows):
            assert len(self.rows) == rows
            return [9.5]

    columns = [SimpleNamespace(name="note", type="string"), SimpleNamespace(name="x", type="double")]
    frame = pd.DataFrame({"note": ["two\nlines"], "x": [0.5]})
    job = SimpleNamespace(inputs=columns, classes=())
    row = evaluation._smoke_row(frame, np.array(9.5), job, Challenger())
    assert row == {"body": '"two\nlines",0.5', "prediction": 9.5}


def test_a_first_model_has_no_champion(channels, tmp_path):
    summary = run(
        tmp_path / "out", channels / "test", fake_artifact(tmp_path / "challenger", answering("[9.5] * rows"))
    )
    assert summary["challenger"]["rmse"] > 0
    assert summary["champion"] is None
    with (tmp_path / "out" / "rows.csv").open() as lines:
        assert {row["champion"] for row in csv.DictReader(lines)} == {""}


def test_the_code_of_the_artifacts_does_not_mix_with_that_of_the_job(channels, tmp_path):
    """The bundle as it lies in S3 is all that the job needs; both artifacts have modules of the same names as it has."""
    bundle = tmp_path / "code"
    for name, content in {**code_files(MODEL), "features.py": b"VALUE = -1.0"}.items():
        (bundle / name).parent.mkdir(parents=True, exist_ok=True)
        (bundle / name).write_bytes(content)
    models = {}
    for role, value in (("challenger", 8.0), ("champion", 12.0)):
        code = {
            "inference.py": "import features\n" + answering("[features.VALUE] * rows"),
            "features.py": f"VALUE = {value}",
        }
        models[role] = fake_artifact(tmp_path / role, **code)
    inputs = arrange(tmp_path / "out", channels / "test", models["challenger"], models["champion"])
    command = [sys.executable, bundle / "job.py", "--inputs", inputs, "--output", tmp_path / "out"]
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    rows = rows_of(tmp_path / "out")
    assert set(rows["challenger"]) == {8.0}
    assert set(rows["champion"]) == {12.0}


def test_a_champion_trained_by_other_code_keeps_scoring(channels, abalone, tmp_path):
    """Its features.py has the same class names with another behaviour, and a class that today's file does not have."""
    old_code = tmp_path / "old"
    for name, content in code_files(MODEL).items():
        (old_code / name).parent.mkdir(parents=True, exist_ok=True)
        (old_code / name).write_bytes(content)
    text = (old_code / "features.py").read_text()
    text = text.replace("class RawInputs(", "class RetiredInputs(").replace("-> RawInputs", "-> RetiredInputs")
    text += "\n\nclass RawInputs(RetiredInputs):\n    def transform(self, frame):\n"
    text += "        return super().transform(frame)[:, :1]\n"
    (old_code / "features.py").write_text(text)
    job = evaluation_job(step="training", hyperparameters={"algorithm": "linear"})
    write_job(tmp_path / "job", job)
    environment = {
        **os.environ,
        "SM_CHANNEL_TRAIN": str(channels / "train"),
        "SM_CHANNEL_VALIDATION": str(channels / "validation"),
        "SM_CHANNEL_JOB": str(tmp_path / "job"),
        "SM_MODEL_DIR": str(tmp_path / "artifact"),
    }
    subprocess.run([sys.executable, str(old_code / "job.py")], env=environment, check=True, timeout=120)
    champion = pack(tmp_path / "artifact", tmp_path / "champion")
    shutil.rmtree(old_code)
    challenger = fake_artifact(tmp_path / "challenger", answering("[9.5] * rows"))
    run(tmp_path / "out", channels / "test", challenger, champion)
    slope, intercept = np.polyfit(abalone["length"][:1600], abalone["rings"][:1600], 1)  # what the old code amounts to
    expected = intercept + slope * abalone["length"][2200:2409]
    assert rows_of(tmp_path / "out")["champion"].to_numpy() == pytest.approx(expected.to_numpy(), rel=1e-9)


def test_a_champion_keeps_scoring_when_the_contract_has_gained_a_column(evaluated, champion, abalone, tmp_path):
    wider = ["rings", "site", *COLUMNS[1:]]
    (tmp_path / "test").mkdir()
    test = abalone[2200:2409].assign(site="north")[wider]
    test.to_csv(tmp_path / "test" / "rows.csv", header=False, index=False)
    indifferent = fake_artifact(tmp_path / "challenger", answering("[9.5] * rows"))
    contract = evaluation_job()["contract"]
    contract["columns"] = [{"name": "site", "type": "string"}, *contract["columns"]]
    run(tmp_path / "out", tmp_path / "test", indifferent, champion, contract=contract, csv_columns=wider)
    now, before = (rows_of(output)["champion"].to_numpy() for output in (tmp_path / "out", evaluated))
    assert now == pytest.approx(before, rel=1e-12)


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        (answering("1 / 0"), r"the champion .* failed: ZeroDivisionError"),
        ("raise ImportError('a library that this image has lost')", r"the champion .* ended with exit code 1"),
        (answering("[float('nan')] * rows"), r"the champion does not answer soundly: the prediction for row 1 is nan"),
        (None, r"the champion cannot be loaded: .*model\.tar\.gz does not exist"),
    ],
)
def test_a_champion_that_cannot_be_scored_is_named_and_does_not_end_the_evaluation(channels, tmp_path, code, reason):
    (tmp_path / "champion").mkdir()
    champion = fake_artifact(tmp_path / "champion", code) if code else tmp_path / "champion"
    challenger = fake_artifact(tmp_path / "challenger", answering("[9.5] * rows"))
    summary = run(tmp_path / "out", channels / "test", challenger, champion)
    assert re.search(reason, summary["champion_failed"])
    assert (summary["champion"], summary["n"]) == (None, 209)
    assert rows_of(tmp_path / "out")[["champion", "loss_champion"]].isna().all(axis=None)


def apart(output: Path, test: Path, champion: Path, **changes) -> Path:
    """Let a champion answer in a job of its own; return the folder that the evaluation gets in its place."""
    inputs = output.parent / f"{output.name}-inputs"
    write_job(inputs / "job", {**evaluation_job(**changes), "step": "champion"})
    for name, source in {"test": test, "champion": champion}.items():
        (inputs / name).symlink_to(source, target_is_directory=True)
    assert program.main(MODEL, ["--inputs", str(inputs), "--output", str(output)], {}) == 0
    return output


def test_a_champion_that_answers_in_a_job_of_its_own_is_compared_as_if_it_were_here(
    channels, challenger, champion, tmp_path, monkeypatch
):
    monkeypatch.setattr(evaluation, "CHUNK_CELLS", 450)  # rows come in several pieces
    answers = apart(tmp_path / "answers", channels / "test", champion)
    assert [path.name for path in answers.iterdir()] == [evaluation.ANSWERS]
    summary = run(tmp_path / "out", channels / "test", challenger, answers)
    assert summary == run(tmp_path / "together", channels / "test", challenger, champion)
    assert (tmp_path / "out" / "rows.csv").read_bytes() == (tmp_path / "together" / "rows.csv").read_bytes()


def test_a_champion_that_cannot_answer_in_its_own_job_is_named_by_the_evaluation(channels, tmp_path):
    broken = fake_artifact(tmp_path / "champion", answering("1 / 0"))
    answers = apart(tmp_path / "answers", channels / "test", broken)
    sound = fake_artifact(tmp_path / "challenger", answering("[9.5] * rows"))
    summary = run(tmp_path / "out", channels / "test", sound, answers)
    assert re.search(r"the champion .* failed: ZeroDivisionError", summary["champion_failed"])
    assert (summary["champion"], summary["n"]) == (None, 209)


@pytest.mark.parametrize("rows", [208, 200])
def test_answers_to_other_rows_are_not_compared(channels, abalone, champion, tmp_path, rows):
    (tmp_path / "test").mkdir()
    others = abalone[2200 : 2200 + rows]
    others.reindex(columns=COLUMNS).to_csv(tmp_path / "test" / "rows.csv", header=False, index=False)
    answers = apart(tmp_path / "answers", tmp_path / "test", champion)
    sound = fake_artifact(tmp_path / "challenger", answering("[9.5] * rows"))
    summary = run(tmp_path / "out", channels / "test", sound, answers)
    assert summary["champion_failed"] == "the champion was scored on other rows than the challenger"


def test_a_model_needs_no_group_and_a_group_of_many_numbers_becomes_ranges(channels, challenger, tmp_path):
    run(tmp_path / "none", channels / "test", challenger, group=None)
    assert rows_of(tmp_path / "none")["group"].isna().all()
    run(tmp_path / "ranges", channels / "test", challenger, group="length")
    ranges = rows_of(tmp_path / "ranges")["group"].value_counts()
    assert len(ranges) == 10
    assert set(ranges) <= set(range(15, 30))


@pytest.mark.parametrize(
    ("code", "message"),
    [
        (answering("[1.0]"), r"the challenger answered 209 rows with 1 predictions"),
        (answering("3"), r"the challenger answered 209 rows with no list of predictions"),
        (
            answering("[float('nan')] * rows"),
            r"the challenger does not answer soundly: the prediction for row 1 is nan",
        ),
        (
            answering("[1.0] * (rows - 1) + [None]"),
            r"the challenger does not answer soundly: the prediction for row 209 is nan",
        ),
        (answering("1 / 0"), r"the challenger .* failed: ZeroDivisionError"),
        ("raise ImportError('no such library')", r"the challenger .* ended with exit code 1 before it answered"),
    ],
)
def test_an_artifact_that_does_not_answer_soundly_fails_the_job(channels, tmp_path, code, message):
    broken = fake_artifact(tmp_path / "broken", code)
    with pytest.raises((ValueError, RuntimeError), match=message):
        run(tmp_path / "out", channels / "test", broken)
    assert not (tmp_path / "out" / "summary.json").exists()


def test_what_an_artifact_prints_does_not_end_up_among_the_answers(tmp_path):
    chatty = fake_artifact(tmp_path / "chatty", "print('hello')\n" + answering("print('hi') or [9.0] * rows"))
    with ArtifactProcess(chatty, "champion") as model:
        model.ask(body="", content_type="text/csv")
        assert model.answers("predictions", 1) == [9.0]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no rows"),
        ("9,M\n", r"rows\.csv has 2 columns, expected 9"),
        ("nan,M,.4,.3,.1,.5,.2,.1,.1\n", r"rows\.csv, line 1: rings is nan, not a finite number"),
    ],
)
def test_a_test_channel_that_does_not_fit_is_an_error(tmp_path, text, message):
    (tmp_path / "test").mkdir()
    (tmp_path / "test" / "rows.csv").write_text(text)
    with pytest.raises(ValueError, match=message):
        run(tmp_path / "out", tmp_path / "test", fake_artifact(tmp_path / "model", answering("[9.5] * rows")))


@pytest.mark.parametrize("filters", [True, False], ids=["this Python", "Python before 3.11.4"])
def test_an_archive_may_not_write_outside_its_folder(tmp_path, monkeypatch, filters):
    if not filters:
        monkeypatch.delattr(tarfile, "data_filter", raising=False)
    (tmp_path / "good").mkdir()
    artifact.extract(fake_artifact(tmp_path / "model", answering("[9.5] * rows")) / "model.tar.gz", tmp_path / "good")
    assert (tmp_path / "good" / "code").is_dir()
    with tarfile.open(tmp_path / "model.tar.gz", "w:gz") as tar:
        member = tarfile.TarInfo("../escaped.txt")
        member.size = 4
        tar.addfile(member, io.BytesIO(b"evil"))
    target = tmp_path / "inside"
    target.mkdir()
    with pytest.raises(ValueError, match=r"model\.tar\.gz holds an unsafe member"):
        artifact.extract(tmp_path / "model.tar.gz", target)
    assert not (tmp_path / "escaped.txt").exists()


@pytest.mark.parametrize(("content", "message"), [(None, "does not exist"), (b"not a tar", "cannot be unpacked")])
def test_an_archive_that_is_missing_or_damaged_is_named(tmp_path, content, message):
    if content is not None:
        (tmp_path / "model.tar.gz").write_bytes(content)
    with pytest.raises(ValueError, match=rf"model\.tar\.gz {message}"):
        artifact.extract(tmp_path / "model.tar.gz", tmp_path)
