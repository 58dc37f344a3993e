"""Glue job runs execute their script; crawlers read files and write the catalog."""

import gzip
import json
import re

import pytest
from botocore.exceptions import ClientError
from glue_jobs import define, run_end
from local_account import BUCKET, ROLE, Account, wait_for

pytestmark = pytest.mark.local_aws


@pytest.mark.spark
def test_a_spark_script_reads_and_writes_s3_and_agrees_with_boto3(account: Account) -> None:
    account.put("spark/in/a.csv", "F,1\nM,2\n")
    account.put("spark/old/gone.txt", "x")
    script = """
import json, os, sys
import boto3
from awsglue.utils import getResolvedOptions
from pyspark.sql import SparkSession
arguments = getResolvedOptions(sys.argv, ["JOB_NAME", "JOB_RUN_ID", "source", "mode"])
spark = SparkSession.builder.appName(arguments["JOB_NAME"]).getOrCreate()
bucket = arguments["source"].split("/")[2]
rows = spark.read.schema("sex string, rings int").csv(arguments["source"])
rows.write.mode("overwrite").partitionBy("sex").parquet(f"s3://{bucket}/spark/out/")
client = boto3.client("s3")
# What Spark wrote is there for boto3 at once, and the other way round.
listed = [item["Key"] for item in client.list_objects_v2(Bucket=bucket, Prefix="spark/out/")["Contents"]]
client.put_object(Bucket=bucket, Key="spark/extra/b.csv", Body="F,3\\n")
extra = spark.read.csv(f"s3://{bucket}/spark/extra/").count()
path = spark._jvm.org.apache.hadoop.fs.Path(f"s3://{bucket}/spark/old/gone.txt")
path.getFileSystem(spark._jsc.hadoopConfiguration()).delete(path, False)
report = {"listed": listed, "extra": extra, "mode": arguments["mode"], "secret": os.environ.get("PARENT_SECRET")}
client.put_object(Bucket=bucket, Key="spark/report.json", Body=json.dumps(report))
print("rows merged", rows.count())
"""
    define(account, "merge", script, DefaultArguments={"--source": f"s3://{BUCKET}/spark/in/", "--mode": "default"})
    run_id = account.glue.start_job_run(JobName="merge", Arguments={"--mode": "given"})["JobRunId"]
    run = run_end(account, "merge", run_id)

    assert run["JobRunState"] == "SUCCEEDED", run
    assert run["CompletedOn"] >= run["StartedOn"]
    report = json.loads(account.read(f"s3://{BUCKET}/spark/report.json"))
    keys = account.keys("spark/out/")
    assert report["listed"] == keys
    assert (report["extra"], report["mode"], report["secret"]) == (1, "given", None)
    assert {key.split("/")[2] for key in keys} == {"sex=F", "sex=M", "_SUCCESS"}
    assert account.keys("spark/old/") == []
    assert "rows merged 2" in account.log("/aws-glue/jobs/output", run_id)
    assert list((account.data_dir / "jobs/glue/merge" / run_id).iterdir()) != []


