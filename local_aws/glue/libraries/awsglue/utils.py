"""Arguments of a Glue script."""

import argparse
from typing import Any, NoReturn

#: Arguments that Glue itself knows: in the answer whether or not the script asks for them, None when they are not given.
_OPTIONAL = ("JOB_ID", "JOB_RUN_ID", "SECURITY_CONFIGURATION", "TempDir", "RedshiftTempDir")
_RESERVED = ("job-bookmark-option", "continuation-option")


class GlueArgumentError(Exception):
    """An argument that the script needs is missing."""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise GlueArgumentError(message)


def getResolvedOptions(args: list[str], options: list[str]) -> dict[str, Any]:
    """Return the named arguments of ``args`` (``sys.argv``) as a dictionary; all of them are needed, but those that Glue itself knows.

    Raises:
        RuntimeError: an option is one of Glue's own that scripts may not ask for.
        GlueArgumentError: an argument is missing.

    """
    for name in _RESERVED:
        if name in options:
            raise RuntimeError(f"Using reserved arguments --{name}")
    parser = _Parser(add_help=False, allow_abbrev=False)
    parser.add_argument("--job-bookmark-option", default="job-bookmark-disable")
    for option in options:
        parser.add_argument(f"--{option}", required=option not in _OPTIONAL[2:])
    for option in _OPTIONAL:
        if option not in options:
            parser.add_argument(f"--{option}")
    known, _ = parser.parse_known_args(args[1:])
    return vars(known)
