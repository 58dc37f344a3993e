"""Where MiniStack alone would overwrite, pretend or answer with everything, the account answers as AWS."""

import boto3
import pytest
from botocore.exceptions import ClientError
from local_account import BUCKET, IMAGE, ROLE, Account, wait_for

from local_aws.gateway.corrections.glue import wanted_values
from local_aws.shared.errors import ServiceError
from local_aws.shared.listing import list_page

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


def test_a_crawler_makes_its_database(account: Account) -> None:
    account.put("made/rows.csv", "n,m\n1,2\n3,4\n")
    account.put("made-json/rows.json", '{"n": 1, "m": [1, 2]}\n')
    for name in ("made", "made-json"):
        targets = {"S3Targets": [{"Path": f"s3://{BUCKET}/{name}/"}]}
        account.glue.create_crawler(Name=name, Role=ROLE, DatabaseName="made_by_crawler", Targets=targets)
        account.glue.start_crawler(Name=name)
        wait_for(lambda name=name: account.glue.get_crawler(Name=name)["Crawler"]["State"] == "READY")
        assert account.glue.get_crawler(Name=name)["Crawler"]["LastCrawl"]["Status"] == "SUCCEEDED"
    tables = account.glue.get_tables(DatabaseName="made_by_crawler")["TableList"]
    assert [table["Name"] for table in tables] == ["made", "made_json"]


def code_of(call: object, **arguments: object) -> str:
    with pytest.raises(ClientError) as caught:
        call(**arguments)  # type: ignore[operator]
    return caught.value.response["Error"]["Code"]


# -- S3 -----------------------------------------------------------------------------------------------------------------


def test_parts_are_refused_out_of_order_and_too_small(account: Account) -> None:
    s3 = account.s3
    upload = s3.create_multipart_upload(Bucket=BUCKET, Key="parts/a", Tagging="team=a%20b")["UploadId"]
    part = {"Bucket": BUCKET, "Key": "parts/a", "UploadId": upload}
    tags = [s3.upload_part(**part, PartNumber=number, Body=b"x" * 100)["ETag"] for number in (1, 2)]
    first, second = ({"PartNumber": number, "ETag": tag} for number, tag in enumerate(tags, start=1))
    finish = s3.complete_multipart_upload
    assert code_of(finish, **part, MultipartUpload={"Parts": [second, first]}) == "InvalidPartOrder"
    assert code_of(finish, **part, MultipartUpload={"Parts": [first, second]}) == "EntityTooSmall"
    finish(**part, MultipartUpload={"Parts": [first]})
    assert s3.get_object_tagging(Bucket=BUCKET, Key="parts/a")["TagSet"] == [{"Key": "team", "Value": "a b"}]


def test_an_object_without_a_type_has_s3_s_own_and_a_head_may_ask_for_a_range(account: Account) -> None:
    account.put("plain/object", b"0123456789")
    head = account.s3.head_object(Bucket=BUCKET, Key="plain/object")
    assert (head["ContentType"], head["ContentLength"]) == ("binary/octet-stream", 10)
    part = account.s3.head_object(Bucket=BUCKET, Key="plain/object", Range="bytes=2-4")
    assert (part["ContentLength"], part["ContentRange"]) == (3, "bytes 2-4/10")


# -- messages and parameters --------------------------------------------------------------------------------------------


def test_a_message_is_deleted_twice_and_with_an_older_handle(account: Account) -> None:
    sqs = account.sqs
    url = sqs.create_queue(QueueName="patient")["QueueUrl"]
    sqs.send_message(QueueUrl=url, MessageBody="m")
    old = sqs.receive_message(QueueUrl=url, VisibilityTimeout=0)["Messages"][0]["ReceiptHandle"]
    new = sqs.receive_message(QueueUrl=url)["Messages"][0]["ReceiptHandle"]
    sqs.change_message_visibility(QueueUrl=url, ReceiptHandle=old, VisibilityTimeout=5)
    for handle in (new, new, old):
        sqs.delete_message(QueueUrl=url, ReceiptHandle=handle)
    batch = sqs.delete_message_batch(QueueUrl=url, Entries=[{"Id": "1", "ReceiptHandle": old}])
    assert [item["Id"] for item in batch["Successful"]] == ["1"]
    assert code_of(sqs.delete_message, QueueUrl=url, ReceiptHandle="nonsense") == "ReceiptHandleIsInvalid"


