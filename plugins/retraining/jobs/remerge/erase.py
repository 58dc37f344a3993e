"""Removes the bytes of forgotten rows for good: from data, landed files, quarantine, requests, batches and results, in all versions.

What stays of an object is written before anything else: a copy without the rows. What is removed is written down before it is, so that a
removal that was cut short is finished by the next one and `verify` can prove it. Versions of the data set that held such rows can no longer
be read; the newest one has their other rows. Artifacts of models are packed and may serve: one that holds such a text is named and stays.
"""

from __future__ import annotations

import gzip
import io
import json
import re
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from retraining.aws.documents import utc_now
from retraining.contract.layout import inspect
from retraining.contract.notation.lines import CSV, LINE_FEED, notation_of
from retraining.contract.reader import Line, judge, texts
from retraining.contract.refusal import FileRefused
from retraining.contract.rules import Contract as Rules
from retraining.dataset.log import DatasetLog
from retraining.dataset.object_versions import read_object, remove_objects, stored_objects
from retraining.dataset.records import Erasure, FileRecord, StoredObject
from retraining.dataset.state import LogState
from retraining.jobs.remerge.asked_rows import (
    Sought,
    has_inputs,
    is_copy,
    is_scores,
    without_inputs,
    without_scores,
)
from retraining.jobs.remerge.forget import Unwanted
from retraining.settings.model_config import ModelConfig

ERASED = "(erased)"
CODE = "code/"
"""Programs and settings of jobs, below the model's prefix; no row is in them."""
SHORTEST = 5  # characters of a text that is looked for outside the data: a shorter one stands anywhere
_BATCH = re.compile(r"(?:^|/)(?:data|training|hashes|profiles|staging|quarantine)/batch=([0-9a-f]+)/")
_LOG = re.compile(r"(?:rebuilt/(?:.+/)?)?dataset/")
_PACKED = (".gz", ".bz2", ".zst")


class NotErasedError(RuntimeError):
    """Some bytes were not removed; the message names the objects."""


@dataclass
class _Found:
    """What the search came upon: contents of landed files by entity tag, and the texts of the rows."""

    contents: dict[str, bytes | None] = field(default_factory=dict)
    """Entity tag of a landed content that holds such rows, to the content without them; None when it goes as a whole."""
    texts: set[str] = field(default_factory=set)
    words: set[str] = field(default_factory=set)
    """Texts that rows were asked for by; where rows can be read, they are no evidence alone."""
    lines: list[tuple[Line, Rules]] = field(default_factory=list)
    """The rows, each with the contract under which it was read."""


