"""Answers of containers of one's own, as transform jobs leave them, in an evaluation."""

import csv
import json

import numpy as np
import pytest

from retraining.inside import evaluation
from retraining.inside.artifact_process import ArtifactError
from retraining.inside.elsewhere.written import TransformedAnswers, documents, is_transformed
from retraining.inside.job_file import as_job
from retraining.jobs.code_bundle import fed
from retraining.settings.contract_keys import Contract

COLUMNS = [
    {"name": "site", "type": "string"},
    {"name": "depth", "type": "double", "nullable": True},
    {"name": "rings", "type": "double"},
]
ROWS = {"batch=a/part-0.csv": ["7,A,1.5", "9,B,", "8,A,2.5"], "batch=b/part-0.csv": ["5,C,4"]}
ANSWERED = {"batch=a/part-0.csv": [7.5, 9.5, 7.75], "batch=b/part-0.csv": [5.25]}


def job(**changes):
    contract = Contract.model_validate({"columns": COLUMNS, "target": "rings"}).model_dump(mode="json")
    return as_job(
        {
            "step": "evaluation",
            "model": "m",
            "contract": fed(contract),
            "csv_columns": ["rings", "site", "depth"],
            "explain_seconds": 1,
            **changes,
        }
    )


def written(folder, answers, form="predictions"):
    for name, values in answers.items():
        path = folder / f"{name}.out"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(values if isinstance(values, str) else json.dumps({form: values}))


@pytest.fixture
def inputs(tmp_path):
    for name, lines in ROWS.items():
        path = tmp_path / "test" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(f"{line}\n" for line in lines))
    written(tmp_path / "challenger", ANSWERED)
    return tmp_path


def evaluated(inputs, made=None):
    assert evaluation.run(made or job(), inputs, inputs / "out") == 0
    with (inputs / "out" / "rows.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    return (
        rows,
        json.loads((inputs / "out" / "summary.json").read_text()),
        json.loads((inputs / "out" / "smoke.json").read_text()),
    )


def test_each_answer_meets_the_row_that_it_was_given_for(inputs):
    rows, summary, smoke = evaluated(inputs)
    assert [(float(row["truth"]), float(row["challenger"])) for row in rows] == [
        (7, 7.5),
        (9, 9.5),
        (8, 7.75),
        (5, 5.25),
    ]
    assert {row["champion"] for row in rows} == {""}
    assert summary["challenger"]["rmse"] == pytest.approx(np.sqrt((0.25 + 0.25 + 0.0625 + 0.0625) / 4))
    assert (summary["champion"], summary["champion_failed"]) == (None, None)
    assert summary["not_explained"] == "it answers in a container of its own, whose code does not explain"
    assert not (inputs / "out" / "explanations").exists()
    asked = {row["why"]: (row["body"], row["prediction"]) for row in smoke["rows"]}
    assert (smoke["body"], smoke["prediction"]) == ("A,1.5", 7.5)
    assert asked == {
        "a row with a missing value": ("B,", 9.5),
        "largest answer": ("B,", 9.5),
        "smallest answer": ("C,4.0", 5.25),
    }


def test_a_request_may_be_answered_in_several_documents(inputs):
    text = '{"predictions": [7.5]}{"predictions": [9.5]}\n {"predictions": [7.75]}\n'
    written(inputs / "challenger", {"batch=a/part-0.csv": text})
    assert [float(row["challenger"]) for row in evaluated(inputs)[0]] == [7.5, 9.5, 7.75, 5.25]


def test_rows_of_an_object_are_taken_in_chunks(inputs, monkeypatch):
    monkeypatch.setattr(evaluation, "CHUNK_CELLS", 3)
    assert [float(row["challenger"]) for row in evaluated(inputs)[0]] == [7.5, 9.5, 7.75, 5.25]


def test_a_champion_answers_in_the_same_way_and_one_that_does_not_is_left_out(inputs):
    written(inputs / "champion", {name: [value + 1 for value in values] for name, values in ANSWERED.items()})
    rows, summary, _ = evaluated(inputs)
    assert [float(row["champion"]) for row in rows] == [8.5, 10.5, 8.75, 6.25]
    assert summary["champion_failed"] is None
    for answers, words in (
        ([8.5, 10.5], "gave 1 answers too few for the rows of batch=a/part-0.csv"),
        ([1.0, 2.0, 3.0, 4.0], "gave 1 more answers than batch=a/part-0.csv has rows"),
        ("sorry", "answers what is no JSON: 'sorry'"),
        ('{"answers": [1, 2, 3]}', "does not have the form"),
    ):
        written(inputs / "champion", {"batch=a/part-0.csv": answers})
        rows, summary, _ = evaluated(inputs)
        assert words in summary["champion_failed"]
        assert {row["champion"] for row in rows} == {""}
    (inputs / "champion" / "batch=b" / "part-0.csv.out").write_text('{"predictions": [1, 2]}')  # the last object
    written(inputs / "champion", {"batch=a/part-0.csv": [1.0, 2.0, 3.0]})
    assert "gave 1 more answers than batch=b/part-0.csv" in evaluated(inputs)[1]["champion_failed"]


