"""Shows what a deployment would change."""

from __future__ import annotations

from collections.abc import Iterable

from deploy.environment import Step

SIGNS = {"create": "+", "update": "~", "delete": "-", "none": " "}
WORDS = {"create": "would be created", "update": "would change", "delete": "would be deleted", "none": "is up to date"}
LINES_SHOWN = 40


def render(steps: Iterable[Step]) -> tuple[list[str], int]:
    """Return the plan as lines for people, and how many parts would change."""
    lines, changes = [], 0
    for step in steps:
        change = step.difference.change
        lines.append(f"{SIGNS[change]} {step.title} {WORDS[change]}")
        if change == "none":
            continue
        changes += 1
        shown = step.difference.lines[:LINES_SHOWN]
        lines += [f"      {line}" for line in shown]
        if hidden := len(step.difference.lines) - len(shown):
            lines.append(f"      ... and {hidden} more lines")
    return lines, changes
