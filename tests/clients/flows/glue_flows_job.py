"""A Glue job of many short pieces of work, each as people write it; what each found out goes to S3 as JSON.

The pieces share a job, because starting Spark costs more than all of them.
"""

import json
import sys
import traceback

import boto3
from awsglue.context import GlueContext
from awsglue.dynamicframe import DynamicFrame
from awsglue.job import Job
from awsglue.transforms import *  # noqa: F403 - so do nearly all scripts of Glue
from awsglue.utils import getResolvedOptions
from pyspark.context import SparkContext
from pyspark.sql import functions as F

args = getResolvedOptions(sys.argv, ["JOB_NAME", "TempDir"])
glueContext = GlueContext(SparkContext.getOrCreate())
spark = glueContext.spark_session
job = Job(glueContext)
job.init(args["JOB_NAME"], args)

BUCKET = "account-bucket"
pieces = []


def piece(function):
    pieces.append(function)
    return function


def values(frame, *columns):
    rows = frame.toDF().select(*[f"`{name}`" for name in columns]).collect()
    return sorted([list(row) for row in rows], key=str)


@piece
def catalog_csv_with_a_choice():
    """A number that is no number in one row: the column has two types until the script resolves them."""
    frame = glueContext.create_dynamic_frame.from_catalog(database="flows", table_name="providers")
    made = ResolveChoice.apply(frame=frame, choice="make_cols")  # noqa: F405
    cast = frame.resolveChoice(specs=[("provider_id", "cast:long")])
    return {
        "type": frame.toDF().schema["provider_id"].dataType.simpleString(),
        "columns": made.toDF().columns,
        "cast": values(cast, "provider_id"),
        "kept": values(frame.resolveChoice(specs=[("provider_id", "project:string")]), "provider_id"),
    }


@piece
def mapping_filter_and_parquet():
    frame = glueContext.create_dynamic_frame.from_options(
        connection_type="s3",
        connection_options={"paths": [f"s3://{BUCKET}/flows/people/"], "recurse": True},
        format="csv",
        format_options={"withHeader": True},
    )
    mapped = ApplyMapping.apply(  # noqa: F405
        frame=frame,
        mappings=[
            ("name", "string", "person.name", "string"),
            ("age", "string", "age", "int"),
            ("nowhere", "string", "gone", "string"),
        ],
    )
    adults = Filter.apply(frame=mapped, f=lambda row: row["age"] is not None and row["age"] >= 18)  # noqa: F405
    glueContext.write_dynamic_frame.from_options(
        frame=adults,
        connection_type="s3",
        connection_options={"path": f"s3://{BUCKET}/flows/adults/"},
        format="parquet",
    )
    back = spark.read.parquet(f"s3://{BUCKET}/flows/adults/")
    return [back.schema.simpleString(), sorted(row.person.name for row in back.collect())]


@piece
def map_join_drop_rename():
    people = glueContext.create_dynamic_frame.from_options(
        "s3", {"paths": [f"s3://{BUCKET}/flows/people/"]}, "csv", {"withHeader": True}
    )

    def shout(record):
        record["name"] = record["name"].upper()
        record["address"] = {"city": record["city"], "known": True}
        return record

    shouted = Map.apply(frame=people, f=shout)  # noqa: F405
    cities = DynamicFrame.fromDF(
        spark.createDataFrame([("Rome", 3), ("Oslo", 1)], "city string, size int"), glueContext, "c"
    )
    joined = Join.apply(shouted, cities, ["city"], ["city"])  # noqa: F405
    small = joined.drop_fields([".city", "age", "address.known"]).rename_field("size", "city_size")
    return [small.toDF().schema.simpleString(), values(small, "name", "city_size")]


@piece
def relationalize():
    frame = glueContext.create_dynamic_frame.from_options("s3", {"paths": [f"s3://{BUCKET}/flows/orders/"]}, "json")
    flat = Relationalize.apply(frame=frame, staging_path=args["TempDir"], name="root")  # noqa: F405
    lines = flat.select("root_lines")
    return [sorted(flat.keys()), flat.select("root").toDF().columns, values(lines, "index", "lines.val.sku")]


@piece
def json_with_two_types():
    frame = glueContext.create_dynamic_frame.from_options("s3", {"paths": [f"s3://{BUCKET}/flows/mixed/"]}, "json")
    resolved = frame.resolveChoice(choice="cast:string")
    return [frame.toDF().schema["value"].dataType.simpleString(), values(resolved, "value")]


