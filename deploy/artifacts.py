"""What the data platform's jobs run, packed so that the same sources give the same bytes and the same key."""

from __future__ import annotations

import hashlib
import io
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
EPOCH = (1980, 1, 1, 0, 0, 0)  # earliest time that a ZIP entry can carry


@dataclass(frozen=True)
class Artifact:
    """A file to upload: its key carries the digest of its content, so a changed file is a new object and an unchanged one none."""

    key: str
    body: bytes


def deterministic_zip(files: dict[str, bytes]) -> bytes:
    """Return a ZIP archive that is the same, byte for byte, for the same files."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in sorted(files.items()):
            entry = zipfile.ZipInfo(name, date_time=EPOCH)
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.external_attr = 0o644 << 16
            archive.writestr(entry, content)
    return buffer.getvalue()


def tree(folder: Path, patterns: tuple[str, ...] = ("**/*.py",)) -> dict[str, bytes]:
    """Read files below a folder by relative path, without caches."""
    found = {
        path
        for pattern in patterns
        for path in folder.glob(pattern)
        if path.is_file() and "__pycache__" not in path.parts
    }
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(found)}


def glue_script(root: Path = ROOT) -> Artifact:
    """Return the Glue script."""
    body = (root / "glue_scripts" / "merge_survey_data.py").read_bytes()
    return Artifact(f"glue/merge_survey_data-{digest(body)}.py", body)


def glue_modules(root: Path = ROOT) -> Artifact:
    """Return the archive of the modules that the Glue script is made of, with the contract whose rules they apply."""
    files = {"glue_scripts/__init__.py": (root / "glue_scripts" / "__init__.py").read_bytes()}
    files |= {f"glue_scripts/merge/{name}": body for name, body in tree(root / "glue_scripts" / "merge").items()}
    library = root / "plugins" / "retraining"
    files["retraining/__init__.py"] = (library / "__init__.py").read_bytes()
    files |= {f"retraining/contract/{name}": body for name, body in tree(library / "contract").items()}
    body = deterministic_zip(files)
    return Artifact(f"glue/merge_modules-{digest(body)}.zip", body)


def analyze_function(root: Path = ROOT) -> Artifact:
    """Return the archive of the Lambda function."""
    body = deterministic_zip(tree(root / "lambda_functions" / "analyze_results"))
    return Artifact(f"lambda/analyze_results-{digest(body)}.zip", body)


def startup_script(root: Path = ROOT) -> bytes:
    """Return the script that makes the SageMaker SDK's environment on MWAA's workers, with the locked packages in it."""
    lock = (root / "requirements" / "sagemaker.txt").read_text(encoding="utf-8")
    return (root / "deploy" / "startup.sh").read_text(encoding="utf-8").replace("@LOCK@", lock.strip()).encode()


def upload(s3: Any, bucket: str, artifact: Artifact) -> bool:
    """Upload an artifact unless it is there; return whether it was uploaded."""
    listed = s3.list_objects_v2(Bucket=bucket, Prefix=artifact.key, MaxKeys=1).get("Contents", [])
    if any(item["Key"] == artifact.key for item in listed):
        return False
    s3.put_object(Bucket=bucket, Key=artifact.key, Body=artifact.body)
    return True


def digest(body: bytes) -> str:
    """Return what marks the content of an artifact in its key."""
    return hashlib.sha256(body).hexdigest()[:16]
