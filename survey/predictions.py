"""Asks an endpoint about the rows of a survey, one request a row, as the people do who use the model."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

SENDERS = 4


def requests_of(lines: Iterable[str], names: Sequence[str], target: str) -> Iterator[str]:
    """Yield the body of a request for each line of a file without header: its cells without the target.

    Args:
        lines: of the file.
        names: columns in file order.
        target: the column that a request does not have.

    """
    at = list(names).index(target)
    for line in lines:
        cells = line.rstrip("\n").split(",")
        if len(cells) == len(names):
            yield ",".join([*cells[:at], *cells[at + 1 :]])


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
