"""``make cost``: the month of a model from ``model.yaml`` and the deployment's file, and what the last runs took."""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import textwrap
from collections.abc import Iterator, Sequence
from decimal import Decimal
from typing import Any

from deploy.artifacts import ROOT
from deploy.cost import measured, prices
from deploy.cost.bill import Bill, Times
from deploy.cost.items import Table, price_shown, shown
from deploy.settings import SettingsError, load
from local_stack.verbs import calls
from retraining.command.piped import until_nobody_reads
from retraining.contract.plain_text import plain_lines
from retraining.settings.model_config import ConfigError, ModelConfig, load_model_config

DEPLOYMENT = "prod"
LEAST_WIDTH, MOST_WIDTH, NUMBERS = 60, 100, 36
PAGE = "docs/cost.md"


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the bill; 2 for a model, a deployment or a file that is wrong."""
    parser = calls.OneLineParser(prog="python -m deploy.cost", description=__doc__)
    parser.add_argument("--model", default="abalone", help="name of the model folder (default: %(default)s)")
    parser.add_argument("--env", help=f"a file of deploy/environments, without .yaml (default: {DEPLOYMENT})")
    parser.add_argument("--json", action="store_true", help="one JSON object on standard output, nothing else")
    chosen: argparse.Namespace = parser.parse_args(arguments)
    try:
        if chosen.env is not None:
            calls.known_deployment(chosen.env, "cost")
        deployment = load(chosen.env or DEPLOYMENT)
        config = load_model_config(ROOT / "dags" / "models" / calls.known_model(chosen.model) / "model.yaml")
    except (ConfigError, SettingsError, calls.CallError) as error:
        sys.stderr.write(f"error: {plain_lines(error)}\n")
        return 2
    account, why = measured.ask(config.name, chosen.env, deployment.region)
    times = account.times if account and account.is_aws else Times()
    bill = Bill(config, deployment.environment, prices.read(), times, dags_of(config), deployment.platform)
    if chosen.json:
        print(json.dumps(document(bill, deployment.name, account), indent=1))
        return 0
    width = min(MOST_WIDTH, max(LEAST_WIDTH, shutil.get_terminal_size().columns))
    for line in [*lines(bill, deployment.name, deployment.region, width), *told(bill, account, why, width)]:
        print(line)
    return 0


def dags_of(config: ModelConfig) -> frozenset[str]:
    """Return the kinds of DAGs that a model has a file of."""
    name = config.name.replace("-", "_")
    return frozenset(kind for kind in ("batch", "monitor") if (ROOT / "dags" / f"{name}_{kind}.py").exists())


def tables(bill: Bill) -> dict[str, Table]:
    """Return the tables of a bill by name."""
    found = {"idle": bill.idle(), "run": bill.run()}
    if "batch" in bill.dags:
        found["batch"] = bill.scoring()
    if "monitor" in bill.dags:
        found["look"] = bill.look()
    if bill.config.api:
        found["api"] = bill.http_api()
    return found | {"month": bill.month()}


def lines(bill: Bill, deployment: str, region: str, width: int) -> Iterator[str]:
    """Yield the bill for a terminal of so many columns."""
    known = bill.prices
    yield from textwrap.wrap(
        f"{bill.config.name} in {deployment}: list prices of {known.region} in USD, as known in {known.known}; check them before you "
        "rely on them",
        width,
    )
    if region != known.region:
        yield from textwrap.wrap(f"{deployment} is in {region}, whose prices differ by some percent", width)
    unpriced = []
    for table in tables(bill).values():
        yield ""
        yield from table_lines(table, width)
        unpriced += table.unpriced
    for what in dict.fromkeys(unpriced):
        yield from textwrap.wrap(
            f"no price is known for '{plain(what)}', so no total has it: deploy/cost/prices.yaml", width
        )


def table_lines(table: Table, width: int) -> Iterator[str]:
    """Yield one table; a long item goes on in the next line."""
    room, title = width - NUMBERS, table.title
    if len(title) > room:
        yield title
        title = ""
    yield f"{title:<{room}}{'quantity':>10} {'':<9} {'price':>6}{'USD':>9}".rstrip()
    for item in table.items:
        first, *more = textwrap.wrap(plain(item.what), room - 3)
        price = "?" if item.price is None else price_of(item.price)
        cost = table.cost(item)
        amount = "?" if cost is None else f"{cost}"
        yield f"  {first:<{room - 2}}{shown(item.quantity):>10} {item.unit:<9} {price:>6}{amount:>9}"
        yield from (f"    {line}" for line in more)
    total = "total without '?'" if table.unpriced else "total"
    yield f"  {total:<{room - 2}}{'':>27}{table.total!s:>9}"


def told(bill: Bill, account: measured.Account | None, why: str, width: int) -> Iterator[str]:
    """Yield where the times come from, and what the last runs took."""
    yield ""
    if account is None:
        yield from textwrap.wrap(f"Times are those that {PAGE} assumes, for {why}.", width)
        return
    yield from textwrap.wrap(f"Last runs of {account.name}, seconds of each job:", width)
    widths = {
        step: max(len(step) + 1, 7) for step in measured.STEPS if any(step in run.seconds for run in account.runs)
    }
    yield f"{'run':<16}{'on':<10}" + "".join(f"{step:>{width}}" for step, width in widths.items())
    for run in account.runs:
        texts = {step: f"{run.seconds[step]:.1f}" if step in run.seconds else "-" for step in widths}
        shown = "".join(f"{texts[step]:>{width}}" for step, width in widths.items())
        yield f"{run.key[:15]:<16}{run.created_at[:10]:<10}{shown}"
    billed = f"with the medians of these seconds a run costs {at_measured(bill, account).run().total} USD"
    if account.is_aws:
        yield from textwrap.wrap(f"The tables have the medians of these seconds: {billed}.", width)
        return
    yield from textwrap.wrap(
        f"The tables have the times that {PAGE} assumes: on AWS the start of an instance, minutes, is billed too. Without it, {billed}.",
        width,
    )


def at_measured(bill: Bill, account: measured.Account) -> Bill:
    """Return the bill at the seconds of the last runs."""
    return Bill(bill.config, bill.environment, bill.prices, account.times, bill.dags, bill.platform)


def document(bill: Bill, deployment: str, account: measured.Account | None) -> dict[str, Any]:
    """Return the bill as a JSON document; amounts are in USD."""
    return {
        "model": bill.config.name,
        "deployment": deployment,
        "prices": {"region": bill.prices.region, "known": bill.prices.known},
        "times": "measured" if account and account.is_aws else "assumed",
        "tables": {name: table_document(table) for name, table in tables(bill).items()},
        "measured": None
        if account is None
        else {
            "account": account.name,
            "runs": [
                {"run_key": run.key, "created_at": run.created_at, "seconds": dict(run.seconds)} for run in account.runs
            ],
            "usd_per_run": float(at_measured(bill, account).run().total),
        },
    }


def table_document(table: Table) -> dict[str, Any]:
    """Return a table as a JSON document; ``price`` and ``usd`` are null where no price is known."""
    return {
        "items": [
            {
                "item": plain(item.what),
                "quantity": float(item.quantity),
                "unit": item.unit,
                "price": None if item.price is None else float(item.price),
                "usd": None if (cost := table.cost(item)) is None else float(cost),
            }
            for item in table.items
        ],
        "total": float(table.total),
        "without_price": [plain(what) for what in table.unpriced],
    }


def plain(what: str) -> str:
    """Return the name of an item without the marks of a page."""
    return what.replace("`", "")


def price_of(price: Decimal) -> str:
    """Return a price in at most six columns."""
    text = price_shown(price)
    return text if len(text) <= 6 else "<0.001"


if __name__ == "__main__":
    sys.exit(until_nobody_reads(main))
