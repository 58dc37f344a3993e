"""Asks an endpoint about the rows of a survey, one request a row, as the people do who use the model; and writes down what is true."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

from retraining.contract.notation.lines import LINE_FEED
from retraining.contract.reader import records
from retraining.contract.rows import csv_line
from retraining.contract.rules import cut

SENDERS = 4


class Question(NamedTuple):
    """A row that a model is asked about."""

    body: str
    """Of the request: the cells without the target."""
    truth: str
    """The target."""


def questions_of(lines: Iterable[str], names: Sequence[str], target: str, multiline: bool) -> Iterator[Question]:
    """Yield what is asked about each line of a file without header.

    Args:
        lines: of the file.
        names: columns in file order.
        target: the column that a request does not have.
        multiline: whether a cell may have line ends.

    """
    at = list(names).index(target)
    for _, text in records((line.rstrip("\r\n") for line in lines), multiline):
        cells = [cell.replace(LINE_FEED, "\n") for cell in cut(text, ",")]
        if len(cells) == len(names):
            yield Question(csv_line([*cells[:at], *cells[at + 1 :]]), cells[at])


def labels_of(questions: Sequence[Question], ids: Sequence[str], target: str) -> str:
    """Return the file of labels: the id of each request, and what is true."""
    lines = [["inference_id", target], *([name, question.truth] for name, question in zip(ids, questions, strict=True))]
    return "".join(f"{csv_line(cells)}\n" for cells in lines)


def ask(runtime: Any, endpoint: str, questions: Sequence[Question], ids: Sequence[str]) -> tuple[int, int]:
    """Send requests to an endpoint; return how many were answered and how many refused.

    Args:
        runtime: client.
        endpoint: its name.
        questions: one a request.
        ids: inference ids of the requests.

    Raises:
        LookupError: the endpoint cannot be asked at all.

    """

    def answered(question: Question, name: str) -> bool:
        from botocore.exceptions import ClientError

        try:
            request = {"ContentType": "text/csv", "Body": question.body.encode(), "InferenceId": name}
            runtime.invoke_endpoint(EndpointName=endpoint, **request)["Body"].read()
        except ClientError as error:
            if error.response["Error"]["Code"] != "ModelError":
                raise LookupError(f"endpoint {endpoint} cannot be asked, does it serve a model? {error}") from error
            return False
        return True

    with ThreadPoolExecutor(SENDERS) as pool:
        found = list(pool.map(answered, questions, ids))
    return sum(found), len(found) - sum(found)
