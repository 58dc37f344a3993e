import json

import inference
import numpy as np
import pytest
from abalone_artifacts import COLUMNS

BODY = "M,0.455,0.365,0.095,0.514,0.2245,0.101,0.15\nI,0.33,0.255,0.08,0.205,0.0895,0.0395,0.055\n"
ROWS = [["M", 0.455, 0.365, 0.095, 0.514, 0.2245, 0.101, 0.15], ["I", 0.33, 0.255, 0.08, 0.205, 0.0895, 0.0395, 0.055]]


@pytest.fixture(scope="module")
def model(default_artifact):
    return inference.model_fn(str(default_artifact))


def predict(model, body, content_type):
    return inference.predict_fn(inference.input_fn(body, content_type), model)


def test_csv_lists_and_objects_get_the_same_answer(model):
    expected = predict(model, BODY, "text/csv")
    assert expected.shape == (2,)
    assert 1 < expected[1] < expected[0] < 30
    named = [dict(zip(COLUMNS[1:], row, strict=True)) for row in ROWS]
    shuffled = [dict(reversed(row.items())) | {"site": "north"} for row in named]
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
        text, kind = inference.output_fn(values, accept)
        assert kind == "application/json"
        assert json.loads(text) == {"predictions": list(values)}
    text, kind = inference.output_fn(values, "text/csv")
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
        (BODY.replace("I,", "X,"), "text/csv", 400, r"row 2: sex is 'X'"),
        (BODY.replace("0.455", ""), "text/csv", 400, r"row 1: length is '', not a finite number"),
        (BODY.replace("0.455", "nan"), "text/csv", 400, r"row 1: length is 'nan', not a finite number"),
        ('"M,0.4', "text/csv", 400, "not CSV"),
        (b"\xff\xfe", "text/csv", 400, "not UTF-8"),
        ("{", "application/json", 400, "not JSON"),
        ("[]", "application/json", 400, 'no list "instances"'),
        ('{"instances": 3}', "application/json", 400, 'no list "instances"'),
        ('{"instances": [3]}', "application/json", 400, "row 1 is 3, expected a list or an object"),
        ('{"instances": [{"sex": "M"}]}', "application/json", 400, "row 1 has no length, diameter"),
        (json.dumps({"instances": [["M", None, *ROWS[0][2:]]]}), "application/json", 400, "row 1: length is None"),
        (json.dumps({"instances": [["M", [1], *ROWS[0][2:]]]}), "application/json", 400, r"row 1: length is \[1\]"),
        (BODY, "image/png", 415, "not served"),
    ],
)
def test_a_request_that_cannot_be_answered_is_the_clients_error(model, body, content_type, status, message):
    with pytest.raises(inference.InvalidRequest, match=message) as caught:
        predict(model, body, content_type)
    assert caught.value.status_code == status


def test_an_unknown_accept_type_is_the_clients_error():
    with pytest.raises(inference.InvalidRequest, match="cannot answer") as caught:
        inference.output_fn(np.array([1.0]), "image/png")
    assert caught.value.status_code == 406


@pytest.mark.parametrize(
    ("answer", "message"),
    [(np.array([np.nan, 9.0]), "predicted nan for row 1"), (np.array([9.0]), r"shape \(1,\) for 2 rows")],
)
def test_a_broken_model_is_not_the_clients_error(model, answer, message):
    class Broken:
        def predict(self, frame):
            return answer

    with pytest.raises(ValueError, match=message) as caught:
        predict(model._replace(estimator=Broken()), BODY, "text/csv")
    assert not isinstance(caught.value, inference.InvalidRequest)