def erase(
    s3: Any, bucket: str, config: ModelConfig, unwanted: Unwanted, who: str, why: str, say: Callable[[str], None]
) -> Erasure:
    """Remove every byte of unwanted rows and files from what lies below the model's prefix.

    Args:
        s3: a boto3 S3 client.
        bucket: the data bucket.
        config: the model's configuration.
        unwanted: rows and files that the newest version no longer has.
        who: goes on record.
        why: goes on record.
        say: takes a line for each object that is removed.

    Raises:
        LookupError: nothing holds such rows.
        NotErasedError: the newest version still holds such rows, or an object that holds them must not be removed.
        RuntimeError: S3 refused to remove an object.

    """
    prefix = f"{config.name}/"
    log = DatasetLog(s3, bucket, prefix)
    state = log.read()
    _remove(s3, bucket, prefix, [item for erasure in state.erasures for item in erasure.removed])  # of one cut short
    stored = list(stored_objects(s3, bucket, prefix))
    landed = {item for item in stored if _is_landed(item.key, config)}
    found = _search(s3, bucket, config, state, landed, unwanted)
    versions, batches = _lost(state, found, unwanted, prefix)
    kept, remain = [], []
    goes = [item for item in stored if _of_batch(item.key, batches)]
    goes += [item for item in landed if item.etag in found.contents]
    sought = Sought.of(_contracts(config, state), unwanted)
    for line, rules in found.lines:
        sought.add(line, rules)
    others = [(item.key.removeprefix(prefix), item) for item in stored if item not in landed]
    others = [(path, item) for path, item in others if not path.startswith(CODE) and not _BATCH.search(item.key)]
    # Files to be scored and those of labels come first: the texts of their rows are looked for in what was made of them.
    for path, item in sorted(others, key=lambda other: not has_inputs(other[0])):
        body = read_object(s3, bucket, item)
        rest, holds = _rest(path, body, found, sought)
        if holds:
            remain.append(item)
        elif rest != body:
            goes.append(item)
            if item.latest and rest is not None:
                kept.append((_kept_key(item.key) if has_inputs(path) else item.key, rest))
    merged = {record.identity for version in state.versions for record in version.files}
    for item in landed:
        rest = found.contents.get(item.etag)
        if rest is not None and item.latest and (item.key, item.etag) not in merged and _is_waiting(item.key, config):
            kept.append((_kept_key(item.key), rest))
    if not goes and not remain:
        raise LookupError(f"nothing below s3://{bucket}/{prefix} holds such rows or files")
    goes = sorted(set(goes), key=lambda item: (item.key, item.version_id))
    erasure = Erasure(created_at=utc_now(), who=who, why=why, versions=tuple(versions), removed=tuple(goes))
    newest = {item.key: item for item in stored if item.latest}
    for key, body in kept:
        if key not in newest or read_object(s3, bucket, newest[key]) != body:
            s3.put_object(Bucket=bucket, Key=key, Body=body)
    log.erase(erasure)
    _remove(s3, bucket, prefix, goes)
    for item in goes:
        say(f"removed {item.key} (version {item.version_id})")
    for key, _ in kept:
        say(f"kept {key} without them")
    if remain:
        names = ", ".join(sorted({item.key for item in remain}))
        raise NotErasedError(
            f"{names} may hold the text of such a row and was not removed. A model that serves is replaced by training on the newest "
            "version; then remove these objects by hand, in all their versions"
        )
    return erasure


def _remove(s3: Any, bucket: str, prefix: str, goes: Sequence[StoredObject]) -> None:
    """Remove what is still there of these versions; without versioning a key may hold another content by now, which stays."""
    if not goes:
        return
    there = {(item.key, item.version_id, item.etag) for item in stored_objects(s3, bucket, prefix)}
    remove_objects(s3, bucket, [item for item in goes if (item.key, item.version_id, item.etag) in there])


def _rest(path: str, body: bytes, found: _Found, sought: Sought) -> tuple[bytes | None, bool]:
    """Return what stays of an object that is no part of the data set, None when it goes as a whole; and whether it may hold a row still."""
    if has_inputs(path) and (read := without_inputs(body, path, sought)) is not None:
        rest, gone = read
        sought.texts |= {line.raw.strip() for line in gone}
        found.texts |= {text for line in gone if len(text := line.raw.strip()) >= SHORTEST}
        # A job would go on with other rows than it was given.
        return (None if gone and is_copy(path) else rest), False
    texts = found.texts if is_scores(path) else found.texts | found.words
    rest = without_scores(body, path, sought, lambda record: _holds(record, texts)) if is_scores(path) else body
    if not _holds(rest, texts):
        return rest, False
    if _LOG.match(path) or _unpacked(rest) is not rest:
        return rest, True
    redacted = _redacted(rest, path, texts)
    return redacted, redacted is not None and _holds(redacted, texts)


def _is_waiting(key: str, config: ModelConfig) -> bool:
    """Whether a key lies in the landing zone itself."""
    return key.startswith((f"{config.name}/{config.landing.raw}", f"{config.name}/{config.landing.new}"))


def _is_landed(key: str, config: ModelConfig) -> bool:
    """Whether a key holds a landed file, or a copy of one as it was."""
    return _is_waiting(key, config) or "/landed/" in key


