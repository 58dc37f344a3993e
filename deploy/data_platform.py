"""Deploys infra/data_platform.yaml for one model: artifacts bucket, artifacts, CloudFormation stack."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from botocore.exceptions import ClientError

from deploy import artifacts
from deploy.stacks import Change, StackRequest, deploy_stack, outputs

TEMPLATE = artifacts.ROOT / "infra" / "data_platform.yaml"
Say = Callable[[str], None]


def stack_name(model: str) -> str:
    """Return the name of a model's stack."""
    return f"retraining-{model}"


def artifacts_bucket(session: Any) -> str:
    """Return the name of the account's artifacts bucket."""
    account = session.client("sts").get_caller_identity()["Account"]
    return f"retraining-artifacts-{account}-{session.region_name}"


def ensure_artifacts_bucket(session: Any) -> str:
    """Create the artifacts bucket, versioned, encrypted and closed to the public, unless it exists; return its name."""
    s3, name = session.client("s3"), artifacts_bucket(session)
    try:
        s3.head_bucket(Bucket=name)
    except ClientError as error:
        if error.response["ResponseMetadata"]["HTTPStatusCode"] != 404:
            raise
        place = (
            {}
            if session.region_name == "us-east-1"
            else {"CreateBucketConfiguration": {"LocationConstraint": session.region_name}}
        )
        s3.create_bucket(Bucket=name, **place)
        s3.put_bucket_versioning(Bucket=name, VersioningConfiguration={"Status": "Enabled"})
        s3.put_public_access_block(
            Bucket=name,
            PublicAccessBlockConfiguration={
                "BlockPublicAcls": True,
                "BlockPublicPolicy": True,
                "IgnorePublicAcls": True,
                "RestrictPublicBuckets": True,
            },
        )
        s3.put_bucket_encryption(
            Bucket=name,
            ServerSideEncryptionConfiguration={
                "Rules": [{"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "AES256"}}]
            },
        )
        s3.put_bucket_policy(Bucket=name, Policy=json.dumps(tls_only(name, session)))
    return name


def tls_only(bucket: str, session: Any) -> dict[str, Any]:
    """Return a bucket policy that refuses requests without TLS."""
    arn = f"arn:{session.get_partition_for_region(session.region_name)}:s3:::{bucket}"
    statement = {
        "Sid": "TlsOnly",
        "Effect": "Deny",
        "Principal": "*",
        "Action": "s3:*",
        "Resource": [arn, f"{arn}/*"],
        "Condition": {"Bool": {"aws:SecureTransport": "false"}},
    }
    return {"Version": "2012-10-17", "Statement": [statement]}


def parts(root: Path = artifacts.ROOT) -> dict[str, artifacts.Artifact]:
    """Return what the template names by key: the Glue script, the archive of its modules and that of the Lambda function."""
    return {
        "GlueScriptKey": artifacts.glue_script(root),
        "GlueModulesKey": artifacts.glue_modules(root),
        "AnalyzeFunctionKey": artifacts.analyze_function(root),
    }


def request(
    model: str,
    bucket: str,
    settings: Mapping[str, str],
    root: Path = artifacts.ROOT,
    tags: Mapping[str, str] | None = None,
) -> StackRequest:
    """Return the stack of a model's platform.

    Args:
        model: the model's name.
        bucket: the artifacts bucket.
        settings: further template parameters, such as ``PollSeconds``.
        root: the project's folder.
        tags: tags of the stack's resources besides the project's.

    """
    parameters = {
        "ModelName": model,
        "ArtifactsBucket": bucket,
        **{name: part.key for name, part in parts(root).items()},
        **settings,
    }
    return StackRequest(stack_name(model), TEMPLATE.read_text(encoding="utf-8"), parameters, tags or {})


def deploy(
    session: Any, model: str, settings: Mapping[str, str], say: Say, root: Path = artifacts.ROOT
) -> tuple[Change, dict[str, str]]:
    """Bring the platform of a model up to date.

    Args:
        session: boto3 session of the account and region.
        model: the model's name.
        settings: further template parameters, such as ``PollSeconds``.
        say: takes one line of progress.
        root: the project's folder.

    Returns:
        What happened to the stack, and its outputs.

    """
    bucket, s3 = ensure_artifacts_bucket(session), session.client("s3")
    for artifact in parts(root).values():
        if artifacts.upload(s3, bucket, artifact):
            say(f"uploaded s3://{bucket}/{artifact.key}")
    change = deploy_stack(session, request(model, bucket, settings, root), say)
    return change, outputs(session, stack_name(model))
