"""How a file is laid out: packed, delimited, with a header in which order; or why it is refused before any row is read."""

from __future__ import annotations

import codecs
import re
from collections import Counter
from dataclasses import dataclass, replace

from retraining.contract.headings import Named, by_name, known_headings, refuse_names
from retraining.contract.names import heading, headings
from retraining.contract.notation import json_lines, parquet
from retraining.contract.notation.foreign import refuse_foreign_bytes, refuse_foreign_text
from retraining.contract.notation.lines import CSV, JSON_LINES, PARQUET, notation_of
from retraining.contract.plain_text import listed
from retraining.contract.refusal import FileRefused
from retraining.contract.rules import DELIMITERS, Column, Contract, cut
from retraining.contract.unpacking import MAX_LINE_BYTES, Open, Packed, unpacked
from retraining.contract.values import BLANKS, NOT_FINITE, NUMBER

HEAD_BYTES = 1 << 20  # where the header is looked for
HEAD_LINES = 50  # that are not blank
MANY_COLUMNS = 10_000
_SEP = re.compile(r'"?sep=(.)"?', re.IGNORECASE)
_NAMES = {",": "','", ";": "';'", "\t": "tabs", "|": "'|'"}


@dataclass(frozen=True)
class Layout:
    """How one file is laid out. Rows of JSON Lines and Parquet are lines with commas in contract order, without header.

    Attributes:
        delimiter: between cells.
        skips: lines before the data (``sep=``, a title, comments, the header); skipped wherever they stand.
        header: the header in compared form; of the contract when the file has none.
        order: position in the file of each contract column, -1 for a nullable one that the file lacks.
        width: cells of a line.
        source_at: position of the extra column ``source``.
        columns: contract name to heading, or to position from 1 in a file without header.
        packed: "", "gzip", "bzip2", "zstd".
        members: archives in the file.
        text_bytes: bytes of its text.
        empty: nothing but blank lines.
        notation: csv, json_lines or parquet.

    """

    delimiter: str = ","
    skips: tuple[str, ...] = ()
    header: tuple[str, ...] = ()
    order: tuple[int, ...] = ()
    width: int = 0
    source_at: int | None = None
    columns: tuple[tuple[str, str | int], ...] = ()
    packed: str = ""
    members: int = 0
    text_bytes: int = 0
    empty: bool = False
    notation: str = CSV


def inspect(open_file: Open, key: str, contract: Contract) -> Layout:
    """Read a file once, in constant memory, and say how it is laid out.

    Args:
        open_file: opens the stored bytes.
        key: S3 key or path.
        contract: the columns to expect.

    Raises:
        FileRefused: it is no file of rows of this contract; its rows are not looked at.

    """
    refuse_key(key)
    notation = notation_of(key)
    if notation == PARQUET:
        return _of_parquet(open_file, key, contract)
    packed = Packed()
    with open_file() as stream:
        head = _checked_head(unpacked(stream, key, packed), key)
    facts = {"packed": packed.kind, "members": packed.members, "text_bytes": packed.size}
    return Layout(**{**_layout_of(head, len(head) < HEAD_BYTES, contract, notation).__dict__, **facts})


UNSCORED_SPLIT = {"train": 100}
"""A row to be scored goes nowhere; the reader asks."""
ID = "inference_id"
"""Heading of the ids of requests, in a file of rows that have a label."""


def inspect_unscored(open_file: Open, key: str, contract: Contract) -> tuple[Contract, Layout]:
    """Say how a file of rows to be scored is laid out, and by which contract its rows are judged.

    A file without header may have the target in its place; whatever stands there is then not looked at.

    Args:
        open_file: opens the stored bytes.
        key: S3 key or path.
        contract: what the model was trained under.

    Raises:
        FileRefused: it is no file of rows of this contract, with or without the target.

    """
    without = scoring_contract(contract)
    try:
        return without, inspect(open_file, key, without)
    except FileRefused:
        anything = Column(contract.target, "string", nullable=True)
        columns = tuple(anything if column.name == contract.target else column for column in contract.columns)
        whole = replace(without, columns=columns, ignore=contract.ignore, position=contract.position)
        try:
            layout = inspect(open_file, key, whole)
        except FileRefused:
            layout = None
        if layout is None or contract.target not in dict(layout.columns):
            raise
        return whole, layout


