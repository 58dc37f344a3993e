"""The rejected rows of a batch, page by page: reason, raw line, and where they stand in which file.

A page is read from where the last one ended, as a range of bytes, so that the millionth row costs what the first one does.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from retraining.aws.documents import get_json
from retraining.page.known_models import KnownModel

BATCH = r"^[0-9a-f]{16}$"
CURSOR = r"^\d{1,6}-\d{1,15}$"
LONGEST_CELL = 400
LOOKED_AT = 50_000
"""Rows that one answer looks at; with a rare filter the page asks again."""
READ = 1 << 20


def reasons_of(model: KnownModel, batch: str) -> dict[str, Any]:
    """Return how many rows of a batch were rejected, by reason and by file.

    Raises:
        LookupError: there is no merge of such a batch.

    """
    uri = f"s3://{model.bucket}/{model.prefix}batches/{batch}/etl_report.json"
    report = get_json(model.s3, uri)
    files = {entry["key"]: entry["quarantined"] for entry in report["files"] if entry["quarantined"]}
    return {
        "batch": batch,
        "rows": report["rows_new"],
        "quarantined": report["rows_quarantined"],
        "reasons": dict(sorted(report["reasons"].items(), key=lambda item: -item[1])),
        "files": dict(sorted(files.items(), key=lambda item: -item[1])),
    }


def rejected_rows(
    model: KnownModel,
    batch: str,
    *,
    reason: str | None = None,
    file: str | None = None,
    column: str | None = None,
    cursor: str | None = None,
    limit: int = 50,
) -> dict[str, Any]:
    """Return rejected rows that meet the filters, and the cursor of the rest (None at the end).

    Args:
        model: whose batch it is.
        batch: its digest.
        reason: one of the batch's reasons.
        file: key of a file.
        column: name of a column or rule.
        cursor: where the last answer ended.
        limit: most rows to return.

    """
    keys = _keys(model, batch)
    number, offset = (int(part) for part in cursor.split("-")) if cursor else (0, 0)
    wanted = {"file": file, "column": column}
    found: list[dict[str, Any]] = []
    looked_at = 0
    while number < len(keys):
        for line, after in _lines(model, keys[number], offset):
            looked_at += 1
            record = json.loads(line)
            if _meets(record, wanted, reason):
                found.append(_shown(record))
            if len(found) == limit or looked_at == LOOKED_AT:
                return {"rows": found, "cursor": f"{number}-{after}", "looked_at": looked_at}
        number, offset = number + 1, 0
    return {"rows": found, "cursor": None, "looked_at": looked_at}


def _keys(model: KnownModel, batch: str) -> list[str]:
    prefix = f"{model.prefix}quarantine/batch={batch}/"
    pages = model.s3.get_paginator("list_objects_v2").paginate(Bucket=model.bucket, Prefix=prefix)
    items = (item for page in pages for item in page.get("Contents", []))
    return [item["Key"] for item in items if item["Key"].endswith(".json") and item["Size"]]


def _lines(model: KnownModel, key: str, offset: int) -> Iterator[tuple[bytes, int]]:
    """Yield the lines of an object from a byte on, each with the byte after it."""
    from botocore.exceptions import ClientError

    try:
        body = model.s3.get_object(Bucket=model.bucket, Key=key, Range=f"bytes={offset}-")["Body"]
    except ClientError as error:
        if error.response["Error"]["Code"] == "InvalidRange":  # the last page ended with the object
            return
        raise
    with body:
        rest = b""
        for block in iter(lambda: body.read(READ), b""):
            *lines, rest = (rest + block).split(b"\n")
            for line in lines:
                offset += len(line) + 1
                if line:
                    yield line, offset
        if rest:
            yield rest, offset + len(rest)


def _meets(record: Mapping[str, Any], wanted: Mapping[str, str | None], reason: str | None) -> bool:
    if any(value is not None and record.get(name) != value for name, value in wanted.items()):
        return False
    return reason is None or reason in (record.get("reasons") or [record.get("reason")])


def _shown(record: Mapping[str, Any]) -> dict[str, Any]:
    """Return a record with cells of bounded length; its text stays as it came, the page shows it as text only."""
    texts = {name: _cut(record.get(name)) for name in ("file", "column", "value", "reason", "raw")}
    return {**texts, "line": record.get("line"), "reasons": [_cut(text) for text in record.get("reasons") or []][:20]}


def _cut(text: Any) -> str | None:
    if text is None:
        return None
    shown = re.sub(
        "[\ud800-\udfff]", "\ufffd", str(text)[: LONGEST_CELL + 1]
    )  # a lone surrogate is no text of any encoding
    return shown if len(shown) <= LONGEST_CELL else shown[:LONGEST_CELL] + "…"
