"""A fork of this process that stands for a new Python: libraries that are imported here need not be imported again.

The fork forgets what a new Python would not have: modules that are neither the standard library's nor the environment's, the folder of the
script on the path, descriptors, signal handlers, hooks, states of random generators. Nothing of this process is cleaned up in it: it never
returns into its callers, and ends without ``atexit``.

There is no fork where the difference would be seen, and the caller starts a new Python: another system than Linux, a thread besides this
one, a module of the artifact under the name of one that would stay imported, a module to be forgotten that can only be loaded once.
Other threads do not exist in a fork, but what waits for them does. Those of OpenBLAS end before every fork and come back when they are
needed; whether others remain is seen right after the fork, which waits for that before it runs anything of the artifact.
"""

from __future__ import annotations

import faulthandler
import gc
import importlib
import io
import os
import signal
import site
import sys
import sysconfig
import threading
import warnings
from contextlib import AbstractContextManager, suppress
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path
from types import ModuleType, TracebackType
from typing import Any, NoReturn, TextIO

_TASKS = Path("/proc/self/task")
_DESCRIPTORS = Path("/proc/self/fd")
_KEPT: list[Any] = []
"""What the parent holds, in the fork: finalized there, it would flush and close what is the parent's."""


class Fork(AbstractContextManager["Fork"]):
    """A forked process with pipes at its standard input and output; what ``subprocess.Popen`` calls the same is the same."""

    def __init__(self, pid: int, requests: int, answers: int) -> None:
        """Take the process and this side's ends of its pipes."""
        self.pid = pid
        self.stdin: TextIO = io.TextIOWrapper(os.fdopen(requests, "wb"), encoding="utf-8")
        self.stdout: TextIO = os.fdopen(answers, encoding="utf-8")
        self.returncode: int | None = None

    def poll(self) -> int | None:
        """Return the exit code, -N for signal N; None while the process runs."""
        return self._collect(os.WNOHANG)

    def wait(self) -> int:
        """Return the exit code once the process has ended."""
        code = self._collect(0)
        assert code is not None
        return code

    def _collect(self, options: int) -> int | None:
        if self.returncode is None:
            pid, status = os.waitpid(self.pid, options)
            self.returncode = os.waitstatus_to_exitcode(status) if pid else None
        return self.returncode

    def kill(self) -> None:
        """End the process if it has not ended."""
        if self.poll() is None:
            os.kill(self.pid, signal.SIGKILL)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stdout.close()
        with suppress(BrokenPipeError):
            self.stdin.close()
        self.wait()


def forked(program: ModuleType, folder: Path) -> Fork | None:
    """Return a fork that runs ``program.main(folder)``, as ``python PROGRAM FOLDER`` does; None where only a new Python will do.

    Args:
        program: a module that brings all that ``main`` needs.
        folder: an unpacked artifact, whose modules lie in ``code``.

    """
    foreign = _foreign_modules()
    if not _stands_for_new(foreign, folder / "code"):
        return None
    requests, answers = os.pipe(), os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of threads, which are counted below
        try:
            pid = os.fork()
        except OSError:  # there may not be room for two of a large process
            for end in (*requests, *answers):
                os.close(end)
            return None
    if not pid:
        _run(program, folder, foreign, requests[0], answers[1])
    os.close(requests[0])
    os.close(answers[1])
    fork = Fork(pid, requests[1], answers[0])
    if _threads() > 1:
        with fork:
            fork.kill()
        return None
    with suppress(BrokenPipeError):  # the next request tells
        fork.stdin.write("\n")
        fork.stdin.flush()
    return fork


def _threads() -> int:
    """Return how many threads this process has; those that jemalloc frees memory with do not count, which it does without in a fork."""
    return sum((task / "comm").read_text() != "jemalloc_bg_thd\n" for task in _TASKS.iterdir())


def _stands_for_new(foreign: set[str], code: Path) -> bool:
    """Whether a fork that forgets ``foreign`` modules can pass for a new Python to the code in a folder."""
    if not _TASKS.is_dir() or not all(
        isinstance(stream, io.TextIOWrapper) for stream in (sys.__stdin__, sys.__stdout__, sys.__stderr__)
    ):
        return False
    if any(place.endswith(tuple(EXTENSION_SUFFIXES)) for name in foreign for place in _places(sys.modules[name])):
        return False
    stay = {name.partition(".")[0] for name in sys.modules if name not in foreign}
    brought = {path.name.partition(".")[0] for path in code.iterdir()} if code.is_dir() else set()
    return stay.isdisjoint(brought)


