"""Files as people upload them end as tests/landing/situations.yaml says; with a word in the contract refused ones are merged."""

from __future__ import annotations

import io

import pytest
import yaml
from model import MODEL, ROOT, SPLIT, abalone

from retraining.command import check_file
from retraining.contract.layout import inspect
from retraining.contract.reader import read
from retraining.contract.rules import Contract
from retraining.contract.verdict import judge_file

LANDING = ROOT / "tests/landing"
SITUATIONS = yaml.safe_load((LANDING / "situations.yaml").read_text("utf-8"))
FILES = [(folder, name) for folder, files in SITUATIONS.items() for name in files]


@pytest.mark.parametrize(("folder", "name"), FILES, ids=[f"{folder}/{name}" for folder, name in FILES])
def test_a_file_ends_as_written(folder: str, name: str) -> None:
    path = LANDING / folder / name
    outcome, accepted, quarantined, *words = SITUATIONS[folder][name]
    found = judge_file(lambda: path.open("rb"), f"abalone/new/{name}", path.stat().st_size, abalone(), SPLIT)
    assert (found.outcome, found.accepted, found.quarantined) == (outcome, accepted, quarantined)
    assert all(word in f"{found.reason} {dict(found.reasons)}" for word in words)
    assert len(found.reason or "") < 500
    assert found.remedy if outcome == "refused" else not found.remedy


def test_no_file_is_forgotten() -> None:
    there = {
        str(path.relative_to(LANDING))
        for path in LANDING.rglob("*")
        if path.is_file() and path.name not in ("situations.yaml", ".gitattributes")
    }
    assert there == {f"{folder}/{name}" for folder, name in FILES}


def test_aliases_and_ignore_merge_what_was_refused() -> None:
    columns = [dict(column) for column in MODEL["contract"]["columns"]]
    by_name = {column["name"]: column for column in columns}
    by_name["shucked_weight"]["aliases"] = ["Whole weight.1"]
    by_name["viscera_weight"]["aliases"] = ["Whole weight.2"]
    contract = abalone(columns=columns, ignore=["id", "Age"])
    for path in (LANDING / "numbered_headings_and_an_id/train.csv", LANDING / "extra_derived_column/with_age.csv"):
        found = judge_file(lambda path=path: path.open("rb"), path.name, path.stat().st_size, contract, SPLIT)
        assert (found.outcome, found.quarantined) == ("merged", 0), found


def test_rows_of_another_order_land_in_their_columns() -> None:
    path = LANDING / "sep_line_and_other_order/excel_hint.csv"
    body = path.read_bytes()
    contract = abalone()
    layout = inspect(lambda: io.BytesIO(body), path.name, contract)
    first = next(iter(read(lambda: io.BytesIO(body), path.name, contract, layout, SPLIT)))
    assert dict(zip(contract.names, first.values, strict=True))["shell_weight"] == 0.626
    assert dict(zip(contract.names, first.values, strict=True))["viscera_weight"] == 0.4885


@pytest.mark.parametrize(
    ("file", "column"),
    [
        ("quotes_in_text/with_site.csv", {"name": "site", "type": "string"}),
        ("na_is_a_region/regions.csv", {"name": "region", "type": "string", "allowed": ["EU", "NA", "AP"]}),
    ],
)
def test_text_arrives_as_it_was(file: str, column: dict[str, object]) -> None:
    *features, target = MODEL["contract"]["columns"]
    contract = Contract.of({**MODEL["contract"], "columns": [*features, column, target]})
    body = (LANDING / file).read_bytes()
    layout = inspect(lambda: io.BytesIO(body), file, contract)
    texts = {line.values[8] for line in read(lambda: io.BytesIO(body), file, contract, layout, SPLIT)}
    assert texts >= ({'Pier 5" pipe', "Reef, north"} if column["name"] == "site" else {"EU", "NA", "AP"})


def test_the_command_answers_by_table_json_and_exit_code(capsys, monkeypatch) -> None:
    monkeypatch.chdir(ROOT)
    assert check_file.main([str(LANDING / "extra_derived_column"), "--json"]) == 1
    lines = [yaml.safe_load(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["outcome"] for line in lines] == ["merged", "refused"]
    assert lines[0]["columns"]["sex"] in ("sex", "Sex", 1)
    assert set(lines[0]) >= {
        "file",
        "outcome",
        "rows",
        "accepted",
        "quarantined",
        "refused",
        "reasons",
        "first",
        "columns",
    }
    assert check_file.main([str(LANDING / "spark_export_with_marker")]) == 0
    assert "ignored" in capsys.readouterr().out
    assert check_file.main([str(LANDING / "words_for_missing_values")]) == 1
    assert "height: missing" in capsys.readouterr().out
    assert check_file.main(["no/such/file"]) == 2
    with pytest.raises(SystemExit) as ended:
        check_file.main([])
    assert ended.value.code == 2
