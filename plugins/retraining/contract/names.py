"""What the name of a landed file says: a marker or leftover of a tool, or a format that is no text."""

from __future__ import annotations

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
