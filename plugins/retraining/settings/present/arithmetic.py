"""Arithmetic that a model.yaml may hold: numbers, names, ``+ - * /`` and parentheses; nothing else is ever evaluated."""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable, Mapping

_OPERATIONS: Mapping[type[ast.operator], Callable[[float, float], float]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
}
_ALLOWED = (ast.Name, ast.BinOp, ast.UnaryOp, ast.Load, ast.USub, ast.UAdd, *_OPERATIONS)


def parsed(text: str) -> ast.expr:
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


def names_in(tree: ast.expr) -> set[str]:
    """Return the names that arithmetic is made from."""
    return {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}


def valued(node: ast.expr, names: Mapping[str, float]) -> float:
    """Return the value of arithmetic; ArithmeticError where it has none."""
    if isinstance(node, ast.Constant):
        return float(node.value)  # type: ignore[arg-type]
    if isinstance(node, ast.Name):
        return names[node.id]
    if isinstance(node, ast.UnaryOp):
        inner = valued(node.operand, names)
        return -inner if isinstance(node.op, ast.USub) else inner
    assert isinstance(node, ast.BinOp)
    return _OPERATIONS[type(node.op)](valued(node.left, names), valued(node.right, names))