@pytest.mark.parametrize(
    ("answers", "words"),
    [([7.5, 9.5], "1 answers too few"), ([1.0, 2.0, 3.0, 4.0], "1 more answers"), ("<html>", "no JSON: '<html>'")],
)
def test_a_challenger_that_does_not_answer_row_by_row_ends_the_evaluation(inputs, answers, words):
    written(inputs / "challenger", {"batch=a/part-0.csv": answers})
    with pytest.raises(ArtifactError, match=f"the challenger .*{words}"):
        evaluated(inputs)


def test_too_many_answers_to_the_last_object_end_the_evaluation(inputs):
    written(inputs / "challenger", {"batch=b/part-0.csv": [5.25, 6]})
    with pytest.raises(ArtifactError, match=r"the challenger gave 1 more answers than batch=b/part-0\.csv has rows"):
        evaluated(inputs)


def test_what_is_no_number_is_named_with_its_row(inputs):
    written(inputs / "challenger", {"batch=b/part-0.csv": ["x"]})
    with pytest.raises(ValueError, match=r"the challenger does not answer soundly.*row 4"):
        evaluated(inputs)


def test_a_classifier_answers_in_the_order_of_the_classes(inputs):
    columns = [COLUMNS[0], COLUMNS[1], {"name": "rings", "type": "string", "allowed": ["few", "many"]}]
    contract = Contract.model_validate({"columns": columns, "target": "rings"}).model_dump(mode="json")
    (inputs / "test" / "batch=a" / "part-0.csv").write_text("few,A,1.5\nmany,B,\nfew,A,2.5\n")
    (inputs / "test" / "batch=b" / "part-0.csv").write_text("many,C,4\n")
    made = job(contract=fed(contract), task="binary")
    shares = {"batch=a/part-0.csv": [[0.9, 0.1], [0.2, 0.8], [0.6, 0.4]], "batch=b/part-0.csv": [[0.3, 0.7]]}
    written(inputs / "challenger", shares, "probabilities")
    rows, summary, smoke = evaluated(inputs, made)
    assert [float(row["probability_challenger"]) for row in rows] == [0.1, 0.8, 0.4, 0.7]
    assert smoke["prediction"] == [0.9, 0.1]
    assert summary["challenger"]["accuracy"] == 1
    other = json.dumps({"probabilities": [[0.3, 0.7]], "classes": ["many", "few"]})
    written(inputs / "challenger", {"batch=b/part-0.csv": other})
    with pytest.raises(ArtifactError, match=r"answers the classes \['many', 'few'\]; the contract has"):
        evaluated(inputs, made)


@pytest.mark.parametrize("place", ["{}", "deeper/split=test/{}", "split=test/deeper/{}"])
def test_answers_are_found_wherever_the_service_put_them(tmp_path, place):
    written(tmp_path, {place.format(name): values for name, values in ANSWERED.items()})
    answers = TransformedAnswers(tmp_path, "challenger", ())
    for name, values in ANSWERED.items():
        answers.turn_to(name)
        assert answers.answers("predictions", len(values)) == values


def test_of_two_places_none_is_guessed(tmp_path):
    written(tmp_path, {"x/part-0.csv": [1], "y/part-0.csv": [2]})
    with pytest.raises(ArtifactError, match=r"gave no answers to batch=a/part-0\.csv"):
        TransformedAnswers(tmp_path, "champion", ()).turn_to("batch=a/part-0.csv")


def test_documents_stand_one_after_another():
    assert list(documents(' [1]\n{"a": 2}3 ', "it", "here")) == [[1], {"a": 2}, 3]
    assert list(documents(" \n", "it", "here")) == []


def test_an_artifact_is_no_answer(tmp_path):
    (tmp_path / "model.tar.gz").write_bytes(b"")
    assert not is_transformed(tmp_path)
    assert not is_transformed(tmp_path / "absent")
