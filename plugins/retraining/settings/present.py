"""How a prediction is told to people: the ``present`` section of ``model.yaml``."""

from __future__ import annotations

import ast
import math
import operator
from collections.abc import Callable, Mapping
from typing import Annotated, Any

from pydantic import Field, field_validator

from retraining.settings.strict import Strict

LONGEST = 200
DECIMALS = 2
_OPERATIONS: Mapping[type[ast.operator], Callable[[float, float], float]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
}
_ALLOWED = (ast.Name, ast.BinOp, ast.UnaryOp, ast.Load, ast.USub, ast.UAdd, *_OPERATIONS)


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
            _tree(value)
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
        return {node.id for node in ast.walk(_tree(self.value)) if isinstance(node, ast.Name)} if self.value else set()

    def shown(self, target: str, prediction: float) -> dict[str, Any] | None:
        """Return value, unit and sentence for a prediction; None when the arithmetic has no finite result."""
        try:
            value = _value(_tree(self.value), {target: float(prediction)}) if self.value else float(prediction)
        except ArithmeticError:
            return None
        if not math.isfinite(value):
            return None
        number = f"{value:.{self.decimals}f}"
        text = self.text.replace("{unit}", self.unit).replace("{value}", number)
        return {"value": value, "unit": self.unit, "text": " ".join(text.split())}


def _tree(text: str) -> ast.expr:
    """Parse arithmetic.

    Raises:
        ValueError: it is something else.

    """
    try:
        tree = ast.parse(text, mode="eval").body
    except (SyntaxError, RecursionError, MemoryError) as error:
        raise ValueError(f"value {text!r} is no arithmetic, such as rings + 1.5") from error
    for node in ast.walk(tree):
        number = isinstance(node, ast.Constant) and type(node.value) in (int, float)
        known = isinstance(node, _ALLOWED)
        if not (number or known):
            raise ValueError(f"value {text!r}: only + - * / and parentheses on the target's name, such as rings + 1.5")
    return tree


def _value(node: ast.expr, names: Mapping[str, float]) -> float:
    if isinstance(node, ast.Constant):
        return float(node.value)  # type: ignore[arg-type]
    if isinstance(node, ast.Name):
        return names[node.id]
    if isinstance(node, ast.UnaryOp):
        inner = _value(node.operand, names)
        return -inner if isinstance(node.op, ast.USub) else inner
    assert isinstance(node, ast.BinOp)
    return _OPERATIONS[type(node.op)](_value(node.left, names), _value(node.right, names))
