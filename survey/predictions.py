"""Asks an endpoint about the rows of a survey, one request a row, as the people do who use the model."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from retraining.contract.notation.lines import LINE_FEED
from retraining.contract.reader import records
from retraining.contract.rows import csv_line
from retraining.contract.rules import cut

SENDERS = 4


def requests_of(lines: Iterable[str], names: Sequence[str], target: str, multiline: bool) -> Iterator[str]:
    """Yield the body of a request for each line of a file without header: its cells without the target.

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
            yield csv_line([*cells[:at], *cells[at + 1 :]])


def ask(runtime: Any, endpoint: str, bodies: Iterable[str]) -> tuple[int, int]:
    """Send requests to an endpoint; return how many were answered and how many refused.

    Raises:
        LookupError: the endpoint cannot be asked at all.

    """

    def answered(body: str) -> bool:
        from botocore.exceptions import ClientError

        try:
            runtime.invoke_endpoint(EndpointName=endpoint, ContentType="text/csv", Body=body.encode())["Body"].read()
        except ClientError as error:
            if error.response["Error"]["Code"] != "ModelError":
                raise LookupError(f"endpoint {endpoint} cannot be asked, does it serve a model? {error}") from error
            return False
        return True

    with ThreadPoolExecutor(SENDERS) as pool:
        found = list(pool.map(answered, bodies))
    return sum(found), len(found) - sum(found)
