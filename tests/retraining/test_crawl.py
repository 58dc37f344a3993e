"""The crawl of new files: what it costs, what it says, and that nothing that happens to it harms a run."""

import json
from pathlib import Path
from types import SimpleNamespace

import pytest
from airflow.sdk.exceptions import AirflowFailException

from retraining.dag.operators import ObservingJobOperator
from retraining.dag.tasks.data import DataTasks
from retraining.dataset.crawl_note import crawl_note, crawl_notes
from retraining.jobs import glue_crawl
from retraining.jobs.glue_crawl import GlueCrawl
from retraining.jobs.requests import CRAWLED_FILES, crawl_request

NAMES = [
    "sex",
    "length",
    "diameter",
    "height",
    "whole_weight",
    "shucked_weight",
    "viscera_weight",
    "shell_weight",
    "rings",
]
AS_DECLARED = [(name, "string" if name == "sex" else "double") for name in NAMES]


def notes(config, columns, name="a.csv"):
    return crawl_notes(config.contract, [{"columns": columns, "tables": {"t": f"s3://b/abalone/new/{name}"}}])


@pytest.mark.parametrize(
    "columns",
    [
        AS_DECLARED,
        [(f"col{number}", "string") for number in range(9)],
        [*AS_DECLARED, ("source", "string")],
        [(name.replace("_", " ").upper(), kind) for name, kind in AS_DECLARED],
        [("sex", "bigint"), *AS_DECLARED[1:]],
    ],
)
def test_what_the_contract_accepts_is_no_note(config, columns):
    assert notes(config, columns) == []


@pytest.mark.parametrize(
    ("columns", "note"),
    [
        (AS_DECLARED[:-1], "a.csv: no column rings"),
        ([*AS_DECLARED, ("age", "double")], "a.csv: not in the contract: age"),
        ([*AS_DECLARED[:-1], ("rings", "string")], "a.csv: not all numbers: rings (string)"),
        ([("col0", "string")], "a.csv: no header and 1 columns, the contract has 9"),
        ([], "a.csv: no columns were recognised"),
    ],
)
def test_every_difference_is_one_readable_note(config, columns, note):
    assert notes(config, columns) == [note]


def test_a_note_stays_readable_however_wide_a_file_is(config):
    [note] = notes(config, [(f"x{number}", "string") for number in range(10_000)])
    assert len(note) < 500
    assert "and 9,990 more" in note


def test_a_model_may_do_without_the_crawl(config):
    without = config.model_copy(update={"etl": config.etl.model_copy(update={"crawl": False})})
    assert DataTasks(without, Path("unused")).crawl_request({"batch": "b" * 16}) is None


def test_only_the_newest_files_of_a_large_batch_are_crawled(platform):
    request = crawl_request(platform, [f"abalone/new/{number:04}.csv" for number in range(1000)])
    paths = [target["Path"] for target in request["Targets"]["S3Targets"]]
    assert len(paths) == CRAWLED_FILES
    assert paths[-1] == "s3://data-bucket/abalone/new/0999.csv"


@pytest.fixture
def crawler(account, bucket):
    name = "landing"
    account.glue.create_database(DatabaseInput={"Name": name})
    account.glue.create_crawler(
        Name=name, Role="arn:aws:iam::000000000000:role/r", DatabaseName=name, TablePrefix="landing_",
        Targets={"S3Targets": [{"Path": f"s3://{bucket}/m/new/"}]},
    )  # fmt: skip
    account.glue.create_table(
        DatabaseName=name,
        TableInput={"Name": "of_another", "StorageDescriptor": {"Columns": [], "Location": "s3://x/"}},
    )
    yield name
    account.glue.delete_crawler(Name=name)
    account.glue.delete_database(Name=name)


def crawl(access, name, *uris):
    job, request = GlueCrawl(), {"Name": name, "Targets": {"S3Targets": [{"Path": uri} for uri in uris]}}
    handle = job.submit(access, "m", "crawl", request).handle
    while (status := job.poll(access, handle)).outcome == "running":
        pass
    assert status.outcome == "succeeded", status
    return located(job.result(access, handle))


def located(result):
    """The columns by name and location of the table."""
    return {table: schema["columns"] for schema in result["schemas"] for table in schema["tables"].items()}


@pytest.mark.local_aws
def test_a_crawl_looks_at_its_files_only_and_clears_the_tables_of_the_one_before(account, access, bucket, crawler):
    for key, body in (("a.csv", "x,y\n1,2\n"), ("b.csv", "p,q\n1,2\n"), ("old.csv", "u,v,w\n1,2,3\n")):
        account.s3.put_object(Bucket=bucket, Key=f"m/new/{key}", Body=body.encode())
    root = f"s3://{bucket}/m/new/"
    tables = crawl(access, crawler, f"{root}a.csv", f"{root}b.csv")
    assert {location: columns for (_, location), columns in tables.items()} == {
        f"{root}a.csv": [["x", "bigint"], ["y", "bigint"]],
        f"{root}b.csv": [["p", "bigint"], ["q", "bigint"]],
    }
    [(name, location)] = crawl(access, crawler, f"{root}b.csv")
    assert location == f"{root}b.csv"
    left = {table["Name"] for table in account.glue.get_tables(DatabaseName=crawler)["TableList"]}
    assert left == {"of_another", name}


