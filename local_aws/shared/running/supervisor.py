"""Start one command and see to it that the command never outlives the process that asked for it.

Run as a program: ``python supervisor.py GRACE_SECONDS COMMAND [ARGUMENT ...]``. The asking process holds the other end
of standard input: when that closes, for whatever reason (SIGKILL included), the command and its process group are
killed. SIGTERM asks the command to end and kills it after the grace period. The exit code is the command's, or
128 + N when signal N ended it.

Only the standard library, and few modules of it: it runs once per job.
"""

import contextlib
import ctypes
import os
import select
import signal
import subprocess
import sys
import time

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36


def _die_with_parent() -> None:
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _kill_group(group: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, number)


def _orphans() -> list[int]:
    """Return the pids of the children of this process: its command, and what the command left behind."""
    try:
        with open(f"/proc/self/task/{os.getpid()}/children", encoding="ascii") as file:  # noqa: PTH123 - see module
            return [int(pid) for pid in file.read().split()]
    except OSError:
        return []


def _sweep(group: int) -> None:
    """Kill the command's group and every descendant that was handed to this process."""
    _kill_group(group, signal.SIGKILL)
    for _ in range(50):
        orphans = _orphans()
        for pid in orphans:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        try:
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        except ChildProcessError:
            return
        if not orphans:
            return
        time.sleep(0.02)


def main() -> int:
    """Run the command of the command line to its end; return its exit code."""
    grace, command = float(sys.argv[1]), sys.argv[2:]
    wake_read, wake_write = os.pipe()
    os.set_blocking(wake_write, False)
    signal.set_wakeup_fd(wake_write)
    terminated: list[float] = []
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.signal(signal.SIGTERM, lambda *_: terminated.append(time.monotonic()))
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1)
    try:
        # One thread and nothing but a system call between fork and exec: preexec_fn is safe here.
        child = subprocess.Popen(command, stdin=subprocess.DEVNULL, process_group=0, preexec_fn=_die_with_parent)
    except OSError as error:
        sys.stderr.write(f"cannot start {command[0]}: {error}\n")
        return 127
    asked = False
    while child.poll() is None:
        if terminated and not asked:
            asked = True
            _kill_group(child.pid, signal.SIGTERM)
        left = max(0.0, terminated[0] + grace - time.monotonic()) if asked else None
        if left == 0.0:
            _kill_group(child.pid, signal.SIGKILL)
            left = 1.0
        readable, _, _ = select.select([0, wake_read], [], [], left)
        if wake_read in readable:
            os.read(wake_read, 4096)
        if 0 in readable and not os.read(0, 4096):
            _kill_group(child.pid, signal.SIGKILL)
            child.wait()
    code = child.returncode
    _sweep(child.pid)
    return code if code >= 0 else 128 - code


if __name__ == "__main__":
    sys.exit(main())
