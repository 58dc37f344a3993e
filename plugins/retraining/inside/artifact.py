"""A model artifact: the trained object, its card, and the code that loads and serves it.

``model.joblib``, ``model_card.json`` and ``code/``: the model's Python files, this library's rooms ``inside`` and ``contract``, and
``code/inference.py``, which SageMaker's scikit-learn container starts. An artifact needs nothing else, so it is scored and served for as
long as its image exists, whatever the model folder has become.
"""

from __future__ import annotations

import json
import os
import shutil
import tarfile
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

import joblib

MODEL_FILE = "model.joblib"
CARD_FILE = "model_card.json"
SERVING_FILE = "inference.py"
LEFT_OUT = ("job.py", "sdk_jobs.py", "setup.py")
"""Files of the code that an artifact has no use for; SageMaker's XGBoost container adds the last."""
ROOMS = ("inside", "contract")

_SERVING = '''"""What SageMaker's container calls to serve this artifact."""

import os
import sys
from pathlib import Path

# The container installs this file elsewhere; what it needs lies beside the original.
for _place in (str(Path(__file__).resolve().parent), os.environ.get("SAGEMAKER_SUBMIT_DIRECTORY", "")):
    if _place and _place not in sys.path:
        sys.path.insert(0, _place)

{imports}
'''
_LIBRARY = "from retraining.inside.serving import evaluate_fn, explain_fn, model_fn, transform_fn  # noqa: E402, F401"
_OWN = "from {module} import *  # noqa: E402, F403"


def write_artifact(folder: Path, model: Any, card: Mapping[str, Any], code: Path, serving: str | None = None) -> None:
    """Write an artifact.

    Args:
        folder: where to, ``SM_MODEL_DIR`` in a training job.
        model: what is pickled.
        card: what was trained, on what, how well; ``contract`` and ``task`` are what serving goes by.
        code: folder of the model's Python files.
        serving: one of them that has serving functions of its own.

    """
    target = folder / "code"
    target.mkdir(parents=True, exist_ok=True)
    for path in sorted(code.glob("*.py")):
        if path.name not in LEFT_OUT:
            shutil.copyfile(path, target / path.name)
    library = Path(__file__).resolve().parents[1]
    for path in [library / "__init__.py", *(path for room in ROOMS for path in sorted((library / room).rglob("*.py")))]:
        place = target / library.name / path.relative_to(library)
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, place)
    if serving != SERVING_FILE:
        imports = _OWN.format(module=Path(serving).stem) if serving else _LIBRARY
        (target / SERVING_FILE).write_text(_SERVING.format(imports=imports), encoding="utf-8")
    joblib.dump(model, folder / MODEL_FILE, compress=3)
    text = json.dumps(card, indent=2, allow_nan=False)
    (folder / CARD_FILE).write_text(text + "\n", encoding="utf-8")


def read_card(folder: Path) -> dict[str, Any]:
    """Return the card of an unpacked artifact."""
    return dict(json.loads((folder / CARD_FILE).read_text(encoding="utf-8")))


class UnsafeMemberError(ValueError):
    """A member of an archive would leave the folder, or is no file."""


def _extract_all(tar: tarfile.TarFile, folder: Path) -> None:
    if hasattr(tarfile, "data_filter"):
        try:
            tar.extractall(folder, filter="data")
        except tarfile.FilterError as error:
            raise UnsafeMemberError(str(error)) from error
        return
    for (
        member
    ) in tar.getmembers():  # Python 3.11 before its fourth patch has no filters; an artifact needs files and folders
        name = PurePosixPath(member.name)
        if name.is_absolute() or ".." in name.parts or not (member.isreg() or member.isdir()):
            raise UnsafeMemberError(repr(member.name))
        member.uid, member.gid, member.uname, member.gname = os.getuid(), os.getgid(), "", ""
        member.mode = 0o755 if member.isdir() else 0o644
    tar.extractall(folder)


def extract(archive: Path, folder: Path) -> None:
    """Unpack ``model.tar.gz`` into ``folder``, refusing members that would leave it.

    Raises:
        ValueError: there is no such archive, it is damaged, or it holds an unsafe member.

    """
    try:
        with tarfile.open(archive, "r:gz") as tar:
            _extract_all(tar, folder)
    except FileNotFoundError as error:
        raise ValueError(f"{archive} does not exist: the channel must hold a training job's model.tar.gz") from error
    except UnsafeMemberError as error:
        raise ValueError(f"{archive} holds an unsafe member: {error}") from error
    except (tarfile.TarError, EOFError, OSError) as error:
        raise ValueError(f"{archive} cannot be unpacked: {error}") from error
