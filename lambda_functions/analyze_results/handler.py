"""Lambda ``analyze_results``: turn the evaluation's rows into the numbers that the promotion gate judges.

The event names the rows, ``{"rows_uri": "s3://BUCKET/KEY"}`` (the ``rows.csv`` that the evaluation job wrote, header
``row,truth,challenger,champion,group`` first, further columns are ignored; ``champion`` is empty throughout when there is none,
``group`` when the model has none), or carries a small document, ``{"GroundTruth": [...], "Predictions": [...]}``, itself or as a
JSON text under ``body``.

Rows are read once, in blocks, in constant memory. Sums inside a block are exact (``math.fsum``); blocks are joined with
compensated sums and, for variances, with the pairwise update of Chan, Golub and LeVeque (1983), so the result does not
drift with the number of rows. Only the standard library and boto3 are used: this file is the whole deployment package.
"""

from __future__ import annotations

import codecs
import csv
import json
import math
import operator
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from statistics import NormalDist
from typing import Any, NoReturn, Protocol

HEADER = ["row", "truth", "challenger", "champion", "group"]
CONFIDENCE = 0.95
CHUNK_BYTES = 1 << 20
BLOCK_ROWS = 4096
MAX_LINE_CHARACTERS = 1 << 16
MAX_GROUPS = 1000


class Readable(Protocol):
    """What a body must offer: ``read(size)``, as files and botocore's ``StreamingBody`` do."""

    def read(self, size: int, /) -> bytes:
        """Return up to ``size`` bytes, none at the end."""


def handler(event: Mapping[str, Any], context: object = None) -> dict[str, Any]:
    """Return error statistics, per group too, and the paired comparison with the champion.

    Returns:
        ``{"n", "challenger": {"rmse", "mae", "r2", "bias"}, "champion": the same or None,
        "paired": {"n", "rmse_difference", "standard_error", "upper_bound_95"} or None,
        "groups": {name: {"n", "rmse", "bias"}}, "worst_group": {"group", "rmse"} or None}``.
        Errors are prediction - truth, in the unit of the target; ``rmse_difference`` is challenger - champion; the
        groups are the challenger's.

    Raises:
        ValueError: the event or a row is malformed; the message names the key or the line.

    """
    document = _document(event)
    if "rows_uri" in document:
        uri = document["rows_uri"]
        bucket, key = _bucket_and_key(uri)
        import boto3  # only this branch needs it, and it takes a large part of a cold start

        body = boto3.client("s3").get_object(Bucket=bucket, Key=key)["Body"]
        try:
            return analyze_csv(body, name=uri)
        finally:
            body.close()
    return analyze_lists(document)


def analyze_csv(body: Readable, *, name: str = "rows.csv") -> dict[str, Any]:
    """Return the statistics of the CSV rows in ``body``; ``name`` stands for them in error messages.

    Raises:
        ValueError: wrong header, no rows, wrong number of fields, a value that is no finite number, or a champion in
            some rows only.

    """
    reader = csv.reader(_lines(body, name), strict=True)
    try:
        header = next(reader, None)
        if not header or header[: len(HEADER)] != HEADER:
            raise ValueError(f"{name}: the header is {header}, expected {HEADER} and, after them, any others")
        analysis = _Analysis()
        while rows := list(islice(reader, BLOCK_ROWS)):
            try:
                _add_block(analysis, rows, len(header))
            except (ValueError, OverflowError) as error:
                _explain(analysis, rows, name, error, header)
    except csv.Error as error:
        raise ValueError(f"{name}, line {reader.line_num}: {error}") from error
    if analysis.n == 0:
        raise ValueError(f"{name} has no rows below its header: the evaluation scored nothing")
    return analysis.result()


