"""Search: jobs, endpoints, models and packages by what their documents say."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

from local_aws.shared.errors import validation_error
from local_aws.shared.listing import page_of
from local_aws.shared.store import Store

Document = dict[str, Any]

#: What Search knows here, and the kind of its documents.
_KINDS = {
    "TrainingJob": "training-job",
    "Endpoint": "endpoint",
    "ModelPackage": "model-package",
    "ModelPackageGroup": "model-package-group",
}
#: What Search finds of experiments -> noun of the operations that describe it, which is also the member of a result.
_TRACKED = {"Experiment": "Experiment", "ExperimentTrial": "Trial", "ExperimentTrialComponent": "TrialComponent"}
_OWN = ("PendingConfig", "ActiveConfig", "LastVersion", "LastDeploymentConfig")


class Search:
    """The operation Search."""

    def __init__(self, store: Store, tracked: Callable[[str], list[Document]]) -> None:
        """`tracked` returns the documents of experiments, trials or components."""
        self._store, self._tracked = store, tracked

    def search(self, params: Document) -> Document:
        """Return a page of the documents that fulfil the expression, newest first unless asked otherwise."""
        resource = str(params["Resource"])
        if resource not in _KINDS | _TRACKED:
            raise validation_error(f"local_aws searches {', '.join(_KINDS | _TRACKED)}, no {resource}.")
        noun = _TRACKED.get(resource, resource)
        documents = self._tracked(noun) if resource in _TRACKED else self._store.all(_KINDS[resource])
        found = [self._shown(noun, document) for document in documents]
        expression = params.get("SearchExpression", {})
        found = [document for document in found if _fulfils(document, expression)]
        key = params.get("SortBy", "LastModifiedTime")
        dated = [(_sortable(_at(document, key), document), place, document) for place, document in enumerate(found)]
        dated.sort(key=lambda item: item[:2], reverse=params.get("SortOrder", "Descending") == "Descending")
        results = [{noun: document} for *_, document in dated]
        page = page_of(results, params, "Results", default_size=10)
        return page | {"TotalHits": {"Value": len(results), "Relation": "EqualTo"}}

    def _shown(self, resource: str, document: Document) -> Document:
        tags = self._store.get("tags", document[f"{resource}Arn"]) or {}
        shown = {name: value for name, value in document.items() if name not in _OWN}
        return shown | {"Tags": tags.get("Tags", [])}


def _sortable(value: Any, document: Document) -> tuple[int, float, str]:
    value = document.get("CreationTime", 0) if value is None else value
    return (0, float(value), "") if isinstance(value, int | float) else (1, 0.0, str(value))


def _fulfils(document: Document, expression: Document) -> bool:
    if expression.get("NestedFilters"):
        raise validation_error("NestedFilters are not available in local_aws; Filters and SubExpressions are.")
    answers = [_matches(document, item) for item in expression.get("Filters", [])]
    answers += [_fulfils(document, part) for part in expression.get("SubExpressions", [])]
    if not answers:
        return True
    return any(answers) if expression.get("Operator") == "Or" else all(answers)


def _at(document: Document, path: str) -> Any:
    """Return the value at a path; ``Tags.KEY`` and ``Metrics.NAME`` are looked up by their names."""
    if path.startswith("Tags."):
        return next((tag["Value"] for tag in document["Tags"] if tag["Key"] == path[5:]), None)
    if path.startswith("Metrics."):
        metrics = document.get("FinalMetricDataList", [])
        return next((metric["Value"] for metric in metrics if metric["MetricName"] == path[8:]), None)
    value: Any = document
    parts = path.split(".")
    while parts:
        if isinstance(value, list):
            return [_at({**item, "Tags": []}, ".".join(parts)) for item in value if isinstance(item, dict)]
        if not isinstance(value, dict):
            return None
        # A hyperparameter's own name may hold dots.
        rest = ".".join(parts)
        if rest in value:
            return value[rest]
        value = value.get(parts.pop(0))
    return value


def _compared(better: Callable[[Any, Any], bool]) -> Callable[[Any, str], bool]:
    def compare(value: Any, wanted: str) -> bool:
        if value is None:
            return False
        try:
            return better(float(value), float(wanted))
        except (TypeError, ValueError):
            pass
        if isinstance(value, int | float):
            try:
                return better(value, datetime.fromisoformat(wanted).timestamp())
            except ValueError as error:
                raise validation_error(f"{wanted!r} is neither a number nor a time.") from error
        return better(str(value), wanted)

    return compare


_OPERATORS: dict[str, Callable[[Any, str], bool]] = {
    "Equals": lambda value, wanted: str(value) == wanted,
    "NotEquals": lambda value, wanted: str(value) != wanted,
    "Contains": lambda value, wanted: value is not None and wanted.lower() in str(value).lower(),
    "In": lambda value, wanted: str(value) in [part.strip() for part in wanted.split(",")],
    "Exists": lambda value, _: value is not None,
    "NotExists": lambda value, _: value is None,
    "GreaterThan": _compared(lambda one, other: one > other),
    "GreaterThanOrEqualTo": _compared(lambda one, other: one >= other),
    "LessThan": _compared(lambda one, other: one < other),
    "LessThanOrEqualTo": _compared(lambda one, other: one <= other),
}


def _matches(document: Document, item: Document) -> bool:
    value, wanted = _at(document, item["Name"]), item.get("Value", "")
    operator = _OPERATORS[item.get("Operator", "Equals")]
    if isinstance(value, list):
        return any(operator(one, wanted) for one in value)
    return operator(value, wanted)
