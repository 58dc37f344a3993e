"""What an endpoint is asked about the rows of a survey, one request a row, as the people do who use the model; and what is true."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from retraining.contract.notation.lines import LINE_FEED
from retraining.contract.reader import records
from retraining.contract.rows import csv_line
from retraining.contract.rules import cut


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
