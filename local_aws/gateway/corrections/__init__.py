"""Where MiniStack answers otherwise than AWS and a user of this package would meet it: each is mended in front of it.

Every correction wraps one of MiniStack's own functions, once, when its service is first asked for.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

from local_aws.gateway.corrections import glue, iam, messages, parameters, queries, s3, states
from local_aws.shared.clients import Clients

_applied: set[str] = set()
_lock = threading.Lock()

#: Operations of Glue that MiniStack answers with success although nothing happens.
PRETENDED = ("StartTrigger", "StartWorkflowRun", "ResumeWorkflowRun")

_BY_SERVICE: dict[str, Callable[[Clients], None]] = {
    "athena": lambda _: queries.mend(),
    "cloudformation": lambda _: glue.keep_execution_property(with_templates=True),
    "glue": lambda _: glue.mend(),
    "iam": lambda _: iam.mend(),
    "s3": lambda _: s3.mend(),
    "sns": lambda _: messages.mend_topics(),
    "sqs": lambda _: messages.mend_queues(),
    "ssm": lambda _: parameters.mend(),
    "states": states.mend,
}


#: Services whose corrections another one counts on.
_NEEDS = {"athena": ("s3", "glue"), "states": ("s3", "glue", "sqs", "sns", "ssm")}


def is_pending(service: str) -> bool:
    """Return whether a service has corrections that are not in place yet."""
    return service in _BY_SERVICE and service not in _applied


def apply(service: str, clients: Clients) -> None:
    """Mend a service before its first request."""
    with _lock:
        for name in (*_NEEDS.get(service, ()), service):
            if is_pending(name):
                _BY_SERVICE[name](clients)
                _applied.add(name)
