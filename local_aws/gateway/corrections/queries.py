"""Athena: queries run by DuckDB over the tables of the Glue catalog, within walls, and refusals of what would only seem to work.

MiniStack finds the tables of a query and copies their files; here are the partitions that count, the engine, the form of the answers, and
what a statement may be.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import importlib.util
import json
import re
import shutil
from datetime import date, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

Data = dict[str, Any]

_WORK = "ministack-athena-"
_QUERIES = ("select", "with", "values", "table")
#: Types that Athena and DuckDB call alike.
_PLAIN = frozenset(
    ("boolean", "tinyint", "smallint", "integer", "bigint", "float", "double", "decimal", "varchar", "date", "time")
) | {"timestamp", "map"}
_DATABASE = re.compile(
    r"\s*(create|drop)\s+(?:database|schema)\s+(if\s+(?:not\s+)?exists\s+)?[`\"]?(\w+)[`\"]?"
    r"(?:\s+comment\s+'[^']*')?(?:\s+location\s+'([^']+)')?\s*(restrict|cascade)?\s*;?\s*",
    re.IGNORECASE,
)
_MISSING = "Queries need DuckDB beside local_aws: install duckdb into its environment."
_REFUSED = (
    "local_aws runs SELECT, CREATE EXTERNAL TABLE, DROP TABLE, CREATE DATABASE and DROP DATABASE; "
    "CREATE TABLE AS, INSERT, UNLOAD, views, ALTER, MSCK, SHOW and DESCRIBE are not available."
)


def mend() -> None:
    """Mend all of Athena that this module knows."""
    athena: Any = importlib.import_module("ministack.services.athena")
    start, relation = athena._start_query_execution, athena._table_relation

    def start_query(data: Data) -> Any:
        query = data.get("QueryString", "")
        reason = refusal(athena, query)
        if reason:
            return athena.error_response_json("InvalidRequestException", reason, 400)
        group = athena._workgroups.get(data.get("WorkGroup", "primary"), {}).get("Configuration", {})
        own = data.get("ResultConfiguration", {})
        location = own.get("OutputLocation") or group.get("ResultConfiguration", {}).get("OutputLocation")
        if location:
            data = data | {"ResultConfiguration": own | {"OutputLocation": location.rstrip("/") + "/"}}
        return start(data)

    async def run(query: str, database: str, catalog: str | None = None) -> Data:
        if match := _DATABASE.fullmatch(query):
            return _change_database(athena, match)
        rewritten, _, folders = await athena._rewrite_data_paths(query, database, catalog)
        return await asyncio.to_thread(_execute, rewritten, folders)

    def registered(table: Data, files: list[str]) -> Any:
        chosen = registered_files(table, _partitions(table), files)
        return relation(table, chosen) if chosen else athena._empty_relation(table)

    async def save(query_id: str) -> None:
        _save(athena, athena._executions[query_id])

    athena._start_query_execution, athena._run_duckdb, athena._table_relation = start_query, run, registered
    athena._save_query_results = save
    seed = athena._ensure_default_workgroup

    def seed_workgroup() -> None:
        seed()
        configuration = athena._workgroups["primary"]["Configuration"]
        configuration.setdefault("EnforceWorkGroupConfiguration", False)  # as AWS has it; awswrangler asks for it

    athena._ensure_default_workgroup = seed_workgroup
    # A text of a query that looks like a path in S3 stays a text.
    athena._rewrite_s3_paths = lambda query: query


def refusal(athena: Any, query: str) -> str | None:
    """Return why a statement is not run, None if it is."""
    if importlib.util.find_spec("duckdb") is None:
        return _MISSING
    tokens = list(athena._sql_tokens(query))
    if tokens and tokens[-1][:2] == ("punct", ";"):
        tokens.pop()
    if any(token[:2] == ("punct", ";") for token in tokens):
        return "Only one sql statement is allowed."
    if _DATABASE.fullmatch(query) or athena._parse_ddl(query) is not None:
        return None
    first = next((text for kind, text, *_ in tokens if (kind, text) != ("punct", "(")), "")
    return None if first in _QUERIES else _REFUSED


def _change_database(athena: Any, match: re.Match[str]) -> Data:
    glue: Any = importlib.import_module("ministack.services.glue")
    verb, condition, name, location, _ = match.groups()
    name, known = name.lower(), match[3].lower() in glue._databases
    if verb.lower() == "create":
        if known and not condition:
            raise ValueError(f"Database {name} already exists")
        if not known:
            glue._create_database({"DatabaseInput": {"Name": name} | ({"LocationUri": location} if location else {})})
    elif not known and not condition:
        raise ValueError(f"Database does not exist: {name}")
    elif known:
        if (match[5] or "").lower() != "cascade" and any(key.startswith(f"{name}/") for key in glue._tables):
            raise ValueError(f"Database {name} is not empty. One or more tables exist.")
        glue._delete_database({"Name": name})
    return {"columns": [], "rows": [], "column_types": []}


def _partitions(table: Data) -> list[Data]:
    glue: Any = importlib.import_module("ministack.services.glue")
    return list(glue._partitions.get(f"{table['DatabaseName']}/{table['Name']}", []))


def registered_files(table: Data, partitions: list[Data], files: list[str]) -> list[str]:
    """Return those of a table's files that are rows of it: all, or with partition keys those of registered partitions.

    Raises:
        ValueError: a partition does not lie where its values say; its rows would have no keys.

    """
    keys = [key["Name"] for key in table.get("PartitionKeys") or []]
    if not keys:
        return files
    location = table["StorageDescriptor"]["Location"].rstrip("/") + "/"
    folders = []
    for partition in partitions:
        folder = "/".join(f"{key}={value}" for key, value in zip(keys, partition["Values"], strict=True))
        place = (partition.get("StorageDescriptor") or {}).get("Location") or f"{location}{folder}"
        if place.rstrip("/") != f"{location}{folder}":
            raise ValueError(
                f"NOT_SUPPORTED: partition {partition['Values']} lies at {place}; local_aws queries {location}{folder}"
            )
        folders.append(f"{folder}/")
    return [file for file in files if _relative(file).startswith(tuple(folders))]


def _relative(file: str) -> str:
    root = next(parent for parent in Path(file).parents if parent.name.startswith(_WORK))
    return Path(file).relative_to(root).as_posix()


def _execute(query: str, folders: list[str]) -> Data:
    """Run a query that may read the files below some folders and nothing else of this machine."""
    import duckdb

    connection = duckdb.connect(":memory:")
    try:
        with contextlib.suppress(duckdb.Error):  # an optimizer of DuckDB 2 that lets one bad cell fail a table
            connection.execute("SET disabled_optimizers = 'type_pushdown'")
        quoted = ", ".join("'" + folder.replace("'", "''") + "/'" for folder in folders)
        for setting in (
            f"allowed_directories = [{quoted}]",
            "autoinstall_known_extensions = false",
            "autoload_known_extensions = false",
            "integer_division = true",  # as in Trino
            "enable_external_access = false",
            "lock_configuration = true",
        ):
            connection.execute(f"SET {setting}")
        result = connection.execute(query)
        columns = result.description or []
        return {
            "columns": [column[0] for column in columns],
            "column_types": [athena_type(str(column[1])) for column in columns],
            "rows": [[as_text(value) for value in row] for row in result.fetchall()],
        }
    finally:
        connection.close()
        for folder in folders:
            shutil.rmtree(folder, ignore_errors=True)


def athena_type(name: str) -> str:
    """Return Athena's name of a type of DuckDB's."""
    name = name.upper()
    if name.endswith("]"):
        return "array"
    known = {
        "HUGEINT": "bigint", "REAL": "float", "BLOB": "varbinary", "STRUCT": "row", "NULL": "unknown",
        "TIMESTAMP WITH TIME ZONE": "timestamp with time zone",
    }  # fmt: skip
    base = name.partition("(")[0].strip()
    return known.get(base) or (base.lower() if base.lower() in _PLAIN else "varchar")


def as_text(value: Any) -> str | None:
    """Return a value as Athena writes it into results."""
    if value is None:
        return None
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%d %H:%M:%S}.{value.microsecond // 1000:03d}"
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, bytes):
        return value.hex(" ")
    if isinstance(value, list):
        return f"[{', '.join('null' if item is None else str(as_text(item)) for item in value)}]"
    if isinstance(value, dict):
        return f"{{{', '.join(f'{key}={as_text(item)}' for key, item in value.items())}}}"
    return str(value)


def _save(athena: Any, execution: Data) -> None:
    """Write the results where the execution says that they are, in the form of Athena's files."""
    s3: Any = importlib.import_module("ministack.services.s3")
    results = execution["_results"]
    lines = [results["columns"], *results["rows"]] if results["columns"] else []
    text = "".join(",".join(_cell(value) for value in line) + "\n" for line in lines)
    place = urlparse(execution["ResultConfiguration"]["OutputLocation"])
    types = json.dumps(dict(zip(results["columns"], execution["_column_types"], strict=False)))
    for suffix, body in (("", text), (".metadata", types)):
        answer = s3._put_object(
            place.netloc, place.path.lstrip("/") + suffix, body.encode(), {"content-type": "text/csv"}
        )
        if answer[0] >= 300:
            raise ValueError(f"Unable to write to {execution['ResultConfiguration']['OutputLocation']}: {answer[0]}")


def _cell(value: str | None) -> str:
    return "" if value is None else '"' + value.replace('"', '""') + '"'
