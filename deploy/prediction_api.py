"""The HTTP API of a model: the function's archive with its ``model.json``, the stack, and the site with the form."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from deploy import data_platform, sync
from deploy.artifacts import ROOT, Artifact, deterministic_zip, digest, tree, upload
from deploy.code_writers import deployers
from deploy.settings import Deployment
from deploy.stacks import StackDifference, StackRequest, compare, delete_stack, deploy_stack, describe, outputs
from lambda_functions.prediction_api.model import described
from retraining.settings.model_config import ModelConfig

TEMPLATE = ROOT / "infra" / "prediction_api.yaml"
CARRIED = (
    "__init__.py",
    "contract/**/*.py",
    "settings/__init__.py",
    "settings/present/__init__.py",
    "settings/present/arithmetic.py",
    "settings/present/wording.py",
)
"""What the function needs of the library: the contract's rules and a model's wording, standard library only."""
SITE_OF_THE_PAGE = ("dom.js", "explanation.js", "page.css", "icon.svg")
SITE_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "form-action 'none'; base-uri 'none'; frame-ancestors 'none'"
)
"""The content security policy of the site; infra/prediction_api.yaml has the same."""
CONTENT_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript",
    ".css": "text/css",
    ".svg": "image/svg+xml",
}


def function(config: ModelConfig, root: Path = ROOT) -> Artifact:
    """Return the archive of a model's function: the same bytes for the same sources, contract and words."""
    folder = root / "lambda_functions" / "prediction_api"
    files = {f"lambda_functions/prediction_api/{name}": body for name, body in tree(folder).items()}
    files |= {f"retraining/{name}": body for name, body in tree(root / "plugins" / "retraining", CARRIED).items()}
    document = json.dumps(described(config), sort_keys=True, indent=1)
    files["lambda_functions/prediction_api/model.json"] = document.encode()
    body = deterministic_zip(files)
    return Artifact(f"lambda/prediction_api-{config.name}-{digest(body)}.zip", body)


def site(root: Path = ROOT) -> dict[str, bytes]:
    """Return the files of the site by name. Elements, colours and icon are those of the page in the Airflow UI."""
    static = root / "plugins" / "retraining" / "page" / "static"
    files = tree(root / "lambda_functions" / "prediction_api" / "site", ("*",))
    return files | {name: (static / name).read_bytes() for name in SITE_OF_THE_PAGE}


def stack_name(environment: str, model: str) -> str:
    """Return the name of the stack; it begins otherwise than those of data platforms, which end with a model's name, too."""
    return f"prediction-api-{environment}-{model}"


class HttpApi:
    """The API of one model in a deployment, or that it has none.

    Args:
        session: boto3 session of the account and region.
        deployment: its settings.
        config: the model.
        say: takes one line of progress.
        root: the project's folder.
        tags: of everything that the stack creates.

    """

    def __init__(
        self,
        session: Any,
        deployment: Deployment,
        config: ModelConfig,
        say: Callable[[str], None],
        root: Path = ROOT,
        tags: Mapping[str, str] | None = None,
    ) -> None:
        self._session = session
        self._deployment = deployment
        self._config = config
        self._say = say
        self._root = root
        self._tags = tags or {}
        self._s3 = session.client("s3")
        self.stack = stack_name(deployment.name, config.name)

    def request(self) -> StackRequest | None:
        """Return the stack, None for a model whose model.yaml has no section ``api``."""
        api, deployment = self._config.api, self._deployment
        if api is None:
            return None
        bucket = data_platform.artifacts_bucket(self._session, deployment.name)
        parameters = {
            "EnvironmentName": deployment.name,
            "ModelName": self._config.name,
            "EndpointName": f"{deployment.name}-{self._config.deployment.endpoint}".lower(),
            "ArtifactsBucket": bucket,
            "CodeWriters": ",".join(deployers(self._session, bucket, deployment.deployers)),
            "FunctionKey": function(self._config, self._root).key,
            "Access": api.access,
            "CorsOrigins": ",".join(api.cors),
            "RequestsPerSecond": str(api.throttle.per_second),
            "RequestsAtOnce": str(api.throttle.burst),
            "Site": "yes" if api.site else "no",
        }
        if "LogRetentionDays" in deployment.platform:
            parameters["LogRetentionDays"] = deployment.platform["LogRetentionDays"]
        return StackRequest(self.stack, TEMPLATE.read_text(encoding="utf-8"), parameters, self._tags)

    def url(self) -> str | None:
        """Return where the API is, None when it is not deployed."""
        return outputs(self._session, self.stack).get("Url")

    def plan(self) -> Iterator[tuple[str, StackDifference]]:
        """Yield what deploying would do, as title and difference."""
        if request := self.request():
            yield f"stack {self.stack}", compare(self._session, request)
        elif describe(self._session, self.stack):
            yield f"stack {self.stack}", StackDifference("delete", ("model.yaml has no section api any more",))

    def up(self) -> int:
        """Bring archive, stack and site up to date, or take down an API that is not asked for any more; return how many parts changed."""
        request, standing = self.request(), outputs(self._session, self.stack)
        if "SiteBucket" in standing and not (self._config.api and self._config.api.site):
            empty_site(self._s3, standing["SiteBucket"])
        if request is None:
            return self._down()
        part = function(self._config, self._root)
        if upload(self._s3, request.parameters["ArtifactsBucket"], part):
            self._say(f"uploaded {part.key}")
        change = deploy_stack(self._session, request, self._say)
        found = outputs(self._session, self.stack)
        self._say(f"stack {self.stack}: {change}; {found.get('Url')}")
        if "SiteBucket" not in found:
            return int(change != "unchanged")
        files = upload_site(self._s3, found["SiteBucket"], self._root)
        self._say(f"form {found.get('SiteUrl')}: {files} file(s) changed")
        return int(change != "unchanged") + files

    def _down(self) -> int:
        gone = delete_stack(self._session, self.stack, self._say)
        if gone:
            self._say(f"stack {self.stack}: deleted, for model.yaml has no section api any more")
        return int(gone)


def upload_site(s3: Any, bucket: str, root: Path = ROOT) -> int:
    """Bring the files of the site up to date; return how many changed."""
    plan = sync.plan_sync(s3, bucket, "", site(root))
    for name, body in plan.upload.items():
        kind = CONTENT_TYPES[PurePosixPath(name).suffix]
        s3.put_object(Bucket=bucket, Key=name, Body=body, ContentType=kind)
    for name in plan.delete:
        s3.delete_object(Bucket=bucket, Key=name)
    return len(plan.upload) + len(plan.delete)


def empty_site(s3: Any, bucket: str) -> None:
    """Delete the files of a site, so that its bucket can be deleted."""
    for name in sync.plan_sync(s3, bucket, "", {}).delete:
        s3.delete_object(Bucket=bucket, Key=name)
