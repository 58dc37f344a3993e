"""The data set's versions, what became of each file, and the way of one file from the landing zone to a model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from retraining.aws.documents import get_json
from retraining.dataset.landing_zone import LandedFile, Page, landed_file, listed, unseen, waiting
from retraining.dataset.outputs import stored_profile
from retraining.dataset.records import FileVerdict, Judgement, Version
from retraining.dataset.state import JudgedFile, LogState
from retraining.page.known_models import KnownModel
from retraining.telling.profiling.figures import changes

S = TypeVar("S")

VERSIONS = 50
"""Versions, and batches that made no version, of one answer."""
REFUSED_FILES = 200
WAITING_FILES = 50


@dataclass(frozen=True, eq=False)
class Look(Generic[S]):
    """What was seen at one look. It equals only itself, so that a view is made once of each."""

    seen: S


Log = Look[LogState]
Landing = Look[list[Page]]


def log(model: KnownModel) -> Log:
    """Look at the dataset log."""
    return Look(model.dataset.read())


def landing(model: KnownModel) -> Landing:
    """Look at the landing zone."""
    return Look(listed(model.s3, model.bucket, model.prefix, model.config.landing))


def counts(model: KnownModel, log: Log, landing: Landing) -> dict[str, Any]:
    """Return the newest version with its rows, and how many files wait and are refused."""
    state = log.seen
    return {
        "version": state.latest,
        "rows_by_split": state.rows_by_split(),
        "waiting": len(_waiting(model, log, landing)),
        "refused": len(state.refused_files),
        "untrained": state.untrained,
        "gathering": state.gathering(model.config.schedule.min_rows),
    }


def data(model: KnownModel, log: Log, landing: Landing, before: int | None = None) -> dict[str, Any]:
    """Return the newest versions (those before a number), batches without a version, standing refusals, and files that wait."""
    state = log.seen
    files = _waiting(model, log, landing)
    shown = [version for version in reversed(state.versions) if before is None or version.version < before]
    return {
        "versions": [_version(version) for version in shown[:VERSIONS]],
        "older": len(shown) > VERSIONS,
        "judgements": [_judgement(item) for item in _newest(state.judgements)[:VERSIONS]],
        "refused": [_refusal(judged) for judged in reversed(state.refused_files[-REFUSED_FILES:])],
        "waiting": _newest_files(files),
        "waiting_files": len(files),
        "rows_by_split": state.rows_by_split(),
    }


def files_of(model: KnownModel, number: int) -> dict[str, Any]:
    """Return each file of a version with its outcome and row counts.

    Raises:
        LookupError: there is no such version.

    """
    version = model.dataset.read().at(number).versions[-1]
    counted = _counts(model, version.batch)
    files: list[dict[str, Any]] = [
        {**_named(file), "outcome": "merged", **_rows(counted.get(file.key, {}))} for file in version.files
    ]
    files += [_verdict(file) for file in version.left_out]
    return {**_version(version), "run_key": version.run_key, "files": files}


def profile_of(model: KnownModel, number: int) -> dict[str, Any]:
    """Return what the columns of a version's new rows hold beside those of the version before.

    Raises:
        LookupError: there is no such version, its rows were erased, or no profile is stored with it.

    """
    state = model.dataset.read().readable_at(number)
    version, goes_on = state.versions[-1], not state.versions[-1].starts_anew and number > 1
    found = stored_profile(model.s3, model.bucket, version)
    if found is None:
        raise LookupError(
            f"no profile is stored with version {number}: make profile MODEL={model.name} VERSION={number} computes it"
        )
    erased = number - 1 in state.erased
    before = stored_profile(model.s3, model.bucket, state.versions[-2]) if number > 1 and not erased else None
    units = {column.name: column.unit for column in model.config.contract.columns}
    return {
        "version": number,
        "before": number - 1 if before else None,
        "goes_on": goes_on and before is not None,
        "columns": [{**column, "unit": units.get(column["name"])} for column in changes(found, before, goes_on)],
    }


def way_of(model: KnownModel, log: Log, key: str) -> dict[str, Any]:
    """Return how far a sent file has come: ``waiting``, ``merged``, ``refused``, ``ignored`` or ``unknown``, and the verdict of its run."""
    state = log.seen
    for version in reversed(state.current):
        if any(file.key == key for file in version.files):
            counts = _rows(_counts(model, version.batch).get(key, {}))
            return {
                "state": "merged",
                "version": version.version,
                **counts,
                "batch": version.batch,
                **_run(model, version),
            }
    refused = [judged for judged in state.refused_files if judged.file.key == key]
    if refused:
        return {"state": "refused", **_refusal(refused[-1])}
    file = landed_file(model.s3, model.bucket, model.prefix, model.config.landing, key)
    if file and unseen([file], state)[0]:
        return {"state": "waiting"}
    return {"state": "ignored" if _is_ignored(state, key) else "unknown"}


def _run(model: KnownModel, version: Version) -> dict[str, Any]:
    uri = f"s3://{model.bucket}/{model.prefix}runs/{version.run_key}/summary.json"
    try:
        summary = get_json(model.s3, uri)
    except LookupError:
        return {"run_key": version.run_key, "decision": None, "reason": None}
    decision = "promoted" if summary["promoted"] else summary["decision"]
    return {"run_key": version.run_key, "decision": decision, "reason": summary["reason"]}


def _is_ignored(state: LogState, key: str) -> bool:
    left_out = (file for version in state.versions for file in version.left_out)
    return any(file.key == key for file in left_out)


def _counts(model: KnownModel, batch: str) -> dict[str, Mapping[str, Any]]:
    """Return the merge's word on each file of a batch, by key."""
    try:
        report = get_json(model.s3, f"s3://{model.bucket}/{model.prefix}batches/{batch}/etl_report.json")
    except LookupError:
        return {}
    return {str(entry["key"]): entry for entry in report["files"]}


