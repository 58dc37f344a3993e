"""IAM: policies of roles with a path, roles that are not there, the policies of AWS that people attach to SageMaker's and Glue's roles."""

from __future__ import annotations

import importlib
import json
from typing import Any

#: What the policies of AWS allow, as far as anything here looks at it: the SDK's check of a role, and users who read them.
_ALLOWED: dict[str, list[str]] = {
    "AmazonSageMakerFullAccess": [
        "sagemaker:*", "s3:GetObject", "s3:PutObject", "s3:DeleteObject", "s3:ListBucket", "s3:ListAllMyBuckets", "s3:CreateBucket",
        "s3:GetBucketLocation", "s3:GetBucketCors", "s3:PutBucketCors", "s3:GetBucketAcl", "s3:AbortMultipartUpload",
        "ecr:GetAuthorizationToken", "ecr:BatchCheckLayerAvailability", "ecr:GetDownloadUrlForLayer", "ecr:BatchGetImage", "ecr:Describe*",
        "logs:CreateLogGroup", "logs:CreateLogStream", "logs:PutLogEvents", "logs:Describe*", "logs:GetLogEvents",
        "cloudwatch:PutMetricData", "cloudwatch:GetMetricData", "cloudwatch:GetMetricStatistics", "cloudwatch:ListMetrics",
        "ec2:CreateNetworkInterface", "ec2:CreateNetworkInterfacePermission", "ec2:DeleteNetworkInterface", "ec2:Describe*",
        "kms:DescribeKey", "kms:ListAliases", "iam:ListRoles", "iam:GetRole", "iam:PassRole", "lambda:ListFunctions",
        "application-autoscaling:*", "glue:GetTable", "glue:GetTables", "glue:GetDatabases",
    ],
    "AmazonS3FullAccess": ["s3:*", "s3-object-lambda:*"],
    "AmazonSQSFullAccess": ["sqs:*"],
    "AmazonSNSFullAccess": ["sns:*"],
    "AWSGlueConsoleFullAccess": ["glue:*", "s3:ListAllMyBuckets", "s3:ListBucket", "s3:GetObject", "iam:ListRoles", "iam:PassRole"],
    "service-role/AWSGlueServiceRole": [
        "glue:*", "s3:GetBucketLocation", "s3:ListBucket", "s3:ListAllMyBuckets", "s3:GetBucketAcl", "ec2:Describe*",
        "iam:ListRolePolicies", "iam:GetRole", "iam:GetRolePolicy", "cloudwatch:PutMetricData",
        "logs:CreateLogGroup", "logs:CreateLogStream", "logs:PutLogEvents",
    ],
}  # fmt: skip


def mend() -> None:
    """Mend all of IAM that this module knows."""
    iam: Any = importlib.import_module("ministack.services.iam")
    for name, actions in _ALLOWED.items():
        arn = f"{iam._AWS_MANAGED_POLICY_PREFIX}{name}"
        if arn not in iam._aws_managed_policies:
            statement = {"Effect": "Allow", "Action": actions, "Resource": "*"}
            document = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
            iam._aws_managed_policies[arn] = iam._make_aws_managed_record(name, document, "")
    original = iam._simulate_principal_policy

    def simulate(params: Any) -> Any:
        source = iam._p(params, "PolicySourceArn") or ""
        head, _, resource = source.rpartition(":")
        kind, _, rest = resource.partition("/")
        name = rest.rpartition("/")[2]
        known = {"role": iam._roles, "user": iam._users}.get(kind)
        if known is not None and name not in known:
            return iam._error(404, "NoSuchEntity", f"The {kind} with name {name} cannot be found.", ns="iam")
        return original({**params, "PolicySourceArn": [f"{head}:{kind}/{name}"]})

    iam._simulate_principal_policy = simulate
    iam._IAM_HANDLERS["SimulatePrincipalPolicy"] = simulate
