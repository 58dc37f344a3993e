"""Names: what that of a landed file says of it, and how the headings of columns are compared."""

from __future__ import annotations

import unicodedata

#: Java's regular expression of what a heading is compared without; Python's side is `heading`.
UNREGARDED = r'[\s\p{C}\p{Z}_.\-"]'
#: Endings that tools give to what they have not finished, or to folders.
_LEFTOVERS = ("._COPYING_", "_$folder$")


def ignored_reason(key: str, size: int) -> str | None:
    """Return why a landed object is no file of data and is passed over, None when it has to be looked into.

    Args:
        key: S3 key or path, with ``/`` between its parts.
        size: bytes of the object.

    """
    *folders, name = key.split("/")
    if not name:
        return "a folder, not a file"
    if name.endswith(_LEFTOVERS[0]):
        return f"the name ends in {_LEFTOVERS[0]}: an upload that did not end"
    if name.endswith(_LEFTOVERS[1]):
        return f"the name ends in {_LEFTOVERS[1]}: a folder marker"
    for part in (*folders, name):
        if part.startswith(("_", ".")) and part not in (".", ".."):
            what = "name" if part is name else f"folder {part[:40]!r}"
            return f"the {what} begins with {part[0]!r}: a marker or a temporary file of a tool"
    if size == 0:
        return "empty"
    return None


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
