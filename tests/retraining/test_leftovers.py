"""Which jobs the end of a run takes for its own, when the account holds jobs of others with names like them."""

from types import SimpleNamespace

import pytest
from botocore.exceptions import ClientError

from retraining.jobs import leftovers
from retraining.jobs.job import Asker
from retraining.settings.access import AwsAccess

ASKER = Asker("mwaa", "abalone_retraining", "r1")


class Account:
    """SageMaker with two processing jobs in progress, the first of which answers a look at its tags with an error; no Glue runs."""

    exceptions = SimpleNamespace(ClientError=ClientError)

    def __init__(self, code: str):
        self.code = code

    def get_paginator(self, name):
        jobs = [{"ProcessingJobName": f"dev-abalone-{job}", "ProcessingJobArn": job} for job in ("theirs", "ours")]
        pages = {"list_processing_jobs": [{"ProcessingJobSummaries": jobs}]}
        return SimpleNamespace(paginate=lambda **_: pages.get(name, []))

    def list_tags(self, ResourceArn):
        if ResourceArn == "theirs":
            raise ClientError({"Error": {"Code": self.code, "Message": "no"}}, "ListTags")
        names = {"retraining:model": "abalone", **ASKER.names()}
        return {"Tags": [{"Key": key, "Value": value} for key, value in names.items()]}


@pytest.fixture
def stopped(monkeypatch):
    """What is stopped in an account whose first job answers with an error."""
    names = []
    kind = SimpleNamespace(
        stop=lambda access, handle: names.append(handle["name"]), title=lambda handle: handle["name"]
    )
    monkeypatch.setitem(leftovers.JOB_KINDS, "processing", kind)
    monkeypatch.setattr(leftovers, "slug", lambda name: "dev-abalone")

    def stop(code: str) -> list[str]:
        account = Account(code)
        monkeypatch.setattr(leftovers, "client", lambda service, access: account)
        return leftovers.stop_leftovers(AwsAccess(), "abalone", "merge", ASKER)

    return stop


@pytest.mark.parametrize("code", ["AccessDeniedException", "AccessDenied"])
def test_a_job_whose_tags_may_not_be_read_is_another_team_s_and_keeps_no_own_one_from_its_end(stopped, code):
    assert stopped(code) == ["dev-abalone-ours"]


def test_any_other_error_is_tried_again_by_the_task(stopped):
    with pytest.raises(ClientError, match="ThrottlingException"):
        stopped("ThrottlingException")
