"""What a client asked of a local_aws, from its access log, and the checked-in record of it.

The record ``operations.json`` holds for each client the operations that were answered, and those that were refused because this
account does not have them. docs/local-aws-operations.md is made from it. Each module of this folder drives the account with one
client and ends with `matches_the_record`, so the record is neither older nor richer than what really happened.
"""

import json
import os
from pathlib import Path

from local_account import Account

LOG = "access.jsonl"
RECORD = Path(__file__).with_name("operations.json")
#: Set, the tests write what they see into the record instead of comparing.
UPDATE = "UPDATE_OPERATIONS"
#: AWS's codes for an operation that a service does not have: of the JSON protocols, and of the query protocol.
UNKNOWN = ("UnknownOperationException", "InvalidAction")


def calls(account: Account, agent: str) -> list[dict[str, object]]:
    """Return the lines of the access log about requests of the client whose User-Agent has `agent` in it."""
    text = (account.data_dir.parent / LOG).read_text(encoding="utf-8")
    lines = [json.loads(line) for line in text.splitlines()]
    return [line for line in lines if line["access_key"] == account.access_key and agent in line["agent"]]


def seen(account: Account, agent: str) -> dict[str, dict[str, list[str]]]:
    """Return the operations that were answered with success, and those refused as unknown, by service."""
    lines = calls(account, agent)
    unnamed = [line for line in lines if not (line["service"] and line["operation"])]
    assert not unnamed, f"the access log could not name {unnamed[:3]}"
    answered = {(line["service"], line["operation"]) for line in lines if line["status"] < 300}
    refused = {(line["service"], line["operation"]) for line in lines if line["error"] in UNKNOWN}
    return {"answered": _by_service(answered), "refused": _by_service(refused)}


def _by_service(pairs: set[tuple[str, str]]) -> dict[str, list[str]]:
    services = sorted({service for service, _ in pairs})
    return {service: sorted(name for owner, name in pairs if owner == service) for service in services}


def recorded() -> dict[str, dict[str, dict[str, list[str]]]]:
    """Return the record: by client, then ``answered`` or ``refused``, then service."""
    return json.loads(RECORD.read_text(encoding="utf-8"))


def matches_the_record(account: Account, client: str, agent: str) -> None:
    """Fail unless the client did exactly what the record says. For the last test of a module: it needs all others to have run."""
    found = seen(account, agent)
    if os.environ.get(UPDATE):
        record = (recorded() if RECORD.exists() else {}) | {client: found}
        RECORD.write_text(json.dumps(dict(sorted(record.items())), indent=1) + "\n", encoding="utf-8")
    assert found == recorded().get(client), (
        f"{client} called other operations than {RECORD.name} says: {UPDATE}=1 make test ARGS=tests/clients, then make docs"
    )
