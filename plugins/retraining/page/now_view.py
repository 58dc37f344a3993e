"""What serves now, since when and how good it is, and what a person could go back to; as JSON for the page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import islice
from typing import Any

from retraining.dataset.landing_zone import LandedFile, landed_files, unseen
from retraining.dataset.state import LogState
from retraining.page import drift_view, history_view
from retraining.page.concurrency.remembered import Remembered
from retraining.page.known_models import KnownModel
from retraining.serving import registry
from retraining.serving.champion import standing
from retraining.settings.model_config import ModelConfig
from retraining.telling.gate_table import label

PACKAGES = 20
"""How many approved packages are offered to go back to."""
WAITING_FILES = 50
BELIEVED_SECONDS = 60
_packages: Remembered[registry.Package] = Remembered(BELIEVED_SECONDS)
"""By ARN; which of them are approved is asked anew."""


def now(model: KnownModel) -> dict[str, Any]:
    """Return what serves, the versions that approved models have, the open incident, and how many files wait."""
    config, sagemaker = model.config, model.sagemaker
    stands = standing(sagemaker, config.name, config.endpoint)
    state = model.dataset.read()
    waiting = waiting_files(model, state)
    return {
        "about": about(config),
        "endpoint": _endpoint(sagemaker, config.endpoint),
        "champion": _shown(model, [stands.package])[0] if stands.package else None,
        "disagreement": stands.disagreement,
        "incident": drift_view.open_incident(model),
        "approved": _shown(model, _approved(sagemaker, config.name)),
        "data": {
            "version": state.latest,
            "rows_by_split": state.rows_by_split(),
            "waiting": len(waiting),
            "refused": len(state.refused_files),
            "untrained": state.untrained,
            "gathering": state.gathering(config.schedule.min_rows),
        },
    }


def about(config: ModelConfig) -> dict[str, Any]:
    """Return what a page says about a model, and the form that its contract makes."""
    contract = config.contract
    return {
        "name": config.name,
        "description": config.description,
        "owner": config.owner,
        "task": config.task,
        "target": contract.target,
        "dags": {kind: f"{config.name.replace('-', '_')}_{kind}" for kind in ("retraining", "rollback")},
        "columns": [column.model_dump(mode="json") for column in contract.columns],
        "rules": [rule.model_dump(mode="json") for rule in contract.rules],
    }


def waiting_files(model: KnownModel, state: LogState) -> list[LandedFile]:
    """Return the landed files that no run has looked at yet."""
    return unseen(landed_files(model.s3, model.bucket, model.prefix, model.config.landing), state)[0]


def waiting_as_json(files: list[LandedFile]) -> list[dict[str, Any]]:
    """Return the first of the waiting files with size in bytes and age in seconds."""
    return [
        {"key": file.record.key, "size": file.record.size, "age_seconds": round(file.age_seconds)}
        for file in sorted(files, key=lambda file: file.age_seconds)[:WAITING_FILES]
    ]


def _endpoint(sagemaker: Any, name: str | None) -> dict[str, Any]:
    """Return name, status and age of the endpoint; all None of a model that has none."""
    from botocore.exceptions import ClientError

    from retraining.aws.errors import is_not_found

    if name is None:
        return {"name": None, "status": None, "since": None}
    try:
        found = sagemaker.describe_endpoint(EndpointName=name)
    except ClientError as error:
        if not is_not_found(error):
            raise
        return {"name": name, "status": None, "since": None}
    return {"name": name, "status": found["EndpointStatus"], "since": found["LastModifiedTime"].isoformat()}


def _approved(sagemaker: Any, model: str) -> list[registry.Package]:
    """Return the newest approved packages; what is registered with one does not change."""
    arns = list(islice(registry.arns(sagemaker, model, registry.APPROVED), PACKAGES))
    return list(_packages.of(arns, lambda arn: registry.package(sagemaker, arn)).values())


def _shown(model: KnownModel, packages: Sequence[registry.Package]) -> list[dict[str, Any]]:
    keys = [package.metadata.get("run_key", "") for package in packages]
    # Without a summary it was made by hand, or its run's report is still to come.
    summaries = history_view.summaries(model, [key for key in keys if key])
    return [_package(package, summaries.get(key, {})) for key, package in zip(keys, packages, strict=True)]


def _package(package: registry.Package, summary: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "package": package.version,
        "status": package.status,
        "run_key": package.metadata.get("run_key", ""),
        "dataset_version": package.metadata.get("dataset_version"),
        "metric": label(summary.get("metric", "rmse")) if summary else None,
        "score": summary.get("score_challenger"),
        "judged_at": summary.get("created_at"),
        "test_rows": (summary.get("numbers") or {}).get("n"),
        "reason": summary.get("reason") or package.reason,
    }
