"""The page of local_aws's operations: what each is worth, from its table, and who asked, from the record of the client suite."""

from __future__ import annotations

import json
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

from botocore.session import get_session

ROOT = Path(__file__).resolve().parent.parent
RECORD = ROOT / "tests" / "clients" / "operations.json"
sys.path.insert(0, str(ROOT))

from local_aws.gateway.support import MINISTACK, OWN, Support, support  # noqa: E402 - the root is not on the path of a script in docs/
from local_aws.shared.requests.members import KEPT  # noqa: E402

HEAD = """# local_aws: operations

Generated from `local_aws/gateway/support.py` and `tests/clients/operations.json` by `make docs`; do not edit. The record is what
clients that are not ours asked of a local_aws, unmodified: {clients}. Each test module in `tests/clients/` drives one of them and
fails when it sees other operations than the record says. {answered} distinct operations were answered.

- **real**: the effect happens here, or the answer tells the true state of something that does: jobs run, servers answer, objects are
  stored, messages arrive.
- **recorded only**: kept and given back as AWS does; what SageMaker and Glue would refuse is refused. Nothing acts on it by itself, or
  nothing enforces it; jobs, crawls and endpoints read such documents.
- **absent**: refused with AWS's `UnknownOperationException`, which names the operation.

What local_aws itself does not answer goes to [MiniStack](local-aws.md#what-answers-what); of its operations only those are listed that the
clients used.
"""


MEMBERS = """
## Members without an effect

Of the operations that local_aws answers, a request's members have their effect, or are refused with a `ValidationException` that
names them.
These alone are accepted without one; Describe gives them back. Model packages and their groups (CreateModelPackage,
CreateModelPackageGroup) and UpdateCrawler are records: all their members are given back.

| operation | member | why |
|---|---|---|"""


def page() -> str:
    """Return the page."""
    record = json.loads(RECORD.read_text(encoding="utf-8"))
    asked = _by_operation(record, "answered")
    count = len(asked)
    text = HEAD.format(clients=", ".join(f"{name}" for name in record), answered=count)
    return text + "".join(_sections(asked, _by_operation(record, "refused"))) + _members()


def _members() -> str:
    """Return the members that are accepted without an effect, each with its reason."""
    lines = [MEMBERS]
    for operation, kept in KEPT.items():
        lines += [f"| {operation} | `{path}` | {reason} |" for path, reason in kept.items()]
    return "\n".join(lines) + "\n"


def _by_operation(record: dict[str, dict[str, dict[str, list[str]]]], what: str) -> dict[tuple[str, str], list[str]]:
    """Return the clients by service and operation."""
    found: dict[tuple[str, str], list[str]] = {}
    for client, parts in record.items():
        for service, operations in parts[what].items():
            for operation in operations:
                found.setdefault((service, operation), []).append(client)
    return found


def _sections(asked: dict[tuple[str, str], list[str]], refused: dict[tuple[str, str], list[str]]) -> Iterator[str]:
    others = MINISTACK.keys() | {service for service, _ in refused}
    for service in (*OWN, *sorted(others - OWN.keys())):
        tables = [*OWN.get(service, {}), *MINISTACK.get(service, {})]
        yield f"\n## {service}\n\n| operation | here | answered by | asked by |\n|---|---|---|---|\n"
        for operation in sorted(tables):
            by = "local_aws" if operation in OWN.get(service, {}) else "MiniStack"
            clients = ", ".join(asked.get((service, operation), []))
            yield f"| {operation} | {support(service, operation)} | {by} | {clients} |\n"
        for (owner, operation), clients in sorted(refused.items()):
            if owner == service:
                yield f"| {operation} | {Support.ABSENT} | local_aws | {', '.join(clients)} |\n"
        yield from _absent(service, set(tables))


def _absent(service: str, present: set[str]) -> Iterator[str]:
    if service not in OWN:
        return
    if service == "glue":
        yield "\nOther operations of the catalog and of definitions are MiniStack's; those that it does not know are absent.\n"
        return
    operations = get_session().get_service_model(service).operation_names
    names = sorted(set(operations) - present)
    if names:
        text = f"Absent, {len(names)} operations: {', '.join(names)}."
        yield "\n" + textwrap.fill(text, 140, break_on_hyphens=False) + "\n"
