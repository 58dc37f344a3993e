r"""Text from outside (file names, headings, cells, parameters, errors) made harmless and short before a person or a terminal sees it.

A heading may hold escape sequences that clear a terminal, a line feed that begins a false line of a log, or a mark that turns the
direction of what follows. What cannot be seen is shown by its number, for example ``U+001B``; nothing is substituted.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence

NAME_LENGTH = 40
SENTENCE_LENGTH = 400
MESSAGE_LENGTH = 4000
NAMES_LISTED = 5
MAX_NAMES = 10  # in the message of a verdict ...
MAX_MESSAGE = 2000  # ... and its characters


def plain(text: object, limit: int = SENTENCE_LENGTH) -> str:
    """Return `text` on one line in printable characters, at most `limit` of them; the end of a longer one is cut and marked by ``…``."""
    return _cut("".join(map(_shown, str(text)[: limit + 1])), limit)


def plain_name(text: object) -> str:
    """Return a name, such as a heading or an id, in at most 40 printable characters."""
    return plain(text, NAME_LENGTH)


def plain_names(names: Iterable[object], listed: int = NAMES_LISTED) -> str:
    """Return names separated by commas, the first `listed` of them and how many more there are."""
    found = list(names)
    more = f" and {len(found) - listed:,} more" if len(found) > listed else ""
    return ", ".join(map(plain_name, found[:listed])) + more


def plain_lines(text: object, limit: int = MESSAGE_LENGTH) -> str:
    """Return `text` in printable characters with its line feeds and tabs, at most `limit` characters."""
    whole = str(text)[: limit + 1].replace("\r\n", "\n")
    return _cut("".join(character if character in "\n\t" else _shown(character) for character in whole), limit)


def listed(names: Iterable[str], limit: int = MAX_NAMES) -> str:
    """Return names as a list of at most ``limit``, with the number of those left out."""
    return plain_names((name if name.strip() else f"'{name}'" for name in names), limit)


def message(*sentences: str | None) -> str:
    """Join sentences into a message of at most 2,000 characters."""
    text = " ".join(sentence for sentence in sentences if sentence)
    return text if len(text) <= MAX_MESSAGE else text[: MAX_MESSAGE - 1] + "…"


def meant(name: str, candidates: Sequence[str]) -> str | None:
    """Return the candidate that a name is probably a form of, None when none is near."""
    if len(name) < 2:
        return None
    starts = [candidate for candidate in candidates if len(name) >= 3 and candidate.startswith(name)]
    if len(starts) == 1:
        return starts[0]
    near = difflib.get_close_matches(name[:80], candidates, n=1, cutoff=0.75)
    return near[0] if near else None


def _shown(character: str) -> str:
    if character.isprintable():
        return character
    return f"U+{ord(character):04X}"


def _cut(text: str, limit: int) -> str:
    return text if len(text) <= limit else text[: limit - 1] + "…"
