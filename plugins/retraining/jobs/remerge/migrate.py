"""Migrates a data set to another contract: merges its landed files again, under the new contract, as the next version."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from retraining.aws.clients import client
from retraining.aws.documents import get_json, put_json_once, utc_now
from retraining.dataset.contract_change import Change, contract_changes, contract_record, stored_by_name
from retraining.dataset.log import DatasetLog
from retraining.dataset.outputs import batch_outputs
from retraining.dataset.records import FileRecord, Version
from retraining.dataset.state import LogState, batch_digest
from retraining.dataset.verdicts import refusal_lines, refusals, verdicts_of
from retraining.jobs.plan import batch_manifest
from retraining.jobs.remerge.merge_again import MergeAgainError, as_landed, merge_again
from retraining.settings.access import AwsAccess
from retraining.settings.model_config import ModelConfig
from retraining.settings.platform import Platform

ROW_COUNTS = ("rows_new", "rows_accepted", "rows_duplicate", "rows_quarantined")


@dataclass(frozen=True)
class Migration:
    """What a migration would do: the differences, and the files that are merged again."""

    version: int
    """The version that it makes."""
    changes: tuple[Change, ...]
    files: tuple[FileRecord, ...]
    batch: str
    done: bool
    """Whether the newest version is this migration already."""


def plan_migration(config: ModelConfig, state: LogState) -> Migration:
    """Return what a migration to the contract of model.yaml would do.

    Raises:
        LookupError: there is no version to migrate.

    """
    if not state.current:
        raise LookupError(f"the dataset log of {config.name} is empty: there is nothing to migrate")
    contract, split = config.contract.model_dump(mode="json"), config.split.model_dump()
    recorded, now = state.current[-1].contract, contract_record(contract, split)
    changes = (
        contract_changes(recorded.keys, now.keys, by_name=stored_by_name(state.current)) if recorded is not None else ()
    )
    files = {record.identity: record for version in state.current for record in version.files}
    chosen = tuple(sorted(files.values(), key=lambda record: (record.key, record.etag)))
    batch = batch_digest(chosen, contract, split, [])
    done = state.current[0].starts_anew and len(state.current) == 1 and state.current[0].batch == batch
    return Migration(state.latest + 1, tuple(changes), chosen, batch, done)


def migrate(access: AwsAccess, platform: Platform, config: ModelConfig, say: Callable[[str], None]) -> Version | None:
    """Merge all landed files of the data set again under the contract of model.yaml and commit them as the next version.

    Args:
        access: how to reach AWS.
        platform: the model's resources.
        config: the model's configuration.
        say: takes a line of progress.

    Returns:
        The new version; None when the newest version is this migration already.

    Raises:
        LookupError: there is no version to migrate.
        MergeAgainError: a landed file cannot be read as it was, the merge failed, or no file can be merged under the new contract.
        VersionConflictError: a run committed meanwhile; migrate again.

    """
    s3, bucket = client("s3", access), platform.bucket
    prefix = f"{config.name}/"
    log = DatasetLog(s3, bucket, prefix)
    planned = plan_migration(config, log.read())
    if planned.done:
        return None
    entries = as_landed(
        s3,
        bucket,
        [record.model_dump(mode="json") for record in planned.files],
        f"{prefix}batches/{planned.batch}/landed/",
    )
    contract, split = config.contract.model_dump(mode="json"), config.split.model_dump()
    manifest = batch_manifest(
        model=config.name, batch=planned.batch, bucket=bucket, files=entries, contract=contract, split=split, history=()
    )
    uri = f"s3://{bucket}/{prefix}batches/{planned.batch}/manifest.json"
    manifest = put_json_once(s3, uri, manifest)
    say(f"merging {len(entries)} file(s) again as version {planned.version}")
    merge_again(access, platform, config.name, uri)
    report = get_json(s3, manifest["report"])
    merged, left_out = verdicts_of(report, manifest)
    for line in refusal_lines(refusals(left_out)):
        say(f"refused under the new contract: {line}")
    if not merged:
        raise MergeAgainError("no file of the data set can be merged under the new contract; no version was made")
    read_as = {entry["key"]: record for entry, record in zip(entries, planned.files, strict=True)}
    version = Version(
        version=planned.version,
        batch=planned.batch,
        created_at=utc_now(),
        files=tuple(read_as[record.key] for record in merged),
        left_out=tuple(file.model_copy(update=_landed_as(read_as[file.key])) for file in left_out),
        rows={name: int(report[name]) for name in ROW_COUNTS},
        rows_by_split=report["rows_by_split"],
        run_key="migration",
        contract=contract_record(contract, split),
        starts_anew=True,
        **batch_outputs(s3, bucket, f"{prefix}dataset/", planned.batch),
    )
    log.commit(version)
    return version


def _landed_as(record: FileRecord) -> dict[str, Any]:
    return record.model_dump(include={"key", "etag", "size", "version_id"})
