"""The system tests of a promotion: which wrong requests are sent, and what counts as passed."""

import io
import json

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError

from retraining.serving.promoting import system_tests
from retraining.serving.promoting.system_tests import Endpoint, Result, SystemTestError, WrongRequest, play, require
from retraining.serving.verification import UnansweredError

GOOD = "M,0.53,0.42,0.135,0.677,0.2565,0.1415,0.21"
SMOKE = {
    "content_type": "text/csv",
    "body": GOOD,
    "prediction": 12.0,
    "rows": [{"why": "x", "body": "F" + GOOD[1:], "prediction": 9.0}],
}
SENTENCE = "row 1 has 7 values, expected 8: sex, length"


class Runtime:
    """A model that answers what a test says: a function of the body, which returns predictions or raises ``(status, message)``."""

    def __init__(self, answer):
        self.answer = answer
        self.asked = []

    def invoke_endpoint(self, **request):
        self.asked.append(request)
        found = self.answer(request["Body"].decode(), request["ContentType"])
        if isinstance(found, tuple):
            raise ClientError(
                {"Error": {"Code": "ModelError"}, "OriginalStatusCode": found[0], "OriginalMessage": found[1]},
                "InvokeEndpoint",
            )
        return {"Body": io.BytesIO(json.dumps({"predictions": found}).encode())}


def sound(body, content_type):
    """Answer as a model of the library does."""
    if content_type != "text/csv":
        return 415, "content type is not served"
    lines = body.splitlines()
    if any(line not in (GOOD, "F" + GOOD[1:]) for line in lines):
        return 400, SENTENCE
    return [12.0 if line[0] == "M" else 9.0 for line in lines]


def played(config, answer, limit_ms=1000.0, clock=lambda: 0.0):
    runtime = Runtime(answer)
    return play(Endpoint(runtime, "e", clock), config, SMOKE, limit_ms), runtime


def failures(config, answer, **options):
    return [result for result in played(config, answer, **options)[0] if not result.passed]


def test_a_sound_model_passes_and_its_requests_are_no_use_of_it(config):
    results, runtime = played(config, sound)
    require(results, "e")
    assert all(request["InferenceId"].startswith("smoke-") for request in runtime.asked)
    assert len(runtime.asked) == len(results) - 1 + system_tests.TIMED_REQUESTS


def test_each_column_is_broken_in_each_way_that_the_contract_forbids(config):
    wrong = system_tests.wrong_requests(config, GOOD)
    assert {"sex with a value that is not allowed", "sex missing", "length as a word", "length beyond its limit 1"} <= {
        request.what for request in wrong
    }
    assert not any("rings" in request.what for request in wrong)
    assert len({(request.body, request.content_type) for request in wrong}) == len(wrong)
    by_name = {request.what: request.body for request in wrong}
    assert by_name["a row without its last value"] == GOOD.rpartition(",")[0]
    assert by_name["length beyond its limit 0"] == GOOD.replace("0.53", "-1.0", 1)


def test_what_may_be_missing_is_not_sent_as_wrong(config):
    columns = [column.model_copy(update={"nullable": True}) for column in config.contract.columns[:-1]]
    contract = config.contract.model_copy(update={"columns": (*columns, config.contract.columns[-1])})
    wrong = system_tests.wrong_requests(config.model_copy(update={"contract": contract}), GOOD)
    assert not any(request.what.endswith(" missing") for request in wrong)


@pytest.mark.parametrize(
    "answer", [(500, "internal error of the model"), (400, ""), (400, "ValueError"), (422, SENTENCE), [1.0]], ids=repr
)
def test_a_wrong_request_must_be_a_client_s_mistake_with_a_sentence(answer):
    endpoint = Endpoint(Runtime(lambda body, content_type: answer), "e")
    assert not endpoint.refuses(WrongRequest(what="a row too short", body="x", status=400)).passed


@pytest.mark.parametrize(
    "answer",
    [
        lambda body: [12.0],
        lambda body: sound(body, "text/csv")[::-1],
        lambda body: (413, "too many rows"),
        lambda body: ["x"],
    ],
    ids=["too few", "in another order", "refused", "no numbers"],
)
def test_a_batch_is_answered_row_by_row_as_each_was_alone(config, answer):
    def answers(body, content_type):
        return answer(body) if "\n" in body else sound(body, content_type)

    [failed] = failures(config, answers)
    assert failed.test == "100 rows in one request"


def test_the_slowest_twentieth_may_be_late_and_no_more(config):
    def ticks(slow):
        times = iter(
            [
                moment
                for number in range(20)
                for moment in (10.0 * number, 10.0 * number + (2 if number < slow else 0.1))
            ]
        )
        return lambda: next(times)

    assert failures(config, sound, clock=ticks(1)) == []
    [failed] = failures(config, sound, clock=ticks(2))
    assert (failed.test, failed.seen) == ("95% of 20 requests within 1000 ms", "2000 ms")


def test_serving_functions_of_one_s_own_get_no_wrong_request(config):
    own = config.model_copy(update={"deployment": config.deployment.model_copy(update={"script": "inference.py"})})
    _, runtime = played(own, sound)
    assert len(runtime.asked) == 1 + system_tests.TIMED_REQUESTS


@pytest.mark.parametrize(
    "error",
    [
        ClientError({"Error": {"Code": "ThrottlingException"}}, "InvokeEndpoint"),
        EndpointConnectionError(endpoint_url="https://e"),
    ],
    ids=["throttled", "unreachable"],
)
def test_who_cannot_be_asked_has_not_failed(config, error):
    def away(body, content_type):
        raise error

    with pytest.raises(UnansweredError, match="endpoint e could not be asked"):
        played(config, away)


def test_everything_that_failed_is_told():
    results = [Result(test=name, passed=name == "b", seen="500 x") for name in "abc"]
    with pytest.raises(
        SystemTestError,
        match="endpoint e failed 2 of 3 system tests, and nothing was promoted:\n  a: 500 x\n  c: 500 x",
    ):
        require(results, "e")
