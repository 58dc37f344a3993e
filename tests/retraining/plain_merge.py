"""The merge in plain Python: the verdicts of ``retraining.contract`` file by file, rows as CSV by split, and the report of the Glue job."""

from __future__ import annotations

import io
import json
from collections import Counter
from typing import Any

from retraining.contract.layout import inspect
from retraining.contract.profiling.version_profile import added, most_frequent
from retraining.contract.reader import read
from retraining.contract.rules import Contract
from retraining.contract.splitting import by_time
from retraining.contract.splitting.place import place_of
from retraining.contract.verdict import IGNORED, MERGED, judge_file

SPLITS = ("train", "validation", "test")


def plain_merge(s3: Any, manifest: dict[str, Any]) -> None:
    """Merge a manifest's files; row hashes of earlier batches are read from where this function left them."""
    bucket, contract, split = manifest["bucket"], Contract.of(manifest["contract"]), manifest["split"]
    root = manifest["output"].removeprefix(f"s3://{bucket}/")
    history = {row for batch in manifest["history"] for row in _hashes(s3, bucket, root, batch)}
    files, rows_of = [], {}
    for entry in sorted(manifest["files"], key=lambda item: item["key"]):
        found = s3.get_object(Bucket=bucket, Key=entry["key"])
        assert found["ETag"].strip('"') == entry["etag"], entry["key"]
        body = found["Body"].read()

        def opened(body: bytes = body) -> io.BytesIO:
            return io.BytesIO(body)

        verdict = judge_file(
            opened, entry["key"], len(body), contract, split, beyond_budget=entry.get("beyond_budget", False)
        )
        files.append({"key": entry["key"], "etag": entry["etag"], **verdict.as_json(), "accepted": 0, "duplicate": 0})
        if verdict.outcome == MERGED:
            layout = inspect(opened, entry["key"], contract)
            rows = [] if layout.empty else read(opened, entry["key"], contract, layout, split)
            rows_of[entry["key"]] = [line for line in rows if not line.reasons]
    entries = {entry["key"]: entry for entry in manifest["files"]}
    merged = {entry.get("origin") or key for key, entry in entries.items() if key in rows_of and not entry.get("known")}
    for told in files:
        if entries[told["key"]].get("replaced_by") in merged:
            rows_of.pop(told["key"], None)
            told |= {"outcome": IGNORED, "rows": 0, "quarantined": 0, "reasons": {}, "reason": "replaced"}
    keys = sorted(rows_of)
    if contract.key:
        keys.sort(key=lambda key: entries[key]["landed_at"], reverse=True)
    owner, kept, hashes = {}, [], []
    for key in keys:
        told = next(told for told in files if told["key"] == key)
        for line in reversed(rows_of[key]) if contract.key else rows_of[key]:
            again = line.row_hash in owner and (owner[line.row_hash] != key or not contract.keep_duplicates)
            if line.row_hash in history or again:
                told["duplicate"] += 1
                continue
            owner[line.row_hash] = key
            hashes.append(line.row_hash)
            told["accepted"] += 1
            kept.append(line)
    boundaries = manifest.get("boundaries") or {}
    if split.get("by") == "time" and not (boundaries and manifest["history"]):
        boundaries = _begun(contract, split, boundaries, [line.values for line in kept if not line.synthetic])
    lines = {name: [] for name in by_time.shares_of(split)}
    for line in kept:
        cells = dict(zip(contract.names, line.cells, strict=True))
        place = place_of(contract, line.values, {**split, **boundaries}, line.synthetic)
        lines[place].append(",".join(cells[name] for name in contract.training_columns))
    here = f"batch={manifest['batch']}"
    for name, rows in lines.items():
        if rows:
            top = [",".join(contract.training_columns)] if manifest["training_format"] == "csv" else []
            if manifest["training_format"] != "parquet":
                _put(s3, bucket, f"{root}training/{here}/split={name}/part-00000.csv", "\n".join([*top, *rows]) + "\n")
            _put(s3, bucket, f"{root}data/{here}/split={name}/part-00000.parquet", "\n".join(rows) + "\n")
    _put(s3, bucket, f"{root}hashes/{here}/part-00000.parquet", json.dumps(hashes))
    profile = _profile(contract, lines)
    if manifest["history"]:
        profile = added(_json(s3, bucket, _profile_key(root, manifest["history"][-1])), profile)
    _put(s3, bucket, _profile_key(root, manifest["batch"]), json.dumps(profile))
    totals = Counter()
    for told in files:
        totals.update({name: told[name] for name in ("rows", "accepted", "duplicate", "quarantined")})
    report = {
        "rows_new": totals["rows"],
        "rows_accepted": totals["accepted"],
        "rows_duplicate": totals["duplicate"],
        "rows_quarantined": totals["quarantined"],
        "rows_by_split": {name: len(lines[name]) for name in SPLITS},
        "reasons": dict(sum((Counter(told["reasons"]) for told in files), Counter())),
        "files": files,
        "boundaries": boundaries,
    }
    _put(s3, bucket, manifest["report"].removeprefix(f"s3://{bucket}/"), json.dumps(report))


def _begun(contract: Contract, split: dict[str, Any], standing: dict[str, str], rows: list[Any]) -> dict[str, str]:
    column = contract.column(split["column"])
    times = [by_time.as_number(values[contract.position[column.name]]) for values in rows]
    found = by_time.boundaries_of_times(times, split, by_time.boundaries_in(column, standing))
    return by_time.as_document(column, found)


def _hashes(s3: Any, bucket: str, root: str, batch: str) -> list[str]:
    return _json(s3, bucket, f"{root}hashes/batch={batch}/part-00000.parquet")


def _profile_key(root: str, batch: str) -> str:
    return f"{root}profiles/batch={batch}/profile.json"


def _profile(contract: Contract, lines: dict[str, list[str]]) -> dict[str, Any]:
    """Count the cells of each column, all as texts."""
    columns = {}
    for at, name in enumerate(contract.training_columns):
        cells = {split: Counter(row.split(",")[at] for row in rows) for split, rows in lines.items() if rows}
        splits = {
            split: {"n": found.total(), "missing": 0, "counts": most_frequent(found)} for split, found in cells.items()
        }
        columns[name] = {"type": "string", "splits": splits}
    return {
        "schema_version": 1,
        "rows": {split: len(rows) for split, rows in lines.items() if rows},
        "columns": columns,
    }


def _json(s3: Any, bucket: str, key: str) -> Any:
    return json.loads(s3.get_object(Bucket=bucket, Key=key)["Body"].read())


def _put(s3: Any, bucket: str, key: str, text: str) -> None:
    s3.put_object(Bucket=bucket, Key=key, Body=text.encode())
