"""Refuses private and old words in the pages: ``python docs/words.py``. Code, and what stands in backquotes, is left alone."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
INSTEAD = {
    r"\bmend(s|ed|ing)?\b": "fix",
    r"\bperson's word\b": "approval",
    r"\bcron net\b": "daily schedule",
    r"\bas a net\b": "in case an event was lost",
    r"\btell(s)? the topic\b": "publish a message",
    r"\bteaches nothing\b": "brings nothing new",
    r"\bdates the file's name back\b": "gives the file an older date in its name",
    r"\bcompared, not measured\b": "compared on the same rows",
    r"\bis Airflow's matter\b": "is used by Airflow only",
    r"\bsilence (is|means) no\b": "no answer means no",
    r"\bneighbours use\b": "is used around it",
    r"\btwice rather than never\b": "may come twice, but it comes",
    r"\blives from\b": "needs",
    r"\bnot waited for\b": "not awaited",
    r"\bwithout a word\b": "without an error",
}


def found(text: str) -> Iterator[tuple[int, str, str]]:
    """Yield line, word and what to write instead for each refused word of a page."""
    fenced = False
    for number, line in enumerate(text.splitlines(), start=1):
        if line.lstrip().startswith("```"):
            fenced = not fenced
        elif not fenced:
            prose = re.sub(r"`[^`]*`", "", line)
            for pattern, instead in INSTEAD.items():
                for match in re.finditer(pattern, prose, re.IGNORECASE):
                    yield number, match[0], instead


def pages() -> list[Path]:
    """Return the pages that people read."""
    return [
        ROOT / "README.md",
        ROOT / "CONTRIBUTING.md",
        *sorted((ROOT / "docs").rglob("*.md")),
        *sorted((ROOT / "data").rglob("*.md")),
    ]


def main() -> int:
    """Print each refused word with its place; 1 when there is one."""
    wrong = [(page, *each) for page in pages() for each in found(page.read_text(encoding="utf-8"))]
    for page, number, word, instead in wrong:
        print(f"{page.relative_to(ROOT)}:{number}: {word!r}: write {instead}", file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
