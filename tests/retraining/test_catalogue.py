"""The data set in the Glue catalogue: each version is exactly what the log says, and the table can be made anew at any time."""

import uuid
from collections import Counter

import pytest
from test_data_phase import MODEL, Landing, landing, survey

from retraining.dag.tasks.retraining import RetrainingTasks
from retraining.dataset.catalogue import OPEN, TABLE, CatalogueError, keep_catalogue, partitions_of, rebuild_catalogue
from retraining.dataset.contract_change import contract_record
from retraining.dataset.records import Erasure, Output, Version
from retraining.dataset.state import LogState

__all__ = ["landing"]


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
    assert shown(glue, database) == of_log(state)


def shown(glue, database: str) -> dict[tuple[str, ...], str]:
    pages = glue.get_paginator("get_partitions").paginate(DatabaseName=database, TableName=TABLE)
    return {
        tuple(item["Values"]): item["StorageDescriptor"]["Location"] for page in pages for item in page["Partitions"]
    }


def of_log(state: LogState) -> dict[tuple[str, ...], str]:
    return {
        (str(first), str(last), split): f"s3://bucket/{folder}" for first, last, split, folder in partitions_of(state)
    }


class Counted:
    """A Glue client that notes what it is asked for, and can lose one of the calls."""

    def __init__(self, glue, lost: str = ""):
        self.glue, self.lost, self.calls, self.exceptions = glue, lost, [], glue.exceptions

    def __getattr__(self, name):
        def call(**arguments):
            self.calls.append(name)
            if name == self.lost:
                raise CatalogueError("lost")
            return getattr(self.glue, name)(**arguments)

        return call


@pytest.fixture
def catalogue(access, account):
    """A Glue client and a database of its own."""
    from retraining.aws.clients import client

    glue, database = client("glue", access), f"db_{uuid.uuid4().hex[:8]}"
    glue.create_database(DatabaseInput={"Name": database})
    return glue, database


@pytest.mark.local_aws
def test_each_commit_adds_its_rows_with_three_requests_and_a_repeated_one_adds_none(config, catalogue):
    glue, database = catalogue
    for latest in range(1, 5):
        state = LogState(tuple(version(config, number) for number in range(1, latest + 1)))
        counted = Counted(glue)
        assert keep_catalogue(counted, database, "bucket", state) == 2
        assert latest == 1 or counted.calls == ["get_table", "batch_create_partition", "update_table"]
        assert shown(glue, database) == of_log(state)
        again = Counted(glue)
        assert keep_catalogue(again, database, "bucket", state) == 0
        assert again.calls == ["get_table"]


@pytest.mark.local_aws
@pytest.mark.parametrize("lost", ["create_table", "batch_create_partition", "update_table"])
def test_what_a_lost_call_leaves_half_done_the_next_commit_completes(config, catalogue, lost):
    glue, database = catalogue
    versions = tuple(version(config, number) for number in range(1, 4))
    with pytest.raises(CatalogueError):
        keep_catalogue(Counted(glue, lost), database, "bucket", LogState(versions[:1]))
    keep_catalogue(glue, database, "bucket", LogState(versions))
    assert shown(glue, database) == of_log(LogState(versions))


@pytest.mark.local_aws
@pytest.mark.parametrize("parameters", [{}, {"dataset_version": "third"}])
def test_a_table_of_that_name_that_somebody_made_gives_way(config, catalogue, parameters):
    glue, database = catalogue
    theirs = {"Name": TABLE, "Parameters": parameters, "StorageDescriptor": {"Columns": [{"Name": "a", "Type": "int"}]}}
    glue.create_table(DatabaseName=database, TableInput=theirs)
    state = LogState((version(config, 1),))
    assert keep_catalogue(glue, database, "bucket", state) == 2
    assert shown(glue, database) == of_log(state)


@pytest.mark.local_aws
def test_the_table_follows_a_new_beginning_an_erasure_and_a_new_column(config, catalogue, state):
    glue, database = catalogue
    before = LogState(state.versions[:3])
    keep_catalogue(glue, database, "bucket", before)
    whole = LogState(state.versions)
    keep_catalogue(glue, database, "bucket", whole)
    assert shown(glue, database) == of_log(whole) != of_log(before)
    keep_catalogue(glue, database, "bucket", state)
    assert shown(glue, database) == of_log(state) != of_log(whole)
    [*rest, newest] = state.versions
    contract = config.contract.model_dump(mode="json")
    wider = {**contract, "columns": [*contract["columns"], {"name": "site", "type": "string", "nullable": True}]}
    newest = newest.model_copy(update={"contract": contract_record(wider, config.split.model_dump())})
    assert keep_catalogue(glue, database, "bucket", LogState((*rest, newest), erasures=state.erasures)) == 6
    columns = glue.get_table(DatabaseName=database, Name=TABLE)["Table"]["StorageDescriptor"]["Columns"]
    assert "site" in [column["Name"] for column in columns]


def rows_by_catalogue(glue, landing: Landing, database: str, number: int) -> Counter:
    """Return the rows below the partitions in which a version stands, as Athena would read them."""
    found: Counter = Counter()
    for (first, last, _), location in shown(glue, database).items():
        if int(first) <= number <= int(last):
            prefix = location.removeprefix(f"s3://{landing.stage.bucket}/")
            for item in landing.s3.list_objects_v2(Bucket=landing.stage.bucket, Prefix=prefix)["Contents"]:
                found.update(lines_of(landing, item["Key"]))
    return found


def lines_of(landing: Landing, key: str) -> list[str]:
    return landing.s3.get_object(Bucket=landing.stage.bucket, Key=key)["Body"].read().decode().splitlines()


@pytest.mark.local_aws
def test_every_version_is_the_same_by_the_catalogue_and_by_the_log_once_it_is_committed(landing, catalogue, capsys):
    glue, database = catalogue
    stage = landing.stage
    parameter = {"Name": f"/retraining/dev/{stage.name}/platform", "Type": "String", "Overwrite": True}
    known = landing.steps.platform.model_copy(update={"glue_database": database})
    stage.account.ssm.put_parameter(**parameter, Value=known.model_dump_json())
    landing.steps = RetrainingTasks(landing.steps.config, MODEL)
    for name, numbers in {"a": range(40), "b": range(30, 60), "c": range(60, 70)}.items():
        landing.put(f"{name}.csv", survey(*numbers))
        assert landing.run() == "merged"
    gone = f"{stage.name}/new/b.csv"
    said = landing.command(capsys, "forget", stage.name, "--file", gone, "--why", "asked to", "--erase")
    assert "version 4" in said and "does not show" not in said
    landing.put("d.csv", survey(*range(70, 90)))
    assert landing.run() == "merged"
    readable = [version.version for version in landing.state.versions if version.version not in landing.state.erased]
    assert {4, 5} <= set(readable)
    for number in readable:
        by_log = [output.key for part in landing.state.at(number).current for output in part.data]
        expected = Counter(row for key in by_log for row in lines_of(landing, key))
        assert rows_by_catalogue(glue, landing, database, number) == expected != Counter()


@pytest.mark.local_aws
def test_a_run_without_a_catalogue_goes_on_and_says_what_makes_it_up(landing, caplog):
    landing.put("a.csv", survey(*range(40)))
    assert landing.run() == "merged"
    [told] = [record.getMessage() for record in caplog.records if "does not show" in record.getMessage()]
    assert told.startswith("unused.dataset does not show the newest version: ")
    assert f"make dataset-log MODEL={landing.stage.name} COMMAND=rebuild-catalog" in told
