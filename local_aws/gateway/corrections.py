"""Where MiniStack answers otherwise than AWS and a user of this package would meet it: each is mended in front of it.

Every correction wraps one of MiniStack's own functions, once, when its service is first asked for.
"""

from __future__ import annotations

import importlib
import json
import re
import sys
from typing import Any
from urllib.parse import unquote

from local_aws.shared.errors import ServiceError
from local_aws.shared.listing import page_of

_applied: set[str] = set()
_EQUALITY = re.compile(r"\s*\(?\s*[`\"]?(\w+)[`\"]?\s*=\s*(?:'([^']*)'|(-?\d+))\s*\)?\s*")

#: Operations of Glue that MiniStack answers with success although nothing happens.
PRETENDED = ("StartTrigger", "StartWorkflowRun", "ResumeWorkflowRun")


def apply(service: str) -> None:
    """Mend a service before its first request."""
    if service in _applied:
        return
    _applied.add(service)
    if service in ("cloudformation", "glue"):
        keep_execution_property(with_templates=service == "cloudformation")
    if service == "glue":
        choose_partitions()
    if service == "s3":
        respect_conditions_of_copies()


# -- S3 -----------------------------------------------------------------------------------------------------------------


def respect_conditions_of_copies() -> None:
    """Let CopyObject look at If-Match and If-None-Match of its target, and refuse a copy onto itself that changes nothing."""
    s3: Any = importlib.import_module("ministack.services.s3")
    original = s3._copy_object

    def copy(bucket: str, key: str, headers: dict[str, str]) -> Any:
        target = s3._ensure_bucket(bucket)
        if target is not None and (refused := s3._check_put_preconditions(headers, target.get("objects", {}).get(key))):
            return refused
        source = unquote(headers.get("x-amz-copy-source", "").lstrip("/"))
        if source == f"{bucket}/{key}" and not _changes_something(headers):
            return s3._error(
                "InvalidRequest",
                "This copy request is illegal because it is trying to copy an object to itself without changing the object's "
                "metadata, storage class, website redirect location or encryption attributes.",
                400,
            )
        return original(bucket, key, headers)

    s3._copy_object = copy


def _changes_something(headers: dict[str, str]) -> bool:
    changing = ("x-amz-storage-class", "x-amz-website-redirect-location", "x-amz-server-side-encryption")
    directives = ("x-amz-metadata-directive", "x-amz-tagging-directive")
    return any(name in headers for name in changing) or any(headers.get(name) == "REPLACE" for name in directives)


# -- Glue ---------------------------------------------------------------------------------------------------------------


def choose_partitions() -> None:
    """Let GetPartitions look at its Expression and answer in pages."""
    glue: Any = importlib.import_module("ministack.services.glue")
    original = glue._get_partitions

    def get(data: dict[str, Any]) -> Any:
        status, headers, body = original(data)
        found = json.loads(body).get("Partitions", []) if status == 200 else []
        table = glue._tables.get(f"{data.get('DatabaseName')}/{data.get('TableName')}", {})
        names = [key["Name"].lower() for key in table.get("PartitionKeys", [])]
        try:
            wanted = wanted_values(data.get("Expression") or "", names)
            page = page_of(
                [part for part in found if all(part["Values"][place] == value for place, value in wanted.items())],
                data,
                "Partitions",
                default_size=1000,
            )
        except ServiceError as error:
            return glue.error_response_json("InvalidInputException", error.message, 400)
        return (status, headers, body) if status != 200 else glue.json_response(page)

    glue._get_partitions = get


def wanted_values(expression: str, names: list[str]) -> dict[int, str]:
    """Return the values by place that an expression of equalities joined by AND asks for.

    Raises:
        ServiceError: it is none, or names another column; all partitions would be a wrong answer.

    """
    wanted: dict[int, str] = {}
    for part in re.split(r"\s+and\s+", expression.strip(), flags=re.IGNORECASE) if expression.strip() else []:
        match = _EQUALITY.fullmatch(part)
        if match is None:
            raise ServiceError(
                "InvalidInputException",
                f"{part[:80]!r}: local_aws understands name = 'value', joined by AND, in Expression.",
            )
        if match[1].lower() not in names:
            raise ServiceError(
                "InvalidInputException", f"{match[1][:80]} is no partition key; there is {', '.join(names) or 'none'}."
            )
        wanted[names.index(match[1].lower())] = match[2] if match[2] is not None else match[3]
    return wanted


def keep_execution_property(with_templates: bool) -> None:
    """Let MiniStack keep a Glue job's ExecutionProperty (MaxConcurrentRuns) and other members that it drops."""
    glue: Any = importlib.import_module("ministack.services.glue")
    if not hasattr(glue, "_local_aws_create_job"):
        glue._local_aws_create_job, glue._local_aws_update_job = glue._create_job, glue._update_job
        glue._create_job = lambda data: _with_execution_property(glue, glue._local_aws_create_job, data, data)
        glue._update_job = lambda data: _with_execution_property(
            glue, glue._local_aws_update_job, data, data.get("JobUpdate", {})
        )
    if with_templates:
        importlib.import_module("ministack.services.cloudformation")
        provisioners: Any = sys.modules["ministack.services.cloudformation.provisioners"]
        provisioners._GLUE_JOB_DEFAULTS.setdefault("ExecutionProperty", {"MaxConcurrentRuns": 1})


def _with_execution_property(glue: Any, original: Any, data: dict[str, Any], members: dict[str, Any]) -> Any:
    answer = original(data)
    job = glue._jobs.get(data.get("Name") or data.get("JobName"))
    if answer[0] == 200 and job is not None and "ExecutionProperty" in members:
        runs = members["ExecutionProperty"].get("MaxConcurrentRuns", 1)
        # Templates may carry the number as text.
        job["ExecutionProperty"] = {"MaxConcurrentRuns": int(runs)}
    return answer
