"""The original data set of a model that is split by time, before there is a dataset version."""

from __future__ import annotations

import csv
from pathlib import Path

from retraining.settings.contract_keys import Split
from retraining.settings.model_config import load_model_config
from survey.current_data import from_original

ROOT = Path(__file__).resolve().parents[2]


def test_its_newest_rows_are_held_back_as_a_first_merge_would(tmp_path: Path) -> None:
    config = load_model_config(ROOT / "dags/models/abalone/model.yaml")
    contract = config.contract.model_dump(exclude={"identity"})
    contract["columns"] = [*contract["columns"], {"name": "year", "type": "int"}]
    update = {
        "contract": type(config.contract).model_validate(contract),
        "split": Split(by="time", column="year", train=70, validation=10, test=20),
    }
    config = config.model_copy(update=update)
    names = ",".join(column["name"] for column in contract["columns"])
    rows = [f"M,0.455,0.365,0.095,0.514,0.2245,0.101,0.15,15,{year}" for year in range(1990, 2010)]
    original = tmp_path / "original.csv"
    original.write_text("\n".join([names, *rows]) + "\n")
    found = from_original(config, original, hold_back=False, cache=tmp_path / "cache")
    years = {}
    for split in ("train", "validation", "test"):
        text = (found.known / f"split={split}" / "original.csv").read_text()
        years[split] = [int(row[-1]) for row in csv.reader(text.splitlines())]
    assert years == {"train": [*range(1990, 2004)], "validation": [2004, 2005], "test": [*range(2006, 2010)]}
