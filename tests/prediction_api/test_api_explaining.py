"""What the HTTP API says to who asks why, and what it costs those who do not ask: nothing."""

import json

import jsonschema
import pytest
from asked_api import ABALONE, ADULT, ROW, Endpoint, Weighing, ask
from botocore.exceptions import ClientError

from lambda_functions.prediction_api import endpoint as asking
from lambda_functions.prediction_api import openapi
from lambda_functions.prediction_api.example import example_row
from lambda_functions.prediction_api.rows import MOST_EXPLAINED

WHY = {"rows": [ROW], "explain": True}
MOVES = dict.fromkeys(ABALONE.contract.feature_columns, 0.5)


def valid(document, name, model=ABALONE):
    components = openapi.document(model)["components"]
    jsonschema.validate(document, {"$ref": f"#/components/schemas/{name}", "components": components})


def explained(**explanation):
    return Endpoint(
        {"predictions": [9.5], "explanations": [{"of": "rings", "base": 9.0, "values": MOVES, **explanation}]}
    )


def test_an_explanation_begins_at_the_base_and_sums_to_the_answer():
    rows = [ROW, {**ROW, "whole_weight": "0.9", "length": 0.6}]
    answer = ask({"rows": rows, "explain": True}, Weighing())
    assert answer.status == 200 and answer.log["explain"] is True
    valid(answer.body, "Answer")
    for one in answer.body["predictions"]:
        why = one["explanation"]
        assert why["of"] == "rings" and why["base"] == pytest.approx(6.1)
        assert why["base"] + sum(why["values"].values()) == pytest.approx(one["prediction"])
        assert one["words"]["unit"] == "years"
    values = answer.body["predictions"][1]["explanation"]["values"]
    assert list(values) == list(ABALONE.contract.feature_columns)
    assert (values["whole_weight"], values["length"], values["sex"]) == pytest.approx((4.0, 0.1, 0.0))


@pytest.mark.parametrize("asked", [{}, {"explain": False}])
def test_who_does_not_ask_why_sends_and_gets_what_was_sent_and_got_before(asked):
    endpoint = Endpoint()
    answer = ask({"rows": [ROW], **asked}, endpoint)
    assert json.loads(endpoint.requests[0]["Body"]) == {"instances": [ROW]}
    assert set(answer.body["predictions"][0]) == {"prediction", "words"}
    assert "explain" not in answer.log


def test_of_classes_the_probability_is_explained_and_estimates_have_their_errors():
    moves = dict.fromkeys(ADULT.contract.feature_columns, 0.01)
    why = {"of": ">50K", "base": 0.2, "values": moves, "standard_errors": moves}
    document = {"predictions": [">50K"], "probabilities": [[0.25, 0.75]], "classes": ["<=50K", ">50K"]}
    answer = ask({"rows": [example_row(ADULT)], "explain": True}, Endpoint({**document, "explanations": [why]}), ADULT)
    assert answer.body["predictions"][0]["explanation"] == why
    valid(answer.body, "Answer", ADULT)


@pytest.mark.parametrize("explain", ["yes", "true", 1, 0, None, [], {}, "x" * 9999])
def test_explain_is_true_or_false(explain):
    endpoint = Endpoint()
    answer = ask({"rows": [ROW], "explain": explain}, endpoint)
    assert (answer.status, answer.error["code"]) == (400, "not_boolean")
    assert "send true or false" in answer.error["message"] and len(answer.text) < 500
    assert not endpoint.requests


def test_few_rows_are_explained_at_once():
    rows = [ROW] * (MOST_EXPLAINED + 1)
    answer = ask({"rows": rows, "explain": True}, Weighing())
    assert (answer.status, answer.error["code"]) == (413, "too_many_rows")
    assert answer.error["message"].endswith(f"at most {MOST_EXPLAINED} are explained at once.")
    assert ask({"rows": rows}, Weighing()).status == 200
    assert ask({"rows": rows[1:], "explain": True}, Weighing()).status == 200