def _foreign_modules() -> set[str]:
    """Return the modules that come neither with Python nor with its environment, and those of this library."""
    paths = sysconfig.get_paths()
    named = {paths[name] for name in ("stdlib", "platstdlib", "purelib", "platlib")}
    named |= {*site.getsitepackages(), site.getusersitepackages(), str(Path(os.__file__).parent)}
    installed = tuple(str(Path(path, "_"))[:-1] for path in named)
    tops = {name.partition(".")[0] for name in sys.modules}
    foreign = {__name__.partition(".")[0], "__main__"}
    foreign |= {top for top in tops if not all(place.startswith(installed) for place in _places(sys.modules.get(top)))}
    return {name for name in sys.modules if name.partition(".")[0] in foreign}


def _places(module: Any) -> list[str]:
    """Return where a module comes from; nothing of one that is built in, or made by another."""
    known = getattr(module, "__dict__", {})
    return [str(known["__file__"])] if known.get("__file__") else [str(path) for path in known.get("__path__", ())]


def _run(program: ModuleType, folder: Path, foreign: set[str], requests: int, answers: int) -> NoReturn:
    """Be a new Python, run the program once the parent says so, and end as a Python does."""
    code = 1
    try:
        _be_new(str(program.__file__), folder, foreign, requests, answers)
        if os.read(0, 1):
            program.main(folder)
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
        if code and not isinstance(end.code, int):
            print(end.code, file=sys.stderr)
    except BaseException as error:
        trace = error.__traceback__
        while trace and trace.tb_frame.f_code.co_filename != program.__file__:
            trace = trace.tb_next
        trace = trace or error.__traceback__
        sys.excepthook(type(error), error.with_traceback(trace), trace)
    finally:
        for stream in (sys.stdout, sys.stderr):
            with suppress(Exception):
                stream.flush()
        os._exit(code & 0xFF)


def _be_new(program: str, folder: Path, foreign: set[str], requests: int, answers: int) -> None:
    """Forget what a new Python would not have, with pipes at standard input and output."""
    gc.freeze()
    _KEPT.extend((dict(sys.modules), sys.stdin, sys.stdout, sys.stderr, sys.__stdin__, sys.__stdout__, sys.__stderr__))
    os.dup2(requests, 0)
    os.dup2(answers, 1)
    for descriptor in [int(path.name) for path in _DESCRIPTORS.iterdir()]:
        if descriptor > 2:
            with suppress(OSError):  # the one that this very list was read with
                os.close(descriptor)
    for number in signal.valid_signals():
        if callable(signal.getsignal(number)):
            signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)
    for descriptor, name in enumerate(("stdin", "stdout", "stderr")):
        stream = _stream(descriptor, getattr(sys, f"__{name}__"))
        setattr(sys, name, stream)
        setattr(sys, f"__{name}__", stream)
    if faulthandler.is_enabled():
        faulthandler.enable(sys.stderr)
    sys.excepthook, sys.unraisablehook, threading.excepthook = (
        sys.__excepthook__,
        sys.__unraisablehook__,
        threading.__excepthook__,
    )
    if script := getattr(sys.modules["__main__"], "__file__", None):
        here = Path(script).resolve().parent
        sys.path[:] = [path for path in sys.path if Path(path).resolve() != here]
    for name in foreign:
        del sys.modules[name]
    importlib.invalidate_caches()
    main = ModuleType("__main__")
    main.__file__ = program
    sys.modules.update({name: main for name in ("__main__", "__mp_main__") if name in foreign})
    sys.argv = [program, str(folder)]
    if "numpy.random" in sys.modules:  # Python's own generator seeds itself after a fork
        sys.modules["numpy.random"].seed()


def _stream(descriptor: int, like: io.TextIOWrapper) -> io.TextIOWrapper:
    """Return a standard stream anew: the buffer of the old one may hold what the parent will write, or has not read."""
    raw = io.FileIO(descriptor, "wb" if descriptor else "rb", closefd=False)
    raw.name = like.name
    buffer: Any = raw  # where an unbuffered Python writes
    if not descriptor:
        buffer = io.BufferedReader(raw)
    elif not like.write_through:
        buffer = io.BufferedWriter(raw)
    stream = io.TextIOWrapper(
        buffer,
        encoding=like.encoding,
        errors=like.errors,
        line_buffering=like.line_buffering,
        write_through=like.write_through,
    )
    vars(stream)["mode"] = like.mode
    return stream
