"""What the HTTP API answers to each kind of request, and what it says of itself."""

import base64
import io
import json
import zipfile

import jsonschema
import pytest
from asked_api import ABALONE, ADULT, CONFIG, ROW, SETTINGS, Endpoint, ask
from botocore.exceptions import ClientError, ReadTimeoutError

from deploy import prediction_api
from lambda_functions.prediction_api import handler, openapi, rows
from lambda_functions.prediction_api.example import example_row
from lambda_functions.prediction_api.model import Model, described
from retraining.settings.model_config import ModelConfig

SEVERAL = {"rows": [ROW] * (rows.MOST_ROWS + 1)}


def valid(document, name, model=ABALONE):
    components = openapi.document(model)["components"]
    jsonschema.validate(document, {"$ref": f"#/components/schemas/{name}", "components": components})


def aws_error(code, message="secret-account 123456789012", **more):
    return ClientError({"Error": {"Code": code, "Message": message}, **more}, "InvokeEndpoint")


def changed(**values):
    return {"rows": [{**ROW, **values}]}


def test_a_number_is_told_in_the_models_own_words():
    endpoint = Endpoint({"predictions": [9.5]})
    answer = ask({"rows": [ROW]}, endpoint)
    words = {"value": 11.0, "unit": "years", "text": "about 11.0 years old"}
    assert (answer.status, answer.body) == (200, {"predictions": [{"prediction": 9.5, "words": words}]})
    valid(answer.body, "Answer")
    (request,) = endpoint.requests
    assert request["EndpointName"] == "dev-abalone"
    assert request["InferenceId"] == "api-r-1", "a use of the model, which the monitor watches"
    assert json.loads(request["Body"]) == {"instances": [ROW]}


def test_a_class_comes_with_the_probability_of_each():
    endpoint = Endpoint({"predictions": [">50K"], "probabilities": [[0.25, 0.75]], "classes": ["<=50K", ">50K"]})
    answer = ask({"rows": [example_row(ADULT)]}, endpoint, ADULT)
    told = {"prediction": ">50K", "probabilities": {"<=50K": 0.25, ">50K": 0.75}}
    assert answer.body == {"predictions": [told]}
    valid(answer.body, "Answer", ADULT)


def test_the_endpoint_gets_values_of_the_contracts_types():
    endpoint = Endpoint()
    answer = ask(changed(sex=" M ", length="0.5", diameter=" 4e-1", height=1), endpoint)
    assert answer.status == 200
    (sent,) = json.loads(endpoint.requests[0]["Body"])["instances"]
    assert {name: sent[name] for name in ("sex", "length", "diameter", "height")} == {
        "sex": "M",
        "length": 0.5,
        "diameter": 0.4,
        "height": 1.0,
    }


BROKEN = [
    ({"sex": "X"}, "sex", "X", "not one of M, F, I"),
    ({"sex": None}, "sex", None, "missing"),
    ({"sex": 1}, "sex", 1, "not a text: put it in quotes"),
    ({"length": ""}, "length", "", "missing"),
    ({"length": 1.5}, "length", 1.5, "above 1"),
    ({"height": 0}, "height", 0, "not above 0"),
    ({"length": "0,5"}, "length", "0,5", "decimal comma"),
    ({"length": "<b>1</b>"}, "length", "<b>1</b>", "not a number"),
    ({"length": True}, "length", True, "not a number"),
    ({"length": [1]}, "length", "[1]", "a list or an object, not a value"),
    ({"length": {"a": 1}}, "length", '{"a": 1}', "a list or an object, not a value"),
    ({"length": "x\u001b[2J\u202e" + "y" * 99}, "length", "xU+001B[2JU+202E" + "y" * 43 + "…", "not a number"),
    ({"sex": "\ud800"}, "sex", "U+D800", "not a Unicode text"),
    ({"lenght": 1}, "lenght", 1, "no such column; did you mean length?"),
    ({"rings": 9}, "rings", 9, "no such column"),
    ({"__proto__": {}}, "__proto__", "{}", "no such column"),
]


@pytest.mark.parametrize(("values", "column", "value", "problem"), BROKEN)
def test_a_row_that_breaks_the_contract_is_told_column_value_and_what_is_allowed(values, column, value, problem):
    endpoint = Endpoint()
    answer = ask(changed(**values), endpoint)
    assert (answer.status, answer.error["code"]) == (422, "contract")
    (told,) = answer.error["problems"]
    assert (told["row"], told["column"], told["value"], told["problem"]) == (1, column, value, problem)
    assert told["expected"]
    assert (told.get("allowed") == ["M", "F", "I"]) == (column == "sex")
    valid(answer.body, "Error")
    assert not endpoint.requests