def test_a_row_that_breaks_the_contract_is_told_before_anybody_is_asked_why():
    endpoint = Weighing()
    assert ask({"rows": [{**ROW, "sex": "X"}], "explain": True}, endpoint).error["code"] == "contract"
    assert not endpoint.asked


def test_a_model_of_before_explanations_is_told_and_still_predicts():
    endpoint = Weighing(explains=False)
    answer = ask(WHY, endpoint)
    assert (answer.status, answer.error["code"]) == (422, "not_explained")
    assert answer.error["message"].endswith("does not explain its answers to these rows: send them without explain.")
    assert "trained before" in answer.log["detail"] and "trained before" not in answer.text
    assert endpoint.asked == [True, False], "asked again without, to tell the explanation's fault from the rows'"
    valid(answer.body, "Error")
    assert ask({"rows": [ROW]}, endpoint).status == 200


def test_serving_code_that_passes_over_the_question_does_not_explain():
    answer = ask(WHY, Endpoint({"predictions": [9.5]}))
    assert (answer.status, answer.error["code"]) == (422, "not_explained")


def test_rows_that_the_model_refuses_in_any_case_are_no_matter_of_explaining():
    refusal = {"Error": {"Code": "ModelError", "Message": ""}, "OriginalStatusCode": 400}
    endpoint = Endpoint(ClientError(refusal, "InvokeEndpoint"))
    assert ask(WHY, endpoint).error["code"] == "model_refused"
    assert len(endpoint.requests) == 2
    failed = {"Error": {"Code": "ModelError", "Message": ""}, "OriginalStatusCode": 500}
    endpoint = Endpoint(ClientError(failed, "InvokeEndpoint"))
    assert ask(WHY, endpoint).error["code"] == "model_failed"
    assert len(endpoint.requests) == 1


def test_after_a_late_refusal_there_is_no_time_to_ask_again(monkeypatch):
    endpoint = Weighing(explains=False)
    times = iter([0.0, asking.PLAIN_AGAIN_SECONDS + 1.0])
    monkeypatch.setattr(asking.time, "monotonic", lambda: next(times, 9.0))
    with pytest.raises(asking.RefusalError) as refused:
        asking.ask(endpoint, "dev-abalone", asking.Question([ROW], explain=True), ABALONE, "r-1")
    assert refused.value.code == "model_refused" and endpoint.asked == [True]


def test_both_ways_to_the_endpoint_end_before_the_gateway_gives_up():
    assert asking.PLAIN_AGAIN_SECONDS + asking.READ_SECONDS + asking.CONNECT_SECONDS <= 28, "the function's timeout"


@pytest.mark.parametrize(
    "explanation",
    [
        {"of": "sex"},
        {"base": None},
        {"base": float("nan")},
        {"values": {}},
        {"values": {**MOVES, "length": "0.5"}},
        {"values": [0.5]},
        {"standard_errors": {}},
    ],
)
def test_an_explanation_that_is_none_is_no_answer(explanation):
    answer = ask(WHY, explained(**explanation))
    assert (answer.status, answer.error["code"]) == (502, "bad_answer")
    assert ask(WHY, explained()).status == 200


def test_explanations_for_other_rows_are_no_answer():
    assert ask(WHY, Endpoint({"predictions": [9.5], "explanations": []})).error["code"] == "bad_answer"


def test_openapi_says_that_one_may_ask_why_and_what_comes_of_it():
    schemas = openapi.document(ABALONE)["components"]["schemas"]
    explain = schemas["Request"]["properties"]["explain"]
    assert (explain["type"], explain["default"]) == ("boolean", False)
    assert f"at most {MOST_EXPLAINED} rows" in explain["description"]
    assert schemas["Request"]["required"] == ["rows"] and "explanation" not in schemas["Prediction"]["required"]
    assert schemas["Explanation"]["properties"]["of"]["enum"] == ["rings"]
    valid(WHY, "Request")
    with pytest.raises(jsonschema.ValidationError):
        valid({**WHY, "explain": "yes"}, "Request")
