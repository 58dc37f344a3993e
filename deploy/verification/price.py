"""What a verification costs at most: every job at its own limit, and the endpoint until the timer deletes it."""

from __future__ import annotations

from decimal import Decimal

from deploy.cost import prices
from deploy.cost.bill import Bill, Times
from deploy.cost.items import TENTHS_OF_CENTS, Item, Table, exact
from retraining.settings.model_config import ModelConfig

MINUTE = 60


def at_most(config: ModelConfig, hours: float) -> Table:
    """Return the bill of one verification.

    Args:
        config: the model that it trains.
        hours: until the timer.

    """
    known = prices.read()
    limits = Times(
        merge=config.etl.max_runtime_minutes * MINUTE,
        training=config.training.max_runtime_seconds,
        evaluation=config.evaluation.max_runtime_seconds,
    )
    run = Bill(config, {}, known, limits).run()
    deployment = config.deployment
    endpoint = Item.of(
        f"Endpoint: {deployment.instance_type} until the timer, {hours:g} h",
        exact(hours) * deployment.instance_count,
        "hour",
        known.price("instance", deployment.instance_type),
    )
    return Table("At most, in USD", [*run.items, endpoint], TENTHS_OF_CENTS)


def lines(table: Table) -> list[str]:
    """Return the bill for people."""
    found = []
    for item in [*table.items]:
        cost = table.cost(item)
        found.append(f"  {item.what:<64} {'?' if cost is None else cost:>8}")
    return [table.title, *found, f"  {'total':<64} {table.total:>8}"]


def exceeds(table: Table, limit: float) -> str | None:
    """Return why a verification may not begin, None when it may."""
    if table.unpriced:
        return f"no price is known for {', '.join(table.unpriced)} (deploy/cost/prices.yaml), so no limit can be kept"
    if table.total > Decimal(str(limit)):
        return f"it may cost up to {table.total} USD, more than MAX_USD={limit:g}"
    return None
