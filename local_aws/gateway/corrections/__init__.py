"""Where MiniStack answers otherwise than AWS and a user of this package would meet it: each is mended in front of it.

Every correction wraps one of MiniStack's own functions, once, when its service is first asked for.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

from local_aws.gateway.corrections import glue, iam, messages, parameters, s3

_applied: set[str] = set()
_lock = threading.Lock()

#: Operations of Glue that MiniStack answers with success although nothing happens.
PRETENDED = ("StartTrigger", "StartWorkflowRun", "ResumeWorkflowRun")

_BY_SERVICE: dict[str, Callable[[], None]] = {
    "cloudformation": lambda: glue.keep_execution_property(with_templates=True),
    "glue": glue.mend,
    "iam": iam.mend,
    "s3": s3.mend,
    "sns": messages.mend_topics,
    "sqs": messages.mend_queues,
    "ssm": parameters.mend,
}


def is_pending(service: str) -> bool:
    """Return whether a service has corrections that are not in place yet."""
    return service in _BY_SERVICE and service not in _applied


def apply(service: str) -> None:
    """Mend a service before its first request."""
    with _lock:
        if is_pending(service):
            _BY_SERVICE[service]()
            _applied.add(service)
