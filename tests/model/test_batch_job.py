"""The job that scores files, run as a processing job runs it, on artifacts that were trained here."""

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from abalone_artifacts import CONFIG, pack, write_job

from retraining.contract.rules import Contract
from retraining.inside import program, serving
from retraining.inside.artifact_process import ArtifactError
from retraining.inside.watching import batch
from retraining.serving import batch as batches
from retraining.serving.batch import BatchFile, Scorer

HEADER = "sex,length,diameter,height,whole_weight,shucked_weight,viscera_weight,shell_weight"
GOOD = ["M,0.455,0.365,0.095,0.514,0.2245,0.101,0.15", "F,0.53,0.42,0.135,0.677,0.2565,0.1415,0.21"]
CONTRACT = Contract.of(CONFIG.contract.model_dump(mode="json"))
SCORER = Scorer(version="v7", package_arn="arn", model_data="s3://b/m", image="image")


def score(artifact: Path, folder: Path, **files: str | bytes) -> Path:
    """Score files with an unpacked artifact; return the output folder."""
    inputs = folder / "input"
    pack(artifact, inputs / "model")
    (inputs / "files").mkdir(parents=True)
    listed = []
    for number, (name, text) in enumerate(files.items()):
        body = text if isinstance(text, bytes) else text.encode()
        (inputs / "files" / batches.numbered(number)).write_bytes(body)
        listed.append(BatchFile(path=name if "." in name else f"{name}.csv", etag="e", size=len(body)))
    write_job(inputs / "job", batches.job_document(CONFIG, SCORER, listed))
    assert program.main(folder, ["--inputs", str(inputs), "--output", str(folder / "output")], {}) == 0
    return folder / "output"


PICKY = """
import json
class Model: pass
def model_fn(folder): return Model()
def input_fn(body, content_type): return json.loads(body)["instances"]
def predict_fn(rows, model):
    if any(row["length"] in {bad} for row in rows):
        raise ValueError("this length is beyond me")
    return [row["height"] * 2 for row in rows]
def output_fn(prediction, accept): return json.dumps({{"predictions": prediction}}), accept
"""


def picky(folder: Path, *bad: float) -> Path:
    (folder / "code").mkdir(parents=True)
    (folder / "code" / "inference.py").write_text(PICKY.format(bad=set(bad) or "set()"))
    return folder


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_each_row_gets_the_answer_of_the_endpoint_and_keeps_what_stood_beside_it(linear_artifact, abalone, tmp_path):
    text = "rings,note," + HEADER + "\n"
    rows = abalone[:300]
    text += "".join(f'{row.rings},"a, {number}",{",".join(map(str, row[1:]))}\n' for number, row in rows.iterrows())
    contract = CONFIG.contract.model_copy(update={"ignore": ("note",), "rules": ()})  # the real rows break one
    card = json.loads((linear_artifact / "model_card.json").read_text())
    artifact = tmp_path / "artifact"
    shutil.copytree(linear_artifact, artifact)
    (artifact / "model_card.json").write_text(json.dumps({**card, "contract": contract.model_dump(mode="json")}))
    output = score(artifact, tmp_path, survey=text)
    found = rows_of(output / "000000" / "scored.csv")
    assert list(found[0]) == ["line", "rings", "note", *HEADER.split(","), "prediction", "model"]
    assert [int(row["line"]) for row in found] == list(range(2, 302))
    assert (found[5]["rings"], found[5]["note"], found[5]["model"]) == (str(rows.rings[5]), "a, 5", "v7")
    body = rows.drop(columns="rings").to_csv(header=False, index=False)
    answer, _ = serving.transform_fn(serving.model_fn(str(artifact)), body, "text/csv", "application/json")
    expected = json.loads(answer)["predictions"]
    assert np.abs(np.array([float(row["prediction"]) for row in found]) - expected).max() == 0


def test_bad_rows_are_set_aside_with_their_reasons_and_the_others_scored(tmp_path):
    bad = GOOD[0].replace("0.455", "1.455"), GOOD[0].replace("M,", "X,"), "M,1"
    output = score(
        picky(tmp_path / "artifact"), tmp_path, survey="\n".join([HEADER, bad[0], GOOD[0], bad[1], GOOD[1], bad[2], ""])
    )
    folder = output / "000000"
    assert [row["line"] for row in rows_of(folder / "scored.csv")] == ["3", "5"]
    assert [(row["line"], row["reasons"], row["row"]) for row in rows_of(folder / "rejected.csv")] == [
        ("2", "length: above 1", bad[0]),
        ("4", "sex: not one of M, F, I", bad[1]),
        ("6", "line: too few columns", bad[2]),
    ]
    report = json.loads((folder / "report.json").read_text())
    assert (report["outcome"], report["rows"], report["scored"], report["rejected"]) == ("scored", 5, 2, 3)
    assert "60.0%" in report["reason"]


