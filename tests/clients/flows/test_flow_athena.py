"""Athena as people ask it: through awswrangler, the provider's operator, and boto3; over tables of the Glue catalog."""

import time

import awswrangler
import pandas
import pytest
from airflow.providers.amazon.aws.operators.athena import AthenaOperator
from airflow.providers.amazon.aws.sensors.athena import AthenaSensor
from botocore.exceptions import ClientError
from local_account import BUCKET, Account

from local_aws.gateway.corrections.queries import as_text, athena_type, registered_files

pytestmark = [
    pytest.mark.local_aws,
    # awswrangler 3.17 concatenates with an argument that pandas 3 gives up: https://github.com/aws/aws-sdk-pandas
    pytest.mark.filterwarnings("ignore:The copy keyword is deprecated"),
]

RESULTS = f"s3://{BUCKET}/athena-results/"


@pytest.fixture(scope="module")
def asked(account: Account, environment: None) -> Account:
    """A database with a table of Parquet in partitions and one of CSV."""
    awswrangler.catalog.create_database("asked", exist_ok=True)
    rows = pandas.DataFrame({"n": [1, 2, 3], "who": ["Ada", 'B"o', None], "year": ["2024", "2024", "2025"]})
    awswrangler.s3.to_parquet(
        rows, f"s3://{BUCKET}/asked/rows/", dataset=True, partition_cols=["year"], database="asked", table="rows"
    )
    # What lies there without being a registered partition is none of the table's rows.
    awswrangler.s3.to_parquet(rows[["n", "who"]], f"s3://{BUCKET}/asked/rows/year=1999/a.parquet")
    return account


def end(account: Account, query: str, **options: object) -> dict:
    started = account.athena.start_query_execution(
        QueryString=query, ResultConfiguration={"OutputLocation": RESULTS}, **options
    )
    while True:
        execution = account.athena.get_query_execution(QueryExecutionId=started["QueryExecutionId"])["QueryExecution"]
        if execution["Status"]["State"] in ("SUCCEEDED", "FAILED", "CANCELLED"):
            return execution
        time.sleep(0.05)


def test_awswrangler_reads_a_query_of_registered_partitions(asked: Account) -> None:
    frame = awswrangler.athena.read_sql_query(
        "select who, n, n / 2 as half, year from rows order by n",
        database="asked",
        ctas_approach=False,
        s3_output=RESULTS,
    )
    assert frame["n"].tolist() == [1, 2, 3]
    assert frame["half"].tolist() == [0, 1, 1]
    assert frame["who"].tolist()[:2] == ["Ada", 'B"o'] and frame["who"].isna()[2]
    assert frame["year"].tolist() == ["2024", "2024", "2025"]


def test_the_operator_makes_a_table_and_asks_it(asked: Account) -> None:
    asked.put("asked/people/a.csv", "name,age\nAda,36\nBo,7\n")
    location = f"s3://{BUCKET}/asked/people/"
    statements = [
        "CREATE DATABASE IF NOT EXISTS by_operator",
        "CREATE EXTERNAL TABLE IF NOT EXISTS by_operator.people (name string, age int) ROW FORMAT DELIMITED FIELDS TERMINATED BY ',' "
        f"STORED AS TEXTFILE LOCATION '{location}' TBLPROPERTIES ('skip.header.line.count'='1')",
        "SELECT name FROM people WHERE age > 20",
    ]
    for query in statements:
        ask = AthenaOperator(
            task_id="ask", query=query, database="by_operator", output_location=RESULTS, aws_conn_id=None, sleep_time=1
        )
        execution = ask.execute({})
        assert AthenaSensor(task_id="wait", query_execution_id=execution, aws_conn_id=None).poke({})
    rows = asked.athena.get_query_results(QueryExecutionId=execution)["ResultSet"]["Rows"]
    assert [row["Data"][0]["VarCharValue"] for row in rows] == ["name", "Ada"]
    assert asked.read(f"{RESULTS}{execution}.csv") == b'"name"\n"Ada"\n'
    drop = end(asked, "DROP DATABASE by_operator")
    assert "is not empty" in drop["Status"]["StateChangeReason"]
    assert end(asked, "DROP DATABASE by_operator CASCADE")["Status"]["State"] == "SUCCEEDED"


