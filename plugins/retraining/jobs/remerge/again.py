"""The data set begun anew: its files are merged as one batch without history and committed as the next version."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from retraining.aws.clients import client
from retraining.aws.documents import get_json, put_json_once, utc_now
from retraining.dataset.contract_change import contract_record
from retraining.dataset.log import DatasetLog
from retraining.dataset.outputs import batch_outputs
from retraining.dataset.records import FileRecord, FileVerdict, Version
from retraining.dataset.state import LogState, batch_digest
from retraining.dataset.verdicts import refusal_lines, refusals, verdicts_of
from retraining.jobs.plan import batch_manifest
from retraining.jobs.remerge.merge_again import MergeAgainError, as_landed, merge_again
from retraining.settings.access import AwsAccess
from retraining.settings.model_config import ModelConfig
from retraining.settings.platform import Platform

ROW_COUNTS = ("rows_new", "rows_accepted", "rows_duplicate", "rows_quarantined")


def current_files(state: LogState) -> tuple[FileRecord, ...]:
    """Return the merged files of the newest version, each once, in key order."""
    files = {record.identity: record for version in state.current for record in version.files}
    return tuple(sorted(files.values(), key=lambda record: (record.key, record.etag)))


def commit_again(
    access: AwsAccess,
    platform: Platform,
    config: ModelConfig,
    files: Sequence[FileRecord],
    left_out: Sequence[FileVerdict],
    say: Callable[[str], None],
) -> Version:
    """Merge files under the contract of model.yaml and commit them as the version with which the data set starts anew.

    Args:
        access: how to reach AWS.
        platform: the model's resources.
        config: the model's configuration.
        files: what is merged.
        left_out: what the version records beside what the merge refuses.
        say: takes a line of progress.

    Raises:
        MergeAgainError: a landed file cannot be read as it was, the merge failed, or no file can be merged.
        VersionConflictError: a run committed meanwhile.

    """
    s3, bucket, prefix = client("s3", access), platform.bucket, f"{config.name}/"
    contract, split = config.contract.model_dump(mode="json"), config.split.model_dump()
    log = DatasetLog(s3, bucket, prefix)
    state = log.read()
    form, number = config.training.format, state.latest + 1
    batch = batch_digest(files, contract, {**split, **state.boundaries}, [], form)
    entries = as_landed(
        s3, bucket, [record.model_dump(mode="json") for record in files], f"{prefix}batches/{batch}/landed/"
    )
    manifest = batch_manifest(
        model=config.name,
        batch=batch,
        bucket=bucket,
        files=entries,
        contract=contract,
        split=split,
        history=(),
        training_format=form,
        boundaries=state.boundaries,
    )
    uri = f"s3://{bucket}/{prefix}batches/{batch}/manifest.json"
    manifest = put_json_once(s3, uri, manifest)
    say(f"merging {len(entries)} file(s) again as version {number}")
    merge_again(access, platform, config.name, uri)
    report = get_json(s3, manifest["report"])
    merged, refused = verdicts_of(report, manifest)
    for line in refusal_lines(refusals(refused)):
        say(f"refused under the contract of model.yaml: {line}")
    if not merged:
        raise MergeAgainError("no file of the data set can be merged under the new contract; no version was made")
    landed = {entry["key"]: record for entry, record in zip(entries, files, strict=True)}
    as_it_landed = [
        file.model_copy(update=landed[file.key].model_dump(include={"key", "etag", "size", "version_id"}))
        for file in refused
    ]
    version = Version(
        version=number,
        batch=batch,
        created_at=utc_now(),
        files=tuple(landed[record.key] for record in merged),
        left_out=(*as_it_landed, *left_out),
        rows={name: int(report[name]) for name in ROW_COUNTS},
        rows_by_split=report["rows_by_split"],
        run_key="command",
        contract=contract_record(contract, split),
        boundaries=report.get("boundaries") or {},
        training_format=form,
        starts_anew=True,
        **batch_outputs(s3, bucket, f"{prefix}dataset/", batch),
    )
    log.commit(version)
    return version
