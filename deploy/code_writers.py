"""Who may write what is executed or believed: the deployers, and the roles in which the DAGs' tasks act. The buckets refuse all others.

The policies only deny: a writer still needs the right from a policy of its own. The account's root user is always among them, so nobody
can be locked out.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from fnmatch import fnmatchcase
from typing import Any

from botocore.exceptions import ClientError

from retraining.aws.errors import error_code

SID = "OnlyDeployersWrite"
WRITING = ("s3:PutObject", "s3:DeleteObject", "s3:DeleteObjectVersion", "s3:ReplicateObject", "s3:ReplicateDelete")
GUARDING = ("s3:PutBucketPolicy", "s3:DeleteBucketPolicy", "s3:PutLifecycleConfiguration", "s3:PutBucketVersioning")
"""What would undo the policy, or delete and overwrite objects without asking it."""
_TASK_ROLES = ("environment-ExecutionRole-*", "verification-TaskRole-*", "airflow")
"""Ends of the names of roles in which tasks act: MWAA's, that of `make verify-aws`, and that of any other Airflow."""


class CodeWritersError(RuntimeError):
    """It cannot be said who may write, or the caller may not; nothing was changed."""


def code_writers(session: Any, environment: str, bucket: str, named: Sequence[str]) -> tuple[str, ...]:
    """Return ARNs, some with ``*``, of all who may write code, models and records of a deployment.

    Args:
        session: boto3 session of the account and region.
        environment: name of the deployment.
        bucket: its artifacts bucket.
        named: the deployers that its file names; see `deployers`.

    """
    account = session.client("sts").get_caller_identity()["Account"]
    roles = f"arn:{session.get_partition_for_region(session.region_name)}:iam::{account}:role/retraining-{environment}-"
    return (*deployers(session, bucket, named), *(f"{roles}{end}" for end in _TASK_ROLES))


def deployers(session: Any, bucket: str, named: Sequence[str]) -> tuple[str, ...]:
    """Return the ARNs of who may deploy, the account's root user first.

    They are those that the deployment's file names; without any, those of the deployment that stands; without one, the caller.

    Raises:
        CodeWritersError: the account does not tell.

    """
    identity = session.client("sts").get_caller_identity()
    root = f"arn:{session.get_partition_for_region(session.region_name)}:iam::{identity['Account']}:root"
    standing = None if named else _standing(session.client("s3"), bucket, identity["Account"])
    if standing:
        return standing
    return tuple(dict.fromkeys((root, *(named or principals(identity["Arn"])))))


def check_caller_writes(session: Any, bucket: str, named: Sequence[str]) -> None:
    """Refuse a caller whom the buckets would refuse; paths of roles are left to S3, for a caller does not know its own.

    Raises:
        CodeWritersError: it is so; the message says who may, and what to do.

    """
    known = deployers(session, bucket, named)
    caller = principals(session.client("sts").get_caller_identity()["Arn"])[0]
    if not any(fnmatchcase(_without_path(caller), _without_path(form)) for form in known):
        raise CodeWritersError(
            f"{caller} is none of the deployers, whom alone the buckets let write code: {', '.join(known)}. Let one of them deploy, or add "
            "this ARN to deployers in the deployment's file and let one of them deploy it"
        )


def principals(arn: str) -> tuple[str, ...]:
    """Return the ARNs by which policies know a caller: a session in a role has the role's, which may have a path."""
    account, _, session = arn.partition(":assumed-role/")
    if not session:
        return (arn,)
    role = f"{account.replace(':sts:', ':iam:')}:role/"
    return (f"{role}{session.split('/')[0]}", f"{role}*/{session.split('/')[0]}")


def only_writers(bucket_arn: str, writers: Sequence[str]) -> list[dict[str, Any]]:
    """Return statements of a bucket's policy that refuse all others to write objects of the bucket, and to change the policy."""
    others = {"ArnNotLike": {"aws:PrincipalArn": list(writers)}}
    return [
        {
            "Sid": sid,
            "Effect": "Deny",
            "Principal": "*",
            "Action": list(actions),
            "Resource": resource,
            "Condition": others,
        }
        for sid, actions, resource in (
            (SID, WRITING, f"{bucket_arn}/*"),
            (f"{SID}Policy", GUARDING, bucket_arn),
        )
    ]


def _without_path(arn: str) -> str:
    kind, _, name = arn.partition("/")
    return f"{kind}/{name.rpartition('/')[2]}"


def _standing(s3: Any, bucket: str, account: str) -> tuple[str, ...]:
    """Return the deployers that the policy of a bucket names, none when it has no such statement."""
    try:
        document = json.loads(s3.get_bucket_policy(Bucket=bucket, ExpectedBucketOwner=account)["Policy"])
    except ClientError as error:
        if error_code(error) in ("NoSuchBucket", "NoSuchBucketPolicy"):
            return ()
        raise CodeWritersError(
            f"the policy of {bucket} cannot be read ({error_code(error)}), so who may deploy is not known: name them in deployers in the "
            "deployment's file, or allow s3:GetBucketPolicy"
        ) from error
    found = [item for item in document["Statement"] if item.get("Sid") == SID]
    names = found[0]["Condition"]["ArnNotLike"]["aws:PrincipalArn"] if found else ()
    return (names,) if isinstance(names, str) else tuple(names)
