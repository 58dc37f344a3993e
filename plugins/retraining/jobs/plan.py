"""The plan of one run: what it merges, what it trains on, with which code, against which champion.

A plan is made once, by ``claim_new_data``, from content alone. The same files, code and configuration give the same plan and the same
``run_key``, so a second run of it finds every job already done.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import Field

from retraining.aws.naming import digest
from retraining.dataset.records import FileVerdict, Record
from retraining.dataset.state import LogState

SOURCE_ARCHIVE = "sourcedir.tar.gz"
"""Name of the training job's source archive, beside the model's code files."""


class Champion(Record):
    """The model that serves: its package (empty when it has none), artifact and the work that made it."""

    package_arn: str
    model_data: str
    work_digest: str = ""
    run_key: str = ""
    artifact_sha256: str = ""
    """Of the artifact; empty when its package does not say it."""
    image: str = ""
    """URI of the container image that it serves in; empty when that is not known."""
    own: bool = False
    """Whether that is a container of one's own, which serves by itself."""

    @property
    def dataset_version(self) -> int | None:
        """Dataset version that it was trained on, which its run key begins with; None when it has none."""
        found = re.match(r"v(\d+)-", self.run_key)
        return int(found[1]) if found else None


class RunPlan(Record):
    """Everything that later tasks need to know; small enough for XCom."""

    model: str
    run_key: str
    work_digest: str
    version: int
    """Dataset version that is trained on."""
    batch: str | None
    """Batch that has to be merged to make that version, None when it exists already."""
    files: int = 0
    code_digest: str
    candidates: tuple[str, ...]
    searched: tuple[str, ...] = ()
    """Names of the hyperparameters that a tuning job searches; none without one."""
    champion: Champion | None = None
    reason: str = ""
    standing: str = ""
    """What endpoint and registry say when they disagree about the champion."""
    config: Mapping[str, Any] = Field(default_factory=dict)
    """model.yaml as it was when the run began; later tasks go by it, not by the file."""

    @property
    def prefix(self) -> str:
        """The model's prefix in the bucket."""
        return f"{self.model}/"

    @property
    def run_prefix(self) -> str:
        """Where the run's documents are."""
        return f"{self.prefix}runs/{self.run_key}/"

    def manifest_uri(self, bucket: str) -> str:
        """S3 URI of the merge's manifest. It belongs to the batch, not to the run: the same batch is merged once."""
        return f"s3://{bucket}/{self.prefix}batches/{self.batch}/manifest.json"

    def code_uri(self, bucket: str) -> str:
        """S3 prefix of the model's code files."""
        return f"s3://{bucket}/{self.prefix}code/{self.code_digest}/"

    def champion_uri(self, bucket: str) -> str:
        """S3 prefix of what the champion answers where it is scored apart."""
        return f"s3://{bucket}/{self.run_prefix}champion/"

    def challenger_uri(self, bucket: str) -> str:
        """S3 prefix of what a challenger with a container of its own answers."""
        return f"s3://{bucket}/{self.run_prefix}challenger/"

    def source_uri(self, bucket: str) -> str:
        """S3 URI of the training job's source archive."""
        return f"{self.code_uri(bucket)}{SOURCE_ARCHIVE}"


def work_digest(batches: Sequence[str], code: str, settings: Mapping[str, Any]) -> str:
    """Return the digest of a piece of work: the data set as an ordered list of batches, the code and what the settings say."""
    return digest({"batches": list(batches), "code": code, "settings": settings})


def make_plan(
    *,
    model: str,
    state: LogState,
    batch: str | None,
    files: int,
    code_digest: str,
    settings: Mapping[str, Any],
    candidates: Sequence[str],
    champion: Champion | None,
    searched: Sequence[str] = (),
    anew: bool = False,
    version: int | None = None,
    reason: str = "",
    standing: str = "",
    config: Mapping[str, Any] | None = None,
) -> RunPlan:
    """Make the plan of a run.

    The run key also names the champion, because a comparison with another champion is other work. There is one exception: when the
    champion came out of this very piece of work, its run key is taken again, so that a second run on unchanged input finds its jobs.

    Args:
        model: the model's name.
        state: the dataset log.
        batch: digest of the batch of new files, None without new files.
        files: number of new files.
        code_digest: digest of the model's code.
        settings: configuration and parameters that change what is trained or evaluated.
        candidates: names of the candidates to train.
        searched: names of the hyperparameters to search.
        champion: the approved model, if any.
        anew: whether the data set begins again with the batch.
        version: pin to this existing dataset version.
        reason: why the run works.
        standing: what endpoint and registry say when they disagree about the champion.
        config: model.yaml as later tasks shall read it.

    Raises:
        LookupError: the pinned version does not exist or was erased, or there is no data at all.

    """
    if version is not None:
        state, batch, files = state.readable_at(version), None, 0
    batches = [*(() if anew and batch else state.batches), *([batch] if batch else [])]
    number = state.latest + (1 if batch else 0)
    if not batches:
        raise LookupError(
            f"model {model} has no data: upload the original data set below {model}/raw/ or files below {model}/new/"
        )
    work = work_digest(batches, code_digest, settings)
    if champion and champion.work_digest == work:
        run_key = champion.run_key
    else:
        against = (champion.package_arn or champion.model_data) if champion else None
        run_key = f"v{number}-{digest({'work': work, 'champion': against}, 12)}"
    return RunPlan(
        model=model,
        run_key=run_key,
        work_digest=work,
        version=number,
        batch=batch,
        files=files,
        code_digest=code_digest,
        candidates=tuple(candidates),
        searched=tuple(searched),
        champion=champion,
        reason=reason,
        standing=standing,
        config=dict(config or {}),
    )


def batch_manifest(
    *,
    model: str,
    batch: str,
    bucket: str,
    files: Sequence[Mapping[str, Any]],
    ignored: Sequence[FileVerdict] = (),
    contract: Mapping[str, Any],
    split: Mapping[str, Any],
    history: Sequence[str],
    training_format: str,
    boundaries: Mapping[str, str] | None = None,
    starts_anew: bool = False,
) -> dict[str, Any]:
    """Return the document that tells the Glue script what to merge and where to write.

    ``files`` are ``FileRecord`` as JSON. ``ignored`` is for the log alone: what landed and is no data by its name. ``training_format`` is
    ``training.format`` of model.yaml. ``boundaries`` are those of a split by time as they stand; with an empty history the merge finds new
    ones, which are no earlier.
    """
    root = f"s3://{bucket}/{model}/"
    return {
        "schema_version": 1,
        "model": model,
        "batch": batch,
        "bucket": bucket,
        "prefix": f"{model}/",
        "files": [dict(entry) for entry in files],
        "ignored": [record.model_dump(mode="json") for record in ignored],
        "contract": dict(contract),
        "split": dict(split),
        "history": list(history),
        "training_format": training_format,
        "boundaries": dict(boundaries or {}),
        "starts_anew": starts_anew,
        "output": f"{root}dataset/",
        "quarantine": f"{root}quarantine/",
        "report": f"{root}batches/{batch}/etl_report.json",
    }
