"""What services answer and local_aws cannot: clocks that differ, endpoints that take minutes to go, digests of images."""

from datetime import UTC, datetime, timedelta

import pytest
from botocore.exceptions import ClientError

from retraining.dag.operators import LONGEST_WAIT
from retraining.jobs import endpoint_update, glue_crawl, sagemaker_job
from retraining.jobs.endpoint_update import EndpointUpdate
from retraining.jobs.glue_crawl import GlueCrawl
from retraining.jobs.job import JobBusyError
from retraining.jobs.kinds import JOB_KINDS
from retraining.settings.access import AwsAccess

ASKED = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
REGISTRY = "123456789012.dkr.ecr.us-east-1.amazonaws.com"


class Endpoint:
    """SageMaker with one endpoint, whose deletion takes a few looks."""

    def __init__(self, *states):
        self.states, self.made, self.deleted = list(states), [], 0

    def describe_endpoint(self, EndpointName):
        state = self.states.pop(0) if len(self.states) > 1 else self.states[0]
        if state is None:
            error = {"Error": {"Code": "ValidationException", "Message": f'Could not find endpoint "{EndpointName}".'}}
            raise ClientError(error, "DescribeEndpoint")
        image = {"SpecifiedImage": f"{REGISTRY}/sklearn:1", "ResolvedImage": f"{REGISTRY}/sklearn@sha256:abc"}
        variants = [{"VariantName": "AllTraffic", "DeployedImages": [image]}]
        return {"EndpointStatus": state, "EndpointConfigName": "c", "ProductionVariants": variants}

    def delete_endpoint(self, EndpointName):
        self.deleted += 1

    def create_endpoint(self, **request):
        self.made.append(request)


def test_an_endpoint_that_failed_is_deleted_once_and_its_successor_waits_for_hours_without_a_worker(monkeypatch):
    sagemaker = Endpoint("Failed", "Deleting", "Deleting", None)
    monkeypatch.setattr(endpoint_update, "client", lambda *_: sagemaker)
    request = {"EndpointName": "e", "EndpointConfigName": "c"}
    for _ in range(3):
        with pytest.raises(JobBusyError):  # which the operator answers with a deferred pause
            EndpointUpdate().submit(AwsAccess(), "m", "deploy", request)
    assert (sagemaker.deleted, sagemaker.made) == (1, [])
    assert not EndpointUpdate().submit(AwsAccess(), "m", "deploy", request).adopted
    assert (sagemaker.deleted, len(sagemaker.made)) == (1, 1)
    assert timedelta(hours=1) <= LONGEST_WAIT


def test_what_a_tag_of_an_image_meant_is_kept_with_the_deployment(monkeypatch):
    monkeypatch.setattr(endpoint_update, "client", lambda *_: Endpoint("InService"))
    result = EndpointUpdate().result(AwsAccess(), {"endpoint": "e", "config": "c"})
    assert result["images"] == {f"{REGISTRY}/sklearn:1": f"{REGISTRY}/sklearn@sha256:abc"}


class Crawler:
    """Glue with a crawler whose last crawl began at a moment of Glue's own clock."""

    def __init__(self, began):
        self.began, self.started = began, 0

    def get_crawler(self, Name):
        last = {"StartTime": self.began, "Status": "SUCCEEDED"}
        return {"Crawler": {"Name": Name, "State": "READY", "DatabaseName": "d", "LastCrawl": last}}

    def get_paginator(self, _):
        return self

    def paginate(self, **_):
        return iter([])

    def update_crawler(self, **_):
        pass

    def start_crawler(self, Name):
        self.started += 1
        return {"ResponseMetadata": {"HTTPHeaders": {"date": "Fri, 02 Jan 2026 03:05:00 GMT"}}}


@pytest.mark.parametrize(("seconds", "again"), [(-3, 0), (0, 0), (2, 0), (-60, 1)])
def test_a_crawl_stamped_by_another_clock_is_not_paid_for_twice(monkeypatch, seconds, again):
    glue = Crawler(ASKED + timedelta(seconds=seconds))
    monkeypatch.setattr(glue_crawl, "client", lambda *_: glue)
    handle = {"request": {"Name": "c"}, "after": ASKED.timestamp(), "previous": None}
    status = GlueCrawl().poll(AwsAccess(), handle)
    assert (glue.started, status.outcome) == (again, "running" if again else "succeeded")


@pytest.mark.parametrize("slash", ["", "/"])
@pytest.mark.parametrize(("key", "outcome"), [("r/evaluation/rows.csv", "succeeded"), ("r/evaluation-2/a", "failed")])
def test_an_output_counts_below_its_uri_and_not_beside_it(monkeypatch, slash, key, outcome):
    class Services:
        def describe_processing_job(self, ProcessingJobName):
            output = {"S3Output": {"S3Uri": f"s3://b/r/evaluation{slash}"}}
            return {"ProcessingJobStatus": "Completed", "ProcessingOutputConfig": {"Outputs": [output]}}

        def list_objects_v2(self, Bucket, Prefix, MaxKeys):
            return {"Contents": [{"Key": key}]} if key.startswith(Prefix) else {}

    monkeypatch.setattr(sagemaker_job, "client", lambda *_: Services())
    assert JOB_KINDS["processing"].poll(AwsAccess(), {"name": "j"}).outcome == outcome
