"""What all SageMaker List operations share: filters, order and pages."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable, Sequence
from typing import Any

from local_aws.shared.errors import validation_error

Document = dict[str, Any]


def list_page(
    documents: Iterable[Document],
    params: Document,
    *,
    result: str,
    fields: Sequence[str],
    name_field: str,
    status_field: str | None = None,
    default_order: str = "Descending",
    status_after_page: bool = False,
) -> Document:
    """Return one page of summaries: ``{result: [...], "NextToken": ...}``.

    Understands NameContains, StatusEquals, CreationTimeAfter/Before, LastModifiedTimeAfter/Before, SortBy, SortOrder,
    MaxResults and NextToken, with SageMaker's defaults (newest first, pages of 10). `status_after_page` cuts the page first and then leaves
    out what has another status, as ListTrainingJobs does: pages may be short, or empty.
    """
    early_status = None if status_after_page else status_field
    chosen = [document for document in documents if _matches(document, params, name_field, early_status)]
    sort_by = params.get("SortBy", "CreationTime")
    key = {"Name": name_field, "Status": status_field or name_field, "LastModifiedTime": "LastModifiedTime"}.get(
        sort_by, "CreationTime"
    )
    # Creation times can be equal within the clock's resolution: the order of writing decides then.
    order = sorted(enumerate(chosen), key=lambda pair: (pair[1].get(key) or 0, pair[0]))
    if params.get("SortOrder", default_order) == "Descending":
        order.reverse()
    page = page_of([document for _, document in order], params, result, default_size=10)
    wanted = params.get("StatusEquals") if status_after_page and status_field else None
    kept = [document for document in page[result] if wanted is None or document.get(status_field or "") == wanted]
    return page | {result: [{name: document[name] for name in fields if name in document} for document in kept]}


def page_of(items: list[Any], params: Document, result: str, default_size: int) -> Document:
    """Cut one page out of `items` by MaxResults and NextToken."""
    start = _offset(params.get("NextToken"))
    size = params.get("MaxResults", default_size)
    page: Document = {result: items[start : start + size]}
    if start + size < len(items):
        page["NextToken"] = base64.urlsafe_b64encode(str(start + size).encode()).decode()
    return page


def _offset(token: str | None) -> int:
    if not token:
        return 0
    try:
        return int(base64.urlsafe_b64decode(token.encode()))
    except (ValueError, binascii.Error) as error:
        raise validation_error("The pagination token is invalid.") from error


def _matches(document: Document, params: Document, name_field: str, status_field: str | None) -> bool:
    contains = params.get("NameContains")
    if contains and contains.lower() not in str(document[name_field]).lower():
        return False
    status = params.get("StatusEquals")
    if status and status_field and document.get(status_field) != status:
        return False
    return all(
        _in_range(document.get(field), params.get(f"{field}After"), params.get(f"{field}Before"))
        for field in ("CreationTime", "LastModifiedTime")
    )


def _in_range(value: float | None, after: float | None, before: float | None) -> bool:
    return (after is None or (value or 0) >= after) and (before is None or (value or 0) <= before)
