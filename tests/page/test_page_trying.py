import io
import json
from typing import Any

import pytest
from page_site import Site

from retraining.page import known_models
from retraining.settings.present.section import Present

ROW = {
    "sex": "M",
    "length": "0.5",
    "diameter": "0.4",
    "height": 0.1,
    "whole_weight": 0.6,
    "shucked_weight": 0.2,
    "viscera_weight": "0.1",
    "shell_weight": "0.15",
}
PREDICTIONS = "/models/abalone/predictions"


class Endpoint:
    """Stands in for the runtime client: notes the request, gives an answer."""

    def __init__(self, answer: Any) -> None:
        self.answer = answer
        self.requests: list[dict[str, Any]] = []

    def invoke_endpoint(self, **request: Any) -> dict[str, Any]:
        self.requests.append(request)
        return {"Body": io.BytesIO(json.dumps(self.answer).encode())}


def answering(monkeypatch: pytest.MonkeyPatch, answer: Any) -> Endpoint:
    endpoint = Endpoint(answer)
    monkeypatch.setattr(known_models.KnownModel, "runtime", property(lambda self: endpoint))
    return endpoint


def ask(site: Site, **row: Any) -> Any:
    return site.ask("POST", PREDICTIONS, "viewer", json={"rows": [{**ROW, **row}]})


def test_a_prediction_is_told_in_the_models_own_words(site: Site, monkeypatch) -> None:
    endpoint = answering(monkeypatch, {"predictions": [9.5]})
    (told,) = ask(site).json()["predictions"]
    assert told["prediction"] == 9.5
    assert told["words"] == {"value": 11.0, "unit": "years", "text": "about 11.0 years old"}
    (request,) = endpoint.requests
    assert request["EndpointName"] == "dev-abalone" and request["InferenceId"].startswith("ui-")
    assert set(json.loads(request["Body"])["instances"][0]) == set(ROW)


def test_shares_of_a_classifier_come_by_class(site: Site, monkeypatch) -> None:
    answering(monkeypatch, {"predictions": [1], "probabilities": [[0.25, 0.75]], "classes": ["0", "1"]})
    assert ask(site).json()["predictions"][0]["probabilities"] == {"0": 0.25, "1": 0.75}


EXPLANATION = {"of": "rings", "base": 9.9, "values": dict.fromkeys(ROW, -0.05)}


@pytest.mark.parametrize(
    ("explanations", "shown"),
    [([EXPLANATION], EXPLANATION), (None, None), ([], None), ("odd", None), ([{"of": "rings"}], None), ([7], None)],
)
def test_who_asks_why_gets_what_the_endpoint_says_if_it_says_anything(site, monkeypatch, explanations, shown) -> None:
    endpoint = answering(monkeypatch, {"predictions": [9.5], "explanations": explanations})
    answer = site.ask("POST", PREDICTIONS, "viewer", json={"rows": [ROW], "explain": True})
    assert answer.json()["predictions"][0]["explanation"] == shown
    assert json.loads(endpoint.requests[0]["Body"])["explain"] is True


def test_who_does_not_ask_why_sends_the_request_as_ever(site: Site, monkeypatch) -> None:
    endpoint = answering(monkeypatch, {"predictions": [9.5]})
    assert ask(site).json()["predictions"][0]["explanation"] is None
    assert list(json.loads(endpoint.requests[0]["Body"])) == ["instances"]


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({"sex": "X"}, "sex: not one of M, F, I"),
        ({"length": ""}, "length: missing"),
        ({"length": "1.5"}, "length: above 1"),
        ({"length": "<b>1</b>"}, "length: not a number"),
        (
            {"shucked_weight": 0.9},
            "parts_within_whole: shucked_weight + viscera_weight + shell_weight above 1.1 x whole_weight",
        ),
        ({"rings": 9}, "rings: not a column of the form"),
    ],
)
def test_a_row_that_breaks_the_contract_is_not_asked_about(site: Site, monkeypatch, row, reason) -> None:
    endpoint = answering(monkeypatch, {"predictions": [9.5]})
    answer = ask(site, **row)
    assert answer.status_code == 422 and reason in answer.json()["reasons"][0]
    assert not endpoint.requests


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b'{"rows": []}',
        b'{"rows": [[1]]}',
        b'{"rows": [{"length": 1e400}]}',
        b'{"rows": [{"length": NaN}]}',
        b'{"rows": [{"length": ' + b"9" * 400 + b"}]}",
        b'{"rows": [{"length": ' + b"9" * 5000 + b"}]}",
        b'{"rows": ' + b"[" * 100_000,
        b'{"rows": [{}], "endpoint": "other"}',
        b"\xff\xfe{",
        b'{"rows": [' + b",".join([b"{}"] * 101) + b"]}",
        b'{"rows": [{"sex": "' + b"x" * 300_000 + b'"}]}',
    ],
)
def test_odd_requests_are_the_senders_mistake(site: Site, body: bytes) -> None:
    answer = site.ask("POST", PREDICTIONS, content=body)
    assert 400 <= answer.status_code < 500 and len(answer.content) < 10_000


def test_an_endpoint_that_does_not_exist_or_answers_oddly_is_named(site: Site, monkeypatch) -> None:
    missing = ask(site)
    assert missing.status_code == 503 and "serves nothing yet" in missing.json()["detail"]
    answering(monkeypatch, ["odd"])
    assert "no predictions" in ask(site).json()["detail"]


@pytest.mark.parametrize(
    "value", ["__import__('os')", "rings ** 9", "rings if 1 else 2", "f(rings)", "rings.real", "'a'", "1 +", "True"]
)
def test_only_arithmetic_makes_a_value(value: str) -> None:
    with pytest.raises(ValueError, match="value"):
        Present(value=value)


def test_arithmetic_and_sentences() -> None:
    assert Present(value="-(rings - 2) * 3 / 4", text="{value}!").shown("rings", 4.0) == {
        "value": -1.5,
        "unit": "",
        "text": "-1.50!",
    }
    assert Present().shown("rings", 4.0)["text"] == "4.00"
    assert Present(value="1 / rings").shown("rings", 0.0) is None
    for text in ("about", "{value.__class__}", "{value} {other}", "{value} {"):
        with pytest.raises(ValueError, match="sentence"):
            Present(text=text)