def _search(
    s3: Any, bucket: str, config: ModelConfig, state: LogState, landed: set[StoredObject], unwanted: Unwanted
) -> _Found:
    """Look through all landed contents, each under every contract that the data set had; a row goes by its text, too."""
    found = _Found()
    keys = _contracts(config, state)
    names = {name for file in unwanted.files for name in (file, f"{config.name}/{file}")}
    tags = {
        record.read_etag or record.etag
        for version in state.versions
        for record in (*version.files, *version.left_out)
        if record.key in names
    }
    bodies: dict[str, tuple[str, bytes]] = {}
    for item in landed:
        if item.key in names or item.etag in tags or any(item.key.endswith(f"/{name}") for name in names):
            found.contents[item.etag] = None
        elif unwanted.rows and item.etag not in bodies:
            bodies[item.etag] = (item.key, read_object(s3, bucket, item))
    found.lines += _lines_of_files(s3, bucket, landed, found, keys)
    found.texts |= {text for line, rules in found.lines if line.cells for text in _texts(line, rules)}
    raw: set[str] = set()
    for _ in range(2):  # the second time also by the texts that the first one found
        for tag, (key, body) in bodies.items():
            for document in keys:
                rest, rows = _without(body, key, document, unwanted, raw)
                if rows:
                    found.contents[tag] = rest
                    raw |= {row.raw.strip() for row in rows}
                    found.lines += [(row, Rules.of(document)) for row in rows]
                    found.texts |= {text for row in rows for text in _texts(row, Rules.of(document))}
    columns = {column["name"]: column for column in keys[0]["columns"]}
    for name, value in (unwanted.where or {}).items():
        if columns[name]["type"] == "string" and not columns[name].get("allowed"):
            found.words.add(value)
    found.texts, found.words = (
        {text for text in texts if len(text) >= SHORTEST} for texts in (found.texts, found.words)
    )
    return found


def _lines_of_files(
    s3: Any, bucket: str, landed: set[StoredObject], found: _Found, keys: list[Mapping[str, Any]]
) -> list[tuple[Line, Rules]]:
    """Return the rows of files that go as a whole, without those that stand in a file that stays."""
    if not found.contents:
        return []
    gone, stays = {}, set()
    for item in landed:
        body = read_object(s3, bucket, item)
        if item.etag in found.contents:
            gone[item.etag] = (item.key, body)
            continue
        try:
            stays |= {text.strip() for text, _ in _rows(body, item.key, keys[0])}
        except FileRefused:
            stays |= {text.strip() for text in body.decode("utf-8", "replace").splitlines()}
    lines: list[tuple[Line, Rules]] = []
    for key, body in gone.values():
        for document in keys:
            with suppress(FileRefused):
                rows = [line for text, line in _rows(body, key, document) if text.strip() not in stays]
                lines += [(line, Rules.of(document)) for line in rows]
    return lines


def _rows(body: bytes, key: str, document: Mapping[str, Any]) -> Iterator[tuple[str, Line]]:
    """Yield the lines of a landed content as text and judged, under a contract and its split.

    Raises:
        FileRefused: it is no file of this contract.

    """
    rules = Rules.of(document)
    layout = inspect(partial(io.BytesIO, body), key, rules)
    for number, text in texts(partial(io.BytesIO, body), key, rules, layout):
        yield text, judge(number, text, rules, layout, document["split"])


def _contracts(config: ModelConfig, state: LogState) -> list[Mapping[str, Any]]:
    """Return the contracts that the data set had, today's first, each with its split."""
    documents: list[Mapping[str, Any]] = [
        {**config.contract.model_dump(mode="json"), "split": config.split.model_dump()}
    ]
    for version in state.versions:
        if version.contract is not None and version.contract.keys not in documents:
            documents.append(version.contract.keys)
    return documents


def _without(
    body: bytes, key: str, document: Mapping[str, Any], unwanted: Unwanted, raw: set[str]
) -> tuple[bytes | None, list[Line]]:
    """Return a landed content as CSV without the unwanted rows, and these; None when it must go as a whole."""
    rules, kept, gone = Rules.of(document), [], []
    try:
        layout = inspect(partial(io.BytesIO, body), key, rules)
        if layout.notation != CSV:
            kept.append("sep=,")
            kept.append(",".join((*rules.names, *(["source"] if layout.source_at is not None else []))))
        for text, line in _rows(body, key, document):
            if unwanted.has(line, rules) or text.strip() in raw:
                gone.append(line)
            else:
                kept.append(text.replace(LINE_FEED, "\n") if rules.multiline else text)
    except FileRefused:
        return None, [Line(1, text) for text in raw if text.encode() in body]
    return "".join(f"{line}\n" for line in kept).encode(), gone


def _kept_key(key: str) -> str:
    """Return the key of a waiting file without the unwanted rows: its own, unless it was packed or is no CSV."""
    return f"{key}.kept.csv" if key.endswith(_PACKED) or notation_of(key) != CSV else key


