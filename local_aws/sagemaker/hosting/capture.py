"""Data capture of endpoints: JSON lines of requests and answers, written to S3 in batches."""

from __future__ import annotations

import base64
import json
import logging
import random
import threading
import time
import uuid
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from botocore.exceptions import ClientError

from local_aws.shared.errors import JobError
from local_aws.shared.sandbox import parse_s3_uri

_LOG = logging.getLogger(__name__)

_FLUSH_SECONDS = 2.0
_FLUSH_RECORDS = 1_000

Document = dict[str, Any]


class DataCapture:
    """Collects capture records of all endpoints and writes one S3 object per endpoint variant and batch."""

    def __init__(self, s3_as: Callable[[str | None], Any]) -> None:
        """`s3_as` returns the S3 client of a role."""
        self._s3_as = s3_as
        self._lock = threading.Lock()
        self._records: dict[tuple[str, str, str, str | None], list[str]] = {}
        self._wake = threading.Event()
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="data-capture", daemon=True)
        self._thread.start()

    def add(
        self,
        config: Document,
        endpoint: str,
        variant: str,
        sent: tuple[str, bytes],
        received: tuple[str, bytes],
        inference_id: str | None,
        role: str | None,
    ) -> None:
        """Record one invocation; `sent` and `received` are (content type, body), `role` is the model's, in which it is written."""
        if not config.get("EnableCapture", True) or random.random() * 100 >= config["InitialSamplingPercentage"]:
            return
        modes = {option["CaptureMode"] for option in config["CaptureOptions"]}
        both = "InputAndOutput" in modes
        data: Document = {}
        if both or "Input" in modes:
            data["endpointInput"] = _captured(config, *sent, "INPUT")
        if both or "Output" in modes:
            data["endpointOutput"] = _captured(config, *received, "OUTPUT")
        metadata = {"eventId": str(uuid.uuid4()), "inferenceTime": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")}
        if inference_id:
            metadata["inferenceId"] = inference_id
        line = json.dumps({"captureData": data, "eventMetadata": metadata, "eventVersion": "0"})
        with self._lock:
            lines = self._records.setdefault((config["DestinationS3Uri"], endpoint, variant, role), [])
            lines.append(line)
            if len(lines) >= _FLUSH_RECORDS:
                self._wake.set()

    def close(self) -> None:
        """Write what is left."""
        self._closed = True
        self._wake.set()
        self._thread.join(timeout=5)

    def _run(self) -> None:
        while not self._closed:
            self._wake.wait(_FLUSH_SECONDS)
            self._wake.clear()
            self._flush()

    def _flush(self) -> None:
        with self._lock:
            records, self._records = self._records, {}
        for (destination, endpoint, variant, role), lines in records.items():
            now = datetime.now(UTC)
            name = f"{now:%M-%S}-{int(time.time() * 1000) % 1000:03d}-{uuid.uuid4()}.jsonl"
            try:
                bucket, prefix = parse_s3_uri(destination)
                key = "/".join(
                    part for part in (prefix.strip("/"), endpoint, variant, f"{now:%Y/%m/%d/%H}", name) if part
                )
                self._s3_as(role).put_object(Bucket=bucket, Key=key, Body="\n".join(lines) + "\n")
            except (JobError, ClientError) as error:
                _LOG.warning("data capture of endpoint %s: %s", endpoint, error)


def _captured(config: Document, content_type: str, body: bytes, mode: str) -> Document:
    headers = config.get("CaptureContentTypeHeader", {})
    plain = content_type.split(";")[0].strip()
    encoding = "BASE64"
    if plain in headers.get("CsvContentTypes", ["text/csv"]):
        encoding = "CSV"
    elif plain in headers.get("JsonContentTypes", ["application/json"]):
        encoding = "JSON"
    data = base64.b64encode(body).decode() if encoding == "BASE64" else body.decode("utf-8", "replace")
    return {"observedContentType": content_type, "mode": mode, "data": data, "encoding": encoding}
