"""The instances of a job: each has a container folder and a log of its own, and knows the others by name."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from local_aws.shared.running.processes import Outcome
from local_aws.shared.sandbox import Sandbox

#: All of them share this machine's processors and memory.
MOST_INSTANCES = 4

_HOSTS = Path("/etc/hosts")
_Item = TypeVar("_Item")


@dataclass(frozen=True)
class Host:
    """Instance `number` (from 0) of `count`."""

    number: int
    count: int
    sandbox: Sandbox
    log: Path

    @property
    def name(self) -> str:
        """Return the name by which the other instances know it."""
        return _name(self.number)

    @property
    def names(self) -> list[str]:
        """Return the names of all instances of the job."""
        return [_name(number) for number in range(self.count)]

    def resources(self) -> dict[str, object]:
        """Return what every container finds in its resourceconfig.json."""
        return {"current_host": self.name, "hosts": self.names}

    def share(self, items: Sequence[_Item]) -> list[_Item]:
        """Return this instance's part of what is sharded: each item goes to one instance."""
        return list(items[self.number :: self.count])

    def write_names(self) -> Path:
        """Write the container's /etc/hosts: each instance has a loopback address of its own; return the file."""
        known = _HOSTS.read_text(errors="replace") if _HOSTS.exists() else "127.0.0.1 localhost\n"
        path = self.sandbox.root / "hosts"
        lines = [f"127.0.0.{number} {name}\n" for number, name in enumerate(self.names, start=1)]
        path.write_text("".join([*lines, known]))
        return path


def _name(number: int) -> str:
    return f"algo-{number + 1}"


def deciding(outcomes: Sequence[Outcome]) -> int:
    """Return the instance whose end is the job's: the first that failed by itself, else ran out of time, else was stopped."""

    def rank(number: int) -> int:
        outcome = outcomes[number]
        if outcome.timed_out:
            return 1
        if outcome.stopped:
            return 2
        return 0 if outcome.exit_code else 3

    return min(range(len(outcomes)), key=rank)
