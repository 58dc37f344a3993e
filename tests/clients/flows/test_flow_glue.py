"""Glue as people write it: crawlers, the catalog, ``awsglue`` scripts, bookmarks and retries."""

import io
import json
import re
import zipfile
from pathlib import Path

import pytest
from botocore.exceptions import ClientError
from local_account import BUCKET, ROLE, Account, wait_for

pytestmark = pytest.mark.local_aws

SCRIPT = Path(__file__).with_name("glue_flows_job.py")
ACTIVE = ("STARTING", "RUNNING", "STOPPING")


def define(account: Account, name: str, script: str, **changes: object) -> None:
    location = account.put(f"scripts/{name}.py", script)
    command = {"Name": "glueetl", "ScriptLocation": location, "PythonVersion": "3"}
    account.glue.create_job(**({"Name": name, "Role": ROLE, "Command": command, "GlueVersion": "5.1"} | changes))


def run_end(account: Account, name: str, **arguments: object) -> dict:
    run = account.glue.start_job_run(JobName=name, **arguments)["JobRunId"]

    def ended() -> dict | None:
        found = account.glue.get_job_run(JobName=name, RunId=run)["JobRun"]
        return found if found["JobRunState"] not in ACTIVE else None

    return wait_for(ended, timeout=420)


def crawl(account: Account, name: str, path: str, **changes: object) -> list[dict]:
    """Crawl into the database ``flows``, which the first crawler makes; return the tables of this crawler."""
    targets = {"S3Targets": [{"Path": path}]}
    account.glue.create_crawler(**({"Name": name, "Role": ROLE, "DatabaseName": "flows", "Targets": targets} | changes))
    account.glue.start_crawler(Name=name)
    wait_for(lambda: account.glue.get_crawler(Name=name)["Crawler"]["State"] == "READY")
    assert account.glue.get_crawler(Name=name)["Crawler"]["LastCrawl"]["Status"] == "SUCCEEDED"
    tables = account.glue.get_tables(DatabaseName="flows")["TableList"]
    return [table for table in tables if table["Parameters"].get("UPDATED_BY_CRAWLER") == name]


def columns(table: dict) -> dict[str, str]:
    return {column["Name"]: column["Type"] for column in table["StorageDescriptor"]["Columns"]}


@pytest.fixture(scope="module")
def catalog(account: Account) -> Account:
    account.put("flows/people/a.csv", "name,age,city\nAda,36,Rome\nBo,7,Oslo\nCy,,Rome\n")
    account.put("flows/providers/a.csv", "provider_id,charge\n10001,1.5\n10002,2\n")
    lines = [
        {"id": 1, "at": {"city": "Rome"}, "lines": [{"sku": "x", "n": 1}, {"sku": "y", "n": 2}]},
        {"id": 2, "lines": []},
    ]
    account.put("flows/orders/a.json", "\n".join(json.dumps(line) for line in lines))
    account.put("flows/mixed/a.json", '{"value": 1}\n{"value": "one"}\n{"value": 2}\n')
    for year, month, value in (("2024", "12", 1), ("2025", "01", 2), ("2025", "02", 3)):
        account.put(f"flows/readings/year={year}/month={month}/a.json", json.dumps({"value": value}))
    crawl(account, "people", f"s3://{BUCKET}/flows/people/")
    crawl(account, "providers", f"s3://{BUCKET}/flows/providers/")
    # A file that came after the crawl: the table still says that the column holds numbers.
    account.put("flows/providers/b.csv", "provider_id,charge\n(unknown),3\n")
    return account


