"""System tests of a model where it serves, before it is promoted: what clients send, wrong requests too, and how fast it answers.

The answers that are expected are those of the model's own evaluation. A wrong request has to be a client's mistake, 4xx with a sentence:
a 5xx would raise alarms and be sent again. Requests carry the inference id of verifications, so that the watch over the model leaves them
out of what it compares.
"""

from __future__ import annotations

import csv
import io
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from retraining.aws.errors import error_code
from retraining.aws.naming import digest
from retraining.contract.rules import Column, Contract
from retraining.contract.source import fed
from retraining.serving import inference_ids
from retraining.serving.verification import (
    UnansweredError,
    VerificationError,
    numbers,
    predictions_in,
    same,
    smoke_rows,
)
from retraining.settings.model_config import ModelConfig
from retraining.settings.strict import Strict

BATCH_ROWS = 100
TIMED_REQUESTS = 20
SHARE = 0.95
"""Of the timed requests that have to be answered within the limit."""
CSV = "text/csv"


class SystemTestError(RuntimeError):
    """The endpoint failed tests; the message lists them."""


class WrongRequest(Strict):
    """A request that has to be refused."""

    what: str
    body: str
    status: int
    content_type: str = CSV


class Result(Strict):
    """What a test came to."""

    test: str
    passed: bool
    seen: str
    refusal: bool = False
    """Whether it is about a request that has to be refused."""


def wrong_requests(config: ModelConfig, good: str) -> list[WrongRequest]:
    """Return requests that break the contract in one thing each.

    Args:
        config: the model's configuration.
        good: a row that is answered, in CSV.

    """
    contract = Contract.of(fed(config.contract.model_dump(mode="json")))
    columns = [column for column in contract.columns if column.name != contract.target]
    [row] = csv.reader(io.StringIO(good))
    found = [
        WrongRequest(what="a row without its last value", body=line(row[:-1]) or " ", status=400),
        WrongRequest(what="a row with a value too many", body=line([*row, "1"]), status=400),
        WrongRequest(what="a content type that is not served", body=good, status=415, content_type="application/xml"),
    ]
    for place, column in enumerate(columns):
        found += [
            WrongRequest(what=f"{column.name} {words}", body=line([*row[:place], cell, *row[place + 1 :]]), status=400)
            for words, cell in _wrong_cells(column, contract)
        ]
    return found


def _wrong_cells(column: Column, contract: Contract) -> Iterator[tuple[str, str]]:
    if column.numeric:
        yield "as a word", "not-a-number"
        if column.min is not None:
            yield f"beyond its limit {column.min:g}", _text(column.min - 1, column)
        if column.max is not None:
            yield f"beyond its limit {column.max:g}", _text(column.max + 1, column)
    elif column.allowed:
        yield "with a value that is not allowed", "-none-of-them-"
    if not column.nullable and contract.is_missing(column, ""):
        yield "missing", ""


def _text(value: float, column: Column) -> str:
    return str(int(value)) if column.type == "int" else repr(float(value))


def line(cells: Sequence[str]) -> str:
    """Return a row in CSV."""
    text = io.StringIO()
    csv.writer(text, lineterminator="").writerow(cells)
    return text.getvalue()


