"""From lines to typed, judged and hashed rows: the same verdict on each line as the plain reader of `retraining.contract`, in Spark.

Each step is a projection of its own: Spark then computes what several later expressions use only once.
"""

from __future__ import annotations

from collections.abc import Sequence

from pyspark.sql import DataFrame

from glue_scripts.merge.by_spark.cells import bounds, breaks, form_of, judge, number_of, value_of
from glue_scripts.merge.by_spark.session import literal
from retraining.contract.headings import known_headings
from retraining.contract.names import UNREGARDED
from retraining.contract.notation.lines import FAULTS, LINE_FEED, NO_ROW
from retraining.contract.reader import BAD_SOURCE, TOO_FEW, TOO_LONG, TOO_MANY, UNBALANCED
from retraining.contract.rules import HASH_DIGITS, KEY_DIGITS, MAX_LINE, SEPARATOR, SOURCES, SYNTHETIC, TRAIN, Contract
from retraining.contract.values import BLANKS

ROW, BAD, SKIP, HEADER = range(4)  # a good row, one for quarantine, a line that is no row, a header of another order
RAW_CHARACTERS = 4096  # of a rejected line that quarantine keeps


def parse(
    lines: DataFrame, contract: Contract, split: Sequence[tuple[str, int]], placed: str | None = None
) -> DataFrame:
    """Turn lines into typed, judged and hashed rows.

    Columns: file, block, position, kind (ROW, BAD, SKIP or HEADER), reasons (of bad rows, joined by line feeds), raw
    and cells (of bad rows), synthetic, value_N for each contract column, row_hash (32 hex digits), key (its first 60
    bits), split (index into `split`; `placed` is SQL that gives it in place of the hash).
    """
    columns = list(enumerate(contract.columns))
    texts = [f"text_{n}" for n, _ in columns]
    numbers = [f"number_{n}" for n, column in columns if column.numeric]
    values = [f"value_{n}" for n, _ in columns]
    line = [
        "file",
        "block",
        "position",
        "value",
        "synthetic",
        "plain",
        "width",
        "delimiter",
        "pattern",
        "skips",
        "header",
    ]
    rows = lines.selectExpr(
        *line,
        "columns",
        "source_at",
        f"""CASE WHEN length(value) > {MAX_LINE} THEN NULL WHEN plain THEN split(value, pattern, -1)
            ELSE {careful_cells("value")} END AS cells""",
    )
    line += ["size", "row_source"]
    text = "coalesce(get(cells, get(columns, {})), '')"
    if contract.multiline:
        text = f"replace({text}, {literal(LINE_FEED)}, {literal(chr(10))})"
    rows = rows.selectExpr(
        *line[:-2],
        "size(cells) AS size",
        "CASE WHEN source_at IS NOT NULL THEN lower(get(cells, source_at)) END AS row_source",
        *(f"{text.format(n)} AS text_{n}" for n, _ in columns),
    )
    numeric = [f"{number_of(contract, column, n)} AS number_{n}" for n, column in columns if column.numeric]
    rows = rows.selectExpr(*line, *texts, *numeric)
    rows = rows.selectExpr(
        *line, *texts, *numbers, *(f"{value_of(contract, column, n)} AS value_{n}" for n, column in columns)
    )
    hashes = [f"{hash_of(contract, contract.identity)} AS hash"]
    if contract.split_by:
        hashes.append(f"{hash_of(contract, contract.split_by)} AS split_hash")
    rows = rows.selectExpr(
        *line,
        *texts,
        *values,
        f"{reasons_of(contract)} AS reasons",
        *hashes,
    )
    rows = rows.selectExpr("*", f"CASE WHEN reasons != '' THEN {headings_in('value')} END AS names")
    rows = rows.selectExpr("*", f"CASE WHEN reasons = '' THEN {ROW} ELSE {kind_of_bad(contract)} END AS kind")
    rows = rows.selectExpr(
        "file",
        "block",
        "position",
        "kind",
        f"CASE WHEN kind = {BAD} THEN reasons END AS reasons",
        f"CASE WHEN kind = {BAD} THEN substring(value, CASE WHEN {no_row()} THEN 3 ELSE 1 END, {RAW_CHARACTERS}) END AS raw",
        f"CASE WHEN kind = {BAD} THEN array({', '.join(texts)}) END AS cells",
        f"(synthetic OR coalesce(row_source = '{SYNTHETIC}', FALSE)) AS synthetic",
        *(f"CASE WHEN kind = {ROW} THEN value_{n} END AS value_{n}" for n, _ in columns),
        f"CASE WHEN kind = {ROW} THEN hash END AS row_hash",
        f"CASE WHEN kind = {ROW} THEN {key_of('hash')} END AS key",
        *([f"CASE WHEN kind = {ROW} THEN {key_of('split_hash')} END AS split_key"] if contract.split_by else []),
    )
    placed = placed or split_of(split, "split_key" if contract.split_by else "key")
    rows = rows.selectExpr("*", f"{placed} AS split")
    return rows.drop("split_key")


def hash_of(contract: Contract, names: Sequence[str]) -> str:
    """Hash the canonical forms of some columns."""
    forms = ", ".join(form_of(contract.column(name), contract.position[name]) for name in names)
    return f"substring(sha2(concat_ws({literal(SEPARATOR)}, {forms}), 256), 1, {HASH_DIGITS})"


