"""Arguments of a Glue script."""

import argparse
from typing import Any, NoReturn


class GlueArgumentError(Exception):
    """An argument that the script needs is missing."""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise GlueArgumentError(message)


def getResolvedOptions(args: list[str], options: list[str]) -> dict[str, Any]:
    """Return the named arguments of ``args`` (``sys.argv``) as a dictionary; all of them are needed."""
    parser = _Parser(add_help=False, allow_abbrev=False)
    for option in options:
        parser.add_argument(f"--{option}", required=True)
    known, _ = parser.parse_known_args(args[1:])
    return vars(known)