def test_a_refusal_of_sns_is_caught_by_its_name(account: Account) -> None:
    topic = account.sns.create_topic(Name="refusals")["TopicArn"]
    for call, arguments in (
        (account.sns.create_topic, {"Name": "no name / at all"}),
        (account.sns.subscribe, {"TopicArn": topic, "Protocol": "sqs", "Endpoint": "no-arn"}),
        (account.sns.publish, {"TopicArn": topic, "Message": "m", "Subject": "s" * 101}),
    ):
        with pytest.raises(account.sns.exceptions.InvalidParameterException):
            call(**arguments)
    account.sns.publish(TopicArn=topic, Message="m", Subject="s")


def test_parameters_are_described_filtered_and_found_below_the_root(account: Account) -> None:
    ssm = account.ssm
    policy = '[{"Type": "NoChangeNotification", "Version": "1.0", "Attributes": {"After": "20", "Unit": "Days"}}]'
    ssm.put_parameter(Name="plain-one", Value="1", Type="String", Tags=[{"Key": "team", "Value": "a"}])
    ssm.put_parameter(Name="/deep/er/two", Value="2", Type="String", Tier="Advanced", Policies=policy)

    def named(**arguments: object) -> list[str]:
        return [item["Name"] for item in ssm.describe_parameters(**arguments)["Parameters"]]

    described = ssm.describe_parameters(ParameterFilters=[{"Key": "Name", "Values": ["/deep/er/two"]}])["Parameters"][0]
    assert described["Policies"][0]["PolicyType"] == "NoChangeNotification"
    assert named(ParameterFilters=[{"Key": "tag:team", "Values": ["a"]}]) == ["plain-one"]
    assert named(ParameterFilters=[{"Key": "Path", "Option": "OneLevel", "Values": ["/deep"]}]) == []
    assert named(ParameterFilters=[{"Key": "Path", "Option": "Recursive", "Values": ["/deep"]}]) == ["/deep/er/two"]
    assert "plain-one" in [item["Name"] for item in ssm.get_parameters_by_path(Path="/")["Parameters"]]


# -- IAM ----------------------------------------------------------------------------------------------------------------


def test_a_role_s_policies_are_simulated_whatever_its_path(account: Account) -> None:
    iam = account.iam
    trust = '{"Version": "2012-10-17", "Statement": []}'
    iam.create_role(RoleName="pathed", Path="/service-role/", AssumeRolePolicyDocument=trust)
    iam.attach_role_policy(RoleName="pathed", PolicyArn="arn:aws:iam::aws:policy/AmazonSageMakerFullAccess")
    arn = iam.get_role(RoleName="pathed")["Role"]["Arn"]
    assert ":role/service-role/pathed" in arn

    def decisions(*actions: str) -> list[str]:
        found = iam.simulate_principal_policy(PolicySourceArn=arn, ActionNames=list(actions))["EvaluationResults"]
        return [item["EvalDecision"] for item in found]

    assert decisions("sagemaker:CreateTrainingJob", "ec2:RunInstances") == ["allowed", "implicitDeny"]
    missing = arn.replace("pathed", "missing")
    assert (
        code_of(iam.simulate_principal_policy, PolicySourceArn=missing, ActionNames=["s3:GetObject"]) == "NoSuchEntity"
    )


# -- Glue ---------------------------------------------------------------------------------------------------------------