class Endpoint:
    """An endpoint as a client sees it.

    Args:
        runtime: boto3 client of the runtime.
        name: of the endpoint.
        clock: seconds, to time answers by.

    """

    def __init__(self, runtime: Any, name: str, clock: Callable[[], float] = time.perf_counter) -> None:
        self.runtime = runtime
        self.name = name
        self.clock = clock

    def ask(self, body: str, content_type: str = CSV) -> tuple[int, str]:
        """Return status and body of the model's answer.

        Raises:
            UnansweredError: the endpoint could not be asked.

        """
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            answer = self.runtime.invoke_endpoint(
                EndpointName=self.name,
                ContentType=content_type,
                Accept="application/json",
                Body=body.encode(),
                InferenceId=f"{inference_ids.VERIFICATION}{digest(body)}",
            )
            return 200, answer["Body"].read().decode("utf-8", "replace")
        except ClientError as error:
            if error_code(error) != "ModelError":
                raise UnansweredError(f"endpoint {self.name} could not be asked: {error}") from error
            found: Mapping[str, Any] = error.response
            return int(found.get("OriginalStatusCode") or 500), str(found.get("OriginalMessage") or "")
        except (BotoCoreError, OSError) as error:
            raise UnansweredError(f"endpoint {self.name} could not be asked: {error}") from error

    def batch(self, smoke: Mapping[str, Any], tolerance: float) -> Result:
        """Ask for many rows in one request: each is answered as it was alone."""
        known = smoke_rows(smoke)
        asked = [known[number % len(known)] for number in range(BATCH_ROWS)]
        status, text = self.ask("\n".join(str(row["body"]) for row in asked), str(smoke["content_type"]))
        name = f"{BATCH_ROWS} rows in one request"
        if status != 200:
            return Result(test=name, passed=False, seen=f"{status} {text[:200]}")
        try:
            got = predictions_in(f"endpoint {self.name}", text.encode())
        except VerificationError as error:
            return Result(test=name, passed=False, seen=str(error))
        right = sum(same(a, numbers(row["prediction"]), tolerance) for a, row in zip(got, asked, strict=False))
        passed = len(got) == len(asked) == right
        return Result(test=name, passed=passed, seen=f"{len(got)} answers, {right} as the evaluation gave them")

    def refuses(self, request: WrongRequest) -> Result:
        """Send a wrong request: it is a client's mistake, and the answer says in a sentence what is wrong."""
        status, text = self.ask(request.body, request.content_type)
        said = " ".join(text.split())
        sentence = " " in said and "Traceback" not in said
        passed = status == request.status and sentence
        seen = f"{status} {said[:200] or '(without a sentence)'}"
        return Result(test=request.what, passed=passed, seen=seen, refusal=True)

    def latency(self, body: str, content_type: str, limit_ms: float) -> Result:
        """Time requests of one row, one after the other: ``SHARE`` of them has to be answered within the limit."""
        seconds = []
        for _ in range(TIMED_REQUESTS):
            began = self.clock()
            self.ask(body, content_type)
            seconds.append(self.clock() - began)
        slowest = sorted(seconds)[round(SHARE * TIMED_REQUESTS) - 1] * 1000
        name = f"{SHARE:.0%} of {TIMED_REQUESTS} requests within {limit_ms:g} ms"
        return Result(test=name, passed=slowest <= limit_ms, seen=f"{slowest:.0f} ms")


def play(endpoint: Endpoint, config: ModelConfig, smoke: Mapping[str, Any], limit_ms: float) -> list[Result]:
    """Play all tests but the comparison with the evaluation, which ``verification.verify`` makes; return what each came to.

    Serving functions of the model folder's own answer wrong requests in their own way: these are not sent.

    Raises:
        UnansweredError: the endpoint could not be asked.

    """
    good, content_type = str(smoke["body"]), str(smoke["content_type"])
    results = [endpoint.batch(smoke, config.deployment.smoke_tolerance)]
    if config.deployment.script is None and content_type == CSV:
        results += [endpoint.refuses(request) for request in wrong_requests(config, good)]
    return [*results, endpoint.latency(good, content_type, limit_ms)]


def require(results: Sequence[Result], endpoint: str) -> None:
    """See that every test passed.

    Raises:
        SystemTestError: one did not.

    """
    failed = [f"  {result.test}: {result.seen}" for result in results if not result.passed]
    if failed:
        raise SystemTestError(
            f"endpoint {endpoint} failed {len(failed)} of {len(results)} system tests, and nothing was promoted:\n"
            + "\n".join(failed)
        )