@piece
def partitions_by_predicate():
    frame = glueContext.create_dynamic_frame.from_catalog(
        database="flows", table_name="readings", push_down_predicate="year = '2025' and month > '01'"
    )
    return values(frame, "value", "year", "month")


@piece
def sink_that_makes_its_table():
    rows = spark.createDataFrame([(1, "a"), (2, "b")], "n int, site string")
    sink = glueContext.getSink(
        connection_type="s3", path=f"s3://{BUCKET}/flows/sunk/", enableUpdateCatalog=True, partitionKeys=["site"]
    )
    sink.setFormat("glueparquet")
    sink.setCatalogInfo(catalogDatabase="flows", catalogTableName="sunk")
    sink.writeFrame(DynamicFrame.fromDF(rows, glueContext, "rows"))
    return values(glueContext.create_dynamic_frame.from_catalog(database="flows", table_name="sunk"), "n", "site")


@piece
def write_to_a_table():
    rows = DynamicFrame.fromDF(
        spark.createDataFrame([(7,)], "value int").withColumn("year", F.lit("2026")), glueContext, "w"
    )
    rows = DynamicFrame.fromDF(rows.toDF().withColumn("month", F.lit("01")), glueContext, "w")
    glueContext.write_dynamic_frame.from_catalog(
        frame=rows, database="flows", table_name="readings", additional_options={"enableUpdateCatalog": True}
    )
    return len(boto3.client("glue").get_partitions(DatabaseName="flows", TableName="readings")["Partitions"])


@piece
def tables_through_spark_sql():
    names = spark.table("flows.people").where("age > 20").select("name")
    spark.sql(f"create database if not exists made location 's3://{BUCKET}/flows/made/'")
    names.write.mode("overwrite").option("path", f"s3://{BUCKET}/flows/made/grown/").saveAsTable("made.grown")
    spark.sql("create table made.oldest using parquet as select max(age) as age from flows.people")
    return [
        spark.sql("select age from made.oldest").first()[0],
        spark.catalog.tableExists("made.grown"),
    ]


@piece
def partitions_through_spark_sql():
    """Registered partitions are read and pruned, and what Spark adds and drops is registered."""
    key = "flows/readings/year=2023/month=01/a.json"
    boto3.client("s3").put_object(Bucket=BUCKET, Key=key, Body=b'{"value": 0}')
    boto3.client("glue").create_partition(
        DatabaseName="flows", TableName="readings", PartitionInput={"Values": ["2023", "01"]}
    )
    found = {"read": rows_of("select year, month, value from flows.readings where month = '01' order by value")}
    spark.createDataFrame([(8, "2026", "02")], "value int, year string, month string").write.insertInto(
        "flows.readings"
    )
    spark.sql("insert into flows.readings partition (year = '2027', month = '01') values (9)")
    spark.sql("alter table flows.readings drop partition (year = '2024', month = '12')")
    found["written"] = rows_of("select year, month, value from flows.readings where year > '2025' order by value")
    pages = boto3.client("glue").get_paginator("get_partitions").paginate(DatabaseName="flows", TableName="readings")
    found["registered"] = sorted("-".join(part["Values"]) for page in pages for part in page["Partitions"])
    rows = spark.createDataFrame([(1, "it's 10:30"), (2, None)], "n int, site string")
    rows.write.partitionBy("site").option("path", f"s3://{BUCKET}/flows/made/by_site/").saveAsTable("made.by_site")
    found["made"] = rows_of("select n, site from made.by_site order by n")
    return found


def rows_of(query):
    return [list(row) for row in spark.sql(query).collect()]


@piece
def a_table_that_is_made_anew():
    path = f"s3://{BUCKET}/flows/made/anew/"
    spark.createDataFrame([(1,)], "old int").write.option("path", path).saveAsTable("made.anew")
    rows = spark.createDataFrame([("x", 2)], "new string, more int")
    rows.write.mode("overwrite").option("path", path).saveAsTable("made.anew")
    stored = boto3.client("glue").get_table(DatabaseName="made", Name="anew")["Table"]["StorageDescriptor"]
    return [[column["Name"] for column in stored["Columns"]], rows_of("select * from made.anew")]


@piece
def names_that_scripts_import():
    from awsglue import DynamicFrame as of_the_root
    from awsglue.dynamicframe import DynamicFrameReader, DynamicFrameWriter  # noqa: F401

    frame = DynamicFrameReader(glueContext).from_catalog(database="flows", table_name="people")
    return [of_the_root is DynamicFrame, frame.count(), ErrorsAsDynamicFrame.apply(frame).count()]  # noqa: F405


