"""An API call as IAM sees it: which actions on which resources it needs, and under which condition keys."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

ACCOUNT = "000000000000"
RENAMED = {
    ("s3", "ListObjects"): "s3:ListBucket",
    ("s3", "ListObjectsV2"): "s3:ListBucket",
    ("s3", "HeadBucket"): "s3:ListBucket",
    ("s3", "ListObjectVersions"): "s3:ListBucketVersions",
    ("s3", "ListBuckets"): "s3:ListAllMyBuckets",
    ("s3", "HeadObject"): "s3:GetObject",
    ("s3", "CopyObject"): "s3:PutObject",
    ("s3", "CreateMultipartUpload"): "s3:PutObject",
    ("s3", "UploadPart"): "s3:PutObject",
    ("s3", "UploadPartCopy"): "s3:PutObject",
    ("s3", "CompleteMultipartUpload"): "s3:PutObject",
    ("s3", "ListParts"): "s3:ListMultipartUploadParts",
    ("s3", "ListMultipartUploads"): "s3:ListBucketMultipartUploads",
    ("s3", "DeleteObjects"): "s3:DeleteObject",
    ("s3", "GetBucketLifecycleConfiguration"): "s3:GetLifecycleConfiguration",
    ("s3", "PutBucketLifecycleConfiguration"): "s3:PutLifecycleConfiguration",
    ("s3", "DeleteBucketLifecycle"): "s3:PutLifecycleConfiguration",
    ("s3", "PutBucketEncryption"): "s3:PutEncryptionConfiguration",
    ("s3", "PutPublicAccessBlock"): "s3:PutBucketPublicAccessBlock",
    ("sqs", "DeleteMessageBatch"): "sqs:DeleteMessage",
    ("lambda", "Invoke"): "lambda:InvokeFunction",
    ("sagemaker-runtime", "InvokeEndpoint"): "sagemaker:InvokeEndpoint",
    ("sagemaker-metrics", "BatchPutMetrics"): "sagemaker:BatchPutMetrics",
    ("sagemaker-runtime", "InvokeEndpointAsync"): "sagemaker:InvokeEndpointAsync",
    ("sagemaker-runtime", "InvokeEndpointWithResponseStream"): "sagemaker:InvokeEndpointWithResponseStream",
}
_OF_A_VERSION = {"s3:GetObject": "s3:GetObjectVersion", "s3:DeleteObject": "s3:DeleteObjectVersion"}
_COPIES = ("CopyObject", "UploadPartCopy")
_PASSED_TO = {"sagemaker": "sagemaker.amazonaws.com", "glue": "glue.amazonaws.com", "lambda": "lambda.amazonaws.com"}
_NAMED = {
    "cloudformation": ("StackName", "stack/{}/*"),
    "ssm": ("Name", "parameter{}"),
    "lambda": ("FunctionName", "function:{}"),
    "logs": ("logGroupName", "log-group:{}:*"),
}
_GLUE_KINDS = (("Crawler", "crawler"), ("Job", "job"), ("Database", "database"))  # of an operation that has only a Name
_SAGEMAKER_KINDS = {
    "HyperParameterTuningJobName": "hyper-parameter-tuning-job",
    "TrainingJobName": "training-job",
    "ProcessingJobName": "processing-job",
    "TransformJobName": "transform-job",
    "EndpointName": "endpoint",
    "EndpointConfigName": "endpoint-config",
    "ModelPackageGroupName": "model-package-group",
    "ModelName": "model",
    "PipelineName": "pipeline",
    "TrialComponentName": "experiment-trial-component",
    "TrialName": "experiment-trial",
    "ExperimentName": "experiment",
}


@dataclass(frozen=True, order=True)
class Call:
    """What IAM is asked for: an action on a resource, with the condition keys that the request has."""

    action: str
    resource: str = ""
    keys: tuple[tuple[str, str], ...] = field(default=(), compare=False)


def action(service: str, operation: str) -> str:
    """Return the IAM action of an operation."""
    return RENAMED.get((service, operation), f"{service}:{operation}")


def calls(service: str, operation: str, params: Mapping[str, Any], region: str) -> Iterator[Call]:
    """Yield what IAM asks for one API call: the action itself, tags, copied objects, and roles that are handed over.

    `service` and `operation` are botocore's names, `params` botocore's parameters; resources without an ARN in them are in
    `region`. A resource that is not known here is ``*``.
    """
    if service == "s3":
        yield from _s3_calls(operation, params)
        return
    resource = _resource(service, operation, params, region)
    yield Call(action(service, operation), resource, _scaled(params) if service == "application-autoscaling" else ())
    if service == "sagemaker" and params.get("Tags") and operation != "AddTags":
        yield Call("sagemaker:AddTags", resource)
    trials = params.get("TrainingJobDefinition")
    for holder in (params, trials if isinstance(trials, Mapping) else {}):
        for name in ("RoleArn", "ExecutionRoleArn", "Role"):
            if isinstance(holder.get(name), str) and service in _PASSED_TO:
                yield Call("iam:PassRole", holder[name], (("iam:passedtoservice", _PASSED_TO[service]),))


def _scaled(params: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    """Return the condition keys that tell what is scaled."""
    members = (("ServiceNamespace", "service-namespace"), ("ScalableDimension", "scalable-dimension"))
    return tuple((f"application-autoscaling:{key}", params[name]) for name, key in members if name in params)


def _s3_calls(operation: str, params: Mapping[str, Any]) -> Iterator[Call]:
    name = action("s3", operation)
    if params.get("VersionId"):
        name = _OF_A_VERSION.get(name, name)
    bucket = f"arn:aws:s3:::{params['Bucket']}" if "Bucket" in params else "*"
    if operation == "DeleteObjects":
        for item in params["Delete"]["Objects"]:
            deleted = _OF_A_VERSION[name] if item.get("VersionId") else name
            yield Call(deleted, f"{bucket}/{item['Key']}")
        return
    keys = (("s3:prefix", params["Prefix"]),) if params.get("Prefix") is not None else ()
    yield Call(name, f"{bucket}/{params['Key']}" if params.get("Key") else bucket, keys)
    if operation in _COPIES:
        yield _copied(params["CopySource"])


def _copied(source: Any) -> Call:
    if isinstance(source, Mapping):
        version, place = source.get("VersionId"), f"{source['Bucket']}/{source['Key']}"
    else:
        place, _, version = source.lstrip("/").partition("?versionId=")
    return Call("s3:GetObjectVersion" if version else "s3:GetObject", f"arn:aws:s3:::{place}")


def _resource(service: str, operation: str, params: Mapping[str, Any], region: str) -> str:
    if service == "sns":
        return str(params.get("TopicArn", "*"))
    if service == "sqs":
        queue = params.get("QueueName") or str(params.get("QueueUrl", "*")).rsplit("/", 1)[-1]
        return f"arn:aws:sqs:{region}:{ACCOUNT}:{queue}"
    if service in _NAMED:
        name, form = _NAMED[service]
        return f"arn:aws:{service}:{region}:{ACCOUNT}:{form.format(params[name])}" if name in params else "*"
    if service == "application-autoscaling":
        targets = f"arn:aws:{service}:{region}:{ACCOUNT}:scalable-target/*"
        return "*" if operation.startswith("Describe") else targets
    if service == "glue":
        return _glue_resource(operation, params, region)
    if service in ("sagemaker", "sagemaker-runtime"):
        return _sagemaker_resource(operation, params, region)
    return "*"


def _glue_resource(operation: str, params: Mapping[str, Any], region: str) -> str:
    found = next(
        (
            f"{kind}/{params[name]}"
            for name, kind in (("JobName", "job"), ("DatabaseName", "database"))
            if name in params
        ),
        None,
    )
    if found is None and "Name" in params:
        found = next((f"{kind}/{params['Name']}" for noun, kind in _GLUE_KINDS if noun in operation), None)
    return f"arn:aws:glue:{region}:{ACCOUNT}:{found}" if found else "*"


def _sagemaker_resource(operation: str, params: Mapping[str, Any], region: str) -> str:
    if operation.startswith("List") and operation not in ("ListTags", "ListTrainingJobsForHyperParameterTuningJob"):
        return "*"
    for name in ("ResourceArn", "ModelPackageArn"):
        if name in params:
            return str(params[name])
    if operation == "DescribeModelPackage":
        return str(params["ModelPackageName"])
    found = next(((kind, params[name]) for name, kind in _SAGEMAKER_KINDS.items() if name in params), None)
    return f"arn:aws:sagemaker:{region}:{ACCOUNT}:{found[0]}/{found[1]}" if found else "*"
