"""Going back: which package an endpoint returns to, which ones that abandons, and how that is recorded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from retraining.aws.naming import digest
from retraining.serving.registry import ABANDONED, APPROVED, REJECTED, Package, Registered
from retraining.settings.strict import Strict


class RollbackError(ValueError):
    """There is no such package to go back to; the message lists those that are there."""


class Rollback(Strict):
    """A decided rollback, as ``rollbacks/ID.json`` records it."""

    id: str
    target: Package
    abandoned: tuple[Registered, ...]
    """Newer packages that were approved or pending when it was decided; what it rejects is looked up when it is recorded."""
    who: str
    why: str
    decided_at: str
    previous_config: str | None
    """What the endpoint served before."""
    smoke: Mapping[str, Any]
    """``smoke.json`` of the target's own evaluation."""
    verdict: str | None = None
    """Why the endpoint has to leave the target again; written before it does."""
    done_at: str | None = None
    """When the endpoint was verified and the registry settled; None until then."""
    config: str | None = None
    """What the endpoint serves since."""


def newer_than(target: Package, packages: Sequence[Package]) -> tuple[Registered, ...]:
    """Return what a return to a package abandons: everything newer that is approved or still may be."""
    return tuple(
        Registered(arn=item.arn, version=item.version, status=item.status)
        for item in sorted(packages, key=lambda item: -item.version)
        if item.version > target.version and item.status != REJECTED
    )


def choose(
    packages: Sequence[Package], wanted: str | None, serving: Package | None
) -> tuple[Package, tuple[Registered, ...]]:
    """Return the package to go back to and the newer ones that this abandons.

    Args:
        packages: all packages of the model, newest first.
        wanted: version number or ARN; None or empty for the newest approved one before what serves.
        serving: the package that serves, pending or approved; None when what serves is no package, or nothing serves. Then the newest
            approved one is to serve again.

    Raises:
        RollbackError: there is none, or the wanted one never was approved.

    """
    approved = sorted((item for item in packages if item.status == APPROVED), key=lambda item: -item.version)
    known = ", ".join(str(item.version) for item in approved) or "none"
    if wanted:
        target = next((item for item in packages if wanted in (item.arn, str(item.version))), None)
        if target is None:
            raise RollbackError(f"there is no model package {wanted!r}; approved versions: {known}")
        if target.status != APPROVED and ABANDONED not in target.metadata:
            raise RollbackError(
                f"model package {target.version} is {target.status} and never served ({target.reason or 'no reason given'}); "
                f"approved versions: {known}"
            )
    else:
        before = [item for item in approved if serving is None or item.version < serving.version]
        if not before:
            serves = f"package {serving.version}" if serving else "the endpoint's model"
            raise RollbackError(
                f"there is no approved package before {serves}, which serves; approved versions: {known}"
            )
        target = before[0]
    return target, newer_than(target, packages)


def rollback_id(dag_run: Any) -> str:
    """Return the id of a run's rollback: its time, and a digest because two runs can have the same time."""
    at: datetime = dag_run.run_after
    return f"{at.astimezone(UTC):%Y%m%dT%H%M%SZ}-{digest(dag_run.run_id, 8)}"
