"""Patterns of AWS's service models, which are Java's regular expressions, in Python's."""

from __future__ import annotations

import functools
import re
import sys
import unicodedata

_CLASSES = {"Alnum": "A-Za-z0-9", "ASCII": r"\x00-\x7f", "Print": r"\x20-\x7e"}
_PROPERTY = re.compile(r"\\p\{(\w+)\}")
_PAIRS = r"\uD800\uDC00-\uDBFF\uDFFF"  # all characters beyond the first plane, as UTF-16 has them


@functools.cache
def compiled(pattern: str) -> re.Pattern[str]:
    r"""Return a pattern of a service model for ``fullmatch``.

    Unicode properties (``\p{L}``), pairs of surrogates, ``\z`` and a repeated ``$`` are put into Python's words.
    """
    pattern = pattern.replace(_PAIRS, r"\U00010000-\U0010FFFF").replace(r"\z", r"\Z")
    pattern = re.sub(r"\$\{\d+,\d+\}", "$", pattern)
    return re.compile(_in_classes(pattern))


def _in_classes(pattern: str) -> str:
    """Replace properties by ranges; one that stands alone becomes a class of its own."""
    replaced, inside, place = [], False, 0
    while place < len(pattern):
        if match := _PROPERTY.match(pattern, place):
            ranges = _CLASSES.get(match[1]) or _ranges(match[1])
            replaced.append(ranges if inside else f"[{ranges}]")
            place = match.end()
            continue
        if pattern[place] == "\\":
            replaced.append(pattern[place : place + 2])
            place += 2
            continue
        if pattern[place] in "[]":
            inside = pattern[place] == "["
        replaced.append(pattern[place])
        place += 1
    return "".join(replaced)


@functools.cache
def _ranges(category: str) -> str:
    """Return the code points whose general category begins with `category`, as the inside of a class."""
    run = re.compile(f"(?:{category}{'[a-z]' if len(category) == 1 else ''})+")
    found = [(match.start() // 2, match.end() // 2 - 1) for match in run.finditer(_categories())]
    if not found:
        raise re.error(f"no character has the property {category}")
    return "".join(f"\\U{first:08X}-\\U{last:08X}" for first, last in found)


@functools.cache
def _categories() -> str:
    """Return the general categories of all code points, two letters each, of which only the first is a capital."""
    return "".join(map(unicodedata.category, map(chr, range(sys.maxunicode + 1))))
