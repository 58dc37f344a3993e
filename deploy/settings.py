"""What differs between deployments: one YAML file each in ``deploy/environments``."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from deploy.artifacts import ROOT
from retraining.settings.environment import EnvironmentNameError, checked
from retraining.settings.model_config import ModelConfig, load_model_config

FOLDER = ROOT / "deploy" / "environments"
PRINCIPAL = re.compile(r"arn:aws[a-z-]*:iam::\d{12}:(role|user)/[\w+=.@/*-]+")
"""A role or user, or several with ``*``, as S3 knows who asks; a session in a role has the ARN of the role."""


class SettingsError(ValueError):
    """A deployment's file is missing or wrong; the message names the key and the remedy."""


@dataclass(frozen=True)
class Deployment:
    """A deployment.

    ``account`` is the only account it may go to, when given; ``environment`` and ``platform`` are parameters of infra/mwaa.yaml and
    infra/data_platform.yaml; ``tags`` go to all resources of all stacks; ``deployers`` are the ARNs, some with ``*``, of who else than the
    tasks may write what is executed or believed.
    """

    name: str
    region: str
    account: str | None = None
    environment: Mapping[str, str] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)
    platform: Mapping[str, str] = field(default_factory=dict)
    deployers: tuple[str, ...] = ()

    @property
    def environment_name(self) -> str:
        """Name of the MWAA environment."""
        return f"retraining-{self.name}"


def load(name: str, folder: Path = FOLDER) -> Deployment:
    """Read a deployment's file.

    Raises:
        SettingsError: there is none, or it has unknown keys.

    """
    try:
        path = folder / f"{checked(name)}.yaml"
    except EnvironmentNameError as error:
        raise SettingsError(str(error)) from error
    if not path.is_file():
        known = ", ".join(sorted(file.stem for file in folder.glob("*.yaml"))) or "none"
        raise SettingsError(
            f"there is no deployment {name!r} in {folder.name}/ (known: {known}); copy prod.yaml to {name}.yaml"
        )
    document = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    if unknown := sorted(set(document) - {"account", "region", "environment", "platform", "tags", "deployers"}):
        raise SettingsError(f"{path.name}: unknown key(s) {', '.join(unknown)}")
    if not document.get("region"):
        raise SettingsError(f"{path.name}: region is missing, for example us-east-1")
    account = document.get("account")
    if account is not None and not re.fullmatch(r"\d{12}", str(account)):
        raise SettingsError(f"{path.name}: account is {account!r}, not twelve digits in quotes")
    return Deployment(
        name=name,
        region=document["region"],
        account=account,
        environment=_texts(document.get("environment")),
        platform=_texts(document.get("platform")),
        tags=_texts(document.get("tags")),
        deployers=_deployers(path.name, document.get("deployers")),
    )


def models(root: Path = ROOT) -> list[ModelConfig]:
    """Read the configuration of every model in ``dags/models``."""
    return [load_model_config(path) for path in sorted((root / "dags" / "models").glob("*/model.yaml"))]


def _deployers(file: str, value: Any) -> tuple[str, ...]:
    found = value or []
    if not isinstance(found, list):
        raise SettingsError(f"{file}: deployers is {value!r}, not a list of ARNs")
    for arn in found:
        if not PRINCIPAL.fullmatch(str(arn)):
            raise SettingsError(
                f"{file}: deployers names {arn!r}, which is no ARN of a role or user, such as arn:aws:iam::123456789012:role/deploy-*"
            )
    return tuple(found)


def _texts(values: Mapping[str, Any] | None) -> dict[str, str]:
    return {key: str(value) for key, value in (values or {}).items()}