def analyze_lists(document: Mapping[str, Any]) -> dict[str, Any]:
    """Return the statistics of ``{"GroundTruth": [...], "Predictions": [...]}``, without champion and groups.

    Raises:
        ValueError: a key is missing, the lists are empty or of unequal length, or a value is no finite number.

    """
    for key in ("GroundTruth", "Predictions"):
        if key not in document:
            keys = sorted(map(str, document))
            raise ValueError(f"no {key!r} in the event (keys: {keys}): send rows_uri, or GroundTruth and Predictions")
        values = document[key]
        if not isinstance(values, list):
            raise ValueError(f"{key!r} must be a list of numbers, got {type(values).__name__}")
        for index, value in enumerate(values):
            if not _is_finite_number(value):
                raise ValueError(f"{key}[{index}] is {value!r}, not a finite number")
    truth, predictions = document["GroundTruth"], document["Predictions"]
    if len(truth) != len(predictions):
        raise ValueError(
            f"'GroundTruth' has {len(truth)} values, 'Predictions' {len(predictions)}: they must match row by row"
        )
    if not truth:
        raise ValueError("'GroundTruth' and 'Predictions' are empty: nothing was scored")
    analysis = _Analysis()
    for start in range(0, len(truth), BLOCK_ROWS):
        block = slice(start, start + BLOCK_ROWS)
        try:
            analysis.add([float(value) for value in truth[block]], [float(value) for value in predictions[block]])
        except (ValueError, OverflowError) as error:
            raise ValueError(f"in the {BLOCK_ROWS} rows from index {start} on: {error}") from error
    return analysis.result()


