import json
import sys
import types

import numpy as np
import pytest
from abalone_artifacts import COLUMNS

from retraining.inside import serving

BODY = "M,0.455,0.365,0.095,0.514,0.2245,0.101,0.15\nI,0.33,0.255,0.08,0.205,0.0895,0.0395,0.055\n"
ROWS = [["M", 0.455, 0.365, 0.095, 0.514, 0.2245, 0.101, 0.15], ["I", 0.33, 0.255, 0.08, 0.205, 0.0895, 0.0395, 0.055]]


@pytest.fixture(scope="module")
def model(default_artifact):
    return serving.model_fn(str(default_artifact))


def answer(model, body, content_type="text/csv", accept="application/json"):
    return serving.transform_fn(model, body, content_type, accept)


def predict(model, body, content_type):
    return np.array(json.loads(answer(model, body, content_type)[0])["predictions"])


def test_csv_lists_and_objects_get_the_same_answer(model):
    expected = predict(model, BODY, "text/csv")
    assert expected.shape == (2,)
    assert 1 < expected[1] < expected[0] < 30
    named = [dict(zip(COLUMNS[1:], row, strict=True)) for row in ROWS]
    shuffled = [dict(reversed(row.items())) | {"site": "north"} for row in named]
    assert np.array_equal(predict(model, json.dumps(ROWS), "application/json"), expected)  # a JSONSerializer's form
    for instances in (ROWS, named, shuffled):
        assert np.array_equal(predict(model, json.dumps({"instances": instances}), "application/json"), expected)
    assert np.array_equal(predict(model, BODY.replace("\n", "\r\n").encode(), "text/csv; charset=utf-8"), expected)


def test_a_row_alone_is_predicted_as_it_is_among_others(model):
    both = predict(model, BODY, "text/csv")
    alone = [predict(model, line, "text/csv")[0] for line in BODY.splitlines()]
    assert alone == pytest.approx(both, rel=1e-12)


def test_answers_are_json_by_default_and_csv_on_request(model):
    values = predict(model, BODY, "text/csv")
    for accept in ("application/json", "*/*", "", "text/html, */*"):
        text, kind = answer(model, BODY, accept=accept)
        assert kind == "application/json"
        assert json.loads(text) == {"predictions": list(values)}
    text, kind = answer(model, BODY, accept="text/csv")
    assert kind == "text/csv"
    assert [float(line) for line in text.splitlines()] == list(values)


@pytest.mark.parametrize(
    ("body", "content_type", "status", "message"),
    [
        ("", "text/csv", 400, "no rows"),
        ("\n\n", "text/csv", 400, "no rows"),
        ('{"instances": []}', "application/json", 400, "no rows"),
        ("M,0.455\n", "text/csv", 400, r"row 1 has 2 values, expected 8: sex, length"),
        (BODY + "M,0.4\n", "text/csv", 400, r"row 3 has 2 values"),
        (BODY.replace("I,", "X,"), "text/csv", 400, "row 2 breaks the contract: sex: not one of M, F, I"),
        (BODY.replace("0.455", ""), "text/csv", 400, "row 1: length is missing, expected a number"),
        (BODY.replace("0.455", "nan"), "text/csv", 400, r"row 1: length is 'nan', not a finite number"),
        ('"M,0.4', "text/csv", 400, "not CSV"),
        (b"\xff\xfe", "text/csv", 400, "not UTF-8"),
        ("{", "application/json", 400, "not JSON"),
        ("[]", "application/json", 400, "no rows"),
        ("3", "application/json", 400, "no list of rows"),
        (json.dumps(ROWS[0]), "application/json", 400, r"no list of rows: send .*\[\[\.\.\.\], \.\.\.\]"),
        ('{"instances": 3}', "application/json", 400, "no list of rows"),
        ('{"instances": [3]}', "application/json", 400, "no list of rows"),
        ('{"instances": [{"sex": "M"}]}', "application/json", 400, "row 1 has no length, diameter"),
        (json.dumps({"instances": [["M", None, *ROWS[0][2:]]]}), "application/json", 400, "row 1: length is missing"),
        (json.dumps({"instances": [["M", [1], *ROWS[0][2:]]]}), "application/json", 400, r"row 1: length is \[1\]"),
        (json.dumps({"instances": [[7, *ROWS[0][1:]]]}), "application/json", 400, "row 1: sex is 7, expected a text"),
        (json.dumps({"instances": [["M", True, *ROWS[0][2:]]]}), "application/json", 400, "row 1: length is True"),
        (json.dumps({"instances": [["M", "1_5", *ROWS[0][2:]]]}), "application/json", 400, "row 1: length is '1_5'"),
        (
            '{"instances": [["M", ' + "9" * 400 + ", 1, 1, 1, 1, 1, 1]]}",
            "application/json",
            400,
            "row 1: length is 9999",
        ),
        ('{"instances": ' + "[" * 100_000, "application/json", 400, "not JSON"),
        ('{"instances": [["\\ud800", 1, 1, 1, 1, 1, 1, 1]]}', "application/json", 400, "no Unicode text"),
        (BODY.replace("0.455", "-0.455"), "text/csv", 400, "row 1 breaks the contract: length: not above 0"),
        (BODY.replace("0.455", "91"), "text/csv", 400, "row 1 breaks the contract: length: above 1"),
        (BODY.replace("0.2245", "2"), "text/csv", 400, r"parts_within_whole: shucked_weight \+ .* above 1\.1 x whole"),
        (BODY, "image/png", 415, "not served"),
    ],
)
def test_a_request_that_cannot_be_answered_is_the_clients_error(model, body, content_type, status, message):
    with pytest.raises(serving.InvalidRequest, match=message) as caught:
        answer(model, body, content_type)
    assert caught.value.status_code == status


def test_sagemakers_container_gets_a_response_because_it_answers_500_to_every_exception(model, monkeypatch):
    class Response:
        def __init__(self, response, status, mimetype):
            self.given = (response, status, mimetype)

    names = ["sagemaker_containers", "sagemaker_containers.beta", "sagemaker_containers.beta.framework"]
    for name in names:
        monkeypatch.setitem(sys.modules, name, types.ModuleType(name))
    sys.modules[names[-1]].worker = types.SimpleNamespace(Response=Response)
    found = answer(model, "M,0.455\n")
    assert found.given[0].startswith("row 1 has 2 values, expected 8")
    assert found.given[1:] == (400, "text/plain")


def test_an_unknown_accept_type_is_the_clients_error(model):
    with pytest.raises(serving.InvalidRequest, match="cannot answer") as caught:
        answer(model, BODY, accept="image/png")
    assert caught.value.status_code == 406


@pytest.mark.parametrize(
    ("given", "message"),
    [(np.array([np.nan, 9.0]), "answers nan for row 1"), (np.array([9.0]), r"shape \(1,\) for 2 rows")],
)
def test_a_broken_model_is_not_the_clients_error(model, given, message):
    class Broken:
        def predict(self, frame):
            return given

    with pytest.raises(ValueError, match=message) as caught:
        predict(model._replace(estimator=Broken()), BODY, "text/csv")
    assert not isinstance(caught.value, serving.InvalidRequest)