@pytest.mark.spark
def test_spark_sees_whatever_way_the_script_or_somebody_else_changes_an_object(account: Account) -> None:
    for name in ("one", "two", "copied"):
        account.put(f"ways/{name}.txt", f"{name}\n")
    script = """
import json, sys, time
import boto3
from awsglue.utils import getResolvedOptions
from pyspark.sql import SparkSession
bucket = getResolvedOptions(sys.argv, ["bucket"])["bucket"]
spark, client = SparkSession.builder.getOrCreate(), boto3.client("s3")
seen = lambda: sorted(row.value for row in spark.read.text(f"s3://{bucket}/ways/").collect())
told = [seen()]
client.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": "ways/one.txt"}, {"Key": "ways/two.txt"}]})
told.append(seen())
client.copy_object(Bucket=bucket, Key="ways/a b+\u00fc.txt", CopySource={"Bucket": bucket, "Key": "ways/copied.txt"})
upload = client.create_multipart_upload(Bucket=bucket, Key="ways/parts.txt")
named = {name: upload[name] for name in ("Bucket", "Key", "UploadId")}
part = client.upload_part(**named, PartNumber=1, Body="parts\\n")
client.complete_multipart_upload(**named, MultipartUpload={"Parts": [{"PartNumber": 1, "ETag": part["ETag"]}]})
client.put_object(Bucket=bucket, Key="ways/empty/", Body="")
told.append(seen())
client.delete_object(Bucket=bucket, Key="ways/copied.txt")
client.put_object(Bucket=bucket, Key="ready", Body="")
while client.list_objects_v2(Bucket=bucket, Prefix="ways/of-others").get("KeyCount") == 0:
    time.sleep(0.1)
client.put_object(Bucket=bucket, Key="ways/own.txt", Body="own\\n")
told.append(seen())
client.put_object(Bucket=bucket, Key="told.json", Body=json.dumps(told))
"""
    define(account, "ways", script)
    run_id = account.glue.start_job_run(JobName="ways", Arguments={"--bucket": BUCKET})["JobRunId"]
    wait_for(lambda: account.keys("ready"), timeout=120)
    account.put("ways/of-others.txt", "theirs\n")
    run = run_end(account, "ways", run_id)
    assert run["JobRunState"] == "SUCCEEDED", run
    assert json.loads(account.read(f"s3://{BUCKET}/told.json")) == [
        ["copied", "one", "two"],
        ["copied"],
        ["copied", "copied", "parts"],
        ["copied", "own", "parts", "theirs"],
    ]


def test_a_failing_script_names_its_exception(account: Account) -> None:
    define(account, "fails", "import sys\nprint('begun')\nraise ValueError('no manifest given')")
    run_id = account.glue.start_job_run(JobName="fails")["JobRunId"]
    run = run_end(account, "fails", run_id)

    assert (run["JobRunState"], run["ErrorMessage"]) == ("FAILED", "ValueError: no manifest given")
    assert "Traceback" in account.log("/aws-glue/jobs/error", run_id)
    assert "begun" in account.log("/aws-glue/jobs/output", run_id)


def test_runs_are_limited_in_number_stopped_and_listed_newest_first(account: Account) -> None:
    define(account, "sleeps", "import time\ntime.sleep(60)", ExecutionProperty={"MaxConcurrentRuns": 2})
    glue = account.glue
    runs = [glue.start_job_run(JobName="sleeps")["JobRunId"] for _ in range(2)]
    with pytest.raises(glue.exceptions.ConcurrentRunsExceededException):
        glue.start_job_run(JobName="sleeps")
    stopped = glue.batch_stop_job_run(JobName="sleeps", JobRunIds=[*runs, "jr_unknown"])

    assert [item["JobRunId"] for item in stopped["SuccessfulSubmissions"]] == runs
    assert [item["ErrorDetail"]["ErrorCode"] for item in stopped["Errors"]] == ["EntityNotFoundException"]
    assert {run_end(account, "sleeps", run)["JobRunState"] for run in runs} == {"STOPPED"}
    pages = glue.get_paginator("get_job_runs").paginate(JobName="sleeps", PaginationConfig={"PageSize": 1})
    assert [run["Id"] for page in pages for run in page["JobRuns"]] == runs[::-1]
    again = glue.batch_stop_job_run(JobName="sleeps", JobRunIds=runs[:1])
    assert again["SuccessfulSubmissions"] == []


def test_unknown_jobs_and_runs(account: Account) -> None:
    with pytest.raises(account.glue.exceptions.EntityNotFoundException):
        account.glue.start_job_run(JobName="unknown")
    with pytest.raises(account.glue.exceptions.EntityNotFoundException):
        account.glue.get_job_run(JobName="unknown", RunId="jr_1")
    with pytest.raises(account.glue.exceptions.EntityNotFoundException):
        account.glue.get_job_runs(JobName="unknown")


def test_jobs_are_listed_and_operations_that_are_missing_say_so(account: Account) -> None:
    define(account, "listed", "")
    assert "listed" in account.glue.list_jobs()["JobNames"]
    with pytest.raises(ClientError, match=r"UnknownOperationException.*ListBlueprints of glue is not available"):
        account.glue.list_blueprints()


