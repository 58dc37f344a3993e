"""SSM: policies of parameters, filters by tag and path, parameters without a slash."""

from __future__ import annotations

import importlib
import json
from typing import Any


def mend() -> None:
    """Mend all of SSM that this module knows."""
    ssm: Any = importlib.import_module("ministack.services.ssm")
    describe, apply, by_path = ssm._describe_parameters, ssm._apply_filter, ssm._get_parameters_by_path

    def described(data: dict[str, Any]) -> Any:
        status, headers, body = describe(data)
        answer = json.loads(body)
        for parameter in answer.get("Parameters", []):
            if isinstance(parameter.get("Policies"), str):
                parameter["Policies"] = _policies(parameter["Policies"])
        return (status, headers, body) if status != 200 else ssm.json_response(answer)

    def chosen(parameter: dict[str, Any], key: str, option: str, values: list[str]) -> Any:
        if key.startswith("tag:"):
            tags = (
                ssm._tags.get(ssm._parameter_tag_arn("Parameter", parameter["Name"]))
                or ssm._tags.get(parameter["ARN"])
                or {}
            )
            found = (
                tags.get(key[4:])
                if isinstance(tags, dict)
                else next((t["Value"] for t in tags if t["Key"] == key[4:]), None)
            )
            return found is not None and (not values or found in values)
        if key == "Path" and option != "Recursive":
            return any(parameter["Name"].rpartition("/")[0] == value.rstrip("/") for value in values)
        return apply(parameter, key, option, values)

    def below(data: dict[str, Any]) -> Any:
        if data.get("Path") != "/":
            return by_path(data)
        # A name without a slash belongs to the root.
        plain = {name: value for name, value in ssm._parameters.items() if not name.startswith("/")}
        status, headers, body = by_path(data)
        answer = json.loads(body)
        if status == 200 and not data.get("NextToken"):
            out = [ssm._param_out(item, data.get("WithDecryption", False)) for _, item in sorted(plain.items())]
            answer["Parameters"] = [*out, *answer["Parameters"]]
        return (status, headers, body) if status != 200 else ssm.json_response(answer)

    ssm._describe_parameters, ssm._apply_filter, ssm._get_parameters_by_path = described, chosen, below


def _policies(text: str) -> list[dict[str, str]]:
    """Return the policies of a parameter as the service lists them."""
    try:
        policies = json.loads(text)
    except ValueError:
        return []
    return [
        {"PolicyText": json.dumps(policy), "PolicyType": policy.get("Type", ""), "PolicyStatus": "Pending"}
        for policy in (policies if isinstance(policies, list) else [policies])
    ]
