"""Records what AWS answers: each call of this process, whoever makes it, once per form of request and answer."""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import botocore

from deploy.verification.journal import now

NO_ACCOUNT = "000000000000"
LONGEST = 2000
ITEMS = 20
HIDDEN = frozenset(
    {
        "AccessKeyId",
        "HTTPHeaders",
        "HostId",
        "NextToken",
        "ReceiptHandle",
        "SecretAccessKey",
        "SessionToken",
        "TemplateBody",
    }
)
ASKED = "verification_asked"


class Recorder:
    """Writes answers to a file of JSON lines; what an earlier call of the command has written there is not written again.

    Args:
        path: the file.

    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.account = ""
        self.stage = ""
        self.calls = 0
        self._lock = threading.Lock()
        self._known = {_form(json.loads(line)) for line in _lines(path)}

    def watch(self) -> None:
        """Hear the calls of all sessions that are made from now on."""
        botocore.register_initializer(self._attach)

    def begin(self, account: str) -> None:
        """Record what is heard from now on, without the number of the account."""
        self.account = account

    def _attach(self, session: Any) -> None:
        session.register("before-parameter-build", self._asked)
        session.register("after-call", self._answered)

    def _asked(self, params: Mapping[str, Any], context: dict[str, Any], **_: Any) -> None:
        context[ASKED] = params

    def _answered(self, http_response: Any, parsed: Mapping[str, Any], model: Any, context: Any, **_: Any) -> None:
        if not self.account:
            return
        answer = {name: value for name, value in parsed.items() if name not in ("ResponseMetadata", "Error")}
        record = {
            "stage": self.stage,
            "service": model.service_model.service_name,
            "operation": model.name,
            "request": self._clean((context or {}).get(ASKED, {})),
            "status": http_response.status_code,
            "error": self._clean(parsed.get("Error")),
            "answer": self._clean(answer),
            "shape": shape(answer),
            "request_id": parsed.get("ResponseMetadata", {}).get("RequestId"),
            "at": now(),
        }
        with self._lock:
            self.calls += 1
            if (form := _form(record)) not in self._known:
                self._known.add(form)
                self.path.parent.mkdir(parents=True, exist_ok=True)
                with self.path.open("a", encoding="utf-8") as file:
                    file.write(json.dumps(record) + "\n")

    def _clean(self, value: Any) -> Any:
        """Return a value without keys, tokens and the account's number, as JSON can hold it."""
        if isinstance(value, Mapping):
            return {str(name): self._clean(item) for name, item in value.items() if name not in HIDDEN}
        if isinstance(value, list | tuple):
            return [self._clean(item) for item in value[:ITEMS]]
        if isinstance(value, str):
            return value[:LONGEST].replace(self.account, NO_ACCOUNT)
        if value is None or isinstance(value, bool | int | float):
            return value
        if isinstance(value, datetime):
            return value.isoformat()
        if isinstance(value, bytes | bytearray):
            return f"({len(value)} bytes)"
        return f"({type(value).__name__})"


def recorded(path: Path) -> list[dict[str, Any]]:
    """Return the recorded answers."""
    return [json.loads(line) for line in _lines(path)]


def shape(value: Any) -> Any:
    """Return the form of a value: names and kinds, without what differs between two answers of one kind."""
    if isinstance(value, Mapping):
        return {str(name): shape(item) for name, item in sorted(value.items())}
    if isinstance(value, list | tuple):
        return [shape(value[0])] if value else []
    return type(value).__name__


def _form(record: Mapping[str, Any]) -> str:
    error = (record["error"] or {}).get("Code")
    return json.dumps(
        [record["stage"], record["service"], record["operation"], shape(record["request"]), error, record["shape"]]
    )


def _lines(path: Path) -> list[str]:
    """Return the whole lines of a file; a kill may have cut the last one."""
    if not path.exists():
        return []
    return [line for line in path.read_text(encoding="utf-8").splitlines(keepends=True) if line.endswith("\n")]