def test_a_crawler_registers_partitions_and_reads_json(catalog: Account) -> None:
    [readings] = crawl(catalog, "readings", f"s3://{BUCKET}/flows/readings/")
    assert columns(readings) == {"value": "int"}
    assert readings["Parameters"]["classification"] == "json"
    found = catalog.glue.get_partitions(DatabaseName="flows", TableName="readings")["Partitions"]
    assert {tuple(part["Values"]) for part in found} == {("2024", "12"), ("2025", "01"), ("2025", "02")}
    assert found[0]["StorageDescriptor"]["Location"].startswith(f"s3://{BUCKET}/flows/readings/year=")
    [orders] = crawl(catalog, "orders", f"s3://{BUCKET}/flows/orders/")
    assert columns(orders) == {"id": "int", "at": "struct<city:string>", "lines": "array<struct<sku:string,n:int>>"}
    # Without a crawl: no partition, whoever reads the catalog.
    catalog.put("flows/readings/year=1999/month=01/a.json", '{"value": 99}')


@pytest.fixture(scope="module")
def found(catalog: Account) -> dict:
    """What the pieces of the job found out."""
    define(
        catalog,
        "flows",
        SCRIPT.read_text(encoding="utf-8"),
        DefaultArguments={
            "--enable-glue-datacatalog": "true",
            "--TempDir": f"s3://{BUCKET}/temporary/",
            "--job-language": "python",
            "--extra-files": catalog.put("flows-settings/settings.json", '{"answer": 42}'),
            "--additional-python-modules": "pyarrow,pandas>=2",
        },
    )
    run = run_end(catalog, "flows")
    assert run["JobRunState"] == "SUCCEEDED", catalog.log("/aws-glue/jobs/error", run["Id"])[-3000:]
    return json.loads(catalog.read(f"s3://{BUCKET}/flows/found.json"))


EXPECTED = {
    "catalog_csv_with_a_choice": {
        "type": "struct<long:bigint,string:string>",
        "columns": ["provider_id_long", "provider_id_string", "charge"],
        "cast": [[10001], [10002], [None]],
        "kept": [["(unknown)"], [None], [None]],
    },
    "mapping_filter_and_parquet": ["struct<person:struct<name:string>,age:int>", ["Ada"]],
    "map_join_drop_rename": [
        "struct<name:string,city:string,address:struct<city:string>,city_size:int>",
        [["ADA", 3], ["BO", 1], ["CY", 3]],
    ],
    "relationalize": [["root", "root_lines"], ["at.city", "id", "lines"], [[0, "x"], [1, "y"]]],
    "json_with_two_types": ["string", [["1"], ["2"], ["one"]]],
    "partitions_by_predicate": [[3, "2025", "02"]],
    "sink_that_makes_its_table": [[1, "a"], [2, "b"]],
    "write_to_a_table": 4,
    "tables_through_spark_sql": [36, True],
    "partitions_through_spark_sql": {
        "read": [["2023", "01", 0], ["2025", "01", 2], ["2026", "01", 7]],
        "written": [["2026", "01", 7], ["2026", "02", 8], ["2027", "01", 9]],
        "registered": ["2023-01", "2025-01", "2025-02", "2026-01", "2026-02", "2027-01"],
        "made": [[1, "it's 10:30"], [2, None]],
    },
    "a_table_that_is_made_anew": [["new", "more"], [["x", 2]]],
    "a_column_that_is_added_to_a_table_of_csv": [
        ["name", "age", "city", "note"],
        "1",
        [["Ada", None], ["Bo", None], ["Cy", None]],
    ],
    "names_that_scripts_import": [True, 3, 0],
    "one_key_and_one_field_given_alone": [["Bo"]],
    "csv_without_quotes": ["s|n", "a|b |1", "|2"],
    "folders_of_partitions_are_text": ["string", 3],
    "data_frames_to_and_from_the_catalog": [1, 2, 5],
    "old_objects_are_purged": [[[2]], [["b"]], 1],
    "an_extra_file_lies_where_the_script_starts": {"answer": 42},
    "unregistered_rows_are_not_there": 0,
}


@pytest.mark.spark
@pytest.mark.parametrize("piece", EXPECTED)
def test_a_piece_of_glue_work(found: dict, piece: str) -> None:
    assert found[piece] == EXPECTED[piece], found[piece]


