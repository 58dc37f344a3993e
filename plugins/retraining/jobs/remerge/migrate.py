"""Migrates a data set to another contract: merges its landed files again, under the new contract, as the next version."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from retraining.aws.clients import client
from retraining.dataset.contract_change import Change, contract_changes, contract_record, other_formats
from retraining.dataset.log import DatasetLog
from retraining.dataset.records import FileRecord, Version
from retraining.dataset.state import LogState
from retraining.jobs.remerge.again import commit_again, current_files
from retraining.settings.access import AwsAccess
from retraining.settings.model_config import ModelConfig
from retraining.settings.platform import Platform


@dataclass(frozen=True)
class Migration:
    """What a migration would do: the differences, and the files that are merged again."""

    version: int
    """The version that it makes."""
    changes: tuple[Change, ...]
    files: tuple[FileRecord, ...]
    done: bool
    """Whether the newest version is under this contract already."""


def plan_migration(config: ModelConfig, state: LogState) -> Migration:
    """Return what a migration to the contract of model.yaml would do.

    Raises:
        LookupError: there is no version to migrate.

    """
    if not state.current:
        raise LookupError(f"the dataset log of {config.name} is empty: there is nothing to migrate")
    recorded = state.current[-1].contract
    now = contract_record(config.contract.model_dump(mode="json"), config.split.model_dump())
    changes = contract_changes(recorded.keys, now.keys, by_name=False) if recorded is not None else []
    formats = [Change(words, compatible=False) for words in other_formats(state.current, config.training.format)]
    done = recorded is not None and recorded.digest == now.digest and not formats
    return Migration(state.latest + 1, (*changes, *formats), current_files(state), done)


def migrate(access: AwsAccess, platform: Platform, config: ModelConfig, say: Callable[[str], None]) -> Version | None:
    """Merge all landed files of the data set again under the contract of model.yaml and commit them as the next version.

    Returns:
        The new version; None when the newest version is under this contract already.

    Raises:
        LookupError: there is no version to migrate.
        MergeAgainError: a landed file cannot be read as it was, the merge failed, or no file can be merged under the new contract.
        VersionConflictError: a run committed meanwhile; migrate again.

    """
    state = DatasetLog(client("s3", access), platform.bucket, f"{config.name}/").read()
    planned = plan_migration(config, state)
    return None if planned.done else commit_again(access, platform, config, planned.files, (), say)