def test_a_left_out_column_is_missing_and_every_row_is_told_by_its_number():
    answer = ask({"rows": [ROW, {name: value for name, value in ROW.items() if name != "height"}]})
    (told,) = answer.error["problems"]
    assert (told["row"], told["column"], told["problem"]) == (2, "height", "missing")
    assert told["expected"] == "a number above 0 and at most 1.5, in mm / 200"


def test_a_rule_across_columns_is_told_by_its_name():
    (told,) = ask(changed(shucked_weight=0.9)).error["problems"]
    assert told["rule"] == "parts_within_whole" and "above 1.1 x whole_weight" in told["problem"]


def test_of_many_problems_a_hundred_are_told():
    answer = ask({"rows": [{**ROW, "sex": "X"}] * 500})
    assert len(answer.error["problems"]) == 100
    assert answer.error["message"].endswith("100 problem(s) in the first 100 of 500 row(s).")


def test_an_answer_is_bounded_however_wide_a_model_is_and_whatever_comes():
    values = [f"value {number} " + "x" * 50 for number in range(2000)]
    columns = [{"name": "kind", "type": "string", "allowed": values}]
    columns += [{"name": f"c{number}", "type": "double", "nullable": True} for number in range(1000)]
    model = with_columns(*columns)
    wide = {f"unknown {number}": number for number in range(20_000)}
    for row in ({"kind": "other"}, {**wide, "kind": values[0]}, {}):
        answer = ask({"rows": [row] * 2}, model=model)
        assert answer.status == 422 and len(answer.text) < 50_000
    assert len(ask({"rows": [wide]}, model=model).error["problems"]) == rows.MOST_UNKNOWN + 1
    assert rows.most_rows(model) == rows.MOST_CELLS // 1001 == 199
    assert ask({"rows": [{"kind": values[0]}] * 200}, model=model).error["code"] == "too_many_rows"
    document = openapi.document(model)["components"]["schemas"]
    assert document["Request"]["properties"]["rows"]["maxItems"] == rows.most_rows(model)
    assert len(document["Row"]["properties"]["kind"]["enum"]) == 2000


MALFORMED = [
    ("", 400, "not_json"),
    ("{", 400, "not_json"),
    ("[]", 400, "no_rows"),
    ('{"rows": {}}', 400, "no_rows"),
    ('{"rows": []}', 400, "no_rows"),
    ('{"rows": [[1]]}', 400, "no_rows"),
    ('{"rows": [{}], "endpoint": "other"}', 400, "unknown_field"),
    ('{"rows": [{"length": NaN}]}', 400, "not_json"),
    ('{"rows": [{"length": -Infinity}]}', 400, "not_json"),
    ('{"rows": [{"length": 1, "length": 2}]}', 400, "not_json"),
    ('{"rows": [{"length": ' + "9" * 5000 + "}]}", 400, "not_json"),
    ('{"rows": ' + "[" * 100_000, 400, "not_json"),
    ("\udcff", 400, "not_json"),
    ('{"rows": [{"length": 1e400}]}', 422, "contract"),
    ('{"rows": [{"length": ' + "9" * 400 + "}]}", 422, "contract"),
    ('{"rows": [{"sex": "' + "x" * 100_000 + '"}]}', 422, "contract"),
    ('{"rows": [{"' + "x" * 100_000 + '": 1}]}', 422, "contract"),
    (json.dumps(SEVERAL), 413, "too_many_rows"),
    ('{"rows": [{"sex": "' + "x" * rows.MOST_BYTES + '"}]}', 413, "too_large"),
    ("x" * 3 * rows.MOST_BYTES, 413, "too_large"),
]


@pytest.mark.parametrize(("body", "status", "code"), MALFORMED, ids=lambda value: str(value)[:40])
def test_a_body_that_is_no_list_of_rows_is_refused_with_a_bounded_answer(body, status, code):
    endpoint = Endpoint()
    answer = ask(body, endpoint)
    assert (answer.status, answer.error["code"]) == (status, code)
    assert not endpoint.requests and len(answer.text) < 8000
    valid(answer.body, "Error")


def test_a_body_in_base64_is_read_and_one_that_is_none_refused():
    api = handler.Api(ABALONE, "dev-abalone", Endpoint())
    event = {
        "rawPath": "/predictions",
        "requestContext": {"http": {"method": "POST"}},
        "headers": {"content-type": "application/json; charset=utf-8"},
        "isBase64Encoded": True,
    }
    body = base64.b64encode("\ufeff".encode() + json.dumps({"rows": [ROW]}).encode()).decode()
    assert api.answer({**event, "body": body})[0]["statusCode"] == 200
    assert api.answer({**event, "body": "x"})[0]["statusCode"] == 400


