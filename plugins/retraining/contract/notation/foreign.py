"""Formats that are no comma-separated text: recognised by their first bytes or lines, and refused as what they are."""

from __future__ import annotations

import re

from retraining.contract.refusal import FileRefused

_AS_CSV = "save it as CSV (UTF-8, comma) and upload that"
_MAGIC = (
    (b"Obj\x01", "Avro"),
    (b"ORC", "ORC"),
    (b"ARROW1", "Arrow"),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive"),
    (b"\xfd7zXZ\x00", "xz"),
    (b"\x04\x22\x4d\x18", "lz4"),
    (b"Rar!", "a RAR archive"),
    (b"\xd0\xcf\x11\xe0", "an old Excel or Word file"),
    (b"%PDF", "PDF"),
    (b"SQLite format 3", "an SQLite database"),
    (b"\x89HDF", "HDF5"),
    (b"\x93NUMPY", "a NumPy array"),
    (b"\x80\x04\x95", "a Python pickle"),
    (b"\x80\x05\x95", "a Python pickle"),
    (b"\x89PNG", "a PNG picture"),
    (b"\xff\xd8\xff", "a JPEG picture"),
    (b"{\\rtf", "RTF"),
)
_NAMED = re.compile(r"\.(deflate|lz4|snappy|xz|7z|rar|xlsx?|ods|avro|orc|feather|pkl|npy)$", re.IGNORECASE)
_LIBSVM = re.compile(r"\S+(\s+\d+:\S+)+\s*")


def refuse_foreign_bytes(head: bytes, key: str) -> None:
    """Refuse a file whose first bytes (unpacked) belong to a format that is no text.

    Raises:
        FileRefused: the format is named.

    """
    if head.startswith(b"PAR1"):
        raise FileRefused("Parquet, but the name does not end in .parquet", "name it ....parquet, and do not pack it")
    for magic, name in _MAGIC:
        if head.startswith(magic):
            raise FileRefused(f"{name}, not CSV", _AS_CSV)
    if head.startswith(b"PK\x03\x04"):
        if b"xl/" in head or b"[Content_Types].xml" in head:
            raise FileRefused("an Excel file, not CSV", _AS_CSV)
        raise FileRefused("zip archive, not CSV", "upload the CSV itself, or gzip it")
    if head.startswith((b"\xff\xfe\0\0", b"\0\0\xfe\xff")):
        raise FileRefused("encoding is UTF-32", "save as UTF-8")
    if head.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise FileRefused("encoding is UTF-16", "save as UTF-8")
    if match := _NAMED.search(key):
        raise FileRefused(f"{match[1]} files are not accepted", "upload CSV or CSV.gz")


def refuse_foreign_text(lines: list[str]) -> None:
    """Refuse a file whose first lines belong to a text format that is not separated by a delimiter.

    Args:
        lines: the first lines that are not blank.

    Raises:
        FileRefused: the format is named.

    """
    if not lines:
        return
    first = lines[0].strip().lstrip("\ufeff").lower()
    if first.startswith("version https://git-lfs"):
        raise FileRefused(
            "a Git LFS pointer, not the file that it stands for", "run `git lfs pull` and upload the real file"
        )
    if first.startswith(("<!doctype", "<html", "<head", "<table")):
        raise FileRefused(
            "an HTML page, not CSV", "a download often saves the page of an error or a login: get the file"
        )
    if first.startswith("<?xml"):
        raise FileRefused("XML, not CSV", _AS_CSV)
    if first.startswith(("{", "[")):
        raise FileRefused(
            "JSON, but the name ends in neither .jsonl nor .ndjson nor .json",
            "write one object a line and name it ....jsonl, or write CSV with a header",
        )
    if any(line.strip().lower().startswith(("@relation", "@attribute", "@data")) for line in lines):
        raise FileRefused("ARFF, not CSV", "export CSV with a header instead")
    if _LIBSVM.fullmatch(first):
        raise FileRefused("libsvm format, not CSV", "write all columns of a row, separated by commas, with a header")