def scoring_contract(contract: Contract) -> Contract:
    """Return the contract of rows that have no target yet: a column of its name is passed over."""
    target = contract.column(contract.target)
    columns = tuple(column for column in contract.columns if column.name != target.name)
    names = tuple(column.name for column in columns)
    rules = tuple(rule for rule in contract.rules if target.name not in (*rule.sum, rule.at_most))
    return replace(
        contract,
        columns=columns,
        rules=rules,
        identity=tuple(name for name in contract.identity if name != target.name) or names,
        ignore=(*contract.ignore, target.name, *target.aliases),
        position={name: number for number, name in enumerate(names)},
    )


def label_contract(contract: Contract) -> Contract:
    """Return the contract of rows that have a label: the target must be there, and the id or the inputs may be."""
    own = Column(ID, "string", nullable=True)
    taken = {heading(name) for column in contract.columns for name in (column.name, *column.aliases)}
    columns = tuple(
        column if column.name == contract.target else replace(column, nullable=True) for column in contract.columns
    )
    columns = columns if heading(ID) in taken else (own, *columns)
    names = tuple(column.name for column in columns)
    return replace(
        contract,
        columns=columns,
        rules=(),
        identity=names,
        key=(),
        split_by=(),
        ignore=tuple(name for name in contract.ignore if heading(name) != heading(ID)),
        header_required=True,
        position={name: at for at, name in enumerate(names)},
    )


def lacking_inputs(layout: Layout, contract: Contract) -> tuple[str, ...]:
    """Return the inputs without which rows that have a label cannot be found by their inputs; of a file without any, all.

    Args:
        layout: of a file, under the `label_contract`.
        contract: of the model.

    """
    inputs = [column for column in contract.columns if column.name != contract.target]
    there = dict(layout.columns)
    some = any(column.name in there and column.name != ID for column in inputs)
    return tuple(column.name for column in inputs if column.name not in there and not (some and column.nullable))


def refuse_key(key: str) -> None:
    """Refuse a key that Hadoop and file systems cannot address."""
    if "//" in key.removeprefix("/") or any(part in (".", "..") for part in key.split("/")):
        raise FileRefused("the key has empty or relative path segments", "upload it under another name")


def _checked_head(blocks: object, key: str) -> bytes:
    """Return the first bytes of the text; every byte is checked on the way."""
    head = b""
    decoder = codecs.getincrementaldecoder("utf-8")()
    lines = run = 0
    for block in blocks:  # type: ignore[attr-defined]
        if not head:
            refuse_foreign_bytes(block, key)
        if len(head) < HEAD_BYTES:
            head += block[: HEAD_BYTES - len(head)]
        if b"\0" in block:
            raise FileRefused("contains NUL bytes: not a UTF-8 text file", "save as UTF-8")
        try:
            decoder.decode(block)
        except UnicodeDecodeError as error:
            line = lines + block[: error.start].count(b"\n") + 1
            raise FileRefused(f"encoding is not UTF-8 in line {line:,}", "save as UTF-8") from error
        lines += block.count(b"\n")
        ends = [place for place in (block.find(b"\n"), block.find(b"\r")) if place >= 0]
        if run + (min(ends) if ends else len(block)) > MAX_LINE_BYTES:
            raise FileRefused(f"line {lines + 1:,} is longer than {MAX_LINE_BYTES >> 20} MB: no CSV", "is it CSV?")
        last = max(block.rfind(b"\n"), block.rfind(b"\r"))
        run = run + len(block) if last < 0 else len(block) - last - 1
    try:
        decoder.decode(b"", final=True)
    except UnicodeDecodeError as error:
        raise FileRefused("encoding is not UTF-8 in the last line", "save as UTF-8") from error
    return head


def _layout_of(head: bytes, whole: bool, contract: Contract, notation: str) -> Layout:
    text = head.removeprefix(b"\xef\xbb\xbf").decode("utf-8", errors="ignore")
    every = re.split(r"\r\n|\n|\r", text)
    if not whole and len(every) > 1:
        every.pop()  # cut
    lines = [line for line in every if line.strip(BLANKS)]
    lines = lines if notation == JSON_LINES else lines[:HEAD_LINES]
    if not lines:
        return _by_position(contract, contract.delimiter or ",", (), empty=True)
    if notation == JSON_LINES:
        return _keyed(json_lines.keys_of(lines, contract), contract, JSON_LINES)
    refuse_foreign_text(lines)
    skips: list[str] = []
    delimiters = (contract.delimiter,) if contract.delimiter else DELIMITERS
    if match := _SEP.fullmatch(lines[0].strip(BLANKS + "\ufeff")):
        delimiters = (match[1],)
        skips.append(lines.pop(0))
    found = _header(lines, delimiters, contract)
    if found is not None:
        at, delimiter = found
        return _by_name(lines[at], delimiter, tuple(skips + lines[: at + 1]), contract)
    if contract.header_required:
        raise FileRefused(
            "no line looks like a header, and the contract demands one", f"add the line {','.join(contract.names)}"
        )
    if not lines:
        return _by_position(contract, delimiters[0], tuple(skips), empty=True)
    delimiter = delimiters[0]
    _refuse_unlike_rows(lines, delimiter, contract, proved=bool(contract.delimiter or skips))
    return _by_position(contract, delimiter, tuple(skips))