def test_a_refused_file_says_why_and_the_files_beside_it_are_scored(tmp_path):
    output = score(
        picky(tmp_path / "artifact"),
        tmp_path,
        other="name,size\na,1\nb,2\n",
        good=f"{HEADER}\n{GOOD[0]}\n",
        empty=f"{HEADER}\n",
    )
    refused, good, empty = (json.loads((output / f"00000{n}" / "report.json").read_text()) for n in range(3))
    assert (refused["outcome"], refused["scored"]) == ("refused", 0)
    assert "names no contract column" in refused["reason"]
    assert [path.name for path in (output / "000000").iterdir()] == ["report.json"]
    assert (good["outcome"], good["scored"], good["key"]) == ("scored", 1, "abalone/batch/in/good.csv")
    assert (empty["outcome"], empty["rows"]) == ("scored", 0)
    assert (output / "000002" / "scored.csv").read_text().startswith("line,sex,")


def test_a_file_that_is_refused_in_its_middle_leaves_no_answer_for_the_next(tmp_path, monkeypatch):
    monkeypatch.setattr(batch, "CHUNK_CELLS", 16)  # two rows a request
    monkeypatch.setattr(batch, "PROCESSES", 2)
    turned = ",".join(reversed(HEADER.split(",")))
    low, high = (GOOD[0].replace("0.095", height) for height in ("0.1", "0.2"))
    output = score(
        picky(tmp_path / "artifact"),
        tmp_path,
        damaged="\n".join([HEADER, *[low] * 6, turned, *[low] * 4, ""]),
        good="\n".join([HEADER, *[high] * 6, ""]),
    )
    assert json.loads((output / "000000" / "report.json").read_text())["outcome"] == "refused"
    assert [row["prediction"] for row in rows_of(output / "000001" / "scored.csv")] == ["0.4"] * 6


def test_rows_by_key_and_by_column_are_scored_as_lines_are(tmp_path):
    names = HEADER.split(",")
    rows = [dict(zip(names, [line.split(",")[0], *map(float, line.split(",")[1:])], strict=True)) for line in GOOD]
    table = pd.DataFrame([{"rings": 3, **row} for row in rows])
    by_key = "".join(json.dumps({**row, "rings": 3, "source": "survey"}) + "\n" for row in rows)
    answers = []
    for name, body in (("a.csv", "\n".join([HEADER, *GOOD])), ("a.jsonl", by_key), ("a.parquet", table.to_parquet())):
        output = score(picky(tmp_path / name / "artifact"), tmp_path / name, **{name: body})
        found = rows_of(output / "000000" / "scored.csv")
        answers.append([(row["sex"], float(row["shell_weight"]), row["prediction"], row["model"]) for row in found])
    assert answers[0] == answers[1] == answers[2]
    assert len(answers[0]) == 2


def test_a_row_that_only_the_model_refuses_is_found_among_thousands(tmp_path):
    rows = [GOOD[0].replace("0.455", f"{0.4 + number / 1e5:.5f}") for number in range(7000)]
    output = score(picky(tmp_path / "artifact", 0.41234, 0.44444), tmp_path, survey="\n".join([HEADER, *rows, ""]))
    aside = rows_of(output / "000000" / "rejected.csv")
    assert [(row["line"], row["reasons"]) for row in aside] == [
        ("1236", "ValueError: this length is beyond me"),
        ("4446", "ValueError: this length is beyond me"),
    ]
    assert len(rows_of(output / "000000" / "scored.csv")) == 6998


def test_a_model_that_answers_nothing_refuses_its_file_and_fails_the_job_when_there_is_no_other(tmp_path):
    files = {"one": f"{HEADER}\n{GOOD[0]}\n", "two": f"{HEADER}\n{GOOD[1]}\n"}
    output = score(picky(tmp_path / "a" / "artifact", 0.455), tmp_path / "a", **files)
    report = json.loads((output / "000000" / "report.json").read_text())
    assert (report["outcome"], report["reason"]) == (
        "refused",
        "the model answered none of 1 rows; the last reason: ValueError: this length is beyond me",
    )
    assert json.loads((output / "000001" / "report.json").read_text())["scored"] == 1
    with pytest.raises(ArtifactError, match="no file was answered"):
        score(picky(tmp_path / "b" / "artifact", 0.455, 0.53), tmp_path / "b", **files)


