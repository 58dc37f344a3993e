"""Creates, compares, updates and deletes CloudFormation stacks, and says in one word what happened."""

from __future__ import annotations

import difflib
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from botocore.exceptions import ClientError

Change = Literal["created", "updated", "unchanged"]
PROJECT_TAG = {"project": "data-centric-retraining"}
REPORT_SECONDS = 60  # an environment takes 20 to 40 minutes: say every minute what is waited for
SETTLED = {
    "CREATE_COMPLETE",
    "UPDATE_COMPLETE",
    "UPDATE_ROLLBACK_COMPLETE",
    "ROLLBACK_COMPLETE",
    "CREATE_FAILED",
    "DELETE_COMPLETE",
}
BROKEN = ("ROLLBACK_COMPLETE", "CREATE_FAILED", "ROLLBACK_FAILED", "DELETE_FAILED")


STUCK = {
    "REVIEW_IN_PROGRESS": "a change set made by hand waits for a person; execute it, or delete the stack: "
    "aws cloudformation delete-stack --stack-name {name}",
    "UPDATE_ROLLBACK_FAILED": "an update failed and could not be undone; mend what its events name, then "
    "aws cloudformation continue-update-rollback --stack-name {name}",
    "IMPORT_ROLLBACK_FAILED": "an import of resources could not be undone; see its events in the CloudFormation console",
}


class StackError(RuntimeError):
    """A stack did not reach the wanted state; the message carries CloudFormation's own reasons."""


@dataclass(frozen=True)
class StackRequest:
    """A stack as it should be. ``seconds`` is how long to wait for it; ``tags`` go to all of its resources."""

    name: str
    template: str
    parameters: Mapping[str, str]
    tags: Mapping[str, str] = field(default_factory=dict)
    seconds: float = 1800


@dataclass(frozen=True)
class StackDifference:
    """What deploying a request would do, with one line for each difference."""

    change: Literal["create", "update", "delete", "none"]
    lines: tuple[str, ...] = ()


def describe(session: Any, name: str) -> dict[str, Any] | None:
    """Return a stack, None when there is none."""
    try:
        return session.client("cloudformation").describe_stacks(StackName=name)["Stacks"][0]
    except ClientError as error:
        if "does not exist" in error.response["Error"]["Message"]:
            return None
        raise


def outputs(session: Any, name: str) -> dict[str, str]:
    """Return the outputs of a stack."""
    stack = describe(session, name) or {}
    return {item["OutputKey"]: item["OutputValue"] for item in stack.get("Outputs", [])}


def compare(session: Any, request: StackRequest) -> StackDifference:
    """Tell what deploying a request would change; nothing is created, not even a change set."""
    stack = describe(session, request.name)
    if stack is None or stack["StackStatus"] in BROKEN:
        return StackDifference("create", tuple(f"{key} = {value}" for key, value in sorted(request.parameters.items())))
    standing = {item["ParameterKey"]: item.get("ParameterValue") for item in stack.get("Parameters", [])}
    lines = [
        f"{key}: {standing.get(key)} -> {value}"
        for key, value in sorted(request.parameters.items())
        if standing.get(key) != value
    ]
    original = _template(session, request.name)
    if original != request.template:
        diff = difflib.unified_diff(
            original.splitlines(), request.template.splitlines(), "deployed", "now", n=0, lineterm=""
        )
        lines += list(diff)
    return StackDifference("update" if lines else "none", tuple(lines))


def deploy_stack(session: Any, request: StackRequest, say: Callable[[str], None]) -> Change:
    """Create or update a stack and wait until it is done.

    Raises:
        StackError: it failed; the reasons of the failed resources are listed.

    """
    cloudformation = session.client("cloudformation")
    name = request.name
    call = {
        "StackName": name,
        "TemplateBody": request.template,
        "Parameters": [{"ParameterKey": key, "ParameterValue": value} for key, value in request.parameters.items()],
        "Capabilities": ["CAPABILITY_IAM"],
        "Tags": [{"Key": key, "Value": value} for key, value in {**PROJECT_TAG, **request.tags}.items()],
    }
    stack = describe(session, name)
    if stack and stack["StackStatus"] in BROKEN:
        say(f"stack {name} is {stack['StackStatus']} from an earlier attempt: deleting it first")
        cloudformation.delete_stack(StackName=name)
        _wait(session, name, {"DELETE_COMPLETE"}, say, request.seconds)
        stack = None
    if stack and (remedy := STUCK.get(stack["StackStatus"])):
        raise StackError(f"stack {name} needs a person, it is {stack['StackStatus']}: {remedy.format(name=name)}")
    if stack and stack["StackStatus"].endswith("_IN_PROGRESS"):
        say(f"stack {name} is {stack['StackStatus']} from an earlier deployment: waiting for it")
        _wait(session, name, SETTLED, say, request.seconds)
        return deploy_stack(session, request, say)
    if stack is None:
        cloudformation.create_stack(**call)
        _wait(session, name, {"CREATE_COMPLETE"}, say, request.seconds)
        return "created"
    if compare(session, request).change == "none":
        return "unchanged"
    try:
        cloudformation.update_stack(**call)
    except ClientError as error:
        if "No updates are to be performed" in error.response["Error"]["Message"]:
            return "unchanged"
        raise
    _wait(session, name, {"UPDATE_COMPLETE"}, say, request.seconds)
    return "updated"


def delete_stack(session: Any, name: str, say: Callable[[str], None], seconds: float = 3600) -> bool:
    """Delete a stack and wait until it is gone; return whether there was one.

    Raises:
        StackError: a resource could not be deleted.

    """
    if describe(session, name) is None:
        return False
    session.client("cloudformation").delete_stack(StackName=name)
    _wait(session, name, {"DELETE_COMPLETE"}, say, seconds)
    return True


def _template(session: Any, name: str) -> str:
    cloudformation = session.client("cloudformation")
    return str(cloudformation.get_template(StackName=name, TemplateStage="Original")["TemplateBody"])


def _wait(session: Any, name: str, wanted: set[str], say: Callable[[str], None], seconds: float = 1800) -> None:
    started, last, reported = time.monotonic(), "", 0.0
    while (waited := time.monotonic() - started) < seconds:
        stack = describe(session, name)
        state = stack["StackStatus"] if stack else "DELETE_COMPLETE"
        if state in wanted:
            return
        if state != last or waited - reported >= REPORT_SECONDS:
            pending = f" after {waited / 60:.0f} min, in progress: {_pending(session, name)}" if state == last else ""
            say(f"stack {name}: {state}{pending}")
            last, reported = state, waited
        if not state.endswith("_IN_PROGRESS"):
            raise StackError(f"stack {name} ended {state}:\n{_reasons(session, name)}")
        time.sleep(0.5 if waited < 10 else 5)
    raise StackError(
        f"stack {name} did not reach {', '.join(sorted(wanted))} within {seconds:.0f} s; it is {last}. It goes on without this command, "
        "which can be repeated"
    )


def _pending(session: Any, name: str) -> str:
    resources = session.client("cloudformation").describe_stack_resources(StackName=name)["StackResources"]
    pending = [item["LogicalResourceId"] for item in resources if item["ResourceStatus"].endswith("_IN_PROGRESS")]
    return ", ".join(pending) or "nothing yet"


def _reasons(session: Any, name: str) -> str:
    events = session.client("cloudformation").describe_stack_events(StackName=name)["StackEvents"]
    failed = [event for event in events if event["ResourceStatus"].endswith("FAILED")]
    return "\n".join(
        f"  {event['LogicalResourceId']}: {event.get('ResourceStatusReason', 'no reason given')}" for event in failed
    )
