"""What the SageMaker training toolkit does inside a script-mode container: arguments and SM_* variables of train.py.

The names and values follow the documentation of sagemaker-training-toolkit (ENVIRONMENT_VARIABLES.md).
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from local_aws.shared.errors import JobError
from local_aws.shared.running.hosts import Host
from local_aws.shared.sandbox import safe_join

_OWN_PARAMETERS = ("sagemaker_", "sm_")


def decode_hyperparameters(hyperparameters: Mapping[str, str]) -> dict[str, Any]:
    """Return the values as JSON where they are JSON, else as they are."""
    decoded: dict[str, Any] = {}
    for name, value in hyperparameters.items():
        try:
            decoded[name] = json.loads(value)
        except ValueError:
            decoded[name] = value
    return decoded


def script_arguments(decoded: Mapping[str, Any]) -> list[str]:
    """Return the user's hyperparameters as command line: ``--name value``, one-letter names as ``-n value``."""
    arguments: list[str] = []
    for name in sorted(decoded):
        if not name.startswith(_OWN_PARAMETERS):
            arguments += [f"--{name}" if len(name) > 1 else f"-{name}", _argument(decoded[name])]
    return arguments


def _argument(value: Any) -> str:
    if isinstance(value, Mapping):
        return ",".join(f"{key}={item}" for key, item in sorted(value.items()))
    return "" if value is None else str(value)


def _variable(value: Any) -> str:
    if value is None or isinstance(value, str):
        return value or ""
    return json.dumps(value, sort_keys=True, separators=(",", ":"))


def script_path(decoded: Mapping[str, Any], code: Path) -> Path:
    """Return the program to run; JobError if the source archive has no such file."""
    program = str(decoded["sagemaker_program"])
    path = safe_join(code, program)
    if not path.is_file():
        raise JobError(f"sagemaker_program {program} is not in the archive {decoded.get('sagemaker_submit_directory')}")
    return path


def training_variables(
    *,
    host: Host,
    job_name: str,
    job_arn: str,
    region: str,
    decoded: Mapping[str, Any],
    channels: list[str],
    instance_type: str,
) -> dict[str, str]:
    """Return the SM_* variables that a training script reads; paths are as the script sees them."""
    sandbox = host.sandbox
    ml, config = sandbox.seen(sandbox.ml), sandbox.ml / "input" / "config"
    user = {name: value for name, value in decoded.items() if not name.startswith(_OWN_PARAMETERS)}
    program = str(decoded.get("sagemaker_program", ""))
    arguments = script_arguments(decoded)
    variables = {
        "SM_MODEL_DIR": str(ml / "model"),
        "SM_OUTPUT_DIR": str(ml / "output"),
        "SM_OUTPUT_DATA_DIR": str(ml / "output" / "data"),
        "SM_OUTPUT_INTERMEDIATE_DIR": str(ml / "output" / "intermediate"),
        "SM_INPUT_DIR": str(ml / "input"),
        "SM_INPUT_CONFIG_DIR": str(ml / "input" / "config"),
        "SM_MODULE_DIR": str(decoded.get("sagemaker_submit_directory", "")),
        "SM_MODULE_NAME": program.removesuffix(".py"),
        "SM_USER_ENTRY_POINT": program,
        "SM_USER_ARGS": json.dumps(arguments),
        "SM_CHANNELS": json.dumps(sorted(channels)),
        "SM_HPS": json.dumps(user),
        "SM_HOSTS": json.dumps(host.names),
        "SM_CURRENT_HOST": host.name,
        "SM_CURRENT_INSTANCE_TYPE": instance_type,
        "SM_NUM_CPUS": str(os.cpu_count() or 1),
        "SM_NUM_GPUS": "0",
        "SM_NUM_NEURONS": "0",
        "SM_NETWORK_INTERFACE_NAME": "lo",
        "SM_LOG_LEVEL": str(decoded.get("sagemaker_container_log_level", 20)),
        "SM_INPUT_DATA_CONFIG": (config / "inputdataconfig.json").read_text(),
        "SM_RESOURCE_CONFIG": (config / "resourceconfig.json").read_text(),
        "SAGEMAKER_REGION": region,
        "TRAINING_JOB_NAME": job_name,
        "TRAINING_JOB_ARN": job_arn,
    }
    for channel in channels:
        variables[f"SM_CHANNEL_{channel.upper()}"] = str(ml / "input" / "data" / channel)
    for name, value in user.items():
        variables[f"SM_HP_{name.upper()}"] = _variable(value)
    return variables


def algorithm_error(exit_code: int, command: list[str], failure: str, log_tail: str) -> str:
    """Return a FailureReason as SageMaker writes it, at most 1,024 characters, the last of the log kept."""
    message = failure or log_tail
    head = f'AlgorithmError: ExecuteUserScriptError:\nExitCode {exit_code}\nErrorMessage "'
    end = f'"\nCommand "{" ".join(command)[:200]}", exit code: {exit_code}'
    return head + message[-(1024 - len(head) - len(end)) :] + end