@pytest.mark.parametrize(
    "content_type", [None, "", "text/plain", "application/x-www-form-urlencoded", "multipart/form-data"]
)
def test_a_form_of_another_page_is_no_json(content_type):
    assert ask({"rows": [ROW]}, content_type=content_type).status == 415


@pytest.mark.parametrize(
    ("method", "path", "status"), [("GET", "/predictions", 405), ("POST", "/openapi.json", 405), ("GET", "/x", 404)]
)
def test_other_paths_and_methods_are_refused(method, path, status):
    answer = ask("", path=path, method=method)
    assert answer.status == status
    assert ("allow" in answer.headers) == (status == 405)


FAILURES = [
    (aws_error("ValidationError", "Endpoint dev-abalone of account 123456789012 not found."), 503, "no_model"),
    (aws_error("ModelNotReadyException"), 503, "busy"),
    (aws_error("ThrottlingException"), 503, "busy"),
    (aws_error("ServiceUnavailable"), 503, "busy"),
    (aws_error("ModelError", OriginalStatusCode=500), 502, "model_failed"),
    (aws_error("ModelError", OriginalStatusCode=400), 502, "model_refused"),
    (aws_error("AccessDeniedException"), 502, "model_failed"),
    (ReadTimeoutError(endpoint_url="https://123456789012.example"), 503, "no_answer"),
    (b"not json", 502, "bad_answer"),
    ([], 502, "bad_answer"),
    ({}, 502, "bad_answer"),
    ({"predictions": []}, 502, "bad_answer"),
    ({"predictions": ["x"]}, 502, "bad_answer"),
    (b'{"predictions": [NaN]}', 502, "bad_answer"),
]


@pytest.mark.parametrize(("answer", "status", "code"), FAILURES, ids=lambda value: str(value)[:50])
def test_an_endpoint_that_does_not_answer_is_told_without_what_is_inside(answer, status, code):
    told = ask({"rows": [ROW]}, Endpoint(answer))
    assert (told.status, told.error["code"]) == (status, code)
    assert "123456789012" not in told.text and "dev-abalone" not in told.text
    assert ("retry-after" in told.headers) == (status == 503)
    assert told.log["detail"], "who runs the API finds the reason by the request's id"
    valid(told.body, "Error")


@pytest.mark.parametrize("shares", [None, [[0.5]], [[0.5, 0.5], [1, 0]], [["a", "b"]], [[float("nan"), 1]]])
def test_probabilities_that_are_none_are_no_answer(shares):
    endpoint = Endpoint({"predictions": [">50K"], "probabilities": shares, "classes": ["<=50K", ">50K"]})
    assert ask({"rows": [example_row(ADULT)]}, endpoint, ADULT).status == 502


def test_the_log_has_a_line_without_a_value_of_a_row(capsys, monkeypatch):
    api = handler.Api(ABALONE, "dev-abalone", Endpoint())
    monkeypatch.setattr(handler, "_api", lambda: api)
    event = {
        "rawPath": "/predictions",
        "requestContext": {"http": {"method": "POST"}, "requestId": "r-1"},
        "headers": {"content-type": "application/json"},
        "body": json.dumps(changed(sex="somebody's\nname")),
    }
    assert handler.handler(event)["statusCode"] == 422
    (line,) = capsys.readouterr().out.splitlines()
    told = json.loads(line)
    assert (told["request_id"], told["status"], told["code"]) == ("r-1", 422, "contract")
    assert "somebody" not in line


def test_openapi_says_types_limits_units_and_an_example_that_the_api_takes():
    document = ask("", path="/openapi.json", method="GET").body
    columns = document["components"]["schemas"]["Row"]["properties"]
    assert columns["length"] == {
        "type": "number",
        "description": "longest shell measurement",
        "exclusiveMinimum": 0,
        "maximum": 1.0,
        "x-unit": "mm / 200",
        "x-expected": "a number above 0 and at most 1, in mm / 200",
    }
    assert columns["sex"]["enum"] == ["M", "F", "I"]
    operation = document["paths"]["/predictions"]["post"]
    example = operation["requestBody"]["content"]["application/json"]["example"]
    valid(example, "Request")
    assert ask(example).status == 200
    assert {"200", "400", "413", "415", "422", "502", "503"} == set(operation["responses"])
    assert "parts_within_whole" in operation["description"]
    for schema in document["components"]["schemas"].values():
        jsonschema.Draft202012Validator.check_schema(schema)


@pytest.mark.parametrize("access", ["key", "iam"])
def test_openapi_says_how_one_is_let_in(access):
    document = openapi.document(ABALONE, access=access)
    assert document["security"] == [{access: []}]
    assert {"401", "403", "429"} <= set(document["paths"]["/predictions"]["post"]["responses"])


