"""How a process that waits for its job lets all others go first, and how it stops to.

Imported by programs that stand alone: nothing but the standard library.
"""

import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

#: Of its session, where Linux shares the processors among sessions: one of niceness 5 still gets a third of what another one gets.
WAITING_NICENESS = 19


def wait_for_idle_processors() -> None:
    """Let this process, its threads and its children to come run only when nobody else wants the processors."""
    with suppress(OSError):  # some containers do not allow it
        os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
    weigh_group(WAITING_NICENESS)


def be_prompt(processes: Iterable[int]) -> None:
    """Bring all threads of processes of this session back to what other processes have."""
    weigh_group(0)
    for process in processes:
        for _ in range(2):  # a thread begins with the priority of the one that starts it
            for thread in Path(f"/proc/{process}/task").iterdir():
                with suppress(OSError):
                    os.sched_setscheduler(int(thread.name), os.SCHED_OTHER, os.sched_param(0))


def weigh_group(nice: int) -> None:
    """Set the niceness of this session's processes together, which Linux shares the processors among where it groups by session."""
    with suppress(OSError):
        Path("/proc/self/autogroup").write_text(str(nice))