def test_tables_are_chosen_by_a_regular_expression_in_pages_and_by_names_in_lower_case(account: Account) -> None:
    glue = account.glue
    glue.create_database(DatabaseInput={"Name": "Folded"})
    for name in ("Trees", "Tables", "people"):
        storage = {"Columns": [{"Name": "n", "Type": "int"}], "Location": f"s3://{BUCKET}/f/"}
        keys = [{"Name": "year", "Type": "string"}]
        table = {"Name": name, "StorageDescriptor": storage, "PartitionKeys": keys}
        glue.create_table(DatabaseName="Folded", TableInput=table)
    assert glue.get_table(DatabaseName="FOLDED", Name="TREES")["Table"]["Name"] == "trees"

    def names(**arguments: object) -> list[str]:
        return [table["Name"] for table in glue.get_tables(DatabaseName="folded", **arguments)["TableList"]]

    assert names(Expression="t.*") == ["trees", "tables"]
    assert names(Expression="t*") == []
    first = glue.get_tables(DatabaseName="folded", MaxResults=2)
    assert len(first["TableList"]) == 2
    assert names(MaxResults=2, NextToken=first["NextToken"]) == ["people"]
    table = {"DatabaseName": "folded", "TableName": "people"}
    few = {"Values": ["1", "2"], "StorageDescriptor": {}}
    assert code_of(glue.create_partition, **table, PartitionInput=few) == "InvalidInputException"
    assert code_of(glue.delete_partition, **table, PartitionValues=["1999"]) == "EntityNotFoundException"
    glue.create_partition(**table, PartitionInput={"Values": ["2024"]})
    glue.update_partition(
        **table, PartitionValueList=["2024"], PartitionInput={"Values": ["2024"], "Parameters": {"a": "b"}}
    )
    found = glue.get_partition(**table, PartitionValues=["2024"])["Partition"]
    assert found["Parameters"] == {"a": "b"}
    wanted = [{"Values": ["2024"]}, {"Values": ["1999"]}]
    errors = glue.batch_delete_partition(**table, PartitionsToDelete=wanted)["Errors"]
    assert [error["PartitionValues"] for error in errors] == [["1999"]]


def test_definitions_keep_their_tags_and_have_the_defaults_of_their_kind(account: Account) -> None:
    glue = account.glue
    command = {"Name": "pythonshell", "ScriptLocation": f"s3://{BUCKET}/none.py"}
    glue.create_job(Name="tagged", Role=ROLE, Command=command, Tags={"team": "a"})
    arn = "arn:aws:glue:us-east-1:000000000000:job/tagged"
    assert glue.get_tags(ResourceArn=arn)["Tags"] == {"team": "a"}
    assert glue.list_jobs(Tags={"team": "a"})["JobNames"] == ["tagged"]
    assert glue.list_jobs(Tags={"team": "b"})["JobNames"] == []
    job = glue.get_job(JobName="tagged")["Job"]
    assert (job["MaxCapacity"], job["GlueVersion"], "WorkerType" in job) == (0.0625, "5.1", False)
    both = {"MaxCapacity": 2.0, "WorkerType": "G.1X", "NumberOfWorkers": 2}
    assert code_of(glue.create_job, Name="both", Role=ROLE, Command=command, **both) == "InvalidInputException"
    target = {"S3Targets": [{"Path": f"s3://{BUCKET}/tagged/"}]}
    glue.create_crawler(Name="tagged", Role=ROLE, DatabaseName="d", Targets=target, Tags={"team": "a"})
    assert glue.list_crawlers(Tags={"team": "a"})["CrawlerNames"] == ["tagged"]
    action = [{"JobName": "tagged"}]
    assert code_of(glue.create_trigger, Name="blind", Type="CONDITIONAL", Actions=action) == "InvalidInputException"
    glue.delete_workflow(Name="never-there")


# -- SageMaker ----------------------------------------------------------------------------------------------------------


def test_model_data_that_is_not_there_is_refused_when_the_model_is_made(account: Account) -> None:
    container = {"Image": IMAGE, "ModelDataUrl": f"s3://{BUCKET}/no/model.tar.gz"}
    with pytest.raises(ClientError, match="Could not find model data at s3://"):
        account.sagemaker.create_model(ModelName="empty", ExecutionRoleArn=ROLE, PrimaryContainer=container)


