"""What serves now, since when and how good it is, and what a person could go back to; as JSON for the page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import islice
from typing import Any

from retraining.page import drift_view, history_view
from retraining.page.concurrency.sparing import Sparing
from retraining.page.known_models import KnownModel
from retraining.serving import registry
from retraining.serving.champion import standing
from retraining.settings.model_config import ModelConfig
from retraining.telling.gate_table import label

PACKAGES = 20
"""How many approved packages are offered to go back to."""


def now(model: KnownModel) -> dict[str, Any]:
    """Return what serves, the versions that approved models have, and the open incident."""
    config, sagemaker = model.config, Sparing(model.sagemaker)
    approved = list(islice(registry.packages(sagemaker, config.name, registry.APPROVED), PACKAGES))
    stands = standing(sagemaker, config.name, config.endpoint, packages=approved)
    return {
        "about": about(config),
        "endpoint": _endpoint(sagemaker, config.endpoint),
        "champion": _shown(model, [stands.package])[0] if stands.package else None,
        "disagreement": stands.disagreement,
        "incident": drift_view.open_incident(model),
        "approved": _shown(model, approved),
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
