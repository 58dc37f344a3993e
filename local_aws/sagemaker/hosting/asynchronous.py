"""Asynchronous inference: requests that lie in S3, answered into S3 one after the other, with a message when it is done."""

from __future__ import annotations

import json
import logging
import threading
import time
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from local_aws.shared.clients import Clients
from local_aws.shared.errors import ServiceError, validation_error
from local_aws.shared.sandbox import parse_s3_uri

_LOG = logging.getLogger(__name__)

Document = dict[str, Any]
#: Answers a request: endpoint, headers, body -> status, headers, body.
Answer = Callable[[str, dict[str, str], bytes], tuple[int, dict[str, str], bytes]]

_PREFIX = "x-amzn-sagemaker-"
#: Header with the seconds that the model may take.
TIMEOUT = f"{_PREFIX}invocationtimeoutseconds"
_SECONDS = "900"
_CONCURRENT = 4
_LIVE_SECONDS = 21_600
#: As the service says.
MOST_BYTES = 1 << 30


class AsyncInvocations:
    """The queue of each asynchronous endpoint."""

    def __init__(self, clients: Clients, answer: Answer) -> None:
        self._clients, self._answer = clients, answer
        self._lock = threading.Lock()
        self._pools: dict[str, ThreadPoolExecutor] = {}

    def take(
        self, name: str, config: Document, role: str | None, headers: dict[str, str]
    ) -> tuple[Document, dict[str, str]]:
        """Queue one request of an endpoint; return the answer's body and headers.

        `config` is the endpoint's AsyncInferenceConfig, `role` the model's; `headers` are the request's, names in lower case.
        """
        source = headers.get(f"{_PREFIX}inputlocation", "")
        if not source.startswith("s3://"):
            raise ServiceError("ValidationError", "InputLocation must be an S3 URI.")
        inference = headers.get(f"{_PREFIX}inference-id") or str(uuid.uuid4())
        file = f"{uuid.uuid4()}.out"
        output = f"{config['OutputConfig']['S3OutputPath'].rstrip('/')}/{file}"
        failure = config["OutputConfig"].get("S3FailurePath")
        failed = f"{failure.rstrip('/')}/{file.removesuffix('.out')}-error.out" if failure else None
        begun = time.time()
        request = {"InferenceId": inference, "Input": source, "Output": output, "Failure": failed, "Begun": begun}
        client = config.get("ClientConfig", {})
        with self._lock:
            pool = self._pools.get(name)
            if pool is None:
                workers = min(_CONCURRENT, client.get("MaxConcurrentInvocationsPerInstance", _CONCURRENT))
                pool = self._pools[name] = ThreadPoolExecutor(workers, thread_name_prefix=f"async-{name}"[:40])
        given = {TIMEOUT: _SECONDS, **headers}
        if kind := headers.get(f"{_PREFIX}content-type"):
            given["content-type"] = kind
        pool.submit(self._work, name, config, role, given, request)
        answered = {"X-Amzn-SageMaker-OutputLocation": output}
        return {"InferenceId": inference}, answered | ({"X-Amzn-SageMaker-FailureLocation": failed} if failed else {})

    def _work(self, name: str, config: Document, role: str | None, headers: dict[str, str], request: Document) -> None:
        s3 = self._clients.s3_as(role)
        try:
            try:
                if time.time() - request["Begun"] > int(headers.get(f"{_PREFIX}requestttlseconds", _LIVE_SECONDS)):
                    raise validation_error("The request expired before it could be processed.")
                bucket, key = parse_s3_uri(request["Input"])
                body = s3.get_object(Bucket=bucket, Key=key)["Body"].read(MOST_BYTES)
                _, answered, answer = self._answer(name, headers, body)
            except (ServiceError, ClientError) as error:
                message = error.message if isinstance(error, ServiceError) else str(error)
                _LOG.warning("asynchronous request %s of endpoint %s: %s", request["InferenceId"], name, message)
                if request["Failure"]:
                    self._put(s3, request["Failure"], message.encode(), "text/plain")
                self._tell(config, "ErrorTopic", name, request, message)
                return
            self._put(s3, request["Output"], answer, answered.get("Content-Type", "application/octet-stream"))
            self._tell(config, "SuccessTopic", name, request, None)
        except Exception:
            _LOG.exception("asynchronous request %s of endpoint %s", request["InferenceId"], name)

    def _put(self, s3: Any, uri: str, body: bytes, kind: str) -> None:
        bucket, key = parse_s3_uri(uri)
        s3.put_object(Bucket=bucket, Key=key, Body=body, ContentType=kind)

    def _tell(self, config: Document, topic: str, name: str, request: Document, failure: str | None) -> None:
        arn = config["OutputConfig"].get("NotificationConfig", {}).get(topic)
        if not arn:
            return
        message: Document = {
            "awsRegion": arn.split(":")[3],
            "eventName": "InferenceResult",
            "eventSource": "aws:sagemaker",
            "eventTime": time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime()),
            "eventVersion": "1.0",
            "inferenceId": request["InferenceId"],
            "invocationStatus": "Failed" if failure else "Completed",
            "requestParameters": {"endpointName": name, "inputLocation": request["Input"]},
        }
        if failure:
            message["failureReason"] = failure
        else:
            message["responseParameters"] = {"outputLocation": request["Output"]}
        try:
            self._clients.service_as("sns", None).publish(TopicArn=arn, Message=json.dumps(message))
        except (BotoCoreError, ClientError) as error:
            _LOG.warning("the %s of endpoint %s: %s", topic, name, error)

    def close(self) -> None:
        """Take no more of what waits."""
        with self._lock:
            for pool in self._pools.values():
                pool.shutdown(wait=False, cancel_futures=True)
            self._pools.clear()