def test_a_page_of_training_jobs_is_cut_before_their_status_is_looked_at() -> None:
    jobs = [{"Name": str(number), "State": state, "CreationTime": number} for number, state in enumerate("ABBA")]
    options = {"result": "Jobs", "fields": ("Name",), "name_field": "Name", "status_field": "State"}
    wanted = {"StatusEquals": "B", "MaxResults": 2, "SortOrder": "Ascending"}
    page = list_page(jobs, wanted, **options, status_after_page=True)
    assert ([job["Name"] for job in page["Jobs"]], "NextToken" in page) == (["1"], True)
    assert [job["Name"] for job in list_page(jobs, wanted, **options)["Jobs"]] == ["1", "2"]


def test_arns_are_in_lower_case_and_versions_have_no_name(account: Account) -> None:
    sagemaker = account.sagemaker
    group = sagemaker.create_model_package_group(ModelPackageGroupName="Grouped")["ModelPackageGroupArn"]
    assert group.endswith(":model-package-group/grouped")
    container = {"Image": IMAGE}
    specification = {"Containers": [container], "SupportedContentTypes": [], "SupportedResponseMIMETypes": []}
    made = [
        sagemaker.create_model_package(ModelPackageGroupName=name, InferenceSpecification=specification)[
            "ModelPackageArn"
        ]
        for name in (group, "Grouped")
    ]
    assert made[1].endswith(":model-package/grouped/2")
    described = sagemaker.describe_model_package(ModelPackageName=made[0])
    assert (described["ModelPackageGroupName"], "ModelPackageName" in described) == ("Grouped", False)
    listed = sagemaker.list_model_packages(ModelPackageGroupName=group)["ModelPackageSummaryList"]
    assert [package["ModelPackageVersion"] for package in listed] == [1, 2]
    assert not any("ModelPackageName" in package for package in listed)


def test_lists_of_processing_jobs_and_packages_begin_with_the_oldest(account: Account) -> None:
    for name in ("ordered-1", "ordered-2"):
        account.sagemaker.create_processing_job(**account.processing_request(name, "print(1)"))
        account.processing_end(name)
        account.sagemaker.create_model_package_group(ModelPackageGroupName=name)
    listed = account.sagemaker.list_processing_jobs(NameContains="ordered-")["ProcessingJobSummaries"]
    assert [job["ProcessingJobName"] for job in listed] == ["ordered-1", "ordered-2"]
    groups = account.sagemaker.list_model_package_groups(NameContains="ordered-")["ModelPackageGroupSummaryList"]
    assert [group["ModelPackageGroupName"] for group in groups] == ["ordered-1", "ordered-2"]


def test_a_run_keeps_its_capacity_and_whose_successor_it_is(account: Account) -> None:
    glue = account.glue
    location = account.put("scripts/capacity.py", "print(1)")
    command = {"Name": "pythonshell", "ScriptLocation": location, "PythonVersion": "3.9"}
    glue.create_job(Name="capacity", Role=ROLE, Command=command, ExecutionProperty={"MaxConcurrentRuns": 3})
    first = glue.start_job_run(JobName="capacity", MaxCapacity=1.0, SecurityConfiguration="s")["JobRunId"]
    second = glue.start_job_run(JobName="capacity", JobRunId=first)["JobRunId"]
    found = [glue.get_job_run(JobName="capacity", RunId=run)["JobRun"] for run in (first, second)]
    assert (found[0]["MaxCapacity"], found[0]["SecurityConfiguration"]) == (1.0, "s")
    assert found[1]["PreviousRunId"] == first
    both = {"MaxCapacity": 1.0, "WorkerType": "G.1X", "NumberOfWorkers": 2}
    assert code_of(glue.start_job_run, JobName="capacity", **both) == "InvalidInputException"
    assert code_of(glue.start_job_run, JobName="capacity", JobRunId="jr_none") == "EntityNotFoundException"


def test_another_region_is_refused_with_words(account: Account) -> None:
    other = boto3.client(
        "sagemaker", "eu-west-1", endpoint_url=account.url, aws_access_key_id="test", aws_secret_access_key="test"
    )
    with pytest.raises(ClientError, match=r"InvalidSignatureException.*this request is for eu-west-1"):
        other.list_models()
    other.close()
