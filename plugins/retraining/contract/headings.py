"""Headings as people write them: matched without regard to case, blanks, ``_ - .``, quotes and invisible characters."""

from __future__ import annotations

import unicodedata

#: Java's regular expression of what a heading is compared without; Python's side is `heading`.
UNREGARDED = r'[\s\p{C}\p{Z}_.\-"]'


def heading(text: str) -> str:
    """Return the form in which headings are compared."""
    kept = (
        character
        for character in text
        if not (character in '_.-"' or character.isspace() or unicodedata.category(character)[0] in "CZ")
    )
    return "".join(kept).lower()


def headings(line: str, delimiter: str) -> list[str]:
    """Return the compared forms of a line's cells."""
    return [heading(cell) for cell in line.split(delimiter)]
