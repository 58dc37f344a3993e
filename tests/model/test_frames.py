"""Rows get the same form on every way: CSV and Parquet of the data set, requests as CSV and JSON."""

import csv
import io
import json

import numpy as np
import pandas as pd
import pytest
from abalone_artifacts import evaluation_job

from retraining.inside import serving
from retraining.inside.frames import read_frame, request_frame
from retraining.inside.groups import group_names
from retraining.inside.job_file import as_job, inputs_of

CONTRACT = {
    "columns": [
        {"name": "weight", "type": "double", "nullable": True},
        {"name": "count", "type": "int"},
        {"name": "zip", "type": "string"},
        {"name": "region", "type": "string", "allowed": ["EU", "NA", "AP"], "nullable": True},
        {"name": "smoker", "type": "boolean", "nullable": True},
        {"name": "day", "type": "date", "nullable": True},
        {"name": "price", "type": "double"},
    ],
    "target": "price",
}
ROWS = [
    {"weight": 2.5, "count": 3, "zip": "02", "region": "NA", "smoker": True, "day": "2025-03-01", "price": 9.0},
    {"weight": None, "count": 4, "zip": 'Pier 5" pipe, "x"', "region": None, "smoker": None, "day": None, "price": 7.5},
    {"weight": 1e-12, "count": 2**40, "zip": "1e5", "region": "EU", "smoker": False, "day": "2024-12-31", "price": 1.0},
]
JOB = as_job(evaluation_job(contract=CONTRACT, csv_columns=None, group=None))


def cell(value) -> str:
    return "" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def lines(names: list[str]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([cell(row[name]) for name in names] for row in ROWS)
    return text.getvalue()


def expected() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "weight": [2.5, np.nan, 1e-12],
            "count": [3.0, 4.0, float(2**40)],
            "zip": pd.Series(["02", 'Pier 5" pipe, "x"', "1e5"], dtype=object),
            "region": pd.Series(["NA", np.nan, "EU"], dtype=object),
            "smoker": [1.0, np.nan, 0.0],
            "day": pd.Series(["2025-03-01", np.nan, "2024-12-31"], dtype=object),
            "price": [9.0, 7.5, 1.0],
        }
    )


def test_csv_of_the_data_set(tmp_path):
    (tmp_path / "part.csv").write_text(lines(list(JOB.csv_columns)))
    pd.testing.assert_frame_equal(read_frame(tmp_path, JOB), expected())


def test_csv_with_a_header_has_the_jobs_columns_or_is_refused_and_lines_are_counted_with_it(tmp_path):
    job = as_job({**evaluation_job(contract=CONTRACT, csv_columns=None, group=None), "csv_header": True})
    names = list(job.csv_columns)
    path = tmp_path / "part.csv"
    path.write_text(f"{','.join(names)}\n{lines(names)}")
    pd.testing.assert_frame_equal(read_frame(tmp_path, job), expected())
    path.write_text(f"{','.join(names)}\n{lines(names)}{lines(names)}".replace("4,", "four,", 1))
    with pytest.raises(ValueError, match="line 3: count is 'four', not a number"):
        read_frame(tmp_path, job)
    path.write_text(lines(names))
    with pytest.raises(ValueError, match=r"has the header 9\.0, .*, expected price, "):
        read_frame(tmp_path, job)


def test_parquet_of_the_data_set_goes_by_name_and_keeps_types(tmp_path):
    frame = pd.DataFrame(ROWS)[["price", "zip", "day", "smoker", "count", "region", "weight"]]
    frame["day"] = pd.to_datetime(frame["day"]).dt.date
    frame["split"] = "train"
    (tmp_path / "batch=a").mkdir()
    frame.to_parquet(tmp_path / "batch=a" / "part.parquet")
    (tmp_path / "part.csv").write_text("what lies beside it is not read\n")
    pd.testing.assert_frame_equal(read_frame(tmp_path, JOB), expected())


@pytest.mark.parametrize("form", ["csv", "lists", "objects"])
def test_requests(form):
    names = [column.name for column in JOB.inputs]
    given = [{name: row[name] for name in names} for row in ROWS]
    body, kind = lines(names), "text/csv"
    if form != "csv":
        instances = given if form == "objects" else [list(row.values()) for row in given]
        body, kind = json.dumps({"instances": instances}), "application/json"
    rows = serving.read_request(body, kind, JOB.inputs)
    found = request_frame(rows, inputs_of(JOB.contract), JOB.contract)
    pd.testing.assert_frame_equal(found, expected().drop(columns="price"))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"count": None}, "row 1: count is missing, expected a number"),
        ({"count": 2.5}, "row 1: count is 2.5, not a whole number"),
        ({"count": True}, "row 1: count is True, not a finite number"),
        ({"zip": 2}, r"row 1: zip is 2, expected a text \(in quotes\)"),
        ({"zip": ""}, "row 1: zip is missing, expected a text"),
        ({"smoker": "maybe"}, "row 1: smoker is 'maybe', not a truth value"),
        ({"weight": "2,5"}, "row 1: weight is '2,5', not a finite number"),
    ],
)
def test_a_value_of_another_kind_is_named(change, message):
    with pytest.raises(ValueError, match=message):
        request_frame([ROWS[0] | change], JOB.inputs, JOB.contract)


@pytest.mark.parametrize(
    ("text", "number"), [("2,5", 2.5), ("2.5", 2.5), ("1.234,5", 1234.5), ("1.234.567", 1234567.0), ("-0,25", -0.25)]
)
def test_a_text_is_a_number_as_the_contract_s_files_write_it(text, number):
    job = as_job(
        evaluation_job(contract=CONTRACT | {"csv": {"decimal": ",", "thousands": "."}}, csv_columns=None, group=None)
    )
    assert request_frame([ROWS[0] | {"weight": text}], job.inputs, job.contract)["weight"][0] == number
    with pytest.raises(ValueError, match="row 1: weight is '2,5,1', not a finite number"):
        request_frame([ROWS[0] | {"weight": "2,5,1"}], job.inputs, job.contract)


def test_rare_texts_share_a_group_and_missing_values_have_one():
    values = pd.Series([f"t{number}" for number in range(300)] * 2 + ["often"] * 3 + [np.nan], dtype=object)
    names = group_names(values, len(values))
    assert len(set(names)) == 201
    assert {"often", "(others)", "(missing)"} <= set(names)
    assert list(group_names(pd.Series([1.0, np.nan, 2.5]), 3)) == ["1", "(missing)", "2.5"]
