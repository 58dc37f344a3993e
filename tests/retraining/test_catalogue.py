"""The data set in the Glue catalogue: each version is exactly what the log says, and the table can be made anew at any time."""

import uuid

import pytest

from retraining.dataset.catalogue import OPEN, TABLE, partitions_of, rebuild_catalogue
from retraining.dataset.contract_change import contract_record
from retraining.dataset.records import Erasure, Output, Version
from retraining.dataset.state import LogState


def version(config, number: int, splits=("train", "test"), starts_anew: bool = False) -> Version:
    data = tuple(
        Output(key=f"m/dataset/data/batch=b{number}/split={split}/part-0000{part}.parquet", size=1)
        for split in splits
        for part in (0, 1)
    )
    return Version(
        version=number,
        batch=f"b{number}",
        created_at="2026-01-01T00:00:00+00:00",
        files=(),
        rows={},
        rows_by_split={},
        training={},
        data=data,
        contract=contract_record(config.contract.model_dump(mode="json"), config.split.model_dump()),
        starts_anew=starts_anew,
    )


@pytest.fixture(scope="module")
def state(config) -> LogState:
    """Three versions, a fourth that begins anew, and one more; the second and third are erased."""
    anew = {4}
    versions = tuple(version(config, number, starts_anew=number in anew) for number in range(1, 6))
    erased = Erasure(created_at="2026-01-01T00:00:00+00:00", who="me", why="x", versions=(2, 3), removed=())
    return LogState(versions, erasures=(erased,))


def folders(state: LogState, number: int) -> set[str]:
    return {output.key.rsplit("/", 1)[0] + "/" for part in state.at(number).current for output in part.data}


@pytest.mark.parametrize("number", [1, 4, 5])
def test_a_version_is_exactly_the_partitions_that_stand_in_it(state, number):
    found = [folder for first, last, _, folder in partitions_of(state) if first <= number <= last]
    assert sorted(found) == sorted(folders(state, number))


def test_erased_rows_are_in_no_partition(state):
    assert {first for first, _, _, _ in partitions_of(state)} == {1, 4, 5}
    assert [(last, split) for first, last, split, _ in partitions_of(state) if first == 1] == [
        (3, "test"),
        (3, "train"),
    ]
    assert {last for first, last, _, _ in partitions_of(state) if first > 3} == {OPEN}


def test_an_empty_log_has_nothing_to_show():
    with pytest.raises(LookupError, match="nothing to put into the catalogue"):
        rebuild_catalogue(None, "db", "bucket", LogState())


@pytest.mark.local_aws
def test_the_table_is_made_anew_with_comments_and_all_partitions(config, state, access, account):
    from retraining.aws.clients import client

    glue = client("glue", access)
    database = f"db_{uuid.uuid4().hex[:8]}"
    glue.create_database(DatabaseInput={"Name": database})
    many = LogState(tuple(version(config, number) for number in range(1, 61)))
    assert rebuild_catalogue(glue, database, "bucket", many) == 120
    assert rebuild_catalogue(glue, database, "bucket", state) == 6
    table = glue.get_table(DatabaseName=database, Name=TABLE)["Table"]
    columns = {column["Name"]: column for column in table["StorageDescriptor"]["Columns"]}
    assert list(columns) == [*(column.name for column in config.contract.columns), "row_hash", "source"]
    assert (columns["rings"]["Type"], columns["length"]["Type"], columns["sex"]["Type"]) == (
        "bigint",
        "double",
        "string",
    )
    assert columns["length"]["Comment"]
    pages = glue.get_paginator("get_partitions").paginate(DatabaseName=database, TableName=TABLE)
    found = {
        tuple(item["Values"]): item["StorageDescriptor"]["Location"] for page in pages for item in page["Partitions"]
    }
    assert found == {
        (str(first), str(last), split): f"s3://bucket/{folder}" for first, last, split, folder in partitions_of(state)
    }
