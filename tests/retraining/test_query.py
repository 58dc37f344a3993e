"""Any version of a data set, asked in SQL by the names of its columns, on objects of a running local_aws."""

import csv
import io
import uuid

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from retraining.command import query, version_rows
from retraining.dataset.log import DatasetLog
from retraining.dataset.records import Erasure, Output, Version

pytestmark = pytest.mark.local_aws
NASTY = ['a "quoted" word', "comma, semicolon; tab\t", "NA", "007", "line\nfeed", "ünïcode 🐚", "' or 1=1 --", "\\"]
FIRST = {"name": NASTY, "rings": list(range(8)), "row_hash": [f"{n:032x}" for n in range(8)]}
SECOND = {"row_hash": ["f" * 32], "site": ["north"], "rings": [2**62 + 1], "name": ["x"]}


@pytest.fixture
def model(account, bucket, access, platform, monkeypatch) -> str:
    """A model with two versions; the second has its columns in another order and one more."""
    name = f"oyster-{uuid.uuid4().hex[:8]}"
    log = DatasetLog(account.s3, bucket, f"{name}/")
    for number, (split, rows) in enumerate((("train", FIRST), ("test", SECOND)), start=1):
        body = io.BytesIO()
        pq.write_table(pa.table(rows), body)
        key = f"{name}/dataset/data/batch=b{number}/split={split}/part-00000.parquet"
        account.s3.put_object(Bucket=bucket, Key=key, Body=body.getvalue())
        log.commit(
            Version(
                version=number,
                batch=f"b{number}",
                created_at="2026-01-01T00:00:00+00:00",
                files=(),
                rows={"rows_accepted": len(rows["name"])},
                rows_by_split={split: len(rows["name"])},
                training={},
                data=(Output(key=key, size=1),),
            )
        )
    monkeypatch.setattr(version_rows, "AwsAccess", lambda: access)
    known = platform.model_copy(update={"bucket": bucket})
    monkeypatch.setattr(version_rows, "reach_platform", lambda parameter, access: known)
    return name


def ask(capsys, *arguments: str) -> tuple[int, str, str]:
    status = query.main(list(arguments))
    told = capsys.readouterr()
    return status, told.out, told.err


def test_a_version_has_exactly_the_rows_of_its_log_to_the_last_character(model, capsys):
    table = version_rows.table_name(model)
    for version, rows in ((1, NASTY), (None, [*NASTY, "x"])):
        chosen = [] if version is None else ["--version", str(version)]
        status, out, err = ask(capsys, model, f"select name from {table} order by rings", "--csv", *chosen)
        assert (status, err) == (0, "")
        assert [row[0] for row in csv.reader(io.StringIO(out, newline=""))] == ["name", *rows]


def test_columns_go_by_name_and_numbers_keep_every_digit(model, capsys):
    sql = f"select split, rings, site, row_hash from {version_rows.table_name(model)} where name = 'x';"
    status, out, _ = ask(capsys, model, sql)
    assert status == 0
    assert out.splitlines()[0].split() == ["split", "rings", "site", "row_hash"]
    assert out.splitlines()[1].split() == ["test", str(2**62 + 1), "north", "f" * 32]
    assert out.splitlines()[-1] == "1 row(s)"


def test_a_version_can_be_summarised_column_by_column(model, capsys):
    sql = f"select column_name, min, max, count from (summarize {version_rows.table_name(model)}) where column_name = 'rings'"
    status, out, _ = ask(capsys, model, sql, "--version", "1")
    assert status == 0
    assert out.splitlines()[1].split() == ["rings", "0", "7", "8"]


@pytest.mark.parametrize(
    ("sql", "words"),
    [
        ("select nothing from {table}", "nothing"),
        ("select * from other", "the table is called"),
        ("select * from read_csv('/etc/passwd')", "disabled by configuration"),
        ("select 1) TO '/tmp/x.csv' (FORMAT csv); select (1", "error"),
    ],
)
def test_a_query_that_cannot_be_answered_says_why_and_reaches_no_other_file(model, capsys, sql, words):
    status, out, err = ask(capsys, model, sql.format(table=version_rows.table_name(model)))
    assert (status, out) == (1, "")
    assert words in err


def test_a_version_that_is_not_there_or_was_erased_is_refused(model, capsys, account, bucket):
    assert "versions 1 to 2" in ask(capsys, model, "select 1", "--version", "7")[2]
    erasure = Erasure(created_at="2026-01-02T00:00:00+00:00", who="me", why="asked for", versions=(1,), removed=())
    DatasetLog(account.s3, bucket, f"{model}/").erase(erasure)
    assert (
        "dataset version 1 was erased on 2026-01-02 (asked for)" in ask(capsys, model, "select 1", "--version", "1")[2]
    )
