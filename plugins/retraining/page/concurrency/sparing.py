"""SageMaker as one view asks it: once for what it says, and not at all for what cannot have changed since an earlier view asked."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from retraining.page.concurrency.remembered import Remembered

BELIEVED_SECONDS = 60
answers: Remembered[Mapping[str, Any]] = Remembered(BELIEVED_SECONDS)
"""By all that they depend on."""


class Sparing:
    """A boto3 client of SageMaker for one view, to list packages and to describe them and what serves.

    Lists and endpoints are asked for anew. A package is described again when its list tells another status than before, an endpoint's
    config and model when the endpoint was changed: until then what they say stands. Packages are described side by side.
    """

    def __init__(self, sagemaker: Any) -> None:
        self._sagemaker = sagemaker
        self._listed: dict[str, str] = {}
        """What a description depends on, by the package's ARN."""
        self._endpoints: dict[str, Mapping[str, Any]] = {}

    def __getattr__(self, name: str) -> Any:
        return getattr(self._sagemaker, name)

    def get_paginator(self, operation: str) -> Any:
        """Return a paginator; the packages that it lists are described ahead."""
        return _Paginator(self._sagemaker.get_paginator(operation), self._describe_ahead)

    def describe_model_package(self, *, ModelPackageName: str) -> Mapping[str, Any]:
        """Describe a package; what its list tells says whether that has to be asked."""
        key = self._listed.get(ModelPackageName)
        if key is None:
            return self._sagemaker.describe_model_package(ModelPackageName=ModelPackageName)
        return self._packages({key: ModelPackageName})[key]

    def describe_endpoint(self, *, EndpointName: str) -> Mapping[str, Any]:
        """Describe an endpoint, once for the view."""
        if EndpointName not in self._endpoints:
            self._endpoints[EndpointName] = self._sagemaker.describe_endpoint(EndpointName=EndpointName)
        return self._endpoints[EndpointName]

    def describe_endpoint_config(self, *, EndpointConfigName: str) -> Mapping[str, Any]:
        """Describe the config of an endpoint that was described."""
        ask = self._sagemaker.describe_endpoint_config
        return self._of_endpoint("config", EndpointConfigName, lambda: ask(EndpointConfigName=EndpointConfigName))

    def describe_model(self, *, ModelName: str) -> Mapping[str, Any]:
        """Describe the model of an endpoint that was described."""
        return self._of_endpoint("model", ModelName, lambda: self._sagemaker.describe_model(ModelName=ModelName))

    def _of_endpoint(self, kind: str, name: str, ask: Callable[[], Mapping[str, Any]]) -> Mapping[str, Any]:
        changes = [f"{found['EndpointArn']} {found['LastModifiedTime']}" for found in self._endpoints.values()]
        if not changes:
            return ask()
        key = " ".join((kind, name, *changes))
        return answers.of([key], lambda _: ask())[key]

    def _describe_ahead(self, page: Mapping[str, Any]) -> None:
        found = {
            f"{listed['ModelPackageArn']} {listed['ModelApprovalStatus']} {listed['CreationTime']}": listed[
                "ModelPackageArn"
            ]
            for listed in page.get("ModelPackageSummaryList", ())
        }
        self._listed |= {arn: key for key, arn in found.items()}
        self._packages(found)

    def _packages(self, arns: Mapping[str, str]) -> dict[str, Mapping[str, Any]]:
        describe = self._sagemaker.describe_model_package
        return answers.of(list(arns), lambda key: describe(ModelPackageName=arns[key]))


class _Paginator:
    def __init__(self, paginator: Any, see: Callable[[Mapping[str, Any]], None]) -> None:
        self._paginator, self._see = paginator, see

    def paginate(self, **request: Any) -> Iterator[Mapping[str, Any]]:
        for page in self._paginator.paginate(**request):
            self._see(page)
            yield page
