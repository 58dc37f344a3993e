"""Reads the commands out of the pages, and how each is proven out of documented_commands.yaml."""

from __future__ import annotations

import ast
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[1]
REGISTRY = Path(__file__).with_suffix(".yaml")
COMMANDS = ("console", "sh", "bash", "shell")
PROGRAMS = (
    "make",
    "python",
    "python3",
    "docker",
    "aws",
    "airflow",
    "git",
    "pip",
    "uv",
    "curl",
    "eval",
    "export",
    "cp",
    "sed",
    "java",
)
INLINE = re.compile(r"`((?:make|python3? -m|docker compose) [^`\n]+)`")
AWS = "AWS"


@dataclass(frozen=True)
class Command:
    """A command as a page has it; ``aws`` when its comment says that it needs an account."""

    page: str
    line: int
    text: str
    aws: bool = False

    def __str__(self) -> str:
        return f"{self.page}:{self.line}: {self.text}"


@dataclass(frozen=True)
class Block:
    """A fenced block: where it begins, its language, its lines."""

    page: str
    line: int
    language: str
    lines: tuple[str, ...]


def pages() -> list[Path]:
    """Return the pages that people read: README, docs/ and data/."""
    return [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")), *sorted((ROOT / "data").rglob("*.md"))]


def blocks(page: str, text: str) -> Iterator[Block]:
    """Yield the fenced blocks of a page."""
    lines = text.splitlines()
    number = 0
    while number < len(lines):
        if fence := re.match(r"^\s*(`{3,}|~{3,})\s*(\S*)", lines[number]):
            start = number
            number += 1
            while number < len(lines) and not lines[number].strip().startswith(fence[1]):
                number += 1
            yield Block(page, start + 1, fence[2], tuple(lines[start + 1 : number]))
        number += 1


def commands(block: Block) -> Iterator[Command]:
    """Yield the commands of a block: lines after ``$`` in a console block, every line in the others; a backslash continues a line."""
    lines = list(enumerate(block.lines, start=block.line + 1))
    while lines:
        number, line = lines.pop(0)
        line = line.strip()
        if block.language == "console":
            if not line.startswith("$ "):
                continue
            line = line[2:]
        while line.endswith("\\") and lines:
            line = f"{line[:-1].rstrip()} {lines.pop(0)[1].strip()}"
        text, comment = without_comment(line)
        if text:
            yield Command(block.page, number, text, comment.startswith(AWS))


def without_comment(line: str) -> tuple[str, str]:
    """Split a line into command and comment; a ``#`` inside quotes or a word begins none."""
    quote = ""
    for place, sign in enumerate(line):
        if quote:
            quote = "" if sign == quote else quote
        elif sign in "'\"":
            quote = sign
        elif sign == "#" and (place == 0 or line[place - 1].isspace()):
            return line[:place].strip(), line[place + 1 :].strip()
    return line.strip(), ""


def inline(page: str, text: str) -> Iterator[Command]:
    """Yield the commands that stand in sentences and tables: ``make``, ``python -m``, ``docker compose``."""
    fenced = {number for block in blocks(page, text) for number in range(block.line, block.line + len(block.lines) + 2)}
    for number, line in enumerate(text.splitlines(), start=1):
        if number not in fenced:
            for found in INLINE.finditer(line):
                yield Command(page, number, found[1].strip())


def looks_like_commands(block: Block) -> bool:
    """Whether a block of another language holds shell commands after all."""
    first = (line.split()[0] for line in block.lines if line.split())
    return any(word in PROGRAMS or word == "$" for word in first)


def registry() -> dict[str, Any]:
    """Return how each command is proven: ``pages``, ``alone``, ``stack``, ``elsewhere``, ``named``."""
    return yaml.safe_load(REGISTRY.read_text(encoding="utf-8"))


def page_commands(page: str) -> list[Command]:
    """Return the commands of a page's blocks, top to bottom."""
    return [
        command
        for block in blocks(page, (ROOT / page).read_text(encoding="utf-8"))
        if block.language in COMMANDS
        for command in commands(block)
    ]


def runs(path: Path, command: str) -> bool:
    """Whether a test or script holds the command word for word: as a string in Python, as a command of a line in a shell script."""
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".py":
        calls = [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Call)]
        strings = [part.value for call in calls for part in ast.walk(call) if isinstance(part, ast.Constant)]
        return command in strings
    lines = [part.strip() for line in text.splitlines() for part in re.split(r";|&&", without_comment(line)[0])]
    return any(line == command or re.match(re.escape(command) + r"\s*[<>|]", line) for line in lines)


def verb(command: str) -> str | None:
    """Return the verb of a ``make`` command."""
    words = shlex.split(command)
    return (
        next((word for word in words[1:] if "=" not in word and not word.startswith("-")), None)
        if words[0] == "make"
        else None
    )


def names(short: str, long: str) -> bool:
    """Whether a command in a sentence is another one or its beginning, word by word.

    Any interpreter is as good as any other, and variables of ``make`` may differ: a sentence names the verb.
    """
    first, second = _words(short), _words(long)
    return first == second[: len(first)]


def is_form(command: str) -> bool:
    """Whether a ``python -m`` line only shows a form: the bare module, or with placeholders such as DIR or ``...``."""
    words = _words(command)
    return words[:2] == ["python", "-m"] and (len(words) == 3 or any(_stands_for_something(word) for word in words))


def check_form(line: str) -> None:
    """Compare the module and the options of a ``python -m`` line with the sources.

    Raises:
        AssertionError: there is no such module or option.

    """
    module = re.search(r"-m ([\w.]+)", line)
    assert module, f"{line}: the form of a command is `python -m MODULE ...`"
    places = [root / module[1].replace(".", "/") for root in (ROOT, ROOT / "plugins")]
    files = [file for place in places for file in (*place.glob("*.py"), place.with_suffix(".py")) if file.exists()]
    source = "\n".join(file.read_text(encoding="utf-8") for file in files)
    assert source, f"{line}: there is no module {module[1]}"
    for option in re.findall(r"--[a-z][a-z-]+", line):
        assert f'"{option}"' in source, f"{line}: {module[1]} has no option {option}"


def _stands_for_something(word: str) -> bool:
    return "..." in word or re.fullmatch(r"[A-Z][A-Z_]+", word) is not None


def _words(command: str) -> list[str]:
    words = shlex.split(command)
    while words and re.fullmatch(r"[A-Z_]+=.*", words[0]):
        words.pop(0)
    if words[0] == "make":
        return [word for word in words if "=" not in word]
    return ["python", *words[1:]] if re.search(r"(^|/)python3?$", words[0]) else words
