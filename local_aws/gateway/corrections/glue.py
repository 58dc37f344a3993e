"""Glue's catalog and definitions: expressions, pages, tags, defaults and refusals."""

from __future__ import annotations

import importlib
import json
import re
import sys
from typing import Any

from local_aws.shared.errors import ServiceError
from local_aws.shared.listing import page_of

_EQUALITY = re.compile(r"\s*\(?\s*[`\"]?(\w+)[`\"]?\s*=\s*(?:'([^']*)'|(-?\d+))\s*\)?\s*")

Data = dict[str, Any]


def mend() -> None:
    """Mend all of Glue that this module knows."""
    glue: Any = importlib.import_module("ministack.services.glue")
    keep_execution_property(with_templates=False)
    choose_partitions()
    choose_and_page(glue)
    keep_tags(glue)
    give_defaults(glue)
    refuse_and_fold(glue)


def choose_and_page(glue: Any) -> None:
    """Let GetTables look at its Expression, a regular expression, and all lists answer in pages."""
    tables, databases, jobs = glue._get_tables, glue._get_databases, glue._get_jobs

    def get_tables(data: Data) -> Any:
        data = _lower(data, "DatabaseName")
        if data.get("DatabaseName") not in glue._databases:
            return glue.error_response_json(
                "EntityNotFoundException", f"Database {data.get('DatabaseName')} not found.", 400
            )
        answer = tables({name: value for name, value in data.items() if name != "Expression"})
        try:
            pattern = re.compile(data["Expression"]) if data.get("Expression") else None
        except re.error as error:
            return glue.error_response_json(
                "InvalidInputException", f"Expression is no regular expression: {error}", 400
            )
        return _paged(glue, answer, data, "TableList", lambda table: not pattern or pattern.fullmatch(table["Name"]))

    glue._get_tables = get_tables
    glue._get_databases = lambda data: _paged(glue, databases(data), data, "DatabaseList")
    glue._get_jobs = lambda data: _paged(glue, jobs(data), data, "Jobs")


def _paged(glue: Any, answer: Any, data: Data, member: str, chosen: Any = lambda _: True) -> Any:
    status, _, body = answer
    if status != 200:
        return answer
    items = [item for item in json.loads(body)[member] if chosen(item)]
    try:
        return glue.json_response(page_of(items, data, member, default_size=100))
    except ServiceError as error:
        return glue.error_response_json("InvalidInputException", error.message, 400)


def keep_tags(glue: Any) -> None:
    """Keep the tags with which jobs and crawlers are made."""
    for kind in ("job", "crawler"):
        name = f"_create_{kind}"

        setattr(glue, name, _with_tags(glue, kind, getattr(glue, name)))
    triggers = glue._list_triggers

    def list_triggers(data: Data) -> Any:
        wanted = data.get("Tags", {}).items()
        _, _, body = triggers(data)
        names = json.loads(body)["TriggerNames"]
        return glue.json_response({"TriggerNames": [n for n in names if wanted <= tags_of(glue, "trigger", n).items()]})

    glue._list_triggers = list_triggers


def _with_tags(glue: Any, kind: str, original: Any) -> Any:
    def create(data: Data) -> Any:
        answer = original(data)
        if answer[0] == 200 and data.get("Tags"):
            glue._tags[glue._arn(kind, data["Name"])] = dict(data["Tags"])
        return answer

    return create


def tags_of(glue: Any, kind: str, name: str) -> dict[str, str]:
    """Return the tags of a job, a crawler or a trigger."""
    return dict(glue._tags.get(glue._arn(kind, name), {}))


def give_defaults(glue: Any) -> None:
    """Give jobs the capacity and version of their kind, and refuse capacities that exclude each other."""
    original = glue._create_job

    def create(data: Data) -> Any:
        workers = {"WorkerType", "NumberOfWorkers"} & data.keys()
        if "MaxCapacity" in data and workers:
            return glue.error_response_json(
                "InvalidInputException",
                "Please do not set Max Capacity if using Worker Type and Number of Workers.",
                400,
            )
        answer = original(data)
        job = glue._jobs.get(data.get("Name"))
        if answer[0] != 200 or job is None:
            return answer
        if data.get("Command", {}).get("Name") == "pythonshell":
            for name in {"WorkerType", "NumberOfWorkers"} - workers:
                job.pop(name, None)
            job["MaxCapacity"] = data.get("MaxCapacity", 0.0625)
        if "GlueVersion" not in data:
            job["GlueVersion"] = "5.1"
        return answer

    glue._create_job = create


