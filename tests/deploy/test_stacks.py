"""First creations that fail half-way, against the local CloudFormation."""

import pytest

from deploy import data_platform, stacks

BROKEN = """
  Broken:
    Type: AWS::Lambda::Url
    DependsOn: DataBucket
    Properties:
      AuthType: AWS_IAM
      TargetFunctionArn: there-is-no-such-function
"""


def test_a_first_creation_that_fails_half_way_can_be_repeated(session):
    """The bucket is made, something after it fails, the roll-back takes the bucket away: its name is free again."""
    bucket = data_platform.ensure_artifacts_bucket(session, "dev")
    for part in data_platform.parts().values():
        data_platform.artifacts.upload(session.client("s3"), bucket, part)
    whole = data_platform.request(session, "dev", "halfway", {})
    marker = "\nOutputs:\n"
    broken = stacks.StackRequest(whole.name, whole.template.replace(marker, BROKEN + marker), whole.parameters)
    assert broken.template != whole.template
    said = []
    with pytest.raises(stacks.StackError, match="Broken"):
        stacks.deploy_stack(session, broken, said.append)
    names = [item["Name"] for item in session.client("s3").list_buckets()["Buckets"]]
    assert not [name for name in names if "halfway" in name]
    assert stacks.deploy_stack(session, whole, said.append) == "created"


@pytest.mark.parametrize(
    ("state", "remedy"), [("REVIEW_IN_PROGRESS", "delete-stack"), ("UPDATE_ROLLBACK_FAILED", "continue-update")]
)
def test_a_stack_that_waits_for_a_person_is_not_waited_for(session, monkeypatch, state, remedy):
    monkeypatch.setattr(stacks, "describe", lambda *_: {"StackStatus": state})
    with pytest.raises(stacks.StackError, match=f"stack x needs a person, it is {state}: .*{remedy}"):
        stacks.deploy_stack(session, stacks.StackRequest("x", "{}", {}), print)
