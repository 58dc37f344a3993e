"""Schema inference of the crawler: pure functions from the bytes of files to columns with Glue's type names."""

from __future__ import annotations

import csv
import functools
import gzip
import io
import re
import zlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from local_aws.glue.crawling.type_names import merged, parse, written

#: How much of a file is looked at.
SAMPLE_BYTES = 1 << 20
SAMPLE_ROWS = 1_000

_DELIMITERS = (",", "|", "\t", ";", "\u0001")
_BIGINT = re.compile(r"[+-]?\d{1,18}")
_DOUBLE = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
_NAME = re.compile(r"[^\W\d][\w $./-]*", re.UNICODE)
_MAX_HEADER_LENGTH = 150
#: A line of more columns is none of a table, and a cell this long is none of a row.
MAX_COLUMNS = 1_000


@dataclass(frozen=True)
class Column:
    """A column with the type name that Glue gives it."""

    name: str
    type: str


@dataclass(frozen=True)
class FileSchema:
    """What a crawler knows of one file."""

    classification: str
    columns: tuple[Column, ...]
    delimiter: str = ","
    has_header: bool = False
    compression: str = "none"
    rows: int = 0
    bytes_read: int = 0


@dataclass(frozen=True)
class CsvClassifier:
    """A custom CSV classifier: what it fixes is not guessed."""

    delimiter: str | None = None
    quote: str = '"'
    contains_header: str = "UNKNOWN"
    header: tuple[str, ...] = field(default_factory=tuple)


def decompress(data: bytes, name: str) -> tuple[bytes, str]:
    """Return the (beginning of the) content of a file and its compression, ``none`` or ``gzip``."""
    if data[:2] == b"\x1f\x8b" or name.endswith(".gz"):
        try:
            return zlib.decompressobj(wbits=31).decompress(data, SAMPLE_BYTES), "gzip"
        except zlib.error as error:
            raise gzip.BadGzipFile(f"{name} is not a gzip file: {error}") from error
    return data, "none"


def infer_csv(data: bytes, *, truncated: bool, classifier: CsvClassifier | None = None) -> FileSchema | None:
    """Return the schema of (the beginning of) a delimited text file, or None if it is none.

    `truncated` says that the data ends somewhere inside the file: its last line is then left out.
    """
    classifier = classifier or CsvClassifier()
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        if not truncated or error.start < len(data) - 4:
            return None
        text = data[: error.start].decode("utf-8-sig")
    if truncated and "\n" in text:
        text = text[: text.rindex("\n")]
    if "\0" in text or not text.strip() or text.lstrip()[0] in "{[":
        return None  # JSON would become a table of nonsense
    try:
        delimiter = classifier.delimiter or _delimiter(text)
        reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, quotechar=classifier.quote or '"')
        rows = [row for _, row in zip(range(SAMPLE_ROWS), (row for row in reader if row), strict=False)]
    except csv.Error:
        return None
    if not rows:
        return None
    has_header = (
        _has_header(rows) if classifier.contains_header == "UNKNOWN" else classifier.contains_header == "PRESENT"
    )
    body = rows[1:] if has_header else rows
    # A few broken lines do not make the table: it is as wide as its header, or as most of its lines.
    width = len(rows[0]) if has_header else Counter(len(row) for row in rows).most_common(1)[0][0]
    if width > MAX_COLUMNS:
        return None
    types = [_column_type([row[index] for row in body if index < len(row)]) for index in range(width)]
    names = list(classifier.header) or (list(rows[0]) if has_header else [])
    names = _column_names(names, width)
    return FileSchema(
        classification="csv",
        columns=tuple(Column(name, kind) for name, kind in zip(names, types, strict=True)),
        delimiter=delimiter,
        has_header=has_header,
        rows=len(body),
        bytes_read=len(data),
    )


def _delimiter(text: str) -> str:
    """Return the delimiter that splits the first lines into the same number, more than one, of fields."""
    lines = [line for line in text.splitlines()[:50] if line.strip()]
    best, best_width = ",", 1
    for delimiter in _DELIMITERS:
        widths = {len(row) for row in csv.reader(lines, delimiter=delimiter) if row}
        if len(widths) == 1 and (width := widths.pop()) > best_width:
            best, best_width = delimiter, width
    return best


def _has_header(rows: Sequence[Sequence[str]]) -> bool:
    """Apply the rules of Glue's built-in CSV classifier to the first row.

    Every cell must be a string and a legal, short name, and below it at least one cell must be something else than a
    string: where all columns are strings, no row is known as a header.
    """
    first, body = rows[0], rows[1:]
    if not body or len(first) < 2:
        return False
    if any(_cell_type(cell) != "string" or len(cell) > _MAX_HEADER_LENGTH for cell in first):
        return False
    if any(not _NAME.fullmatch(cell.strip()) for cell in first[:-1]):
        return False
    return any(_cell_type(cell) not in ("string", "") for row in body for cell in row)


def _cell_type(cell: str) -> str:
    cell = cell.strip()
    if not cell:
        return ""
    if _BIGINT.fullmatch(cell):
        return "bigint"
    if _DOUBLE.fullmatch(cell):
        return "double"
    return "string"


def _column_type(cells: Sequence[str]) -> str:
    kinds = {kind for kind in map(_cell_type, cells) if kind}
    return merge_types(kinds)


def merge_types(kinds: set[str]) -> str:
    """Return the narrowest Glue type that holds all of `kinds`; string when nothing is known."""
    return written(functools.reduce(merged, map(parse, sorted(kinds)), None))


def _column_names(names: Sequence[str], width: int) -> list[str]:
    """Return one legal, unique, lower-case name for each column; ``colN`` where there is none."""
    result: dict[str, None] = {}
    for index in range(width):
        name = names[index].strip().lower() if index < len(names) else ""
        name = name or f"col{index}"
        while name in result:
            name = f"{name}_{index}"
        result[name] = None
    return list(result)


def merge_schemas(schemas: Sequence[FileSchema]) -> tuple[Column, ...]:
    """Return the columns of a table over several files: all of them in order of first sight, types widened."""
    kinds: dict[str, set[str]] = {}
    for schema in schemas:
        for column in schema.columns:
            kinds.setdefault(column.name, set()).add(column.type)
    return tuple(Column(name, merge_types(types)) for name, types in kinds.items())


def similar(one: FileSchema, other: FileSchema) -> bool:
    """Return whether the crawler puts two files into one table: same format and 70 % of the columns in common."""
    if one.classification != other.classification or one.delimiter != other.delimiter:
        return False
    first, second = {column.name for column in one.columns}, {column.name for column in other.columns}
    return len(first & second) >= 0.7 * max(len(first), len(second), 1)


def group_by_similarity(schemas: Sequence[FileSchema]) -> list[list[int]]:
    """Return the indices of the files of each table, the largest table first."""
    groups: list[list[int]] = []
    for index, schema in enumerate(schemas):
        for group in groups:
            if similar(schemas[group[0]], schema):
                group.append(index)
                break
        else:
            groups.append([index])
    return sorted(groups, key=lambda group: (-len(group), group[0]))


def table_name(text: str) -> str:
    """Return a legal table name for a path component: lower case, everything else than letters and digits as ``_``."""
    return re.sub(r"[^a-z0-9_]", "_", text.lower()).strip("_") or "table"