def test_the_server_of_the_document_is_where_the_request_came_in():
    api = handler.Api(ABALONE, "dev-abalone", Endpoint(), "key")
    context = {"http": {"method": "GET"}, "domainName": "abc.execute-api.us-east-1.amazonaws.com"}
    response, _ = api.answer({"rawPath": "/openapi.json", "requestContext": context})
    assert json.loads(response["body"])["servers"] == [{"url": "https://abc.execute-api.us-east-1.amazonaws.com/"}]


def with_columns(*columns, rules=()):
    target = {"name": "rings", "type": "double"}
    contract = {"columns": [*columns, target], "target": "rings", "rules": list(rules)}
    settings = {name: value for name, value in SETTINGS.items() if name not in ("present", "contract")}
    settings["evaluation"] = {"image": SETTINGS["evaluation"]["image"]}
    settings["gate"] = {"guards": {"rmse": 2.6}}
    return Model.of(described(ModelConfig.model_validate({**settings, "contract": contract})))


@pytest.mark.parametrize(
    "columns",
    [
        [{"name": "a", "type": "int", "min": 0, "exclusive_min": True, "max": 1}],
        [{"name": "a", "type": "double", "min": 0, "max": 1e-9, "exclusive_max": True}],
        [{"name": "a", "type": "double", "max": -5}],
        [{"name": "a", "type": "int", "min": 3}],
        [{"name": "a", "type": name} for name in ("boolean",)],
        [
            {"name": "a", "type": "date"},
            {"name": "b", "type": "timestamp"},
            {"name": "c", "type": "string", "nullable": True},
        ],
    ],
)
def test_an_example_row_is_one_that_the_contract_takes(columns):
    model = with_columns(*columns)
    row = example_row(model)
    assert ask({"rows": [row]}, model=model).status == 200
    valid({"rows": [row]}, "Request", model)


def test_rules_that_nothing_meets_have_no_example():
    columns = [{"name": "a", "type": "int", "min": 5}, {"name": "b", "type": "int", "max": 1}]
    model = with_columns(*columns, rules=[{"name": "never", "sum": ["a"], "at_most": "b"}])
    assert example_row(model) is None
    document = openapi.document(model)
    assert "example" not in document["paths"]["/predictions"]["post"]["requestBody"]["content"]["application/json"]


def test_a_missing_value_and_a_column_that_may_miss_are_null():
    model = with_columns(
        {"name": "a", "type": "double", "nullable": True},
        {"name": "b", "type": "boolean", "nullable": True},
        {"name": "c", "type": "date"},
    )
    endpoint = Endpoint()
    for row in ({"c": "2026-01-31"}, {"a": None, "b": " ", "c": "2026-01-31"}):
        assert ask({"rows": [row]}, endpoint, model).status == 200
        assert json.loads(endpoint.requests[-1]["Body"]) == {"instances": [{"a": None, "b": None, "c": "2026-01-31"}]}
    assert ask({"rows": [{"b": "yes", "c": "2026-01-31"}]}, endpoint, model).status == 200
    assert json.loads(endpoint.requests[-1]["Body"])["instances"][0]["b"] is True


def test_the_archive_runs_alone(tmp_path, monkeypatch):
    """With nothing of the project but what lies in it."""
    import subprocess
    import sys

    artifact = prediction_api.function(CONFIG)
    assert artifact == prediction_api.function(CONFIG)
    assert artifact.key.startswith("lambda/prediction_api-abalone-")
    zipfile.ZipFile(io.BytesIO(artifact.body)).extractall(tmp_path)
    code = (
        "import json, sys; sys.path.insert(0, '.')\n"
        "from lambda_functions.prediction_api import authorizer, handler\n"
        "event = {'rawPath': '/openapi.json', 'requestContext': {'http': {'method': 'GET'}}}\n"
        "handler.endpoint.client = lambda: None\n"
        "print(handler.handler(event)['statusCode'])\n"
        "foreign = [n for n in sys.modules if n.partition('.')[0] in ('pydantic', 'yaml', 'numpy', 'airflow')]\n"
        "print(foreign)"
    )
    environment = {"ENDPOINT_NAME": "dev-abalone", "ACCESS": "key", "PATH": ""}
    done = subprocess.run(
        [sys.executable, "-I", "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[1:] == ["200", "[]"]


def test_another_contract_is_another_archive():
    columns = [
        {**column, "max": 2.0} if column["name"] == "length" else column for column in SETTINGS["contract"]["columns"]
    ]
    other = ModelConfig.model_validate({**SETTINGS, "contract": {**SETTINGS["contract"], "columns": columns}})
    assert prediction_api.function(other).key != prediction_api.function(CONFIG).key