def refuse_and_fold(glue: Any) -> None:
    """Fold names of databases and tables to lower case; refuse partitions and triggers that are none."""
    database, table = glue._create_database, glue._create_table
    update, create, delete = glue._update_table, glue._create_partition, glue._delete_partition
    many, trigger, workflow = glue._batch_create_partition, glue._create_trigger, glue._delete_workflow

    def keys_of(data: Data) -> int:
        found = glue._tables.get(f"{data.get('DatabaseName')}/{data.get('TableName')}")
        return len(found.get("PartitionKeys") or []) if found else -1

    def create_partition(data: Data) -> Any:
        data = _lower(data, "DatabaseName", "TableName")
        count = keys_of(data)
        if count < 0:
            return glue.error_response_json("EntityNotFoundException", f"Table {data.get('TableName')} not found.", 400)
        if len(data.get("PartitionInput", {}).get("Values", [])) != count:
            return glue.error_response_json(
                "InvalidInputException", "The number of partition keys do not match the number of partition values", 400
            )
        return create(data)

    def create_partitions(data: Data) -> Any:
        data = _lower(data, "DatabaseName", "TableName")
        count = keys_of(data)
        if count < 0:
            return glue.error_response_json("EntityNotFoundException", f"Table {data.get('TableName')} not found.", 400)
        wrong = [part for part in data.get("PartitionInputList", []) if len(part.get("Values", [])) != count]
        right = [part for part in data.get("PartitionInputList", []) if part not in wrong]
        _, _, body = many(data | {"PartitionInputList": right})
        message = "The number of partition keys do not match the number of partition values"
        detail = {"ErrorCode": "InvalidInputException", "ErrorMessage": message}
        errors = json.loads(body)["Errors"]
        errors += [{"PartitionValues": part.get("Values", []), "ErrorDetail": detail} for part in wrong]
        return glue.json_response({"Errors": errors})

    def delete_partition(data: Data) -> Any:
        data = _lower(data, "DatabaseName", "TableName")
        known = glue._partitions.get(f"{data.get('DatabaseName')}/{data.get('TableName')}", [])
        if all(part.get("Values") != data.get("PartitionValues") for part in known):
            return glue.error_response_json("EntityNotFoundException", "Partition not found.", 400)
        return delete(data)

    def create_trigger(data: Data) -> Any:
        if data.get("Type") == "CONDITIONAL" and not data.get("Predicate"):
            return glue.error_response_json(
                "InvalidInputException", "Predicate cannot be null or empty for a CONDITIONAL trigger", 400
            )
        if data.get("Type") == "SCHEDULED" and not data.get("Schedule"):
            return glue.error_response_json(
                "InvalidInputException", "Schedule cannot be null or empty for a SCHEDULED trigger", 400
            )
        if data.get("StartOnCreation") or (data.get("Type") == "SCHEDULED" and data.get("StartOnCreation")):
            return glue.error_response_json(
                "InvalidInputException",
                "StartOnCreation: triggers start nothing in local_aws; start the job or crawler itself.",
                400,
            )
        return trigger(data)

    glue._create_database = lambda data: database(_lower_inside(data, "DatabaseInput"))
    glue._create_table = lambda data: table(_lower(_lower_inside(data, "TableInput"), "DatabaseName"))
    glue._update_table = lambda data: update(_lower(_lower_inside(data, "TableInput"), "DatabaseName"))
    for name in ("_get_database", "_delete_database", "_get_table", "_delete_table", "_get_partition"):
        setattr(glue, name, _folded(getattr(glue, name)))
    glue._create_partition, glue._batch_create_partition = create_partition, create_partitions
    glue._delete_partition, glue._create_trigger = delete_partition, create_trigger

    def delete_workflow(data: Data) -> Any:
        answer = workflow(data)
        return glue.json_response({"Name": data.get("Name")}) if answer[0] == 400 else answer

    glue._delete_workflow = delete_workflow


def _folded(original: Any) -> Any:
    return lambda data: original(_lower(data, "Name", "DatabaseName", "TableName"))


def _lower(data: Data, *names: str) -> Data:
    return data | {name: data[name].lower() for name in names if isinstance(data.get(name), str)}


def _lower_inside(data: Data, name: str) -> Data:
    return data | {name: _lower(data.get(name, {}), "Name")}


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
