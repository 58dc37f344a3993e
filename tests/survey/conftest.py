"""The contract, real rows as a dataset version holds them, and both as the generator takes them."""

from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml

from retraining.contract.rows import row_reasons
from retraining.contract.rules import Contract, cells_of
from survey.generator import tables

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def document() -> dict[str, Any]:
    """Return model.yaml."""
    return yaml.safe_load((ROOT / "dags/models/abalone/model.yaml").read_text())


@pytest.fixture(scope="session")
def contract(document: dict[str, Any]) -> Contract:
    return Contract.of(document["contract"])


@pytest.fixture(scope="session")
def real_cells(contract: Contract) -> list[list[str]]:
    """Return the valid rows of the Abalone data as text."""
    with (ROOT / "data" / "abalone.csv").open(newline="") as file:
        _, *rows = cells_of(file)
    return [row for row in rows if not row_reasons(contract, row)]


@pytest.fixture(scope="session")
def real(real_cells: list[list[str]], contract: Contract) -> pd.DataFrame:
    return tables.typed(real_cells, contract)
