"""Deploys infra/data_platform.yaml for one model: artifacts bucket, artifacts, CloudFormation stack."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from botocore.exceptions import ClientError

from deploy import artifacts
from deploy.code_writers import code_writers, deployers, only_writers
from deploy.stacks import Change, StackRequest, deploy_stack, outputs

TEMPLATE = artifacts.ROOT / "infra" / "data_platform.yaml"
Say = Callable[[str], None]
BUCKET_NAME_LIMIT = 63


def stack_name(environment: str, model: str) -> str:
    """Return the name of a model's stack in a deployment."""
    return f"retraining-{environment}-{model}"


def glue_database(environment: str, model: str) -> str:
    """Return the name of a model's Glue database in a deployment."""
    return f"retraining_{environment}_{model}"


def bucket_name(environment: str, name: str, account: str, region: str) -> str:
    """Return the name of a bucket: ``retraining-ENV-NAME-ACCOUNT-REGION``, with a digest in place of what is too long for S3."""
    whole = f"retraining-{environment}-{name}-{account}-{region}"
    if len(whole) <= BUCKET_NAME_LIMIT:
        return whole
    digest = hashlib.sha256(name.encode()).hexdigest()[:8]
    kept = name[: len(name) - (len(whole) - BUCKET_NAME_LIMIT) - len(digest) - 1].rstrip("-")
    return f"retraining-{environment}-{kept}-{digest}-{account}-{region}"


def account_of(session: Any) -> str:
    """Return the account that the session's credentials belong to."""
    return str(session.client("sts").get_caller_identity()["Account"])


def artifacts_bucket(session: Any, environment: str) -> str:
    """Return the name of a deployment's artifacts bucket."""
    return bucket_name(environment, "artifacts", account_of(session), session.region_name)


def data_bucket(session: Any, environment: str, model: str) -> str:
    """Return the name of a model's data bucket in a deployment."""
    return bucket_name(environment, model, account_of(session), session.region_name)


def ensure_artifacts_bucket(session: Any, environment: str, named: Sequence[str] = ()) -> str:
    """Create a deployment's artifacts bucket unless it exists; version, encrypt and close it to the public every time; return its name.

    Every call names the owner, so that a bucket that a stranger made under this name is refused. All in it is code: only deployers write,
    see `deploy.code_writers.deployers` for who they are and for `named`.
    """
    s3, name = session.client("s3"), artifacts_bucket(session, environment)
    owner = {"ExpectedBucketOwner": account_of(session)}
    try:
        s3.head_bucket(Bucket=name, **owner)
    except ClientError as error:
        if error.response["ResponseMetadata"]["HTTPStatusCode"] != 404:
            raise
        place = (
            {}
            if session.region_name == "us-east-1"
            else {"CreateBucketConfiguration": {"LocationConstraint": session.region_name}}
        )
        s3.create_bucket(Bucket=name, **place)
    s3.put_bucket_versioning(Bucket=name, VersioningConfiguration={"Status": "Enabled"}, **owner)
    s3.put_public_access_block(
        Bucket=name,
        PublicAccessBlockConfiguration={
            "BlockPublicAcls": True,
            "BlockPublicPolicy": True,
            "IgnorePublicAcls": True,
            "RestrictPublicBuckets": True,
        },
        **owner,
    )
    s3.put_bucket_encryption(
        Bucket=name,
        ServerSideEncryptionConfiguration={
            "Rules": [{"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "AES256"}}]
        },
        **owner,
    )
    policy = artifacts_policy(name, session, deployers(session, name, named))
    s3.put_bucket_policy(Bucket=name, Policy=json.dumps(policy), **owner)
    return name


def artifacts_policy(bucket: str, session: Any, writers: Sequence[str]) -> dict[str, Any]:
    """Return the policy of the artifacts bucket: TLS only, and written by these alone."""
    arn = f"arn:{session.get_partition_for_region(session.region_name)}:s3:::{bucket}"
    tls_only = {
        "Sid": "TlsOnly",
        "Effect": "Deny",
        "Principal": "*",
        "Action": "s3:*",
        "Resource": [arn, f"{arn}/*"],
        "Condition": {"Bool": {"aws:SecureTransport": "false"}},
    }
    return {"Version": "2012-10-17", "Statement": [tls_only, *only_writers(arn, writers)]}


def parts(root: Path = artifacts.ROOT) -> dict[str, artifacts.Artifact]:
    """Return what the template names by key: the Glue script, the archive of its modules and that of the Lambda function."""
    return {
        "GlueScriptKey": artifacts.glue_script(root),
        "GlueModulesKey": artifacts.glue_modules(root),
        "AnalyzeFunctionKey": artifacts.analyze_function(root),
    }


def request(
    session: Any,
    environment: str,
    model: str,
    settings: Mapping[str, str],
    root: Path = artifacts.ROOT,
    tags: Mapping[str, str] | None = None,
    named: Sequence[str] = (),
) -> StackRequest:
    """Return the stack of a model's platform.

    Args:
        session: boto3 session of the account and region.
        environment: name of the deployment.
        model: the model's name.
        settings: further template parameters, such as ``PollSeconds``.
        root: the project's folder.
        tags: tags of the stack's resources besides the project's.
        named: the deployers that the deployment's file names.

    """
    bucket = artifacts_bucket(session, environment)
    parameters = {
        "EnvironmentName": environment,
        "ModelName": model,
        "DataBucketName": data_bucket(session, environment, model),
        "ArtifactsBucket": bucket,
        "CodeWriters": ",".join(code_writers(session, environment, bucket, named)),
        **{name: part.key for name, part in parts(root).items()},
        **settings,
    }
    template = TEMPLATE.read_text(encoding="utf-8")
    return StackRequest(
        stack_name(environment, model), template, parameters, {"environment": environment, **(tags or {})}
    )


def deploy(
    session: Any,
    environment: str,
    model: str,
    settings: Mapping[str, str],
    say: Say,
    root: Path = artifacts.ROOT,
    named: Sequence[str] = (),
) -> tuple[Change, dict[str, str]]:
    """Bring the platform of a model up to date.

    Args:
        session: boto3 session of the account and region.
        environment: name of the deployment.
        model: the model's name.
        settings: further template parameters, such as ``PollSeconds``.
        say: takes one line of progress.
        root: the project's folder.
        named: the deployers that the deployment's file names.

    Returns:
        What happened to the stack, and its outputs.

    """
    bucket, s3 = ensure_artifacts_bucket(session, environment, named), session.client("s3")
    for artifact in parts(root).values():
        if artifacts.upload(s3, bucket, artifact):
            say(f"uploaded s3://{bucket}/{artifact.key}")
    change = deploy_stack(session, request(session, environment, model, settings, root, named=named), say)
    return change, outputs(session, stack_name(environment, model))
