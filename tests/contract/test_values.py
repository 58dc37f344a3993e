"""What a cell's text means, and that its canonical form is exact."""

from __future__ import annotations

import math
import struct
from datetime import UTC, date, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from retraining.contract.values import double, form, in_points, mixed, parsed, whole


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_a_double_is_kept_to_the_last_bit(value: float) -> None:
    assert struct.pack("<d", double(repr(value)) or 0.0) == struct.pack("<d", value + 0.0)


@given(st.floats(allow_nan=False), st.floats(allow_nan=False))
def test_equal_forms_are_equal_numbers(one: float, other: float) -> None:
    assert (form(one) == form(other)) == (one == other)


def test_the_form_is_the_published_hash_of_eight_bytes() -> None:
    # Of the xxhash package: xxh64(struct.pack("<d", x), seed=42).intdigest()
    assert mixed(0.0) == -5252525462095825812
    assert mixed(-0.0) == mixed(0.0)


@pytest.mark.parametrize("texts", [("1e-1", ".1", "0.10", "+0.1", "00.1", "1.00e-01"), ("5e9", "5000000000", "5.e+9")])
def test_ways_to_write_a_number_are_one_value(texts: tuple[str, ...]) -> None:
    assert len({form(double(text)) for text in texts}) == 1


@pytest.mark.parametrize("text", ["1.2e-10", "5e9", "4611686018.5", "1e-300", "1.7976931348623157e308", "4.9e-324"])
def test_small_and_large_numbers_are_stored_as_they_came(text: str) -> None:
    assert double(text) == float(text) != 0


@pytest.mark.parametrize(
    "text", ["", "NaN", "inf", "1e999", "1e-999", "0x1p-1", "0.5d", "1_0", "٣", "1,5", "1 0", "e5", ".", "+"]
)
def test_what_is_no_double(text: str) -> None:
    assert double(text) is None


@pytest.mark.parametrize(
    ("text", "value"),
    [("9", 9), ("9.0", 9), ("9.", 9), ("+09", 9), ("9e0", 9), ("-3.000", -3), (".0", 0), ("9223372036854775807", 2**63 - 1),
     ("9007199254740993", 2**53 + 1), ("9007199254740993.0", 2**53 + 1), ("-9223372036854775808", -(2**63)), ("1.5e1", 15)],
)  # fmt: skip
def test_whole_numbers(text: str, value: int) -> None:
    assert whole(text) == value


@pytest.mark.parametrize("text", ["9.5", "9223372036854775808", "1e17", "9" * 5000, "", "1e-1", "x"])
def test_what_is_no_whole_number(text: str) -> None:
    assert whole(text) is None


@pytest.mark.parametrize(
    ("text", "decimal", "thousands", "plain"),
    [("1.234,5", ",", ".", "1234.5"), ("0,5", ",", ".", "0.5"), ("0.455", ",", ".", None), ("12.34", ",", ".", None),
     ("1 234", ".", " ", "1234"), ("1.5", ",", "", None), ("-1.234.567", ",", ".", "-1234567")],
)  # fmt: skip
def test_separators_of_the_contract(text: str, decimal: str, thousands: str, plain: str | None) -> None:
    assert in_points(text, decimal, thousands) == plain


def test_dates_instants_and_truth_values() -> None:
    assert parsed("date", "2024-02-29") == date(2024, 2, 29)
    assert [parsed("date", text) for text in ("2023-02-29", "0000-01-01", "2024-1-1", "20240101")] == [None] * 4
    instant = parsed("timestamp", "2024-02-29T23:30:00.5+01:00")
    assert instant == datetime(2024, 2, 29, 22, 30, 0, 500_000, tzinfo=UTC)
    assert form(instant) == str(int(instant.timestamp() * 1_000_000))
    assert [parsed("timestamp", text) for text in ("2024-02-29T23:30:00", "2024-02-29T24:00Z", "2024-02-29")] == [
        None
    ] * 3
    assert [parsed("boolean", text) for text in ("True", "0", "maybe")] == [True, False, None]
    assert (form(True), form(date(2024, 1, 2)), form(None), form(7)) == ("true", "2024-01-02", "", "7")


@given(st.integers(-(2**63), 2**63 - 1))
def test_a_whole_number_is_kept(value: int) -> None:
    assert whole(str(value)) == value
    assert math.isfinite(float(value))
