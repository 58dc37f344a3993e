"""SQL for one column: its typed value, its canonical form, and why a cell is rejected. Made from the rules of `retraining.contract`.

A cell is `text_N` (trimmed), its typed value `value_N`; `plain` says that the line is printable ASCII without blanks, quotes and x.
SQL text, because building Column objects takes longer than a small merge.
"""

from __future__ import annotations

import re

from glue_scripts.merge.by_spark.session import literal
from retraining.contract import values
from retraining.contract.rules import SLACK, Column, Contract, Rule

MISSING_WORD = "missing, written as a word or code (see `missing`)"
_CONTROL = {False: r"[\x00-\x1f\x7f]", True: r"[\x00-\x09\x0b-\x1f\x7f]"}
_KINDS = {"boolean": "boolean", "date": "date", "timestamp": "timestamp"}


def number_of(contract: Contract, column: Column, n: int) -> str | None:
    """Return the double that a numeric cell writes, as far as one expression can tell; None for other columns."""
    if not column.numeric:
        return None
    text = in_points(contract, n)
    ascii_number = f"{text} RLIKE r'^[-+.0-9eE]+\\z'"
    # Java would also take 1d, 0x1p3 and NaN: a survey may not.
    guard = ascii_number
    if text == f"text_{n}":
        guard = f"CASE WHEN plain THEN substring({text}, -1, 1) <= '9' ELSE {ascii_number} END"
    return f"CASE WHEN {guard} THEN try_cast({text} AS double) END"


def in_points(contract: Contract, n: int) -> str:
    """Return a cell's number with a decimal point and without thousands separators, NULL where it is written otherwise."""
    text = f"text_{n}"
    if contract.decimal == "." and not contract.thousands:
        return text
    pointed = text
    if contract.decimal != ".":
        pointed = f"CASE WHEN NOT contains({text}, '.') THEN replace({text}, {literal(contract.decimal)}, '.') END"
    if not contract.thousands:
        return f"({pointed})"
    apart = literal(contract.thousands)
    pattern = literal(f"^{values.grouped(contract.decimal, contract.thousands)}\\z")
    joined = f"replace(replace({text}, {apart}, ''), {literal(contract.decimal)}, '.')"
    return (
        f"(CASE WHEN contains({text}, {apart}) THEN CASE WHEN {text} RLIKE {pattern} THEN {joined} END "
        f"ELSE {pointed} END)"
    )


def value_of(contract: Contract, column: Column, n: int) -> str:
    """Return the typed value of a cell, NULL when it is missing or writes none. Uses `number_N` of a numeric column."""
    text, number = f"text_{n}", f"number_{n}"
    words = missing_words(contract, column)
    if column.type == "string":
        return f"CASE WHEN {text} NOT IN ({words}) THEN {text} END"
    if column.numeric:
        plain = in_points(contract, n)
        found = _double(plain, number) if column.type == "double" else _whole(plain, number)
    elif column.type == "boolean":
        yes, no = (", ".join(map(literal, words)) for words in (values.TRUE, values.FALSE))
        found = f"CASE WHEN lower({text}) IN ({yes}) THEN TRUE WHEN lower({text}) IN ({no}) THEN FALSE END"
    else:
        pattern = values.DATE if column.type == "date" else values.INSTANT
        found = f"CASE WHEN {text} RLIKE r'^(?:{pattern})\\z' THEN try_cast({text} AS {_KINDS[column.type]}) END"
    if words == "''":
        return found
    return f"CASE WHEN {text} NOT IN ({words}) THEN {found} END"


def _double(text: str, number: str) -> str:
    """Take the number itself (never -0.0), if it is finite and no underflow."""
    large = "CAST('Infinity' AS double)"
    return (
        f"CASE WHEN abs({number}) < {large} AND ({number} != 0D OR NOT {text} RLIKE '^[^eE]*[1-9]') "
        f"THEN {number} + 0D END"
    )


def _whole(text: str, number: str) -> str:
    """Take a whole number of 64 bits from its digits; one with an exponent from the double, up to 53 bits."""
    exact = float(values.EXACT_INT)
    return (
        f"CASE WHEN {text} RLIKE r'^[+-]?[0-9]+\\z' THEN try_cast({text} AS bigint) "
        f"WHEN {text} RLIKE r'^[+-]?\\.0+\\z' THEN 0L "
        f"WHEN {text} RLIKE r'^[+-]?[0-9]+\\.0*\\z' THEN try_cast(substring_index({text}, '.', 1) AS bigint) "
        f"WHEN {number} % 1D = 0D AND abs({number}) <= {literal(exact)} "
        f"AND ({number} != 0D OR NOT {text} RLIKE '^[^eE]*[1-9]') THEN CAST({number} AS bigint) END"
    )


