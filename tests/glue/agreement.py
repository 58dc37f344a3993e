"""Compares what a merge wrote with what the plain reader says of the same files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from survey_bucket import MODEL, Bucket

from retraining.contract.layout import inspect
from retraining.contract.names import ignored_reason
from retraining.contract.reader import Line, read
from retraining.contract.refusal import FileRefused
from retraining.contract.rules import Contract
from retraining.contract.verdict import judge_file

SPLIT = MODEL["split"]


def compare(bucket: Bucket, batch: str, keys: list[str], **contract: Any) -> dict[str, Any]:
    """Merge the files and compare everything that the merge wrote with what the reader says."""
    rules = Contract.of({**MODEL["contract"], **contract})
    report = bucket.merge(batch, keys, **contract)
    files = {file["key"]: file for file in report["files"]}
    quarantine: dict[str, list[dict[str, Any]]] = {key: [] for key in keys}
    for record in bucket.quarantine(batch):
        quarantine[record["file"]].append(record)
    expected: dict[str, tuple[Any, ...]] = {}
    for key in keys:
        lines, refusal = verdict(bucket.root / key, key, rules)
        file = files[key]
        size = (bucket.root / key).stat().st_size
        told = judge_file(lambda key=key: (bucket.root / key).open("rb"), key, size, rules, SPLIT)
        assert (file["outcome"], file["reason"], file["remedy"]) == (told.outcome, told.reason, told.remedy), key
        assert file["reasons"] == dict(told.reasons), key
        assert (file["rows"], file["quarantined"]) == (told.rows, told.quarantined), (key, file, told)
        records = [record for record in quarantine[key] if record["line"] is not None]
        bad = [line for line in lines if line.reasons] if refusal is None else []
        assert [described(record) for record in records] == [
            (line.number, line.subject, line.value_of(rules), list(line.reasons), line.raw[:4096]) for line in bad
        ], key
        whole = [record["reason"] for record in quarantine[key] if record["line"] is None]
        assert whole == ([f"file refused: {told.reason}"] if told.outcome == "refused" else []), key
        if told.outcome == "merged":
            good = [line for line in lines if not line.reasons]
            assert len(good) == file["accepted"] + file["duplicate"], key
            for line in good:
                expected[str(line.row_hash)] = (line.split, *line.values)
    found = {
        row["row_hash"]: (split, *(row[name] for name in rules.names))
        for split, rows in bucket.data(batch).items()
        for row in rows
    }
    assert found.keys() == expected.keys()
    assert found == expected
    return report


def described(record: dict[str, Any]) -> tuple[Any, ...]:
    raw = record["raw"]
    return (record["line"], record["column"], record["value"], record["reasons"], raw)


def verdict(path: Path, key: str, contract: Contract) -> tuple[list[Line], FileRefused | None]:
    lines: list[Line] = []
    if ignored_reason(key, path.stat().st_size):
        return lines, None
    try:
        layout = inspect(lambda: path.open("rb"), key, contract)
        if not layout.empty:
            for line in read(lambda: path.open("rb"), key, contract, layout, SPLIT):
                lines.append(line)
    except FileRefused as refusal:
        return lines, refusal
    return lines, None
