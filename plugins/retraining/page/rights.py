"""Who may what: who may see a model's DAG sees the model; who may start it may send, release, and judge files.

Airflow's own authentication and its DAG permissions decide, whatever auth manager is configured. Approving and going back are requests to
Airflow's own API, which decides by itself.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Annotated, Any

from airflow.api_fastapi.auth.managers.models.resource_details import DagAccessEntity
from airflow.api_fastapi.core_api.security import GetUserDep, requires_access_dag
from fastapi import Depends, HTTPException, Path, Request

from retraining.page.concurrency.threads import looking
from retraining.page.known_models import KnownModel, UnknownModelError, known_model
from retraining.settings.model_config import ConfigError

CHANGED_HEADER = "x-retraining-changed"
"""Milliseconds ago the person who asks has changed something; not sent when that was long ago."""
ModelName = Annotated[str, Path(pattern=r"^[a-z][a-z0-9]*(-[a-z0-9]+)*$", max_length=24)]


def dag_id_of(model: str) -> str:
    """Return the retraining DAG of a model."""
    return f"{model.replace('-', '_')}_retraining"


@dataclass(frozen=True)
class Visitor:
    """A person who may see a model."""

    model: KnownModel
    name: str
    """For records."""
    may_act: bool
    """Whether they may start the model's DAG."""
    unchanged: float = math.inf
    """Seconds since they have changed something, as the page says."""


async def visitor(model: ModelName, request: Request, user: GetUserDep) -> Visitor:
    """Let in who may see the model's DAG.

    Raises:
        HTTPException: 401 without a valid token, 403 without the right, 404 when no model is known by that name.

    """
    return await looking(_visitor, model, request, user)


def _visitor(model: str, request: Request, user: Any) -> Visitor:
    dag_id = dag_id_of(model)
    requires_access_dag("GET", None, dag_id)(request, user)
    try:
        found = known_model(model)
    except (UnknownModelError, ConfigError) as error:
        raise HTTPException(404, str(error)) from error
    said = request.headers.get(CHANGED_HEADER, "")
    unchanged = int(said) / 1000 if re.fullmatch("[0-9]{1,9}", said) else math.inf
    return Visitor(found, str(user.get_name()), may("POST", DagAccessEntity.RUN, dag_id, request, user), unchanged)


async def acting_visitor(visitor: Annotated[Visitor, Depends(visitor)]) -> Visitor:
    """Let in who may start the model's DAG.

    Raises:
        HTTPException: 403 for others.

    """
    if not visitor.may_act:
        raise HTTPException(403, f"Who may start {dag_id_of(visitor.model.name)} may do this; you may only look.")
    return visitor


def may(method: Any, entity: DagAccessEntity, dag_id: str, request: Request, user: Any) -> bool:
    """Say whether a person may do something with what belongs to a DAG."""
    try:
        requires_access_dag(method, entity, dag_id)(request, user)
    except HTTPException:
        return False
    return True


Seeing = Annotated[Visitor, Depends(visitor)]
Acting = Annotated[Visitor, Depends(acting_visitor)]