def _header(lines: list[str], delimiters: tuple[str, ...], contract: Contract) -> tuple[int, str] | None:
    """Find the line that names most contract columns, and its delimiter; no row stands before it."""
    known = known_headings(contract)
    best: tuple[int, int, str] | None = None
    for at, line in enumerate(lines):
        for delimiter in delimiters:
            cells = cut(line, delimiter)
            names = len({heading(cell) for cell in cells} & known)
            numbers = sum(re.fullmatch(NUMBER, cell) is not None for cell in cells)
            heads = names > numbers and (names > 1 or (names == 1 and numbers == 0 and len(cells) > 1))
            if heads and (best is None or names > best[0]):
                best = (names, at, delimiter)
    if best is None:
        return None
    _, at, delimiter = best
    width = len(cut(lines[at], delimiter))
    for line in lines[:at]:
        cells = cut(line, delimiter)
        if len(cells) == width and any(re.fullmatch(NUMBER, cell) for cell in cells):
            return None  # rows begin before it: the file has no header, and this line is judged when it comes
    return at, delimiter


def _by_name(line: str, delimiter: str, skips: tuple[str, ...], contract: Contract) -> Layout:
    cells = cut(line, delimiter)
    named = by_name(cells, contract, "the header")
    return Layout(
        delimiter, skips, tuple(headings(line, delimiter)), named.order, len(cells), named.source_at, named.columns
    )


def _of_parquet(open_file: Open, key: str, contract: Contract) -> Layout:
    with open_file() as stream, parquet.opened(stream, key) as file:
        named = parquet.columns_of(file, contract)
        size = file.metadata.num_rows * parquet.CELL_BYTES * max(1, len(named.columns))
        return replace(_keyed(named, contract, PARQUET), text_bytes=size, members=1, empty=not file.metadata.num_rows)


def _keyed(named: Named, contract: Contract, notation: str) -> Layout:
    """Lay out what is turned into lines: contract order, the source last."""
    wanted = len(contract.columns)
    source_at = None if named.source_at is None else wanted
    return Layout(
        order=tuple(range(wanted)),
        width=wanted + (source_at is not None),
        source_at=source_at,
        columns=named.columns,
        notation=notation,
    )


def _by_position(contract: Contract, delimiter: str, skips: tuple[str, ...], empty: bool = False) -> Layout:
    width = len(contract.columns)
    return Layout(
        delimiter,
        skips,
        tuple(heading(name) for name in contract.names),
        tuple(range(width)),
        width,
        None,
        tuple((name, place + 1) for place, name in enumerate(contract.names)),
        empty=empty,
    )


def _refuse_unlike_rows(lines: list[str], delimiter: str, contract: Contract, proved: bool) -> None:
    """Refuse a file without header whose lines cannot be rows by position."""
    wanted = len(contract.columns)
    first = lines[0]
    if not proved:
        for other in DELIMITERS:
            if other != delimiter and first.count(other) >= wanted - 1:
                raise FileRefused(
                    f"columns are separated by {_NAMES[other]}, expected {_NAMES[delimiter]}, and no header proves it",
                    "add the header line with the same separator, or set `csv: {delimiter: ...}` in model.yaml",
                )
    cells = cut(first, delimiter)
    unlike = len(cells) > 1 and all(cell and not re.search(r"[0-9]", cell) for cell in cells)
    if unlike and contract.numeric and not any(re.fullmatch(NOT_FINITE, cell.lower()) for cell in cells):
        refuse_names("the header", list(contract.names), [], [], 0, cells)
    widths = Counter(len(cut(line, delimiter)) for line in lines)
    if wanted not in widths:
        width = widths.most_common(1)[0][0]
        if any(len(line.split()) == wanted for line in lines):
            raise FileRefused("columns are separated by blanks", "separate them by commas, and add a header")
        count = f"more than {MANY_COLUMNS:,}" if width > MANY_COLUMNS else f"{width:,}"
        hint = "; decimal commas? Write a point, or quote and set `csv`" if width > wanted else ""
        raise FileRefused(
            f"no header, and {count} column{'' if width == 1 else 's'}, the contract has {wanted}",
            f"add a header, so that columns go by name, or upload the columns {listed(contract.names)}{hint}",
        )