@pytest.mark.local_aws
def test_files_that_are_alike_are_told_with_their_columns_once(account, access, bucket, crawler, config):
    for name, head in (("a", "x,y"), ("b", "x,y"), ("c", "x,z")):
        account.s3.put_object(Bucket=bucket, Key=f"m/new/{name}.csv", Body=f"{head}\n1,2\n".encode())
    job, root = GlueCrawl(), f"s3://{bucket}/m/new/"
    crawl(access, crawler, *(f"{root}{name}.csv" for name in "abc"))
    targets = [{"Path": f"{root}{name}.csv"} for name in "abc"]
    result = job.result(access, {"request": {"Name": crawler, "Targets": {"S3Targets": targets}}})
    assert sorted(len(schema["tables"]) for schema in result["schemas"]) == [1, 2]
    told = crawl_note(config.contract, json.loads(json.dumps(result)))
    assert told["tables"] == ["landing_a_csv", "landing_b_csv", "landing_c_csv"]
    assert [note.split(":")[0] for note in told["notes"]] == ["a.csv", "b.csv", "c.csv"]


def test_what_is_not_a_crawl_is_told_as_it_is(config):
    assert crawl_note(config.contract, None) == {}
    assert crawl_note(config.contract, {"warning": "the crawler is away"}) == {"warning": "the crawler is away"}


@pytest.mark.local_aws
def test_a_file_that_vanished_is_not_read_from_its_marked_table(account, access, bucket, crawler, monkeypatch):
    uri = f"s3://{bucket}/m/new/vanishing.csv"
    account.s3.put_object(Bucket=bucket, Key="m/new/vanishing.csv", Body=b"x,y\n1,2\n")
    assert crawl(access, crawler, uri)
    account.s3.delete_object(Bucket=bucket, Key="m/new/vanishing.csv")
    monkeypatch.setattr(glue_crawl, "TABLES_AT_ONCE", 1)
    job = GlueCrawl()
    account.glue.start_crawler(Name=crawler)  # a crawl by somebody else
    handle = {"request": {"Name": crawler, "Targets": {"S3Targets": [{"Path": uri}]}}}
    while account.glue.get_crawler(Name=crawler)["Crawler"]["State"] != "READY":
        pass
    marked = account.glue.get_table(DatabaseName=crawler, Name="landing_vanishing_csv")["Table"]
    assert marked["Parameters"]["DEPRECATED_BY_CRAWLER"].isdecimal()
    assert job.result(access, handle)["schemas"] == []


class Failing:
    """A crawl that fails where it is told to."""

    def __init__(self, where):
        self.where = where

    def submit(self, *_):
        if self.where == "submit":
            raise RuntimeError("the crawler is away")
        return SimpleNamespace(handle={}, adopted=True)  # one that the task itself looks at

    def poll(self, *_):
        if self.where == "poll":
            raise RuntimeError("the crawler is away")
        return SimpleNamespace(outcome="failed", state="FAILED", reason="the crawler is away")

    def title(self, *_):
        return "crawl"

    def log_tail(self, *_):
        return []

    def live_log(self, *_):
        return None

    def console_url(self, *_):
        return "https://console.example"


@pytest.mark.parametrize("where", ["request", "submit", "poll", "job"])
def test_whatever_happens_to_a_crawl_is_a_warning(monkeypatch, access_of_nobody, where):
    from datetime import timedelta

    from retraining.dag import operators

    def request():
        if where == "request":
            raise RuntimeError("the crawler is away")
        return {"Name": "c"}

    monkeypatch.setitem(operators.JOB_KINDS, "glue_crawler", Failing(where))
    task = ObservingJobOperator(
        task_id="crawl_data", kind="glue_crawler", model="m", step="crawl", access=access_of_nobody,
        max_wait=timedelta(minutes=1), poll_seconds=lambda: 1.0, python_callable=request,
    )  # fmt: skip
    result = task.execute({"ti": None, "run_id": "r"})
    assert "the crawler is away" in result["warning"]


@pytest.mark.parametrize(("where", "warns"), [("job", True), ("submit", False), ("poll", False)])
def test_only_what_no_retry_can_mend_is_a_warning_where_a_step_says_so(monkeypatch, access_of_nobody, where, warns):
    from datetime import timedelta

    from retraining.dag import operators

    monkeypatch.setitem(operators.JOB_KINDS, "processing", Failing(where))
    task = ObservingJobOperator(
        task_id="score_champion", kind="processing", model="m", step="champion", access=access_of_nobody,
        max_wait=timedelta(minutes=1), poll_seconds=lambda: 1.0, python_callable=lambda: {"a": "request"},
        forgives=AirflowFailException,
    )  # fmt: skip
    if warns:
        assert "the crawler is away" in task.execute({"ti": None, "run_id": "r"})["warning"]
    else:
        with pytest.raises(RuntimeError, match="the crawler is away"):
            task.execute({"ti": None, "run_id": "r"})


@pytest.fixture
def access_of_nobody():
    from retraining.settings.access import AwsAccess

    return AwsAccess(region="us-east-1", endpoint_url="http://127.0.0.1:9")
