"""The model's code as SageMaker takes it: single files for processing, one archive for training, addressed by content."""

from __future__ import annotations

import gzip
import io
import tarfile
from pathlib import Path

from retraining.aws.naming import file_digest


def code_files(folder: Path) -> dict[str, bytes]:
    """Read the Python files of a model folder.

    Raises:
        FileNotFoundError: one of the files that the jobs start is missing.

    """
    files = {path.name: path.read_bytes() for path in sorted(folder.glob("*.py"))}
    for needed in ("train.py", "evaluate.py", "inference.py"):
        if needed not in files:
            raise FileNotFoundError(
                f"model folder {folder.name} has no {needed}; the jobs start train.py, evaluate.py and inference.py"
            )
    return files


def code_digest(files: dict[str, bytes]) -> str:
    """Return the digest of the code."""
    return file_digest(files)


def source_archive(files: dict[str, bytes]) -> bytes:
    """Return a ``sourcedir.tar.gz`` that is the same, byte for byte, for the same files."""
    buffer = io.BytesIO()
    with gzip.GzipFile(fileobj=buffer, mode="wb", mtime=0) as packed, tarfile.open(fileobj=packed, mode="w") as archive:
        for name, content in sorted(files.items()):
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            entry.mode = 0o644
            archive.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()