@pytest.mark.spark
def test_what_glue_work_is_refused(found: dict) -> None:
    refused = found["what_is_refused"]
    assert "connection_type 'mysql' is not available in local_aws" in refused["jdbc"]
    assert "format 'avro' is not available in local_aws" in refused["avro"]
    assert "from_jdbc_conf is not available in local_aws: connections lead nowhere" in refused["jdbc sink"]
    assert "FindMatches is not available in local_aws" in refused["findings"]
    assert "EntityNotFoundException" in refused["table"]


@pytest.mark.spark
def test_tables_that_spark_made_are_in_the_catalog(catalog: Account, found: dict) -> None:
    grown = catalog.glue.get_table(DatabaseName="made", Name="grown")["Table"]
    assert columns(grown) == {"name": "string"}
    assert grown["StorageDescriptor"]["Location"] == f"s3://{BUCKET}/flows/made/grown/"
    sunk = catalog.glue.get_table(DatabaseName="flows", Name="sunk")["Table"]
    assert [key["Name"] for key in sunk["PartitionKeys"]] == ["site"]
    assert len(catalog.glue.get_partitions(DatabaseName="flows", TableName="sunk")["Partitions"]) == 2


#: Bookmarks need no Spark: what `from_options` and `from_catalog` do with them, in a job that starts in a moment.
BOOKMARKED = """
import sys
from types import SimpleNamespace
from awsglue.job import Job
from awsglue.utils import getResolvedOptions
from glue_rows.bookmarks import Bookmarks
import boto3
args = getResolvedOptions(sys.argv, ["JOB_NAME", "fail"])
context = SimpleNamespace(bookmarks=Bookmarks())
job = Job(context)
job.init(args["JOB_NAME"], args)
listed = boto3.client("s3").list_objects_v2(Bucket="account-bucket", Prefix="flows/marked/")["Contents"]
objects = {item["Key"]: item["ETag"] for item in listed}
print("NEW", *sorted(context.bookmarks.new_of("rows", objects)))
print("ALL", len(context.bookmarks.new_of("", objects)))
if args["fail"] == "yes":
    raise RuntimeError("before the commit")
job.commit()
"""


def test_bookmarks_remember_what_a_committed_run_has_read(account: Account) -> None:
    account.put("flows/marked/a.csv", "n\n1\n2\n")
    command = {"Name": "pythonshell"}
    arguments = {"--job-bookmark-option": "job-bookmark-enable", "--fail": "no"}
    location = account.put("scripts/marked.py", BOOKMARKED)
    account.glue.create_job(
        Name="marked", Role=ROLE, Command=command | {"ScriptLocation": location}, DefaultArguments=arguments
    )

    def new(**arguments: str) -> str:
        run = run_end(account, "marked", Arguments={f"--{name}": value for name, value in arguments.items()})
        lines = account.log("/aws-glue/python-jobs/output", run["Id"]).splitlines()
        return f"{run['JobRunState']} {next(line for line in lines if line.startswith('NEW'))}"

    with pytest.raises(account.glue.exceptions.EntityNotFoundException):
        account.glue.get_job_bookmark(JobName="marked")
    assert new() == "SUCCEEDED NEW flows/marked/a.csv"
    account.put("flows/marked/b.csv", "n\n3\n")
    assert new(fail="yes") == "FAILED NEW flows/marked/b.csv"
    assert new(**{"job-bookmark-option": "job-bookmark-pause"}) == "SUCCEEDED NEW flows/marked/b.csv"
    assert new() == "SUCCEEDED NEW flows/marked/b.csv"
    assert new() == "SUCCEEDED NEW"
    entry = account.glue.get_job_bookmark(JobName="marked")["JobBookmarkEntry"]
    assert (entry["Run"], len(json.loads(entry["JobBookmark"])["rows"])) == (3, 2)
    account.glue.reset_job_bookmark(JobName="marked")
    assert (
        new(**{"job-bookmark-option": "job-bookmark-disable"}) == "SUCCEEDED NEW flows/marked/a.csv flows/marked/b.csv"
    )


