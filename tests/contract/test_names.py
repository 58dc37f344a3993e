"""Which landed objects are passed over by name or size."""

from __future__ import annotations

import pytest

from retraining.contract.names import ignored_reason


@pytest.mark.parametrize(
    ("key", "size", "said"),
    [
        ("abalone/new/_SUCCESS", 0, "begins with '_'"),
        ("abalone/new/.DS_Store", 6148, "begins with '.'"),
        ("abalone/new/.part-0.csv.crc", 12, "begins with '.'"),
        ("abalone/new/_temporary/0/part-00000.csv", 99, "folder '_temporary' begins with '_'"),
        ("abalone/new/survey.csv._COPYING_", 99, "did not end"),
        ("abalone/new/export_$folder$", 0, "folder marker"),
        ("abalone/new/export/", 0, "a folder"),
        ("abalone/new/empty.csv", 0, "empty"),
    ],
)
def test_markers_and_leftovers_are_ignored(key: str, size: int, said: str) -> None:
    assert said in (ignored_reason(key, size) or "")


@pytest.mark.parametrize(
    "key", ["abalone/new/a.csv", "abalone/new/sex=M/a_b.csv", "abalone/new/../a.csv", "a", "x/$folder.csv"]
)
def test_other_files_are_looked_into(key: str) -> None:
    assert ignored_reason(key, 1) is None