def student_t_quantile(probability: float, degrees_of_freedom: int) -> float:
    """Return the quantile of Student's t, by the expansion around the normal one (Abramowitz and Stegun 1964, 26.7.5).

    For probabilities from 0.5 to 0.99 the relative error is below 1e-4 from 8 degrees of freedom on and below 1e-7 from
    50 on.
    """
    z = NormalDist().inv_cdf(probability)
    terms = (
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
        (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / 92160,
    )
    return z + math.fsum(term / degrees_of_freedom**power for power, term in enumerate(terms, start=1))


class _Sum:
    """A running total with Neumaier's compensation."""

    __slots__ = ("_correction", "_total")

    def __init__(self) -> None:
        self._total = self._correction = 0.0

    def add(self, value: float) -> None:
        total = self._total + value
        if abs(self._total) >= abs(value):
            self._correction += (self._total - total) + value
        else:
            self._correction += (value - total) + self._total
        self._total = total

    @property
    def value(self) -> float:
        return self._total + self._correction


class _Errors:
    """Sums over the errors of one model: signed, absolute and squared."""

    __slots__ = ("absolute", "signed", "squared")

    def __init__(self) -> None:
        self.signed, self.absolute, self.squared = _Sum(), _Sum(), _Sum()

    def add(self, errors: Sequence[float], squares: Sequence[float]) -> None:
        squared = math.fsum(squares)
        if not math.isfinite(squared):  # catches NaN and infinity of any input, at the price of one look per block
            raise ValueError("an error is not finite or too large to square")
        self.squared.add(squared)
        self.signed.add(math.fsum(errors))
        self.absolute.add(math.fsum(map(abs, errors)))

    def statistics(self, n: int, total_squares: float) -> dict[str, float | None]:
        """Return rmse, mae, r2 and bias; r2 is None when the truth does not vary."""
        return {
            "rmse": math.sqrt(self.squared.value / n),
            "mae": self.absolute.value / n,
            "r2": 1.0 - self.squared.value / total_squares if total_squares > 0 else None,
            "bias": self.signed.value / n,
        }


class _Group:
    """Count and sums of one group's errors."""

    __slots__ = ("n", "signed", "squared")

    def __init__(self) -> None:
        self.n, self.signed, self.squared = 0, _Sum(), _Sum()

    def statistics(self) -> dict[str, float]:
        return {"n": self.n, "rmse": math.sqrt(self.squared.value / self.n), "bias": self.signed.value / self.n}


class _Variation:
    """Mean and sum of squared deviations of one series, joined block by block."""

    __slots__ = ("deviation", "mean", "n")

    def __init__(self) -> None:
        self.n, self.mean, self.deviation = 0, 0.0, 0.0

    def add(self, values: Sequence[float]) -> None:
        m = len(values)
        mean = math.fsum(values) / m
        n = self.n + m
        gap = mean - self.mean
        centred = [value - mean for value in values]
        self.deviation += math.fsum(map(operator.mul, centred, centred)) + gap * gap * (self.n * m / n)
        self.mean += gap * m / n
        self.n = n


class _Analysis:
    """Everything that is kept while the rows stream by; its size does not depend on their number."""

    def __init__(self) -> None:
        self.n = 0
        self.has_champion = False
        self._truth = _Variation()
        self._challenger, self._champion = _Errors(), _Errors()
        self._gap = _Variation()  # challenger's squared error - champion's
        self._groups: dict[str, _Group] = {}

    def add(
        self,
        truth: Sequence[float],
        challenger: Sequence[float],
        champion: Sequence[float] | None = None,
        groups: Sequence[str] = (),
    ) -> None:
        """Take in a block of rows: columns of equal length, ``champion`` for all blocks or for none."""
        if self.n and self.has_champion != (champion is not None):
            raise ValueError("the champion's predictions are there in some rows only")
        errors = list(map(operator.sub, challenger, truth))
        squares = list(map(operator.mul, errors, errors))
        self._challenger.add(errors, squares)
        self._truth.add(truth)
        if champion is not None:
            self.has_champion = True
            champion_errors = list(map(operator.sub, champion, truth))
            champion_squares = list(map(operator.mul, champion_errors, champion_errors))
            self._champion.add(champion_errors, champion_squares)
            self._gap.add(list(map(operator.sub, squares, champion_squares)))
        if groups:
            self._add_groups(errors, squares, groups)
        self.n += len(errors)

    def _add_groups(self, errors: Sequence[float], squares: Sequence[float], groups: Sequence[str]) -> None:
        members: dict[str, tuple[list[float], list[float]]] = {name: ([], []) for name in set(groups)}
        for name, error, square in zip(groups, errors, squares, strict=True):
            of_name = members[name]
            of_name[0].append(error)
            of_name[1].append(square)
        members.pop("", None)  # the model has no groups
        for name, (group_errors, group_squares) in members.items():
            if name not in self._groups and len(self._groups) >= MAX_GROUPS:
                raise ValueError(f"more than {MAX_GROUPS} groups: evaluate with a coarser --group column")
            group = self._groups.setdefault(name, _Group())
            group.n += len(group_errors)
            group.signed.add(math.fsum(group_errors))
            group.squared.add(math.fsum(group_squares))

    def result(self) -> dict[str, Any]:
        """Return what ``handler`` documents."""
        total_squares = self._truth.deviation
        challenger = self._challenger.statistics(self.n, total_squares)
        champion = self._champion.statistics(self.n, total_squares) if self.has_champion else None
        groups = {name: group.statistics() for name, group in sorted(self._groups.items())}
        worst = max(groups, key=lambda name: groups[name]["rmse"], default=None)
        return {
            "n": self.n,
            "challenger": challenger,
            "champion": champion,
            "paired": self._paired(challenger["rmse"], champion["rmse"]) if champion else None,
            "groups": groups,
            "worst_group": None if worst is None else {"group": worst, "rmse": groups[worst]["rmse"]},
        }

    def _paired(self, challenger: float, champion: float) -> dict[str, float | int | None]:
        """Return the difference of the two RMSE with its standard error and one-sided upper bound.

        With u and v the squared errors of challenger and champion on the same rows, rmse_u - rmse_v is exactly mean(u -
        v) / (rmse_u + rmse_v). The standard error is that of mean(u - v) over the same denominator, and the bound takes
        Student's t, so "bound below 0" is the paired one-sided t test on squared errors, told in the unit of the
        target. Weighting u and v by 1 / (2 rmse) each, as the delta method does, tests less exactly: the outliers that
        make an RMSE large then shrink their own weight.
        """
        total = challenger + champion
        difference = self._gap.mean / total if total > 0 else 0.0
        if self.n < 2:
            return {"n": self.n, "rmse_difference": difference, "standard_error": None, "upper_bound_95": None}
        standard_error = math.sqrt(self._gap.deviation / (self.n - 1) / self.n) / (total or 1.0)
        bound = difference + student_t_quantile(CONFIDENCE, self.n - 1) * standard_error
        return {"n": self.n, "rmse_difference": difference, "standard_error": standard_error, "upper_bound_95": bound}


def _document(event: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the event, or the document in its ``body`` as an HTTP front end passes it on."""
    if not isinstance(event, Mapping):
        raise ValueError(f"the event must be a JSON object, got {type(event).__name__}")
    body = event.get("body")
    if "rows_uri" in event or not isinstance(body, str):
        return event
    try:
        document = json.loads(body)
    except json.JSONDecodeError as error:
        raise ValueError(f"the event's 'body' is not JSON: {error}") from error
    if not isinstance(document, dict):
        raise ValueError(f"the event's 'body' must hold a JSON object, got {type(document).__name__}")
    return document


def _bucket_and_key(uri: object) -> tuple[str, str]:
    match = re.fullmatch(r"s3://([^/]+)/(.+)", uri) if isinstance(uri, str) else None
    if match is None:
        raise ValueError(f"'rows_uri' is {uri!r}, expected s3://BUCKET/KEY")
    return match[1], match[2]


def _lines(body: Readable, name: str) -> Iterator[str]:
    """Yield the lines of a UTF-8 body without their line ends, one chunk in memory at a time."""
    decoder = codecs.getincrementaldecoder("utf-8-sig")()
    rest, number = "", 0
    while True:
        chunk = body.read(CHUNK_BYTES)
        try:
            lines = (rest + decoder.decode(chunk, final=not chunk)).split("\n")
        except UnicodeDecodeError as error:
            raise ValueError(f"{name}, near line {number + 1}: not UTF-8 ({error.reason})") from error
        rest = lines.pop()
        yield from lines
        number += len(lines)
        if len(rest) > MAX_LINE_CHARACTERS:
            raise ValueError(f"{name}, line {number + 1}: longer than {MAX_LINE_CHARACTERS} characters")
        if not chunk:
            break
    if rest:
        yield rest


def _add_block(analysis: _Analysis, rows: list[list[str]], width: int) -> None:
    if len(rows[0]) != width:  # rows of unequal length are found by zip
        raise ValueError(f"{len(rows[0])} fields")
    _, truth, challenger, champion, groups, *_ = zip(*rows, strict=True)
    if all(champion):
        analysis.add(_numbers(truth), _numbers(challenger), _numbers(champion), groups)
    elif any(champion):
        raise ValueError("the champion's predictions are there in some rows only")
    else:
        analysis.add(_numbers(truth), _numbers(challenger), None, groups)


def _numbers(texts: Iterable[str]) -> list[float]:
    if "_" in "".join(texts):
        raise ValueError("an underscore in a number")  # float() would read 1_5 as 15
    return list(map(float, texts))


def _explain(
    analysis: _Analysis, rows: list[list[str]], name: str, cause: Exception, header: Sequence[str]
) -> NoReturn:
    """Find the line that made a block fail and raise a ``ValueError`` that names it.

    Blocks are taken in whole for speed; only when one fails are its rows looked at one by one.
    """
    with_champion = analysis.has_champion if analysis.n else any(len(row) == len(header) and row[3] for row in rows[:1])
    for line, row in enumerate(rows, start=analysis.n + 2):  # line 1 is the header
        where = f"{name}, line {line}"
        if len(row) != len(header):
            raise ValueError(f"{where}: {len(row)} fields, expected {len(header)} ({','.join(header)})") from cause
        if bool(row[3]) != with_champion:
            state = "is missing" if with_champion else f"is {row[3]!r}"
            others = "other rows have one" if with_champion else "earlier rows have none"
            raise ValueError(f"{where}: the champion's prediction {state}, but {others}") from cause
        for column in (1, 2, 3) if with_champion else (1, 2):
            if not _is_finite_text(row[column]):
                raise ValueError(f"{where}: {HEADER[column]} is {row[column]!r}, not a finite number") from cause
    raise ValueError(f"{name}, lines {analysis.n + 2} to {analysis.n + 1 + len(rows)}: {cause}") from cause


def _is_finite_text(text: str) -> bool:
    try:
        return "_" not in text and math.isfinite(float(text))
    except ValueError:
        return False


def _is_finite_number(value: object) -> bool:
    try:
        return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    except OverflowError:  # an integer beyond any float
        return False