def test_a_run_that_fails_is_tried_again_as_often_as_the_job_says(account: Account) -> None:
    script = """
import boto3
s3 = boto3.client("s3")
tries = s3.list_objects_v2(Bucket="account-bucket", Prefix="flows/tries/").get("KeyCount", 0)
s3.put_object(Bucket="account-bucket", Key=f"flows/tries/{tries}", Body=b"")
if tries < 2:
    raise RuntimeError(f"try {tries}")
"""
    command = {"Name": "pythonshell", "ScriptLocation": account.put("scripts/tries.py", script), "PythonVersion": "3.9"}
    account.glue.create_job(Name="tries", Role=ROLE, Command=command, MaxRetries=2)
    first = run_end(account, "tries")
    assert (first["JobRunState"], first["Attempt"]) == ("FAILED", 0)

    def all_ended() -> list[dict] | None:
        runs = account.glue.get_job_runs(JobName="tries")["JobRuns"]
        return runs if len(runs) == 3 and all(run["JobRunState"] not in ACTIVE for run in runs) else None

    last, middle, _ = wait_for(all_ended, timeout=60)
    assert (last["JobRunState"], middle["JobRunState"]) == ("SUCCEEDED", "FAILED")
    assert last["Id"] == f"{first['Id']}_attempt_2"
    assert last["PreviousRunId"] == middle["Id"]
    assert "try 1" in account.log("/aws-glue/python-jobs/error", middle["Id"])


def test_an_argument_that_would_be_ignored_fails_the_run_by_its_name(account: Account) -> None:
    script = account.put("scripts/arguments.py", "import greeting; print(greeting.WORD)")
    wheel = io.BytesIO()
    with zipfile.ZipFile(wheel, "w") as file:
        file.writestr("greeting.py", "WORD = 'hello from a wheel'")
    library = account.put("libraries/greeting-1.0-py3-none-any.whl", wheel.getvalue())
    account.glue.create_job(
        Name="arguments", Role=ROLE, Command={"Name": "pythonshell", "ScriptLocation": script, "PythonVersion": "3.9"}
    )
    refused = {
        "--additional-python-modules": ("pandas==0.1", r"lacks pandas==0\.1 \(the environment has pandas \d"),
        "--datalake-formats": ("iceberg", "--datalake-formats is not available in local_aws: .*Iceberg"),
        "--extra-jars": ("s3://b/x.jar", "--extra-jars is not available"),
        "--job-language": ("scala", "--job-language scala is not available"),
    }
    for name, (value, words) in refused.items():
        run = run_end(account, "arguments", Arguments={name: value})
        assert run["JobRunState"] == "FAILED"
        assert re.search(words, run["ErrorMessage"]), run["ErrorMessage"]
    run = run_end(account, "arguments", Arguments={"--additional-python-modules": f"{library}, numpy"})
    assert run["JobRunState"] == "SUCCEEDED", run["ErrorMessage"]
    assert "hello from a wheel" in account.log("/aws-glue/python-jobs/output", run["Id"])


def test_a_python_shell_has_what_most_of_the_analytics_set_is_used_for(account: Account) -> None:
    script = account.put(
        "scripts/analytics.py", "import boto3, numpy, pandas, scipy, sklearn; print(pandas.Series([1]).sum())"
    )
    command = {"Name": "pythonshell", "ScriptLocation": script, "PythonVersion": "3.9"}
    options = {"library-set": "analytics"}
    account.glue.create_job(Name="analytics", Role=ROLE, Command=command, DefaultArguments=options)
    run = run_end(account, "analytics")
    assert run["JobRunState"] == "SUCCEEDED", run


def test_a_trigger_that_would_not_run_is_refused(account: Account) -> None:
    account.glue.create_trigger(Name="nightly", Type="ON_DEMAND", Actions=[{"JobName": "tries"}])
    for call in (
        lambda: account.glue.start_trigger(Name="nightly"),
        lambda: account.glue.start_workflow_run(Name="none"),
    ):
        with pytest.raises(ClientError, match="UnknownOperationException"):
            call()
