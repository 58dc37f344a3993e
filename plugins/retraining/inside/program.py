"""What ``job.py``, the file that a job starts, does: read ``job.json``, which says which of the jobs of this library it is.

A training finds its folders in the ``SM_*`` variables; a processing job is told ``--inputs`` and ``--output``. Other arguments, which some
containers add, are left alone.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from retraining.inside import job_file

PROCESSING = Path("/opt/ml/processing")
BUNDLE = Path("/opt/ml/code")
"""Where a training container unpacks the code."""


def main(code: Path, arguments: Sequence[str] | None = None, variables: Mapping[str, str] = os.environ) -> int:
    """Do what ``job.json`` says.

    Args:
        code: folder of the model's Python files.
        arguments: of the command line.
        variables: of the environment.

    """
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--inputs", type=Path, default=PROCESSING / "input", help="folder of a processing job's inputs")
    parser.add_argument("--output", type=Path, default=PROCESSING / "output", help="folder for what it writes")
    chosen, _ = parser.parse_known_args(arguments)
    code = _bundle(code)
    sys.path[:0] = [str(code)]
    channel = variables.get("SM_CHANNEL_JOB")
    job = job_file.read_job(Path(channel) if channel else chosen.inputs / "job")
    if job.step == "training":
        from retraining.inside import training

        return training.run(job, variables, code)
    if job.step == "look":
        from retraining.inside.watching import look

        return look.run(job, chosen.inputs, chosen.output)
    if job.step == "batch":
        from retraining.inside.watching import batch

        return batch.run(job, chosen.inputs, chosen.output)
    if job.step == "smoke":
        from retraining.inside.watching import smoke

        return smoke.run(job, chosen.inputs, chosen.output)
    from retraining.inside import evaluation

    if job.step == "champion":
        return evaluation.score_champion(job, chosen.inputs, chosen.output)
    return evaluation.run(job, chosen.inputs, chosen.output)


def _bundle(code: Path) -> Path:
    """Return the folder of the code: SageMaker's XGBoost container installs it among its packages, and starts it there."""
    return BUNDLE if code.name == "site-packages" and BUNDLE.is_dir() else code
