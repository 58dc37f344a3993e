"""SQS and SNS: receipt handles that were good once, and the names of errors."""

from __future__ import annotations

import importlib
import re
from typing import Any

#: The form of MiniStack's receipt handles: one of this form was given out, so an old one is no mistake.
_HANDLE = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_TOPIC = re.compile(r"[A-Za-z0-9_-]{1,256}|[A-Za-z0-9_-]{1,251}\.fifo")
#: Exceptions of SNS that botocore names otherwise than they are called on the wire.
_CODES = {"InvalidParameterException": "InvalidParameter", "NotFoundException": "NotFound"}


def mend_queues() -> None:
    """Let a message be deleted, or its visibility changed, with a receipt handle that is no longer its newest."""
    sqs: Any = importlib.import_module("ministack.services.sqs")

    def patient(original: Any) -> Any:
        def act(data: dict[str, Any], url: str) -> Any:
            try:
                return original(data, url)
            except sqs._Err as error:
                if error.code == "ReceiptHandleIsInvalid" and _HANDLE.fullmatch(data.get("ReceiptHandle", "")):
                    return {}
                raise

        return act

    def patient_batch(original: Any) -> Any:
        def act(data: dict[str, Any], url: str) -> Any:
            handles = {entry.get("Id", ""): entry.get("ReceiptHandle", "") for entry in data.get("Entries", [])}
            answer = original(data, url)
            stale = [
                item["Id"]
                for item in answer["Failed"]
                if item["Code"] == "ReceiptHandleIsInvalid" and _HANDLE.fullmatch(handles.get(item["Id"], ""))
            ]
            failed = [item for item in answer["Failed"] if item["Id"] not in stale]
            return {"Successful": [*answer["Successful"], *({"Id": name} for name in stale)], "Failed": failed}

        return act

    for action in ("DeleteMessage", "ChangeMessageVisibility"):
        sqs._HANDLERS[action] = patient(sqs._HANDLERS[action])
        sqs._HANDLERS[f"{action}Batch"] = patient_batch(sqs._HANDLERS[f"{action}Batch"])


def mend_topics() -> None:
    """Give errors the codes by which clients catch them."""
    sns: Any = importlib.import_module("ministack.services.sns")
    original = sns._error
    sns._error = lambda code, message, status: original(_CODES.get(code, code), message, status)
    create, publish = sns._create_topic, sns._publish

    def create_topic(params: Any) -> Any:
        if not _TOPIC.fullmatch(sns._p(params, "Name") or ""):
            return sns._error("InvalidParameter", "Invalid parameter: Topic Name", 400)
        return create(params)

    def send(params: Any, *others: Any) -> Any:
        if not sns._p(params, "Message"):
            return sns._error("InvalidParameter", "Invalid parameter: Empty message", 400)
        if len(sns._p(params, "Subject") or "") > 100:
            return sns._error("InvalidParameter", "Invalid parameter: Subject", 400)
        return publish(params, *others)

    sns._create_topic, sns._publish = create_topic, send