def crawl(account: Account, name: str, path: str, **changes) -> dict:
    request = {"Name": name, "Role": ROLE, "DatabaseName": name, "Targets": {"S3Targets": [{"Path": path}]}}
    account.glue.create_database(DatabaseInput={"Name": name})
    account.glue.create_crawler(**(request | changes))
    return recrawl(account, name)


def recrawl(account: Account, name: str) -> dict:
    account.glue.start_crawler(Name=name)

    def ready() -> dict | None:
        crawler = account.glue.get_crawler(Name=name)["Crawler"]
        return crawler if crawler["State"] == "READY" else None

    return wait_for(ready)


def tables(account: Account, name: str) -> dict[str, list[tuple[str, str]]]:
    found = account.glue.get_tables(DatabaseName=name)["TableList"]
    return {t["Name"]: [(c["Name"], c["Type"]) for c in t["StorageDescriptor"]["Columns"]] for t in found}


def test_a_crawl_writes_the_schema_of_the_files(account: Account) -> None:
    account.put("crawl/new/a.csv", "sex,length,rings\nM,0.455,15\nF,1,7\n")
    account.put("crawl/new/b.csv.gz", gzip.compress(b"sex,length,rings\nI,0.33,9\n"))
    crawler = crawl(account, "survey", f"s3://{BUCKET}/crawl/new/", TablePrefix="raw_")

    assert crawler["LastCrawl"]["Status"] == "SUCCEEDED"
    assert crawler["LastCrawl"]["LogGroup"] == "/aws-glue/crawlers"
    assert tables(account, "survey") == {"raw_new": [("sex", "string"), ("length", "double"), ("rings", "bigint")]}
    table = account.glue.get_table(DatabaseName="survey", Name="raw_new")["Table"]
    assert table["Parameters"]["skip.header.line.count"] == "1"
    assert table["Parameters"]["UPDATED_BY_CRAWLER"] == "survey"
    assert table["StorageDescriptor"]["Location"] == f"s3://{BUCKET}/crawl/new/"

    account.put("crawl/new/c.csv", "sex,length,rings,site\nM,0.4,many,north\n")
    account.put("crawl/new/odd.csv", "0.1,0.2\n0.3,0.4\n")
    recrawl(account, "survey")
    assert tables(account, "survey") == {
        "raw_new": [("sex", "string"), ("length", "double"), ("rings", "string"), ("site", "string")],
        "raw_new_odd_csv": [("col0", "double"), ("col1", "double")],
    }
    metrics = account.glue.get_crawler_metrics(CrawlerNameList=["survey"])["CrawlerMetricsList"][0]
    assert (metrics["TablesCreated"], metrics["TablesUpdated"]) == (1, 1)


def test_a_target_may_be_a_single_file_and_namesakes_get_tables_of_their_own(account: Account) -> None:
    account.put("single/a.csv", "x,y\n1,2\n")
    account.put("single/a.csv.bak", "p,q\n1,2\n")
    account.put("single/2/a.csv", "u,v\n1,2\n")
    crawl(account, "single", f"s3://{BUCKET}/single/a.csv")
    assert tables(account, "single") == {"a_csv": [("x", "bigint"), ("y", "bigint")]}
    account.glue.update_crawler(Name="single", Targets={"S3Targets": [{"Path": f"s3://{BUCKET}/single/2/a.csv"}]})
    recrawl(account, "single")
    found = tables(account, "single")
    assert found.pop("a_csv")
    [(name, columns)] = found.items()
    assert re.fullmatch(r"a_csv_[0-9a-f]{32}", name)
    assert columns == [("u", "bigint"), ("v", "bigint")]


