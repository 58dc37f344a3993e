"""Batch scoring as plain functions: which files are due, with which model, by which job, and what is on record of them.

A file is known by key and ETag. Its results lie in a folder that both name, together with the model: ``NAME/batch/out/PATH/MODEL-ETAG/``.
``record.json`` in it is written last, by a conditional put: what lies there without it is of a publication that did not end, and is
written again, byte for byte. A refused file has ``refused.json`` and no results.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from retraining.aws.naming import digest
from retraining.contract.layout import refuse_key
from retraining.contract.names import ignored_reason
from retraining.contract.refusal import FileRefused
from retraining.contract.source import fed
from retraining.jobs.requests import library_job
from retraining.serving import champion
from retraining.serving.pinning import SHA256
from retraining.settings.model_config import ModelConfig
from retraining.settings.platform import Platform
from retraining.settings.strict import Strict

IN, OUT, WORK = "batch/in/", "batch/out/", "batch/work/"
RECORD, REFUSED = "record.json", "refused.json"
RESULTS = ("scored.csv", "rejected.csv")
FILES_OF_A_JOB = 500
SHARE_OF_THE_VOLUME = 0.2
"""Of the job's volume may be files: results and unpacked rows need the rest."""
LARGEST = 5 * 2**30
"""Bytes that S3 copies in one call."""


class Scorer(Strict):
    """The model that scores: what its results call it, and its container."""

    version: str
    """``v3`` for package 3; for an artifact without package a digest of its place."""
    package_arn: str
    model_data: str
    image: str
    sha256: str = ""
    """Of the artifact."""
    own: bool = False
    """Whether it is a container of one's own, without the library's code."""


class BatchFile(Strict):
    """An object below ``batch/in/``."""

    path: str
    """Key below ``batch/in/``."""
    etag: str
    size: int


@dataclass(frozen=True)
class Standing:
    """What is on record of a file: by which models its results are, and which of them refused it."""

    scored: frozenset[str] = frozenset()
    refused: frozenset[str] = frozenset()

    def is_due(self, version: str, again: bool) -> bool:
        """Tell whether a model has to score the file: nobody did so far, or, if asked, this one did not."""
        return version not in self.scored | self.refused if again else not self.scored and version not in self.refused


def scorer(sagemaker: Any, model: str, endpoint: str | None) -> Scorer | None:
    """Return the champion with its container, also of a model without an endpoint; None when there is no model yet."""
    now = champion.standing(sagemaker, model, endpoint)
    if now.champion is None:
        return None
    package = champion.package_of(sagemaker, model, now.champion.model_data, image=now.champion.image)
    if package is not None:
        return Scorer(
            version=f"v{package.version}",
            package_arn=package.arn,
            model_data=package.model_data,
            image=package.container["Image"],
            sha256=package.metadata.get(SHA256, ""),
            own=now.champion.own,
        )
    served = champion.served(sagemaker, endpoint) if endpoint else None
    assert served is not None, "a champion is a package or what an endpoint serves"
    return Scorer(
        version=f"m{digest(served.model_data, 12)}",
        package_arn="",
        model_data=served.model_data,
        image=served.container["Image"],
        own=now.champion.own,
    )


def listed_files(items: Iterable[Mapping[str, Any]], prefix: str) -> tuple[list[BatchFile], dict[str, str]]:
    """Return the files of a listing of ``batch/in/``, and of what is none by its name the reason by key.

    Args:
        items: entries of an S3 listing.
        prefix: of the model, with its slash.

    """
    found, ignored = [], {}
    for item in items:
        path = item["Key"].removeprefix(prefix + IN)
        if reason := ignored_reason(path, item["Size"]) or _unreadable(path, item["Size"]):
            ignored[item["Key"]] = reason
        else:
            found.append(BatchFile(path=path, etag=item["ETag"].strip('"'), size=item["Size"]))
    return found, ignored


def _unreadable(path: str, size: int) -> str | None:
    try:
        refuse_key(path)
    except FileRefused as refusal:
        return f"{refusal.reason}: {refusal.remedy}"
    return f"larger than {LARGEST >> 30} GB: upload it in parts" if size > LARGEST else None


def folder_of(file: BatchFile, version: str) -> str:
    """Return the folder of a file's results, below the model's prefix."""
    return f"{OUT}{file.path}/{version}-{file.etag}/"


def standings(keys: Iterable[str], prefix: str) -> dict[tuple[str, str], Standing]:
    """Return what is on record, by path and ETag, from the keys below ``batch/out/``."""
    scored: dict[tuple[str, str], set[str]] = {}
    refused: dict[tuple[str, str], set[str]] = {}
    for key in keys:
        folder, _, name = key.removeprefix(prefix + OUT).rpartition("/")
        if name not in (RECORD, REFUSED):
            continue
        path, _, label = folder.rpartition("/")
        version, _, etag = label.partition("-")
        (scored if name == RECORD else refused).setdefault((path, etag), set()).add(version)
    return {
        file: Standing(frozenset(scored.get(file, ())), frozenset(refused.get(file, ())))
        for file in {*scored, *refused}
    }


def due(
    files: Sequence[BatchFile],
    known: Mapping[tuple[str, str], Standing],
    version: str,
    volume_gb: int,
    again: bool = False,
) -> tuple[list[BatchFile], int]:
    """Return the files that one job scores, in order of their paths, and how many are left for the next.

    Args:
        files: what lies in ``batch/in/``.
        known: what is on record.
        version: of the model that scores.
        volume_gb: of the job.
        again: also files that another model scored.

    """
    waiting = [file for file in files if known.get((file.path, file.etag), Standing()).is_due(version, again)]
    waiting.sort(key=lambda file: file.path)
    room = SHARE_OF_THE_VOLUME * volume_gb * 2**30
    chosen: list[BatchFile] = []
    for file in waiting[:FILES_OF_A_JOB]:
        room -= file.size
        if chosen and room < 0:
            break
        chosen.append(file)
    return chosen, len(waiting) - len(chosen)


def job_document(config: ModelConfig, scorer: Scorer, files: Sequence[BatchFile]) -> dict[str, Any]:
    """Return ``job.json`` of the scoring of files; each lies in the job's input under its number."""
    return {
        "schema_version": 1,
        "step": "batch",
        "model": config.name,
        "task": config.task,
        "contract": fed(config.contract.model_dump(mode="json")),
        "version": scorer.version,
        "artifacts": {"model": scorer.sha256},
        "explain": config.batch.explain,
        "files": [
            {"name": numbered(number), "key": f"{config.name}/{IN}{file.path}", "etag": file.etag}
            for number, file in enumerate(files)
        ],
    }


def numbered(number: int) -> str:
    """Return the name of a file, and of the folder of its results, within a job: keys of S3 need not be names of files."""
    return f"{number:06d}"


def batch_request(config: ModelConfig, platform: Platform, scorer: Scorer, places: Mapping[str, str]) -> dict[str, Any]:
    """CreateProcessingJob that scores files.

    Args:
        config: the model's configuration.
        platform: bucket and role.
        scorer: the model.
        places: S3 URIs: ``code``, ``job``, ``files`` and ``output``.

    """
    inputs = {**places, "model": scorer.model_data}
    output = ("scores", inputs.pop("output"))
    return library_job(platform, scorer.image, config.batch, inputs, output)
