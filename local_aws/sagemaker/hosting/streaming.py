"""The event stream in which InvokeEndpointWithResponseStream answers."""

from __future__ import annotations

import binascii
import struct

PART_BYTES = 64 * 1024
CONTENT_TYPE = "application/vnd.amazon.eventstream"


def answer(headers: dict[str, str], body: bytes) -> tuple[dict[str, str], bytes]:
    """Return headers and body of an answer as the operation has them."""
    told = {"X-Amzn-SageMaker-Content-Type": headers["Content-Type"], "Content-Type": CONTENT_TYPE}
    return {**headers, **told}, encode(body)


def encode(body: bytes) -> bytes:
    """Return an answer's body as events ``PayloadPart``, of at most 64 KiB each."""
    parts = [body[start : start + PART_BYTES] for start in range(0, len(body), PART_BYTES)]
    return b"".join(_message("PayloadPart", part) for part in parts or [b""])


def _message(event: str, payload: bytes) -> bytes:
    """Return one message: lengths, their checksum, headers, payload, checksum of all."""
    fields = {":message-type": "event", ":event-type": event, ":content-type": "application/octet-stream"}
    headers = b"".join(
        struct.pack("!B", len(name)) + name.encode() + struct.pack("!BH", 7, len(value)) + value.encode()
        for name, value in fields.items()
    )
    prelude = struct.pack("!II", 16 + len(headers) + len(payload), len(headers))
    message = prelude + struct.pack("!I", binascii.crc32(prelude)) + headers + payload
    return message + struct.pack("!I", binascii.crc32(message))
