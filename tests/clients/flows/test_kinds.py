"""The table of kinds of work names tests that exist, so that the page says no more than what is shown."""

import ast
import re
from pathlib import Path

import pytest
import yaml

TESTS = Path(__file__).parents[2]
KINDS = yaml.safe_load(Path(__file__).with_name("kinds.yaml").read_text(encoding="utf-8"))
ROWS = [(suite, row) for suite, rows in KINDS.items() for row in rows]


@pytest.mark.parametrize(("suite", "row"), ROWS, ids=[f"{suite}-{row['kind']}" for suite, row in ROWS])
def test_each_kind_has_its_test(suite: str, row: dict) -> None:
    path, function, case = re.fullmatch(r"([\w/.]+)::(\w+)(?:\[(.+)\])?", row["test"]).groups()
    text = (TESTS / path).read_text(encoding="utf-8")
    assert function in {node.name for node in ast.walk(ast.parse(text)) if isinstance(node, ast.FunctionDef)}
    # The cases of refusals are made of a service and an operation.
    assert case is None or re.search(rf"\b{re.escape(case.removeprefix('sagemaker-').removeprefix('glue-'))}\b", text)
    assert row.keys() <= {"kind", "test", "refused"}
    assert row.get("refused", "a reason")


def test_a_kind_stands_once_and_what_is_refused_is_shown_by_a_refusal() -> None:
    names = [(suite, row["kind"]) for suite, row in ROWS]
    assert len(set(names)) == len(names)
    for _, row in ROWS:
        shows_refusal = re.search("refus|absent|missing|fail", row["test"].partition("::")[2].partition("[")[0])
        assert not row.get("refused") or shows_refusal, row


def test_most_kinds_work() -> None:
    working = {suite: sum("refused" not in row for row in rows) for suite, rows in KINDS.items()}
    assert all(2 * count > len(KINDS[suite]) for suite, count in working.items()), working
