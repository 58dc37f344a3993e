"""Requests are given the names that AWS's API reference has for them."""

import pytest

from local_aws.gateway.operation_names import Call, name_call

REGION = "eu-west-1"


def signed(service):
    return {
        "authorization": f"AWS4-HMAC-SHA256 Credential=AKID/20261121/{REGION}/{service}/aws4_request, SignedHeaders=host"
    }


@pytest.mark.parametrize(
    ("method", "path", "query", "more", "operation"),
    [
        ("GET", "/", "", {}, "ListBuckets"),
        ("HEAD", "/b", "", {}, "HeadBucket"),
        ("PUT", "/b", "", {}, "CreateBucket"),
        ("GET", "/b", "list-type=2&prefix=a%2F", {}, "ListObjectsV2"),
        ("GET", "/b/", "prefix=a", {}, "ListObjects"),
        ("GET", "/b", "versions", {}, "ListObjectVersions"),
        ("GET", "/b", "lifecycle", {}, "GetBucketLifecycleConfiguration"),
        ("POST", "/b", "delete", {}, "DeleteObjects"),
        ("GET", "/b/a/b c.csv", "", {}, "GetObject"),
        ("GET", "/b/a", "versionId=1", {}, "GetObject"),
        ("GET", "/b/a", "tagging", {}, "GetObjectTagging"),
        ("GET", "/b/a", "uploadId=u", {}, "ListParts"),
        ("PUT", "/b/a", "", {}, "PutObject"),
        ("PUT", "/b/a", "x-id=PutObject", {}, "PutObject"),
        ("PUT", "/b/a", "", {"x-amz-copy-source": "/b/c"}, "CopyObject"),
        ("PUT", "/b/a", "partNumber=1&uploadId=u", {}, "UploadPart"),
        ("PUT", "/b/a", "partNumber=1&uploadId=u", {"x-amz-copy-source": "/b/c"}, "UploadPartCopy"),
        ("POST", "/b/a", "uploads", {}, "CreateMultipartUpload"),
        ("POST", "/b/a", "uploadId=u", {}, "CompleteMultipartUpload"),
        ("DELETE", "/b/a", "uploadId=u", {}, "AbortMultipartUpload"),
        ("DELETE", "/b/a", "", {}, "DeleteObject"),
        ("PATCH", "/b/a", "", {}, ""),
    ],
)
def test_s3_is_known_by_method_path_query_and_headers(method, path, query, more, operation):
    assert name_call(method, path, query, signed("s3") | more, b"") == Call("s3", operation, "AKID", REGION)


def test_other_protocols_name_their_operation():
    target = {"x-amz-target": "AWSGlue.StartJobRun"}
    assert name_call("POST", "/", "", signed("glue") | target, b"{}") == Call("glue", "StartJobRun", "AKID", REGION)
    body = b"Action=GetCallerIdentity&Version=2011-06-15"
    assert name_call("POST", "/", "", signed("sts"), body) == Call("sts", "GetCallerIdentity", "AKID", REGION)
    path = "/2015-03-31/functions/analyze/invocations"
    assert name_call("POST", path, "", signed("lambda"), b"") == Call("lambda", "Invoke", "AKID", REGION)
    path = "/service/GraniteServiceVersion20100801/operation/PutMetricData"
    assert name_call("POST", path, "", signed("monitoring"), b"") == Call("monitoring", "PutMetricData", "AKID", REGION)
    path = "/endpoints/abalone/invocations"
    assert name_call("POST", path, "", signed("sagemaker"), b"") == Call(
        "sagemaker-runtime", "InvokeEndpoint", "AKID", REGION
    )


def test_a_presigned_url_names_its_caller_and_an_unsigned_request_has_none():
    query = "X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AKID%2F20261121%2Feu-west-1%2Fs3%2Faws4_request"
    assert name_call("GET", "/b/a", query, {}, b"") == Call("s3", "GetObject", "AKID", REGION)
    assert name_call("GET", "/b/a", "", {}, b"") == Call("", "", "", "")