def key_of(digest: str) -> str:
    """Return the first 60 bits of a hash as a number."""
    return f"CAST(conv(substring({digest}, 1, {KEY_DIGITS}), 16, 10) AS bigint)"


def careful_cells(line: str) -> str:
    """Cut a line that holds blanks, quotes or other than ASCII at delimiters outside quotes; trim and unquote its cells.

    What lies between two quotes is every second piece of the line cut at its quotes; elsewhere the delimiter becomes a sign that no
    text may hold. Time is linear in the line, whatever it holds.
    """
    blanks, sign = literal(BLANKS), literal(SEPARATOR)
    outside = f"""transform(split({line}, '"', -1), (piece, at) ->
        CASE WHEN at % 2 = 0 THEN replace(piece, delimiter, {sign}) ELSE piece END)"""
    quoted = f"""transform(split(array_join({outside}, '"'), {sign}, -1), cell -> btrim(cell, {blanks}))"""
    inner = f"""btrim(replace(substring(cell, 2, length(cell) - 2), '""', '"'), {blanks})"""
    unquoted = f"""transform({quoted}, cell -> CASE WHEN length(cell) > 1 AND startswith(cell, '"') AND endswith(cell, '"')
        THEN {inner} ELSE cell END)"""
    bare = f"transform(split({line}, pattern, -1), cell -> btrim(cell, {blanks}))"
    return f"""CASE WHEN contains({line}, '"') THEN {unquoted} ELSE {bare} END"""


def reasons_of(contract: Contract) -> str:
    r"""Give all reasons why a row is rejected, joined by line feeds; '' for a good row.

    Nearly all rows are good: one test that a plain row meets every condition saves asking for each reason.
    """
    columns = list(enumerate(contract.columns))
    good = ["plain", "size = width", "row_source IS NULL", f"length(value) <= {MAX_LINE}"]
    for n, column in columns:
        if column.type != "string" or column.allowed:  # a plain text without list is any
            good += [f"NOT ({test})" for test, _ in bounds(contract, column, n)]
        good.append(f"value_{n} IS NOT NULL")
    good += [f"NOT ({breaks(rule, contract)})" for rule in contract.rules]
    known = ", ".join(literal(name) for name in ("", *SOURCES))
    reasons = [judge(contract, column, n) for n, column in columns]
    reasons += [f"CASE WHEN {breaks(rule, contract)} THEN {literal(rule.reason)} END" for rule in contract.rules]
    reasons += [f"CASE WHEN row_source NOT IN ({known}) THEN {literal(BAD_SOURCE)} END"]
    every = f"coalesce({line_reason()}, concat_ws('\\n', {', '.join(reasons)}))"
    return f"CASE WHEN {' AND '.join(good)} THEN '' ELSE {every} END"


def line_reason() -> str:
    """Why a line as a whole is no row, or NULL."""
    faults = " ".join(f"WHEN '{number}' THEN {literal(reason)}" for number, reason in enumerate(FAULTS))
    return f"""CASE WHEN length(value) > {MAX_LINE} THEN {literal(TOO_LONG)}
        WHEN {no_row()} THEN CASE substring(value, 2, 1) {faults} END
        WHEN contains(value, '"') AND (length(value) - length(replace(value, '"', ''))) % 2 = 1 THEN {literal(UNBALANCED)}
        WHEN size < width THEN {literal(TOO_FEW)} WHEN size > width THEN {literal(TOO_MANY)} END"""


def no_row() -> str:
    """Whether a line stands for what is no row in JSON Lines; files with headers have none."""
    return f"(header IS NULL AND startswith(value, {literal(NO_ROW)}))"


def kind_of_bad(contract: Contract) -> str:
    """Tell what a line is that is no good row: blank, a line of the top of its file once more, a header of another order, or a bad row."""
    nothing = literal(BLANKS + '"' + LINE_FEED)
    known = ", ".join(literal(name) for name in sorted(known_headings(contract)))
    named = f"size(filter(names, name -> name IN ({known})))"
    return f"""CASE WHEN array_contains(skips, value) OR translate(value, concat({nothing}, delimiter), '') = '' THEN {SKIP}
        WHEN header IS NULL OR names IS NULL OR {named} < greatest(2, ceil(size(names) / 2)) THEN {BAD}
        WHEN names = header THEN {SKIP} ELSE {HEADER} END"""


def headings_in(line: str) -> str:
    """Bring the cells of a line into the form in which headings are compared; NULL for a line that is longer than a row may be."""
    cells = f"transform(split({line}, pattern, -1), cell -> lower(regexp_replace(cell, {literal(UNREGARDED)}, '')))"
    return f"CASE WHEN length({line}) <= {MAX_LINE} THEN {cells} END"


def split_of(split: Sequence[tuple[str, int]], key: str) -> str:
    """Index of a row's split: a key mod 100 against the cumulated shares; synthetic rows only train."""
    train = next(number for number, (name, _) in enumerate(split) if name == TRAIN)
    edges = [sum(share for _, share in split[: number + 1]) for number in range(len(split))]
    cases = " ".join(f"WHEN {key} % 100 < {edge} THEN {number}" for number, edge in enumerate(edges))
    return f"CASE WHEN {key} IS NULL THEN NULL WHEN synthetic THEN {train} {cases} END"