def form_of(column: Column, n: int) -> str:
    """Return the canonical form of a value as text, empty for a missing one."""
    value = f"value_{n}"
    if column.type == "double":
        return f"CASE WHEN {value} IS NULL THEN '' ELSE CAST(xxhash64({value}) AS string) END"
    if column.type == "timestamp":
        return f"coalesce(CAST(unix_micros({value}) AS string), '')"
    return f"coalesce({value}, '')" if column.type == "string" else f"coalesce(CAST({value} AS string), '')"


def missing_words(contract: Contract, column: Column) -> str:
    """Return the texts that stand for a missing value in a column."""
    return ", ".join(literal(word) for word in contract.missing if not (word and word in column.allowed))


def bounds(contract: Contract, column: Column, n: int) -> list[tuple[str, str]]:
    """List the tests that a present value must not meet, with the reason each gives."""
    value = f"value_{n}"
    if column.type == "string":
        if column.allowed:
            allowed = ", ".join(literal(text) for text in column.allowed)
            return [(f"{value} NOT IN ({allowed})", f"{column.name}: not one of {', '.join(column.allowed)}")]
        return [(f"{value} RLIKE r'{_CONTROL[contract.multiline]}'", f"{column.name}: control character")]
    number = f"CAST({value} AS double)" if column.type == "int" else value
    return [(f"{number} {sign} {literal(limit)}", reason) for sign, limit, reason in column.bounds]


def judge(contract: Contract, column: Column, n: int) -> str:
    """Return the first reason why a cell breaks its column's contract, or NULL. Reasons hold no values: they are counted."""
    text, value, number, name = f"text_{n}", f"value_{n}", f"number_{n}", column.name
    absent = f"{text} IN ({missing_words(contract, column)})"
    tests: list[tuple[str, str | None]] = [(absent, None if column.nullable else f"{name}: missing")]
    if column.type != "string":
        words = literal(f"^(?:{'|'.join(map(re.escape, values.MISSING_WORDS))})\\z")
        broken = " OR ".join([f"{value} IS NULL", *(test for test, _ in bounds(contract, column, n))])
        tests.append((f"({broken}) AND lower({text}) RLIKE {words}", f"{name}: {MISSING_WORD}"))
    if column.numeric:
        plain = in_points(contract, n)
        odd = f"({plain} IS NULL OR contains({plain}, ','))"
        if contract.decimal != ",":
            tests.append(
                (f"{value} IS NULL AND lower({text}) RLIKE r'^(?:{values.NOT_FINITE})\\z'", f"{name}: not finite")
            )
            tests.append((f"{value} IS NULL AND {odd} AND contains({text}, ',')", f"{name}: decimal comma"))
        else:
            tests.append(
                (f"{value} IS NULL AND lower({text}) RLIKE r'^(?:{values.NOT_FINITE})\\z'", f"{name}: not finite")
            )
        tests.append((f"{value} IS NULL AND ({odd} OR {number} IS NULL)", f"{name}: not a number"))
        if column.type == "int":
            tests.append((f"{value} IS NULL AND NOT ({number} % 1D = 0D)", f"{name}: not a whole number"))
        tests.append((f"{value} IS NULL", f"{name}: out of range of its type"))
    elif column.type != "string":
        tests.append((f"{value} IS NULL", f"{name}: {contract.no_value(column, '')}"))
    tests += bounds(contract, column, n)
    cases = (f"WHEN {test} THEN {literal(reason)}" for test, reason in tests)
    return f"CASE {' '.join(cases)} END"


def breaks(rule: Rule, contract: Contract) -> str:
    """Test a sum rule; NULL when a value is missing. The slack absorbs the rounding of binary sums."""

    def value(name: str) -> str:
        return f"CAST(value_{contract.position[name]} AS double)"

    total = " + ".join(map(value, rule.sum))
    return f"{total} > {value(rule.at_most)} * {literal(float(rule.tolerance))} + {literal(SLACK)}"


def names_harmless(contract: Contract) -> bool:
    """Whether all column and rule names can stand in SQL as they are."""
    names = (*contract.names, *(rule.name for rule in contract.rules))
    return all(re.fullmatch(r"[a-z][a-z0-9_]*", name) for name in names)
