"""Writing a change into ``model.yaml`` as a person would: one value or one key, comments and layout untouched.

The text is edited at the places where the YAML parser found the values, not written anew. Afterwards it is read again: unless it says
exactly what was asked for, nothing is proposed.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from typing import Any

import yaml

from experiment.overrides import Location, Override, apply

ONE_LINE = 10**9
CLOSE = 2


class ProposalError(ValueError):
    """The file is written in a way that cannot be edited safely; the message says what to write by hand."""


def propose(text: str, overrides: Sequence[Override]) -> str:
    """Return the text of ``model.yaml`` with the overrides written into it.

    Raises:
        ProposalError: the text cannot be edited so that it says just that, for example because of an anchor that is used twice.

    """
    wanted: Mapping[str, Any] = yaml.safe_load(text)
    for override in overrides:
        wanted = apply(wanted, [override])
        edited = _edit(text, override.location, override.value)
        if edited is None or not _says(edited, wanted):
            raise ProposalError(
                f"{override.path} cannot be written into this model.yaml without changing something else; write it by hand: "
                f"{override.location[-1]}: {on_one_line(override.value)}"
            )
        text = edited
    return text


def diff(before: str, after: str, name: str) -> str:
    """Return the unified diff of two texts of one file, empty when they are equal."""
    lines = difflib.unified_diff(
        before.splitlines(keepends=True), after.splitlines(keepends=True), f"a/{name}", f"b/{name}", n=2
    )
    return "".join(line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n" for line in lines)


def _says(text: str, wanted: Mapping[str, Any]) -> bool:
    try:
        found = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError):
        return False
    return repr(found) == repr(wanted)  # unlike ==, tells 1 from 1.0 and from True, and sees the order of keys


def _edit(text: str, location: Location, value: Any) -> str | None:
    """Return the edited text; None where there is no safe way."""
    node = yaml.compose(text, Loader=yaml.SafeLoader)
    depth = 0
    key: yaml.Node | None = None
    while depth < len(location):
        found = _entry(node, location[depth])
        if found is None:
            break
        key, node = found
        depth += 1
    rest = value
    for part in reversed(location[depth + 1 :]):
        rest = {part: rest}
    if depth == len(location):
        return _replace(text, key, node, value)
    if isinstance(node, yaml.MappingNode) and node.value:
        return _add(text, node, str(location[depth]), rest)
    return _replace(text, key, node, {location[depth]: rest})


def _entry(node: Any, part: str | int) -> tuple[yaml.Node | None, yaml.Node] | None:
    if isinstance(node, yaml.MappingNode):
        return next(((key, value) for key, value in node.value if key.value == str(part)), None)
    if isinstance(node, yaml.SequenceNode) and isinstance(part, int):
        return None, node.value[part]
    return None


def _replace(text: str, key: yaml.Node | None, node: Any, value: Any) -> str | None:
    """Put ``value`` in the place of a node. What was in it goes, with the comments between its lines."""
    start, end = node.start_mark.index, _end(text, node)
    written = on_one_line(value)
    if start == end:  # nothing stands there, as in ``key:``
        return f"{text[:start]} {written}{text[end:]}" if text[:start].endswith(":") else None
    if key is not None and not _is_flow(node):
        # A block below its key: the value goes on the key's line, before its comment, and the block's lines go.
        colon = text.index(":", key.end_mark.index) + 1
        line_end = text.index("\n", colon)
        last = text.find("\n", end)
        return f"{text[:colon]} {written}{text[colon:line_end]}{text[last:] if last >= 0 else ''}"
    return text[:start] + written + _realigned(text[end:], len(written) - (end - start))


def _realigned(rest: str, longer: int) -> str:
    """Keep the column of a comment that was set apart by more than two spaces, as comments in columns are."""
    gap = len(rest) - len(rest.lstrip(" "))
    if gap <= CLOSE or rest[gap : gap + 1] != "#":
        return rest
    return " " * max(CLOSE, gap - longer) + rest[gap:]


def _add(text: str, node: yaml.MappingNode, name: str, value: Any) -> str:
    """Add a key at the end of a mapping that has some."""
    entry = f"{on_one_line(name)}: {on_one_line(value)}"
    end = _end(text, node.value[-1][1]) or node.value[-1][0].end_mark.index
    if node.flow_style:
        return f"{text[:end]}, {entry}{text[end:]}"
    newline = "\r\n" if "\r\n" in text else "\n"
    indent = " " * node.value[0][0].start_mark.column
    line_end = text.find("\n", end)
    if line_end < 0:
        return f"{text}{newline}{indent}{entry}"
    if text[line_end - 1] == "\r":
        line_end -= 1
    return f"{text[:line_end]}{newline}{indent}{entry}{text[line_end:]}"


def _end(text: str, node: Any) -> int:
    """Return where a node's own text ends; the parser's mark of a block lies behind the comments and blank lines that follow it."""
    if isinstance(node, yaml.CollectionNode) and not _is_flow(node) and node.value:
        last = node.value[-1]
        key, value = last if isinstance(node, yaml.MappingNode) else (None, last)
        end = _end(text, value)
        return max(end, key.end_mark.index + 1) if key is not None else end
    start, end = int(node.start_mark.index), int(node.end_mark.index)
    return start + len(text[start:end].rstrip(" \t\r\n"))


def _is_flow(node: Any) -> bool:
    return isinstance(node, yaml.ScalarNode) or bool(node.flow_style)


def on_one_line(value: Any) -> str:
    """Return a value as YAML on one line, as it may stand within braces."""
    listed = yaml.safe_dump([value], default_flow_style=True, width=ONE_LINE, allow_unicode=True, sort_keys=False)
    return listed.strip()[1:-1]
