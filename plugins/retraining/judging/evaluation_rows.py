"""What is read of an evaluation: what the analysis function is told about its rows, and what the challenger goes by."""

from __future__ import annotations

from typing import Any

from retraining.aws.documents import get_json
from retraining.dataset.log import LogState
from retraining.judging.fading import file_weights
from retraining.settings.gate_policy import GatePolicy

OVERVIEW, CLARIFY_ANALYSIS = "explanations/overview.json", "explanations/analysis.json"


def analysis_event(s3: Any, evaluation: str, state: LogState, policy: GatePolicy) -> tuple[dict[str, Any], str | None]:
    """Return the event for the function ``analyze_results``, and why the champion could not be scored, None when it was.

    Args:
        s3: boto3 client.
        evaluation: S3 prefix of the evaluation's output, ``rows.csv`` and ``summary.json``.
        state: the dataset log, which knows when each batch arrived.
        policy: says how fast rows fade.

    Raises:
        LookupError: there is no ``summary.json``.

    """
    summary = get_json(s3, f"{evaluation}summary.json")
    arrived = {f"batch={version.batch}": version.created_at for version in state.versions}
    files = summary.get("files") or []
    event = {
        "rows_uri": f"{evaluation}rows.csv",
        "task": summary.get("task", "regression"),
        "classes": summary.get("classes") or None,
        "weights": file_weights([arrived.get(name) for name in files], policy.half_life_days) or None,
    }
    return event, summary.get("champion_failed")


def explanation(s3: Any, evaluation: str, name: str = OVERVIEW) -> dict[str, Any] | None:
    """Return what an evaluation found out about what the challenger goes by; None when it did not, or is the model folder's own.

    Args:
        s3: boto3 client.
        evaluation: S3 prefix of the evaluation's output.
        name: one of its documents.

    """
    try:
        return dict(get_json(s3, f"{evaluation}{name}"))
    except LookupError:
        return None
