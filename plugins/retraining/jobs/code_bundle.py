"""What a job gets: the model's code with the library's, addressed by its content, and ``job.json``, which says what to do with it.

The code is taken as SageMaker takes it: single files for processing, one archive for training. ``job.json`` carries everything that a job
needs to know: SageMaker limits an argument to 256 characters and a hyperparameter to 2,500, and some of its containers join them into a
shell line.
"""

from __future__ import annotations

import gzip
import io
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from retraining.aws.documents import put_bytes_once, split_uri
from retraining.aws.naming import canonical_json, digest, file_digest
from retraining.contract.notation.training_format import CSV_WITH_HEADER
from retraining.contract.source import fed
from retraining.jobs.plan import SOURCE_ARCHIVE, RunPlan
from retraining.settings.model_config import ModelConfig
from retraining.settings.trainers import complete
from retraining.settings.training.candidate import Candidate

JOB_PROGRAM = "job.py"
LIBRARY = Path(__file__).resolve().parents[1]
ROOMS = ("contract", "inside")
"""Rooms of the library that travel to the jobs."""
_PROGRAM = '''"""Starts what the library does in a job; job.json says what."""

import sys
from pathlib import Path

from retraining.inside.program import main

if __name__ == "__main__":
    sys.exit(main(Path(__file__).resolve().parent))
'''


def code_files(folder: Path, config: ModelConfig | None = None) -> dict[str, bytes]:
    """Return the Python files of a model folder and those of the library that go with them, by their path in the bundle.

    Args:
        folder: the model's folder.
        config: its configuration; with it the files that it names are looked for.

    Raises:
        FileNotFoundError: one of the files that the jobs start is missing.
        ValueError: a file has a name that the library needs, or would be served without being named.

    """
    files = {path.name: path.read_bytes() for path in sorted(folder.glob("*.py"))}
    if JOB_PROGRAM in files or (folder / LIBRARY.name).exists():
        raise ValueError(
            f"model folder {folder.name}: {JOB_PROGRAM} and {LIBRARY.name}/ are names of the library; rename yours"
        )
    if config is not None:
        _check_names(folder, files, config)
    library = [LIBRARY / "__init__.py", *(path for room in ROOMS for path in sorted((LIBRARY / room).rglob("*.py")))]
    files |= {f"{LIBRARY.name}/{path.relative_to(LIBRARY).as_posix()}": path.read_bytes() for path in library}
    return {**files, JOB_PROGRAM: _PROGRAM.encode()}


def bundled_files(folder: Path) -> dict[str, bytes]:
    """Return the files of a bundle that was written to ``folder``; none when it is a model folder."""
    if not (folder / JOB_PROGRAM).exists():
        return {}
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("*.py"))}


def _check_names(folder: Path, files: Mapping[str, bytes], config: ModelConfig) -> None:
    named = {
        "training.script": config.training.script,
        "evaluation.script": config.evaluation.script,
        "deployment.script": config.deployment.script,
    }
    for key, name in named.items():
        if name is not None and name not in files:
            raise FileNotFoundError(f"model folder {folder.name} has no {name}, which {key} in model.yaml names")
    own = [candidate.name for candidate in config.training.candidates if not (candidate.trainer or candidate.container)]
    if own and config.training.script is None and "train.py" not in files:
        raise FileNotFoundError(
            f"model folder {folder.name} has no train.py with fit(frame, target, hyperparameters, seed), which candidate {own[0]!r} needs; "
            "name a trainer for it, or a whole script of yours in training.script"
        )
    if "inference.py" in files and config.deployment.script != "inference.py":
        raise ValueError(
            f"model folder {folder.name} has an inference.py that nothing names: write deployment: {{script: inference.py}} in "
            "model.yaml to serve with it, or delete it to be served by the library"
        )


def code_digest(files: dict[str, bytes]) -> str:
    """Return the digest of the code."""
    return file_digest(files)


def source_archive(files: Mapping[str, bytes]) -> bytes:
    """Return a ``sourcedir.tar.gz`` that is the same, byte for byte, for the same files."""
    buffer = io.BytesIO()
    with gzip.GzipFile(fileobj=buffer, mode="wb", mtime=0) as packed, tarfile.open(fileobj=packed, mode="w") as archive:
        for name, content in sorted(files.items()):
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            entry.mode = 0o644
            archive.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()


def put_code(s3: Any, uri: str, files: Mapping[str, bytes], *, archive: bool = False) -> None:
    """Put code where jobs find it. What is there already, under a name that carries the digest of all files, is not sent again.

    Args:
        s3: a boto3 S3 client.
        uri: the folder, named after the digest.
        files: by path in the folder.
        archive: also put the archive that training takes.

    """
    bucket, prefix = split_uri(uri)
    pages = s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
    there = {item["Key"] for page in pages for item in page.get("Contents", ())}
    for name, content in files.items():
        if prefix + name not in there:
            put_bytes_once(s3, uri + name, content, "text/x-python")
    if archive and prefix + SOURCE_ARCHIVE not in there:
        put_bytes_once(s3, uri + SOURCE_ARCHIVE, source_archive(files), "application/gzip")


def training_document(config: ModelConfig, plan: RunPlan, candidate: Candidate) -> dict[str, Any]:
    """Return ``job.json`` of the training of one candidate."""
    given = dict(candidate.hyperparameters)
    return {
        **_document(config, plan, "training"),
        "candidate": candidate.name,
        "trainer": candidate.trainer,
        "hyperparameters": complete(candidate.trainer, given) if candidate.trainer else given,
        "serving": None if candidate.container else config.deployment.script,
        **({"explained_rows": config.monitor.explained_rows} if config.monitor.explained_rows else {}),
    }


def evaluation_document(config: ModelConfig, plan: RunPlan, digests: Mapping[str, str] | None = None) -> dict[str, Any]:
    """Return ``job.json`` of an evaluation.

    Args:
        config: the model's configuration.
        plan: dataset version.
        digests: SHA-256 of the artifacts, by role; the job loads none that has another.

    """
    document = {**_document(config, plan, "evaluation"), "explain_seconds": config.evaluation.explain_seconds}
    return {**document, "artifacts": dict(digests or {})}


def champion_document(config: ModelConfig, plan: RunPlan, digests: Mapping[str, str]) -> dict[str, Any]:
    """Return ``job.json`` of the job that scores the champion alone; the arguments are those of ``evaluation_document``."""
    return {**_document(config, plan, "champion"), "artifacts": dict(digests)}


def _document(config: ModelConfig, plan: RunPlan, step: str) -> dict[str, Any]:
    return {
        "schema_version": 1,
        "step": step,
        "model": config.name,
        "task": config.task,
        **({"threshold": config.costs.threshold} if config.costs else {}),
        "dataset_version": plan.version,
        "contract": fed(config.contract.model_dump(mode="json")),
        "csv_columns": list(config.contract.training_columns),
        **({"csv_header": True} if config.training.format == CSV_WITH_HEADER else {}),
        "group": config.evaluation.group,
    }


def document_uri(bucket: str, plan: RunPlan, document: Mapping[str, Any]) -> str:
    """Return the S3 prefix under which ``job.json`` lies alone, named by its content."""
    return f"s3://{bucket}/{plan.prefix}code/jobs/{digest(document)}/"


def document_bytes(document: Mapping[str, Any]) -> bytes:
    """Return the content of ``job.json``."""
    return canonical_json(document).encode()