DEADLY = """
import json, os
class Model: pass
def model_fn(folder): return Model()
def input_fn(body, content_type): return json.loads(body)["instances"]
def predict_fn(rows, model):
    lengths = [row["length"] for row in rows]
    if 0.555 in lengths:
        os._exit(9)
    return [2 * length for length in lengths if length != 0.666]
def output_fn(prediction, accept): return json.dumps({"predictions": prediction}), accept
"""


@pytest.mark.parametrize(("length", "reason"), [("0.555", "exit code 9"), ("0.666", "without as many predictions")])
def test_a_row_that_the_model_does_not_bear_refuses_its_file_alone(tmp_path, length, reason):
    folder = tmp_path / "artifact"
    (folder / "code").mkdir(parents=True)
    (folder / "code" / "inference.py").write_text(DEADLY)
    good = f"{HEADER}\n{GOOD[0]}\n"
    files = {"bad": good.replace("0.455", length), "good": good, "empty": f"{HEADER}\n"}
    output = score(folder, tmp_path / "some", **files)
    refused, scored = (json.loads((output / f"00000{n}" / "report.json").read_text()) for n in range(2))
    assert (refused["outcome"], [path.name for path in (output / "000000").iterdir()]) == ("refused", ["report.json"])
    assert reason in refused["reason"]
    assert "the rows after the first 0" in refused["reason"]
    assert (scored["outcome"], scored["scored"]) == ("scored", 1)
    with pytest.raises(ArtifactError, match="no file was answered"):
        score(folder, tmp_path / "none", bad=files["bad"], empty=files["empty"])


@pytest.mark.parametrize("shares", ["0.25", "[0.25]", "{}"])
def test_an_answer_without_a_probability_for_each_class_is_none(tmp_path, shares):
    folder = tmp_path / "artifact"
    (folder / "code").mkdir(parents=True)
    answer = (
        '{"predictions": ["old"] * len(prediction), "probabilities": [SHARES] * len(prediction), "classes": ["a", "b"]}'
    )
    text = PICKY.format(bad="set()").replace('{"predictions": prediction}', answer.replace("SHARES", shares))
    (folder / "code" / "inference.py").write_text(text)
    with pytest.raises(ArtifactError, match="one probability for each class"):
        score(folder, tmp_path, a=f"{HEADER}\n{GOOD[0]}\n")


def test_a_model_that_cannot_be_loaded_fails_the_job(tmp_path):
    folder = tmp_path / "artifact"
    (folder / "code").mkdir(parents=True)
    (folder / "code" / "inference.py").write_text("import json_of_another_age")
    lines = [HEADER, *[GOOD[0]] * 3000, ""]  # a request that no pipe holds
    with pytest.raises(ArtifactError, match=r"no file was answered: the model .* ended with exit code 1"):
        score(folder, tmp_path, a="\n".join(lines), empty=f"{HEADER}\n")


def test_a_classification_gets_label_and_probabilities(tmp_path):
    folder = tmp_path / "artifact"
    (folder / "code").mkdir(parents=True)
    text = PICKY.format(bad="set()").replace(
        '{"predictions": prediction}',
        '{"predictions": ["old"] * len(prediction), "probabilities": [[0.25, 0.75]] * '
        'len(prediction), "classes": ["young", "old"]}',
    )
    (folder / "code" / "inference.py").write_text(text)
    [row] = rows_of(score(folder, tmp_path, a=f"{HEADER}\n{GOOD[0]}\n") / "000000" / "scored.csv")
    assert (row["prediction"], row["probability_young"], row["probability_old"]) == ("old", "0.25", "0.75")


def test_a_column_of_the_file_never_hides_an_answer():
    assert batch._header(["line", "model", "x"], batch.Answer(("1",)), batch.Question((), CONTRACT, False)) == [
        "line", "line_", "model_", "x", "prediction", "model",
    ]  # fmt: skip
    asked = batch.Question(("x",), CONTRACT, True)
    assert batch._header(["base", "effect_x", "x"], batch.Answer(("1",), ("a", "b")), asked) == [
        "line", "base_", "effect_x_", "x", "prediction", "probability_a", "probability_b", "base", "effect_x", "model",
    ]  # fmt: skip


def test_values_of_any_type_reach_the_model_as_the_contract_reads_them():
    stamp = pd.Timestamp("2026-01-02T03:04:05Z").to_pydatetime()
    assert [batch._plain(value) for value in (None, True, 3, 1.5, "a", stamp)] == [
        None, True, 3, 1.5, "a", "2026-01-02T03:04:05Z",
    ]  # fmt: skip
