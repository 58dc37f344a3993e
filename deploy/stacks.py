"""Creates and updates CloudFormation stacks, and says in one word what happened."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any, Literal

from botocore.exceptions import ClientError

Change = Literal["created", "updated", "unchanged"]
BROKEN = ("ROLLBACK_COMPLETE", "CREATE_FAILED", "ROLLBACK_FAILED", "DELETE_FAILED")


class StackError(RuntimeError):
    """A stack did not reach the wanted state; the message carries CloudFormation's own reasons."""


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


def deploy_stack(
    session: Any, name: str, template: str, parameters: Mapping[str, str], say: Callable[[str], None]
) -> Change:
    """Create or update a stack and wait until it is done.

    Raises:
        StackError: it failed; the reasons of the failed resources are listed.

    """
    cloudformation = session.client("cloudformation")
    request = {
        "StackName": name,
        "TemplateBody": template,
        "Parameters": [{"ParameterKey": key, "ParameterValue": value} for key, value in parameters.items()],
        "Capabilities": ["CAPABILITY_IAM"],
        "Tags": [{"Key": "project", "Value": "data-centric-retraining"}],
    }
    stack = describe(session, name)
    if stack and stack["StackStatus"] in BROKEN:
        say(f"stack {name} is {stack['StackStatus']} from an earlier attempt: deleting it first")
        cloudformation.delete_stack(StackName=name)
        _wait(session, name, {"DELETE_COMPLETE"}, say)
        stack = None
    if stack is None:
        cloudformation.create_stack(**request)
        _wait(session, name, {"CREATE_COMPLETE"}, say)
        return "created"
    if _same(cloudformation, stack, template, parameters):
        return "unchanged"
    try:
        cloudformation.update_stack(**request)
    except ClientError as error:
        if "No updates are to be performed" in error.response["Error"]["Message"]:
            return "unchanged"
        raise
    _wait(session, name, {"UPDATE_COMPLETE"}, say)
    return "updated"


def _same(cloudformation: Any, stack: Mapping[str, Any], template: str, parameters: Mapping[str, str]) -> bool:
    standing = {item["ParameterKey"]: item.get("ParameterValue") for item in stack.get("Parameters", [])}
    if any(standing.get(key) != value for key, value in parameters.items()):
        return False
    return (
        cloudformation.get_template(StackName=stack["StackName"], TemplateStage="Original")["TemplateBody"] == template
    )


def _wait(session: Any, name: str, wanted: set[str], say: Callable[[str], None], seconds: float = 1800) -> None:
    deadline, last = time.monotonic() + seconds, ""
    while time.monotonic() < deadline:
        stack = describe(session, name)
        state = stack["StackStatus"] if stack else "DELETE_COMPLETE"
        if state in wanted:
            return
        if state != last:
            say(f"stack {name}: {state}")
            last = state
        if not state.endswith("_IN_PROGRESS"):
            raise StackError(f"stack {name} ended {state}:\n{_reasons(session, name)}")
        time.sleep(0.5 if deadline - time.monotonic() > seconds - 10 else 5)
    raise StackError(f"stack {name} did not reach {', '.join(wanted)} within {seconds:.0f} s; it is {last}")


def _reasons(session: Any, name: str) -> str:
    events = session.client("cloudformation").describe_stack_events(StackName=name)["StackEvents"]
    failed = [event for event in events if event["ResourceStatus"].endswith("FAILED")]
    return "\n".join(
        f"  {event['LogicalResourceId']}: {event.get('ResourceStatusReason', 'no reason given')}" for event in failed
    )
