r"""Text from outside (file names, headings, cells, parameters, errors) made harmless and short before a person or a terminal sees it.

A heading may hold escape sequences that clear a terminal, a line feed that begins a false line of a log, or a mark that turns the
direction of what follows. What cannot be printed is shown as Python writes it, for example ``\x1b``; nothing is substituted.
"""

from __future__ import annotations

from collections.abc import Iterable

NAME_LENGTH = 40
SENTENCE_LENGTH = 400
MESSAGE_LENGTH = 4000
NAMES_LISTED = 5


def plain(text: object, limit: int = SENTENCE_LENGTH) -> str:
    """Return `text` on one line in printable characters, at most `limit` of them; the end of a longer one is cut and marked by ``…``."""
    return _cut("".join(map(_shown, str(text)[: limit + 1])), limit)


def plain_name(text: object) -> str:
    """Return a name, such as a heading or an id, in at most 40 printable characters."""
    return plain(text, NAME_LENGTH)


def plain_names(names: Iterable[object], listed: int = NAMES_LISTED) -> str:
    """Return names separated by commas, the first `listed` of them and how many more there are."""
    found = list(names)
    more = f" and {len(found) - listed} more" if len(found) > listed else ""
    return ", ".join(map(plain_name, found[:listed])) + more


def plain_lines(text: object, limit: int = MESSAGE_LENGTH) -> str:
    """Return `text` in printable characters with its line feeds and tabs, at most `limit` characters."""
    whole = str(text)[: limit + 1].replace("\r\n", "\n")
    return _cut("".join(character if character in "\n\t" else _shown(character) for character in whole), limit)


def _shown(character: str) -> str:
    if character.isprintable():
        return character
    code = ord(character)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def _cut(text: str, limit: int) -> str:
    return text if len(text) <= limit else text[: limit - 1] + "…"
