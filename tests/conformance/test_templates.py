"""Rules of CloudFormation and of the services that cfn-lint does not know, and cfn-lint for regions that differ."""

import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import MagicMock

import cloudformation
import pytest
import yaml
from botocore.loaders import Loader
from pydantic import ValidationError

from deploy import artifacts, data_platform
from glue_scripts.merge.by_spark.publisher import Publisher
from retraining.settings.model_config import ModelConfig

TEMPLATES = sorted((artifacts.ROOT / "infra").glob("*.yaml"))
REGIONS = ("us-east-1", "us-west-2", "eu-central-1", "ap-southeast-2")
ENUMS = {  # parameter: service and shape that takes its values
    "WebserverAccess": ("mwaa", "WebserverAccessMode"),
    "LogLevel": ("mwaa", "LoggingLevel"),
}
LEFT_OUT = {"LogLevel": {"CRITICAL"}}  # nobody wants to see that little


def parts(path):
    return cloudformation.read(path)["Resources"].items()


def references(value) -> set[str]:
    """Return all logical ids that a value refers to, also inside of Fn::Sub."""
    if isinstance(value, dict):
        found = {value["Ref"]} if "Ref" in value else set()
        if "Fn::GetAtt" in value:
            found.add(str(value["Fn::GetAtt"]).split(".")[0])
        if isinstance(text := value.get("Fn::Sub"), str):
            found |= {name.split(".")[0] for name in re.findall(r"\$\{([^}]+)\}", text)}
        return found.union(*(references(item) for item in value.values()))
    return set().union(*(references(item) for item in value)) if isinstance(value, list) else set()


@pytest.mark.parametrize("region", REGIONS)
def test_templates_are_valid_in_a_region(region):
    tool = Path(sys.executable).parent / "cfn-lint"
    done = subprocess.run([tool, *TEMPLATES, "--regions", region], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: path.stem)
def test_a_first_creation_that_fails_leaves_nothing_that_keeps_the_second_from_succeeding(path):
    """`Retain` holds for the rollback of a creation, too: the name stays taken."""
    assert [name for name, item in parts(path) if item.get("DeletionPolicy") == "Retain"] == []


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: path.stem)
def test_no_zone_is_taken_by_position(path):
    """Letters of zones mean other zones in each account, and not every zone has every service."""
    assert "GetAZs" not in path.read_text()


def test_the_environment_comes_after_its_whole_network_and_goes_before_it():
    path = artifacts.ROOT / "infra" / "mwaa.yaml"
    resources = dict(parts(path))
    reached, todo = set(), ["Environment"]
    while todo:
        item = resources[todo.pop()]
        depends = item.get("DependsOn", [])
        named = references(item["Properties"]) | set([depends] if isinstance(depends, str) else depends)
        todo += sorted((named & set(resources)) - reached)
        reached |= named & set(resources)
    network = {name for name, item in resources.items() if item["Type"].startswith("AWS::EC2::")}
    assert network - reached == set()


@pytest.mark.parametrize("parameter", sorted(ENUMS))
def test_allowed_values_are_those_of_the_service(parameter):
    service, shape = ENUMS[parameter]
    known = set(Loader().load_service_model(service, "service-2")["shapes"][shape]["enum"])
    [allowed] = [
        item["Parameters"][parameter]["AllowedValues"]
        for item in map(cloudformation.read, TEMPLATES)
        if parameter in item["Parameters"]
    ]
    assert set(allowed) == known - LEFT_OUT.get(parameter, set())


def test_glue_is_a_version_whose_s3_file_system_keeps_to_the_roles_prefixes():
    allowed = cloudformation.read(artifacts.ROOT / "infra" / "data_platform.yaml")["Parameters"]["GlueVersion"][
        "AllowedValues"
    ]
    assert all(tuple(map(int, version.split("."))) >= (5, 1) for version in allowed)


def test_a_role_of_a_job_is_for_this_account_only():
    for name, item in parts(artifacts.ROOT / "infra" / "data_platform.yaml"):
        if item["Type"] == "AWS::IAM::Role":
            [statement] = item["Properties"]["AssumeRolePolicyDocument"]["Statement"]
            assert statement["Condition"]["StringEquals"]["aws:SourceAccount"] == {"Ref": "AWS::AccountId"}, name


