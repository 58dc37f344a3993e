"""One contract, one meaning: the API takes a row when the file reader takes it, and the endpoint then answers it."""

import json

import jsonschema
from asked_api import Endpoint, ServingCode, ask
from hypothesis import given, settings
from hypothesis import strategies as st

from lambda_functions.prediction_api import openapi
from lambda_functions.prediction_api.example import example_row
from lambda_functions.prediction_api.model import Model
from retraining.contract.rows import row_reasons

COLUMNS = [
    {"name": "price", "type": "double", "min": -5, "exclusive_min": True, "max": 1e6},
    {"name": "count", "type": "int", "nullable": True, "min": 0},
    {"name": "colour", "type": "string", "allowed": ["red", "NA", "2"]},
    {"name": "place", "type": "string", "nullable": True},
    {"name": "ripe", "type": "boolean", "nullable": True},
    {"name": "picked", "type": "date"},
    {"name": "sold", "type": "timestamp", "nullable": True},
    {"name": "weight", "type": "double"},
]
RULES = [{"name": "cheap", "sum": ["price"], "at_most": "weight", "tolerance": 2.0}]


def model_of(**contract):
    document = {"columns": COLUMNS, "target": "weight", "rules": [], **contract}
    return Model.of({"name": "fruit", "description": "", "contract": document, "classes": [], "present": None})


PLAIN = model_of(missing=["n/a"])
COMMA = model_of(csv={"decimal": ",", "thousands": "."})
RULED = Model.of(
    {
        "name": "fruit",
        "description": "",
        "contract": {"columns": [*COLUMNS, {"name": "out", "type": "double"}], "target": "out", "rules": RULES},
        "classes": [],
        "present": None,
    }
)


WORDS = [
    "",
    " ",
    "n/a",
    "NA",
    "null",
    "red",
    "2",
    "1",
    "0",
    "1.5",
    "1,5",
    "1.234,5",
    "-5",
    "1e3",
    "1e400",
    "nan",
    "inf",
    "-999",
    "9007199254740993",
    "9223372036854775808",
    "3.0",
    "0x1",
    "1_000",
    "٣",
    "true",
    "Yes",
    "0.1e-400",
    "+.5",
    "2.",
    ".",
    "2026-01-31",
    "2026-02-30",
    "2026-01-31T12:00:00Z",
    "2026-01-31 12:00:00+01:00",
    "2026-01-31T12:00:00",
]
TEXTS = st.one_of(
    st.sampled_from(WORDS),
    st.text(max_size=8),
    st.floats(allow_nan=False, allow_infinity=False).map(repr),
    st.integers().map(str),
)
GOOD = {
    "price": st.floats(-4.9, 100),
    "count": st.one_of(st.none(), st.integers(0, 2**62)),
    "colour": st.sampled_from(["red", "NA", "2"]),
    "place": st.one_of(st.none(), st.sampled_from(["here", "été"])),
    "ripe": st.one_of(st.none(), st.booleans()),
    "picked": st.dates().map(str),
    "sold": st.one_of(st.none(), st.just("2026-01-31T12:00:00+02:00")),
    "weight": st.floats(-10, 100),
}


def rows_of(texts, share):
    """Return rows of good values, in which some cells are texts of any kind."""
    return st.fixed_dictionaries({name: st.one_of(*[good] * share, texts) for name, good in GOOD.items()})


def as_cell(value):
    return "" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def judged(model, row):
    """Return whether the file reader takes a row whose cells are texts; its target, which a request has not, is sound."""
    cells = [
        "1" if name == model.contract.target else as_cell(row.get(name)).strip(" \t\n\x0b\f\r\u00a0")
        for name in model.contract.names
    ]
    return not row_reasons(model.contract, cells)


def encodable(row):
    return not any(0xD800 <= ord(sign) <= 0xDFFF for value in row.values() for sign in value)


@given(rows_of(TEXTS, 6))
@settings(max_examples=200)
def test_rows_of_texts_are_taken_when_the_file_reader_takes_them_and_then_answered(row):
    for model in (PLAIN, COMMA, RULED):
        sent = {name: as_cell(value) for name, value in row.items() if name in model.contract.feature_columns}
        if model is COMMA:  # numbers of the file are written so
            sent |= {name: sent[name].replace(".", ",") for name in ("price", "count") if isinstance(row[name], float)}
        answer = ask({"rows": [sent]}, ServingCode(model), model)
        assert answer.status == (200 if judged(model, sent) and encodable(sent) else 422), answer.text


JSON_CELLS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(allow_nan=False, allow_infinity=False),
    TEXTS,
    st.just([1]),
    st.just({}),
)


@given(rows_of(JSON_CELLS, 4))
@settings(max_examples=200)
def test_rows_of_json_are_answered_or_refused_and_what_the_document_describes_is_taken(row):
    schema = openapi.document(RULED)["components"]["schemas"]["Row"]
    validator = jsonschema.Draft202012Validator(schema, format_checker=jsonschema.FormatChecker())
    answer = ask({"rows": [row]}, ServingCode(RULED), RULED)
    assert answer.status in (200, 422), answer.text
    if answer.status == 422 and validator.is_valid(row):
        told = answer.error["problems"]
        assert all("rule" in one or one["column"] in LOOSER for one in told), told


LOOSER = ("colour", "place", "picked", "sold", "price", "weight", "count")
"""What a schema cannot say: a blank text is missing, control characters, whether a text writes a day, which doubles there are."""


def test_the_example_of_each_model_is_answered():
    for model in (PLAIN, COMMA, RULED):
        assert ask({"rows": [example_row(model)]}, ServingCode(model), model).status == 200


def test_a_wrong_answer_of_the_endpoint_would_be_seen():
    assert ask({"rows": [example_row(PLAIN)]}, Endpoint({"predictions": [1, 2]}), PLAIN).status == 502
    assert json.loads(ask({"rows": [{}]}, ServingCode(PLAIN), PLAIN).text)["error"]["code"] == "contract"
