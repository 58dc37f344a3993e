"""The tables of the cost page, written between their marks from the prices and the abalone model; the words around them are a person's."""

from __future__ import annotations

import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from deploy import settings  # noqa: E402 - the root is not on the path of a script in docs/
from deploy.cost import prices  # noqa: E402
from deploy.cost.bill import Bill  # noqa: E402
from deploy.cost.items import Table, price_shown, shown  # noqa: E402
from retraining.settings.model_config import load_model_config  # noqa: E402

PAGE = ROOT / "docs" / "cost.md"
MARKED = re.compile(r"(<!-- make docs: (\w+) -->\n).*?(<!-- end -->\n)", re.DOTALL)
HEAD = "| item | quantity | unit | price | USD |\n|---|---|---|---|---|\n"


def page() -> str:
    """Return the page with its tables as they are now.

    Raises:
        KeyError: a mark names no table.

    """
    prod = settings.load("prod")
    model = load_model_config(ROOT / "dags" / "models" / "abalone" / "model.yaml")
    bill = Bill(model, prod.environment, prices.read(), platform=prod.platform)
    tables = {
        "idle": bill.idle(),
        "nat": bill.nat(),
        "run": bill.run(),
        "batch": bill.scoring(),
        "look": bill.look(),
        "api": bill.http_api(),
        "month": bill.month(),
    }
    return MARKED.sub(lambda mark: f"{mark[1]}{_rows(tables[mark[2]])}{mark[3]}", PAGE.read_text(encoding="utf-8"))


def _rows(table: Table) -> str:
    lines = []
    for item in table.items:
        price = "" if item.price is None else price_shown(item.price)
        lines.append(f"| {item.what} | {shown(item.quantity)} | {item.unit} | {price} | {table.cost(item)} |\n")
    return HEAD + "".join(lines) + f"| total | | | | {table.total} |\n"
