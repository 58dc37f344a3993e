"""Foreign text in messages: made visible, cut short, listed; and what somebody probably meant."""

from __future__ import annotations

import difflib
import unicodedata
from collections.abc import Iterable, Sequence

MAX_NAMES = 10
MAX_MESSAGE = 2000
_MAX_TEXT = 40
_UNSEEN = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})


def shown(text: str, limit: int = _MAX_TEXT) -> str:
    """Return text as a person can read it on one line: what cannot be seen as ``U+FEFF``, cut at ``limit`` characters."""
    seen = [
        f"U+{ord(character):04X}"
        if unicodedata.category(character) in _UNSEEN or (unicodedata.category(character) == "Zs" and character != " ")
        else character
        for character in text[: limit + 1]
    ]
    return "".join(seen[:limit]) + ("…" if len(seen) > limit else "")


def listed(names: Iterable[str], limit: int = MAX_NAMES) -> str:
    """Return names as a list of at most ``limit``, with the number of those left out."""
    every = list(names)
    parts = [shown(name) if name.strip() else f"'{shown(name)}'" for name in every[:limit]]
    return ", ".join(parts) + (f" and {len(every) - limit:,} more" if len(every) > limit else "")


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