def _rows(entry: Mapping[str, Any]) -> dict[str, Any]:
    return {name: entry.get(name) for name in ("rows", "accepted", "duplicate", "quarantined")}


def _version(version: Version) -> dict[str, Any]:
    return {
        "version": version.version,
        "batch": version.batch,
        "created_at": version.created_at,
        "files": len(version.files),
        "left_out": len(version.left_out),
        "rows": dict(version.rows),
        "rows_by_split": dict(version.rows_by_split),
        "synthetic": sum(file.source == "synthetic" for file in version.files),
        "starts_anew": version.starts_anew,
    }


def _judgement(judgement: Judgement) -> dict[str, Any]:
    return {
        "batch": judgement.batch,
        "created_at": judgement.created_at,
        "rows": dict(judgement.rows),
        "files": [_verdict(file) for file in judgement.files],
    }


def _waiting(model: KnownModel, log: Log, landing: Landing) -> list[LandedFile]:
    return waiting(landing.seen, log.seen, model.prefix, model.config.landing)


def _newest_files(files: list[LandedFile]) -> list[dict[str, Any]]:
    """Return the newest of the waiting files with size in bytes and age in seconds."""
    return [
        {"key": file.record.key, "size": file.record.size, "age_seconds": round(file.age_seconds)}
        for file in sorted(files, key=lambda file: file.age_seconds)[:WAITING_FILES]
    ]


def _newest(judgements: tuple[Judgement, ...]) -> list[Judgement]:
    return sorted(judgements, key=lambda judgement: judgement.created_at, reverse=True)


def _verdict(file: FileVerdict) -> dict[str, Any]:
    return {
        **_named(file),
        "outcome": file.outcome,
        "rows": file.rows,
        "quarantined": file.quarantined,
        "reason": file.reason,
        "remedy": file.remedy,
    }


def _refusal(judged: JudgedFile) -> dict[str, Any]:
    return {**_verdict(judged.file), "batch": judged.batch, "created_at": judged.created_at}


def _named(file: Any) -> dict[str, Any]:
    return {"key": file.key, "size": file.size, "source": file.source}