def statements(role):
    resources = dict(parts(artifacts.ROOT / "infra" / "data_platform.yaml"))
    [policy] = resources[role]["Properties"]["Policies"]
    return [item for item in policy["PolicyDocument"]["Statement"] if "Fn::If" not in item]


def test_the_roles_of_glue_may_do_what_s3a_and_crawlers_do_unseen():
    """S3A ends unfinished uploads of committers; both look at the bucket, by calls that carry no prefix."""
    for role, needed in (
        ("GlueRole", {"s3:AbortMultipartUpload", "s3:ListMultipartUploadParts", "s3:ListBucketMultipartUploads"}),
        ("CrawlerRole", {"s3:GetBucketAcl"}),
    ):
        granted = set()
        for item in statements(role):
            granted |= {item["Action"]} if isinstance(item["Action"], str) else set(item["Action"])
            if item["Action"] == "s3:ListBucket":
                assert set(item["Condition"]) == {"StringLikeIfExists"}, role
        assert needed | {"s3:GetBucketLocation", "s3:ListBucket"} <= granted, role


def test_what_dead_merges_left_expires_by_a_rule_of_the_bucket():
    """S3A gives a folder the time of the look at it, so that its age says nothing."""
    bucket = dict(parts(artifacts.ROOT / "infra" / "data_platform.yaml"))["DataBucket"]["Properties"]
    days = {
        item["Prefix"]["Fn::Sub"].replace("${ModelName}", "m"): item["ExpirationInDays"]
        for item in bucket["LifecycleConfiguration"]["Rules"]
        if "Prefix" in item and isinstance(item["ExpirationInDays"], int)  # others are parameters
    }
    for root in ("dataset/", "quarantine/"):
        staging = Publisher(MagicMock(), f"s3://b/m/{root}", "b").staging
        assert min(days[prefix] for prefix in days if staging.startswith(f"s3://b/{prefix}")) == 7, root


def test_steps_written_with_the_sdk_reach_sts_without_internet():
    """A session of the SageMaker SDK asks STS whose it is."""
    template = cloudformation.read(artifacts.ROOT / "infra" / "mwaa.yaml")
    [endpoint] = [
        item
        for item in template["Resources"].values()
        if item["Properties"].get("ServiceName") == {"Fn::Sub": "com.amazonaws.${AWS::Region}.sts"}
    ]
    needed = template["Conditions"][endpoint["Condition"]]["Fn::And"]
    assert needed == [{"Condition": "UseEndpoints"}, {"Condition": "HasStartup"}]


def test_no_model_has_the_bucket_of_its_deployment():
    sts = SimpleNamespace(get_caller_identity=lambda: {"Account": "123456789012"})
    session = SimpleNamespace(client=lambda _: sts, region_name="us-east-1")
    assert data_platform.artifacts_bucket(session, "prod") == data_platform.data_bucket(session, "prod", "artifacts")
    document = yaml.safe_load((artifacts.ROOT / "dags" / "models" / "abalone" / "model.yaml").read_text())
    with pytest.raises(ValidationError, match="name artifacts is taken"):
        ModelConfig.model_validate(document | {"name": "artifacts"})


def test_who_starts_the_merge_cannot_choose_its_script():
    job = dict(parts(artifacts.ROOT / "infra" / "data_platform.yaml"))["MergeJob"]["Properties"]
    fixed = job["NonOverridableArguments"]
    assert fixed["--scriptLocation"] == job["Command"]["ScriptLocation"]
    assert fixed["--conf"] == "spark.sql.variable.substitute=false"


def test_the_client_waits_for_the_analysis_longer_than_it_may_take_and_the_task_longer_than_both():
    from airflow.dag_processing.dagbag import DagBag

    from retraining.judging.candidates import LONGEST_ANALYSIS

    function = dict(parts(artifacts.ROOT / "infra" / "data_platform.yaml"))["AnalyzeFunction"]["Properties"]
    task = (
        DagBag(artifacts.ROOT / "dags", bundle_path=artifacts.ROOT / "dags")
        .dags["abalone_retraining"]
        .get_task("analyze_results")
    )
    assert function["Timeout"] < LONGEST_ANALYSIS < task.execution_timeout.total_seconds()
    assert function["MemorySize"] >= 1769, "CPU comes with memory: less is less than one CPU"
