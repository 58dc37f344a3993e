"""Where MiniStack alone would overwrite, pretend or answer with everything, the account answers as AWS."""

import pytest
from botocore.exceptions import ClientError
from local_account import BUCKET, ROLE, Account, wait_for

from local_aws.gateway.corrections import wanted_values
from local_aws.shared.errors import ServiceError

pytestmark = pytest.mark.local_aws


def test_a_copy_respects_the_condition_on_its_target(account: Account) -> None:
    account.put("copies/source", "new")
    account.put("copies/target", "old")
    copy = {"Bucket": BUCKET, "Key": "copies/target", "CopySource": f"{BUCKET}/copies/source"}
    for condition in ({"IfNoneMatch": "*"}, {"IfMatch": '"0123456789abcdef0123456789abcdef"'}):
        with pytest.raises(ClientError, match="PreconditionFailed"):
            account.s3.copy_object(**copy, **condition)
    assert account.read(f"s3://{BUCKET}/copies/target") == b"old"
    etag = account.s3.head_object(Bucket=BUCKET, Key="copies/target")["ETag"]
    account.s3.copy_object(**copy, IfMatch=etag)
    assert account.read(f"s3://{BUCKET}/copies/target") == b"new"
    account.s3.copy_object(**(copy | {"Key": "copies/fresh"}), IfNoneMatch="*")
    assert account.read(f"s3://{BUCKET}/copies/fresh") == b"new"


def test_a_copy_onto_itself_has_to_change_something(account: Account) -> None:
    account.put("copies/self", "x")
    itself = {"Bucket": BUCKET, "Key": "copies/self", "CopySource": {"Bucket": BUCKET, "Key": "copies/self"}}
    with pytest.raises(ClientError, match="InvalidRequest"):
        account.s3.copy_object(**itself)
    account.s3.copy_object(**itself, MetadataDirective="REPLACE", Metadata={"a": "b"})
    assert account.s3.head_object(Bucket=BUCKET, Key="copies/self")["Metadata"] == {"a": "b"}


def test_partitions_are_chosen_and_paged(account: Account) -> None:
    account.glue.create_database(DatabaseInput={"Name": "chosen"})
    storage = {"Columns": [{"Name": "n", "Type": "bigint"}], "Location": f"s3://{BUCKET}/chosen/"}
    keys = [{"Name": "year", "Type": "string"}, {"Name": "site", "Type": "string"}]
    table = {"Name": "rows", "StorageDescriptor": storage, "PartitionKeys": keys}
    account.glue.create_table(DatabaseName="chosen", TableInput=table)
    values = [["2024", "a"], ["2024", "b"], ["2025", "a"]]
    account.glue.batch_create_partition(
        DatabaseName="chosen", TableName="rows",
        PartitionInputList=[{"Values": value, "StorageDescriptor": storage} for value in values],
    )  # fmt: skip

    def found(**options: object) -> list[list[str]]:
        answer = account.glue.get_partitions(DatabaseName="chosen", TableName="rows", **options)
        return [part["Values"] for part in answer["Partitions"]]

    assert found() == values
    assert found(Expression="year = '2024' AND site='b'") == [["2024", "b"]]
    assert found(Expression="year='1999'") == []
    with pytest.raises(ClientError, match="understands"):
        found(Expression="year > '2023'")
    pages = account.glue.get_paginator("get_partitions").paginate(
        DatabaseName="chosen", TableName="rows", PaginationConfig={"PageSize": 2}
    )
    assert [len(page["Partitions"]) for page in pages] == [2, 1]


def test_an_expression_that_is_not_understood_is_never_all_partitions() -> None:
    assert wanted_values("", ["a"]) == {}
    assert wanted_values("(a='1') and `b` = 2", ["a", "b"]) == {0: "1", 1: "2"}
    for text in ("a='1' or b='2'", "a like 'x'", "c='1'", "a='1' and", "a=''' or '1'='1"):
        with pytest.raises(ServiceError):
            wanted_values(text, ["a", "b"])


def test_what_would_only_be_pretended_is_refused(account: Account) -> None:
    action = [{"JobName": "none"}]
    account.glue.create_trigger(Name="never", Type="ON_DEMAND", Actions=action)
    with pytest.raises(ClientError, match="UnknownOperationException"):
        account.glue.start_trigger(Name="never")


def test_a_crawler_makes_its_database_and_leaves_json_alone(account: Account) -> None:
    account.put("made/rows.csv", "n,m\n1,2\n3,4\n")
    account.put("made-json/rows.json", '{"n": 1, "m": [1, 2]}\n')
    for name in ("made", "made-json"):
        targets = {"S3Targets": [{"Path": f"s3://{BUCKET}/{name}/"}]}
        account.glue.create_crawler(Name=name, Role=ROLE, DatabaseName="made_by_crawler", Targets=targets)
        account.glue.start_crawler(Name=name)
        wait_for(lambda name=name: account.glue.get_crawler(Name=name)["Crawler"]["State"] == "READY")
        assert account.glue.get_crawler(Name=name)["Crawler"]["LastCrawl"]["Status"] == "SUCCEEDED"
    tables = account.glue.get_tables(DatabaseName="made_by_crawler")["TableList"]
    assert [table["Name"] for table in tables] == ["made"]
