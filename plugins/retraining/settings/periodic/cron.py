"""Whether a text is a cron expression, told when model.yaml is read and not when the scheduler first needs it."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator

PRESETS = ("@hourly", "@daily", "@weekly", "@monthly", "@yearly")
FIELDS = (("minute", 0, 59), ("hour", 0, 23), ("day of month", 1, 31), ("month", 1, 12), ("day of week", 0, 7))
NAMES = {
    "month": ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"],
    "day of week": ["sun", "mon", "tue", "wed", "thu", "fri", "sat"],
}


def check_cron(text: str) -> str:
    """Return a cron expression of five fields, or one of the presets such as ``@daily``, as it came.

    Raises:
        ValueError: it is none; the message names the field.

    """
    if text in PRESETS:
        return text
    parts = text.split()
    if len(parts) != len(FIELDS):
        names = ", ".join(name for name, *_ in FIELDS)
        raise ValueError(f"cron {text!r} has {len(parts)} fields, not five ({names}), such as 0 5 * * *")
    for part, (name, least, most) in zip(parts, FIELDS, strict=True):
        for item in part.lower().split(","):
            if not _is_item(item, name, least, most):
                raise ValueError(f"cron {text!r}: {item!r} is no {name} between {least} and {most}")
    return text


def _is_item(item: str, name: str, least: int, most: int) -> bool:
    """Tell whether an item is ``*``, a value or a range, with a step after a slash."""
    found = re.fullmatch(r"(\*|(\w+)(?:-(\w+))?)(?:/([1-9]\d*))?", item)
    if found is None:
        return False
    return all(_is_value(value, name, least, most) for value in found.group(2, 3) if value is not None)


def _is_value(value: str, name: str, least: int, most: int) -> bool:
    return value in NAMES.get(name, ()) or (value.isdigit() and least <= int(value) <= most)


Cron = Annotated[str, AfterValidator(check_cron)]
"""A cron expression in UTC."""