@pytest.mark.parametrize(
    "query",
    [
        "create table asked.copy as select 1 as n",
        "insert into asked.rows values (1)",
        "unload (select 1) to 's3://b/p' with (format = 'PARQUET')",
        "create view v as select 1",
        "msck repair table rows",
        "copy (select 1) to '/tmp/x.csv'",
        "select 1; select 2",
    ],
)
def test_what_would_have_no_effect_is_refused_when_it_is_asked(asked: Account, query: str) -> None:
    with pytest.raises(ClientError, match="InvalidRequestException"):
        asked.athena.start_query_execution(QueryString=query, ResultConfiguration={"OutputLocation": RESULTS})


def test_a_query_reads_nothing_of_this_machine(asked: Account) -> None:
    for query in (
        "select * from read_text('/etc/passwd')",
        f"select * from read_text('{asked.data_dir}/credentials')",
        "select * from 'https://example.com/a.csv'",
    ):
        status = end(asked, query, QueryExecutionContext={"Database": "asked"})["Status"]
        assert (status["State"], "Permission Error" in status["StateChangeReason"]) == ("FAILED", True), status
    text = end(asked, "select 's3://b/k' as place")
    rows = asked.athena.get_query_results(QueryExecutionId=text["QueryExecutionId"])["ResultSet"]["Rows"]
    assert rows[1]["Data"][0]["VarCharValue"] == "s3://b/k"
    missing = end(asked, "select * from nowhere", QueryExecutionContext={"Database": "asked"})["Status"]
    assert (missing["State"], "nowhere" in missing["StateChangeReason"]) == ("FAILED", True)


def test_results_go_to_a_bucket_that_is_there(asked: Account) -> None:
    started = asked.athena.start_query_execution(
        QueryString="select 1", ResultConfiguration={"OutputLocation": "s3://no-such-bucket-at-all/x"}
    )
    place = {"QueryExecutionId": started["QueryExecutionId"]}
    deadline = time.monotonic() + 20
    while (found := asked.athena.get_query_execution(**place)["QueryExecution"])["Status"]["State"] != "FAILED":
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert "Unable to write" in found["Status"]["StateChangeReason"]


def test_partitions_that_lie_elsewhere_are_refused() -> None:
    table = {"PartitionKeys": [{"Name": "year"}], "StorageDescriptor": {"Location": "s3://b/t"}}
    files = ["/x/ministack-athena-1/year=2024/a", "/x/ministack-athena-1/year=2025/a"]
    part = {"Values": ["2024"], "StorageDescriptor": {"Location": "s3://b/t/year=2024/"}}
    assert registered_files(table, [part], files) == files[:1]
    assert registered_files(table, [], files) == []
    with pytest.raises(ValueError, match="NOT_SUPPORTED"):
        registered_files(table, [part | {"StorageDescriptor": {"Location": "s3://b/other"}}], files)


def test_values_and_types_are_written_as_athena_writes_them() -> None:
    when = pandas.Timestamp("2024-05-06 07:08:09.5").to_pydatetime()
    values = [None, True, 1, 1.5, when, when.date(), b"ab", [1, None], {"a": 1}]
    texts = [None, "true", "1", "1.5", "2024-05-06 07:08:09.500", "2024-05-06", "61 62", "[1, null]", "{a=1}"]
    assert [as_text(value) for value in values] == texts
    types = ["BIGINT", "HUGEINT", "DECIMAL(18,3)", "INTEGER[]", "STRUCT(a INTEGER)", "VARCHAR", "UUID", "TIMESTAMP"]
    found = ["bigint", "bigint", "decimal", "array", "row", "varchar", "varchar", "timestamp"]
    assert [athena_type(name) for name in types] == found