@pytest.mark.parametrize("behaviour", ["DEPRECATE_IN_DATABASE", "DELETE_FROM_DATABASE", "LOG"])
def test_what_becomes_of_the_table_of_a_vanished_file(account: Account, behaviour: str) -> None:
    name = f"vanished_{behaviour.lower()}"
    policy = {"UpdateBehavior": "UPDATE_IN_DATABASE", "DeleteBehavior": behaviour}
    account.put(f"{name}/new/a.csv", "x,y\n1,2\n")
    account.put(f"{name}/new/odd.csv", "0.1,0.2,0.3\n0.3,0.4,0.5\n")
    crawl(account, name, f"s3://{BUCKET}/{name}/new/", SchemaChangePolicy=policy)
    assert set(tables(account, name)) == {"new", "new_odd_csv"}
    account.s3.delete_object(Bucket=BUCKET, Key=f"{name}/new/odd.csv")
    recrawl(account, name)
    found = account.glue.get_tables(DatabaseName=name)["TableList"]
    marked = {table["Name"]: "DEPRECATED_BY_CRAWLER" in table["Parameters"] for table in found}
    expected = {"DEPRECATE_IN_DATABASE": {"new": False, "new_odd_csv": True}, "DELETE_FROM_DATABASE": {"new": False}}
    assert marked == expected.get(behaviour, {"new": False, "new_odd_csv": False})
    if behaviour == "DEPRECATE_IN_DATABASE":
        account.put(f"{name}/new/odd.csv", "0.1,0.2,0.3\n0.3,0.4,0.5\n")
        recrawl(account, name)
        back = account.glue.get_table(DatabaseName=name, Name="new_odd_csv")["Table"]
        assert "DEPRECATED_BY_CRAWLER" not in back["Parameters"]


def test_a_crawl_makes_its_database(account: Account) -> None:
    account.put("crawl/lost/a.csv", "a,b\n1,2\n")
    account.glue.create_crawler(
        Name="lost", Role=ROLE, DatabaseName="nowhere", Targets={"S3Targets": [{"Path": f"s3://{BUCKET}/crawl/lost"}]}
    )
    assert recrawl(account, "lost")["LastCrawl"]["Status"] == "SUCCEEDED"
    assert account.glue.get_tables(DatabaseName="nowhere")["TableList"]


def test_crawlers_refuse_what_does_not_fit_their_state(account: Account) -> None:
    glue = account.glue
    with pytest.raises(glue.exceptions.EntityNotFoundException):
        glue.start_crawler(Name="unknown")
    glue.create_crawler(Name="idle", Role=ROLE, DatabaseName="d", Targets={"S3Targets": [{"Path": "s3://b/p"}]})
    with pytest.raises(glue.exceptions.CrawlerNotRunningException):
        glue.stop_crawler(Name="idle")
    assert "idle" in glue.list_crawlers()["CrawlerNames"]
    glue.delete_crawler(Name="idle")
    with pytest.raises(ClientError, match="EntityNotFoundException"):
        glue.get_crawler(Name="idle")


@pytest.mark.spark
def test_spark_s_driver_answers_only_to_those_who_know_its_secret(account: Account) -> None:
    """Another user of this machine reaches its ports: without authentication Java reads whatever object is sent."""
    script = """
import os, socket, struct
from pyspark.sql import SparkSession
spark = SparkSession.builder.getOrCreate()
port = int(spark.conf.get("spark.driver.port"))
body = b"\\xac\\xed\\x00\\x05"
frame = struct.pack(">qBqi", 8 + 1 + 8 + 4 + len(body), 3, 1, len(body)) + body
with socket.create_connection(("127.0.0.1", port), timeout=10) as stranger:
    stranger.sendall(frame)
    stranger.settimeout(10)
    answer = stranger.recv(4096)
print("SETTING", spark.conf.get("spark.authenticate"), spark.conf.get("spark.network.crypto.enabled"))
print("ANSWER", answer[:600])
print("TMP", spark._jvm.java.lang.System.getProperty("java.io.tmpdir").startswith(os.path.dirname(os.getcwd())))
"""
    define(account, "stranger", script)
    run = account.glue.start_job_run(JobName="stranger")["JobRunId"]
    ended = run_end(account, "stranger", run)
    log = (account.data_dir / f"jobs/glue/stranger/{run}/output.txt").read_text()
    assert ended["JobRunState"] == "SUCCEEDED", ended
    assert "SETTING true true" in log
    assert "TMP True" in log
    assert "Sasl" in log or "AuthRpcHandler" in log, log
