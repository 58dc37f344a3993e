"""awswrangler (AWS SDK for pandas) against local_aws: files in S3, and tables of the Glue catalog, those of a crawl among them."""

import awswrangler as wr
import pandas as pd
import pytest
from client_record import matches_the_record
from local_account import ROLE, wait_for

pytestmark = [
    pytest.mark.local_aws,
    # awswrangler 3.17 concatenates with an argument that pandas 3 gives up: https://github.com/aws/aws-sdk-pandas
    pytest.mark.filterwarnings("ignore:The copy keyword is deprecated"),
]

BUCKET = "wrangler-bucket"
ROWS = pd.DataFrame({"sex": ["M", "F", "I"], "length": [0.455, 0.53, 0.33], "rings": [15, 9, 7]})


@pytest.fixture(scope="module", autouse=True)
def catalog(account, environment):
    account.s3.create_bucket(Bucket=BUCKET)
    wr.catalog.create_database("survey")


def test_csv_json_and_parquet_files_are_written_and_read(account, tmp_path):
    wr.s3.to_csv(ROWS, f"s3://{BUCKET}/files/a.csv", index=False)
    pd.testing.assert_frame_equal(wr.s3.read_csv(f"s3://{BUCKET}/files/a.csv"), ROWS)
    wr.s3.to_json(ROWS, f"s3://{BUCKET}/files/a.json", orient="records", lines=True)
    read = wr.s3.read_json(f"s3://{BUCKET}/files/a.json", orient="records", lines=True)
    pd.testing.assert_frame_equal(read, ROWS)
    wr.s3.to_parquet(ROWS, f"s3://{BUCKET}/files/a.parquet")
    pd.testing.assert_frame_equal(wr.s3.read_parquet(f"s3://{BUCKET}/files/a.parquet"), ROWS, check_dtype=False)
    wr.s3.download(f"s3://{BUCKET}/files/a.csv", str(tmp_path / "a.csv"))
    assert pd.read_csv(tmp_path / "a.csv").equals(ROWS)


def test_objects_are_listed_copied_measured_and_deleted(account):
    wr.s3.to_csv(ROWS, f"s3://{BUCKET}/from/a.csv", index=False)
    wr.s3.copy_objects([f"s3://{BUCKET}/from/a.csv"], f"s3://{BUCKET}/from", f"s3://{BUCKET}/to")
    assert wr.s3.list_objects(f"s3://{BUCKET}/to/") == [f"s3://{BUCKET}/to/a.csv"]
    assert wr.s3.does_object_exist(f"s3://{BUCKET}/to/a.csv")
    assert wr.s3.size_objects([f"s3://{BUCKET}/to/a.csv"])[f"s3://{BUCKET}/to/a.csv"] > 0
    assert BUCKET in wr.s3.list_buckets()
    wr.s3.wait_objects_exist([f"s3://{BUCKET}/to/a.csv"], delay=1)
    wr.s3.delete_objects(f"s3://{BUCKET}/to/")
    assert not wr.s3.does_object_exist(f"s3://{BUCKET}/to/a.csv")


def test_a_crawled_table_is_found_in_the_catalog_and_read(account):
    wr.s3.to_csv(ROWS, f"s3://{BUCKET}/landing/a.csv", index=False)
    targets = {"S3Targets": [{"Path": f"s3://{BUCKET}/landing/"}]}
    account.glue.create_crawler(Name="landing", Role=ROLE, DatabaseName="survey", Targets=targets)
    account.glue.start_crawler(Name="landing")
    wait_for(lambda: account.glue.get_crawler(Name="landing")["Crawler"]["State"] == "READY")
    assert wr.catalog.does_table_exist("survey", "landing")
    types = wr.catalog.get_table_types("survey", "landing")
    assert types == {"sex": "string", "length": "double", "rings": "bigint"}
    location = wr.catalog.get_table_location("survey", "landing")
    pd.testing.assert_frame_equal(wr.s3.read_csv(location), ROWS)
    assert wr.catalog.table("survey", "landing")["Column Name"].tolist() == list(ROWS)
    assert "landing" in wr.catalog.tables(database="survey")["Table"].tolist()
    assert "survey" in wr.catalog.databases()["Database"].tolist()
    query = "select sex, rings from landing where rings > 8 order by rings"
    options = {"database": "survey", "ctas_approach": False, "s3_output": f"s3://{BUCKET}/asked/"}
    assert wr.athena.read_sql_query(query, **options).values.tolist() == [["F", 9], ["M", 15]]


def test_a_partitioned_data_set_is_a_table(account):
    path = f"s3://{BUCKET}/dataset/"
    for mode in ("overwrite", "append"):
        wr.s3.to_parquet(
            ROWS, path, dataset=True, mode=mode, database="survey", table="dataset", partition_cols=["sex"]
        )
    read = wr.s3.read_parquet_table("dataset", "survey")
    assert sorted(read["rings"]) == [7, 7, 9, 9, 15, 15]
    assert sorted(values[0] for values in wr.catalog.get_partitions("survey", "dataset").values()) == ["F", "I", "M"]
    only = wr.s3.read_parquet(path, dataset=True, partition_filter=lambda partition: partition["sex"] == "M")
    assert only["rings"].tolist() == [15, 15]
    assert wr.catalog.delete_table_if_exists("survey", "dataset")
    wr.catalog.delete_database("survey")


def test_who_am_i(account):
    assert wr.sts.get_account_id() == "000000000000"


def test_the_record_of_operations_is_what_was_seen(account):
    matches_the_record(account, "awswrangler", "awswrangler/")
