"""A prediction in the model's own words. Standard library only, because the function behind the HTTP API carries it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from retraining.settings.present.arithmetic import parsed, valued


def worded(present: Mapping[str, Any], target: str, prediction: float) -> dict[str, Any] | None:
    """Return value, unit and sentence for a prediction; None when the arithmetic has no finite result.

    Args:
        present: the section ``present`` of ``model.yaml`` with all of its keys.
        target: the name that the arithmetic is made from.
        prediction: what the model says.

    """
    formula = present["value"]
    try:
        value = valued(parsed(formula), {target: float(prediction)}) if formula else float(prediction)
    except ArithmeticError:
        return None
    if not math.isfinite(value):
        return None
    number = f"{value:.{present['decimals']}f}"
    text = present["text"].replace("{unit}", present["unit"]).replace("{value}", number)
    return {"value": value, "unit": present["unit"], "text": " ".join(text.split())}
