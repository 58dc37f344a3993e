"""Finds in the sources every error message that a user can meet: what is raised with a text of its own."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

NAME = "NAME"
"""Stands for what is filled in."""


@dataclass(frozen=True)
class Raised:
    """A message with ``NAME`` for each value in it, and where it is raised."""

    exception: str
    message: str
    file: str
    line: int

    def __str__(self) -> str:
        """Name place and message."""
        return f"{self.file}:{self.line} {self.exception}: {self.message}"


def raised_in(root: Path, path: Path) -> Iterator[Raised]:
    """Yield the messages raised in one source file, in order; re-raised and message-less exceptions have none."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if not isinstance(node, ast.Raise) or not isinstance(node.exc, ast.Call) or not node.exc.args:
            continue
        message = text_of(node.exc.args[0])
        if message.replace(NAME, "").strip(" :;,."):
            name = ast.unparse(node.exc.func).rpartition(".")[2]
            yield Raised(name, message, path.relative_to(root).as_posix(), node.lineno)


def text_of(node: ast.expr) -> str:
    """Return the text of a message: constant, f-string, or their sum."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.JoinedStr):
        return "".join(part.value if isinstance(part, ast.Constant) else NAME for part in node.values)  # type: ignore[misc]
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        return text_of(node.left) + text_of(node.right)
    return NAME