def _texts(row: Line, rules: Rules) -> Iterator[str]:
    """Yield the texts in which a row may stand elsewhere: as it landed, and as a request or a training row."""
    yield row.raw.strip()
    if row.cells:
        cells = dict(zip(rules.names, row.cells, strict=True))
        values = dict(zip(rules.names, row.values, strict=True))
        shown = {
            name: cells[name] if isinstance(value, str) or value is None else str(value)
            for name, value in values.items()
        }
        for form in (cells, shown):
            yield ",".join(form[name] for name in rules.feature_columns)
            yield json.dumps({name: form[name] for name in rules.feature_columns})[1:-1]
        numbers = {name: value for name, value in values.items() if isinstance(value, str | float | int)}
        if len(numbers) == len(values):
            for separators in ((", ", ": "), (",", ":")):
                yield json.dumps({name: numbers[name] for name in rules.feature_columns}, separators=separators)[1:-1]


def _lost(state: LogState, found: _Found, unwanted: Unwanted, prefix: str) -> tuple[list[int], set[str]]:
    """Return the versions that can no longer be read, and the batches whose objects go.

    Raises:
        NotErasedError: the newest version is among them.

    """
    names = {name for file in unwanted.files for name in (file, prefix + file)}

    def holds(record: FileRecord) -> bool:
        return (record.read_etag or record.etag) in found.contents or record.key in names

    lost, broken = [], False
    batches = {judgement.batch for judgement in state.judgements if any(holds(file) for file in judgement.files)}
    for version in state.versions:
        broken = (broken and not version.starts_anew) or any(holds(record) for record in version.files)
        if broken:
            lost.append(version.version)
        if broken or any(holds(file) and file.reasons for file in version.left_out):
            batches.add(version.batch)
    current = {version.version for version in state.current}
    if stands := sorted(current & set(lost)):
        raise NotErasedError(
            f"dataset version {stands[-1]} still holds such rows under another reading than today's contract; forget them there first, "
            "by --file or --where"
        )
    return [number for number in lost if number not in state.erased], batches - {
        version.batch for version in state.current
    }


def _of_batch(key: str, batches: set[str]) -> bool:
    match = _BATCH.search(key)
    return match is not None and match[1] in batches


def _holds(body: bytes, texts: set[str]) -> bool:
    content = _unpacked(body)
    return any(_anywhere(form).search(content) for text in texts for form in _forms(text) if form in content)


def _anywhere(form: bytes) -> re.Pattern[bytes]:
    """Return a pattern of a text that is no piece of a longer number, word or row."""
    return re.compile(rb"(?<![\w.,+-])" + re.escape(form) + rb"(?![\w.+-])")


def _forms(text: str) -> tuple[bytes, ...]:
    """Return a text as it stands in a file, and as a JSON string writes it, also within another one."""
    once = json.dumps(text, ensure_ascii=False)[1:-1]
    twice = json.dumps(once, ensure_ascii=False)[1:-1]
    escaped = json.dumps(text)[1:-1]
    return tuple({form.encode() for form in (text, once, twice, escaped)})


def _unpacked(body: bytes) -> bytes:
    if not body.startswith(b"\x1f\x8b"):
        return body
    try:
        return gzip.decompress(body)
    except (OSError, EOFError, zlib.error):
        return body


def _redacted(body: bytes, key: str, texts: set[str]) -> bytes | None:
    """Return a document without the texts: tables and captured requests without their lines, smoke requests without their rows."""
    forms = [form for text in sorted(texts, key=len, reverse=True) for form in _forms(text)]
    if key.endswith((".jsonl", ".csv")):
        lines = body.splitlines(keepends=True)
        body = b"".join(line for line in lines if not any(_anywhere(form).search(line) for form in forms))
        if not body:
            return None
    if key.endswith("/smoke.json"):
        document = json.loads(body)
        rows = [{name: value for name, value in document.items() if name not in ("content_type", "rows")}]
        rows = [row for row in (*rows, *document.get("rows", ())) if not _holds(json.dumps(row).encode(), texts)]
        if not rows:
            return None
        return json.dumps({"content_type": document["content_type"], **rows[0], "rows": rows[1:]}, indent=2).encode()
    for form in forms:
        body = _anywhere(form).sub(ERASED.encode(), body)
    return body
