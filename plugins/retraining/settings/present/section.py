"""How a prediction is told to people: the ``present`` section of ``model.yaml``."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field, field_validator

from retraining.settings.present.arithmetic import names_in, parsed
from retraining.settings.present.wording import worded
from retraining.settings.strict import Strict

LONGEST = 200
DECIMALS = 2


class Present(Strict):
    """The model's own words: a value made from the prediction, its unit, and a sentence with ``{value}`` in it."""

    value: Annotated[str, Field(max_length=LONGEST)] = ""
    """Arithmetic (``+ - * /``, parentheses, numbers) on the target's name; empty for the prediction itself."""
    unit: Annotated[str, Field(max_length=40)] = ""
    text: Annotated[str, Field(max_length=LONGEST)] = "{value} {unit}"
    decimals: Annotated[int, Field(ge=0, le=10)] = DECIMALS
    """Digits after the point."""

    @field_validator("value")
    @classmethod
    def _is_arithmetic(cls, value: str) -> str:
        if value:
            parsed(value)
        return value

    @field_validator("text")
    @classmethod
    def _names_only_its_own(cls, text: str) -> str:
        rest = text.replace("{value}", "").replace("{unit}", "")
        if "{value}" not in text or "{" in rest or "}" in rest:
            raise ValueError("text is a sentence with {value} in it, and {unit} if it likes; nothing else in braces")
        return text

    def names(self) -> set[str]:
        """Return the names that the value is made from."""
        return names_in(parsed(self.value)) if self.value else set()

    def shown(self, target: str, prediction: float) -> dict[str, Any] | None:
        """Return value, unit and sentence for a prediction; None when the arithmetic has no finite result."""
        return worded(self.model_dump(), target, prediction)
