"""awswrangler keeps a partitioned data set and its table."""

import awswrangler
import pandas
import pytest
from local_account import BUCKET, Account

pytestmark = [pytest.mark.local_aws, pytest.mark.usefixtures("environment")]

PATH = f"s3://{BUCKET}/wrangled/"
TABLE = {"database": "wrangled", "table": "rows"}


def test_a_data_set_grows_by_partitions_and_is_read_back_by_one(account: Account) -> None:
    awswrangler.catalog.create_database("wrangled", exist_ok=True)
    rows = pandas.DataFrame({"n": [1, 2, 3], "year": ["2024", "2024", "2025"]})
    write = {"path": PATH, "dataset": True, "partition_cols": ["year"], **TABLE}
    awswrangler.s3.to_parquet(rows, mode="overwrite", **write)
    awswrangler.s3.to_parquet(rows.iloc[2:].assign(n=9), mode="overwrite_partitions", **write)
    partitions = awswrangler.catalog.get_parquet_partitions(**TABLE)
    assert {tuple(values) for values in partitions.values()} == {("2024",), ("2025",)}
    found = awswrangler.s3.read_parquet_table(**TABLE, partition_filter=lambda part: part["year"] == "2025")
    assert found["n"].tolist() == [9]
    chosen = awswrangler.catalog.get_parquet_partitions(**TABLE, expression="year = '2024'")
    assert list(chosen.values()) == [["2024"]]
    assert awswrangler.catalog.delete_partitions(**TABLE, partitions_values=[["2024"]]) is None
    assert len(awswrangler.catalog.get_partitions(**TABLE)) == 1
    assert [table["Name"] for table in awswrangler.catalog.get_tables(database="wrangled")] == ["rows"]
