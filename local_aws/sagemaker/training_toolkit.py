"""What the SageMaker training toolkit does inside a script-mode container: command, arguments, variables, and the words of a failure.

Held against the toolkit itself by ``tests/conformance/test_training_toolkit.py``.
"""

from __future__ import annotations

import json
import os
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from local_aws.shared.errors import JobError
from local_aws.shared.running.hosts import Host
from local_aws.shared.sandbox import safe_join

_TUNING_METRIC = "_tuning_objective_metric"
GROUP = "homogeneousCluster"
"""Name of the one group of instances."""
_KNOWN = {
    "sagemaker_program",
    "sagemaker_submit_directory",
    "sagemaker_container_log_level",
    "sagemaker_enable_cloudwatch_metrics",
    "sagemaker_job_name",
    "sagemaker_region",
    "sagemaker_s3_output",
}


def decode_hyperparameters(hyperparameters: Mapping[str, str]) -> dict[str, Any]:
    """Return the values as JSON where they are JSON, else as they are."""
    decoded: dict[str, Any] = {}
    for name, value in hyperparameters.items():
        try:
            decoded[name] = json.loads(value)
        except ValueError:
            decoded[name] = value
    return decoded


def _users(decoded: Mapping[str, Any]) -> dict[str, Any]:
    return {name: decoded[name] for name in sorted(decoded) if name[:10] != "sagemaker_" and name != _TUNING_METRIC}


def script_arguments(decoded: Mapping[str, Any]) -> list[str]:
    """Return the user's hyperparameters as command line: ``--name value``, one-letter names as ``-n value``."""
    arguments: list[str] = []
    for name, value in _users(decoded).items():
        arguments += [f"--{name}" if len(name) > 1 else f"-{name}", _argument(value)]
    return arguments


def _argument(value: Any) -> str:
    if isinstance(value, Mapping):
        return ",".join(f"{key}={item}" for key, item in sorted(value.items()))
    return "" if value is None else str(value)


def _variable(value: Any) -> str:
    if value is None or isinstance(value, str):
        return value or ""
    return json.dumps(value, sort_keys=True, separators=(",", ":"))


def script_command(python: str, decoded: Mapping[str, Any], code: Path) -> list[str]:
    """Return the command that runs the program in the folder ``code``, where it lies; what is no Python file is run by the shell.

    Raises:
        JobError: the source archive has no such file.

    """
    program = str(decoded["sagemaker_program"])
    path = safe_join(code, program)
    if not path.is_file():
        raise JobError(f"sagemaker_program {program} is not in the archive {decoded.get('sagemaker_submit_directory')}")
    arguments = script_arguments(decoded)
    if not program.endswith(".py"):
        path.chmod(path.stat().st_mode | 0o700)
        return ["/bin/sh", "-c", f"./{program} {shlex.join(arguments)}"]
    command = [python, program, *arguments]
    return [*command[:-1], command[-1].strip('"')]  # so does the toolkit


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
    user = _users(decoded)
    program = str(decoded.get("sagemaker_program", ""))
    inputs = {channel: str(ml / "input" / "data" / channel) for channel in sorted(channels)}
    groups = {GROUP: {"instance_group_name": GROUP, "instance_type": instance_type, "hosts": host.names}}
    shared: dict[str, Any] = {
        "model_dir": str(ml / "model"),
        "output_dir": str(ml / "output"),
        "output_data_dir": str(ml / "output" / "data"),
        "output_intermediate_dir": str(ml / "output" / "intermediate"),
        "input_dir": str(ml / "input"),
        "input_config_dir": str(ml / "input" / "config"),
        "module_dir": str(decoded.get("sagemaker_submit_directory", "")),
        "module_name": program.removesuffix(".py"),
        "user_entry_point": program,
        "hosts": host.names,
        "current_host": host.name,
        "current_instance_type": instance_type,
        "current_instance_group": GROUP,
        "current_instance_group_hosts": host.names,
        "instance_groups": [GROUP],
        "instance_groups_dict": groups,
        "distribution_instance_groups": [],
        "is_hetero": False,
        "num_cpus": os.cpu_count() or 1,
        "num_gpus": 0,
        "num_neurons": 0,
        "network_interface_name": "lo",
        "log_level": decoded.get("sagemaker_container_log_level", 20),
        "input_data_config": json.loads((config / "inputdataconfig.json").read_text()),
        "resource_config": json.loads((config / "resourceconfig.json").read_text()),
    }
    framework = {name: value for name, value in decoded.items() if name[:10] == "sagemaker_" and name not in _KNOWN}
    whole = {
        **shared,
        "additional_framework_parameters": framework,
        "channel_input_dirs": inputs,
        "distribution_hosts": [],
        "hyperparameters": user,
        "is_master": host.name == host.names[0],
        "job_name": job_name,
        "master_hostname": host.names[0],
    }
    told: dict[str, Any] = {
        **shared,
        "user_args": script_arguments(decoded),
        "channels": sorted(channels),
        "hps": user,
        "framework_params": framework,
        "training_env": whole,
        **{f"channel_{channel}": path for channel, path in inputs.items()},
        **{f"hp_{name}": value for name, value in user.items()},
    }
    return {f"SM_{name.upper()}": _variable(value) for name, value in told.items()} | {
        "SAGEMAKER_REGION": region,
        "TRAINING_JOB_NAME": job_name,
        "TRAINING_JOB_ARN": job_arn,
    }


def script_failure(exit_code: int, command: list[str], failure: str, log_tail: str) -> str:
    """Return the FailureReason of a script that failed: what its failure file says, else the toolkit's sentence around the last of the log.

    The container ends with 1 whatever the script ended with. In the scikit-learn image the toolkit's sentence has no message at all.
    """
    if failure:
        return own_failure(1, failure)
    code = 128 - exit_code if exit_code > 128 else exit_code  # of a signal
    head, end = f'ExecuteUserScriptError:\nExitCode {code}\nErrorMessage "', f'"\nCommand "{" ".join(command)[:200]}"'
    return own_failure(1, f"{head}{log_tail[-(960 - len(head) - len(end)) :]}{end}")


def own_failure(exit_code: int, words: str) -> str:
    """Return a FailureReason as SageMaker writes it of a container that failed, at most 1,024 characters."""
    return f"AlgorithmError: {words[:980]}, exit code: {exit_code}"