@piece
def one_key_and_one_field_given_alone():
    people = glueContext.create_dynamic_frame.from_catalog(database="flows", table_name="people")
    cities = DynamicFrame.fromDF(spark.createDataFrame([("Oslo",)], "town string"), glueContext, "c")
    return values(Join.apply(people, cities, "city", "town").select_fields("name"), "name")  # noqa: F405


@piece
def csv_without_quotes():
    path = f"s3://{BUCKET}/flows/unquoted/"
    frame = DynamicFrame.fromDF(spark.createDataFrame([("a|b ", 1), (None, 2)], "s string, n int"), glueContext, "f")
    glueContext.write_dynamic_frame.from_options(
        frame=frame.coalesce(1), connection_type="s3", connection_options={"path": path}, format="csv",
        format_options={"separator": "|", "quoteChar": -1},
    )  # fmt: skip
    return [row.value for row in spark.read.text(path).collect()]


@piece
def folders_of_partitions_are_text():
    options = {"paths": [f"s3://{BUCKET}/flows/readings/"], "recurse": True}
    frame = glueContext.create_dynamic_frame.from_options("s3", options, "json")
    source = glueContext.getSource("s3", paths=[f"s3://{BUCKET}/flows/people/"])
    source.setFormat("csv", withHeader=True)
    return [frame.toDF().schema["month"].dataType.simpleString(), source.getFrame().count()]


@piece
def data_frames_to_and_from_the_catalog():
    rows = spark.createDataFrame([(5, "b")], "n int, site string")
    glueContext.write_data_frame.from_catalog(frame=rows, database="flows", table_name="sunk")
    read = glueContext.create_data_frame_from_catalog(database="flows", table_name="sunk")
    return sorted(row.n for row in read.collect())


@piece
def old_objects_are_purged():
    spark.createDataFrame([(1, "a"), (2, "b")], "n int, k string").write.partitionBy("k").option(
        "path", f"s3://{BUCKET}/flows/made/purged/"
    ).saveAsTable("made.purged")
    glueContext.purge_table("made", "purged", {"partitionPredicate": "k = 'a'", "retentionPeriod": 0})
    left = glueContext.create_dynamic_frame.from_catalog(database="made", table_name="purged")
    parts = boto3.client("glue").get_partitions(DatabaseName="made", TableName="purged")["Partitions"]
    glueContext.purge_s3_path(f"s3://{BUCKET}/flows/adults/")  # nothing there is a week old
    kept = spark.read.parquet(f"s3://{BUCKET}/flows/adults/").count()
    return [values(left, "n"), [part["Values"] for part in parts], kept]


@piece
def an_extra_file_lies_where_the_script_starts():
    with open("settings.json") as file:  # noqa: PTH123 - so do scripts of Glue
        return json.load(file)


@piece
def unregistered_rows_are_not_there():
    """What lies in S3 without being a partition of the table is none of its rows."""
    whole = glueContext.create_dynamic_frame.from_catalog(database="flows", table_name="readings")
    by_sql = spark.table("flows.readings").where("year = '1999'").count()
    return whole.filter(lambda row: row["year"] == "1999").count() + by_sql


@piece
def a_column_that_is_added_to_a_table_of_csv():
    spark.sql("alter table flows.people add columns (note string)")
    table = boto3.client("glue").get_table(DatabaseName="flows", Name="people")["Table"]
    names = [column["Name"] for column in table["StorageDescriptor"]["Columns"]]
    return [
        names,
        table["Parameters"]["skip.header.line.count"],
        rows_of("select name, note from flows.people order by 1"),
    ]


@piece
def what_is_refused():
    refused = {}
    for name, action in {
        "jdbc": lambda: glueContext.create_dynamic_frame.from_options("mysql", {"url": "jdbc:mysql://h/d"}),
        "avro": lambda: glueContext.create_dynamic_frame.from_options("s3", {"paths": ["s3://b/p"]}, "avro"),
        "findings": lambda: __import__("awsglue.transforms", fromlist=["FindMatches"]).FindMatches,
        "jdbc sink": lambda: glueContext.write_dynamic_frame.from_jdbc_conf(frame=None, catalog_connection="c"),
        "table": lambda: glueContext.create_dynamic_frame.from_catalog(database="flows", table_name="none"),
    }.items():
        try:
            action()
        except Exception as error:
            refused[name] = f"{type(error).__name__}: {error}"
    return refused


found = {}
for function in pieces:
    try:
        found[function.__name__] = function()
    except Exception:
        found[function.__name__] = traceback.format_exc()
boto3.client("s3").put_object(Bucket=BUCKET, Key="flows/found.json", Body=json.dumps(found, default=str))
job.commit()
