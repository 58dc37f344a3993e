"""A Python that waits for its job: ``python spare_python.py FOLDER``, in the environment of the jobs.

It imports the libraries that its environment has, makes the file ``ready`` in the folder and waits at the pipe ``job`` for the one job
that it will run: a JSON document with ``argv`` (of a command that starts with an interpreter and a script), ``path`` (what stands in
PYTHONPATH), ``env`` and ``cwd``. A job that would see the difference gets what it would have had without: the process starts its command
anew, in the same place. Until the job comes it runs only when nobody else wants the processors.

This file stands alone, with nothing but the standard library: what it imports for itself, it would import for the job.
"""

import gc
import importlib
import json
import os
import sys
import tempfile
from contextlib import suppress
from pathlib import Path
from types import ModuleType, TracebackType
from typing import Any, NoReturn

from yielding import be_prompt, wait_for_idle_processors

#: What the jobs of the images import, and what takes long of it.
LIBRARIES = (
    "numpy",
    "pandas",
    "pyarrow.parquet",
    "scipy.optimize",
    "scipy.stats",
    "sklearn.compose",
    "sklearn.ensemble",
    "sklearn.linear_model",
    "sklearn.pipeline",
    "sklearn.svm",
    "xgboost",
)
#: Beginnings of variables that Python and these libraries read when they start.
READ_AT_START = (
    "PYTHON", "LD_", "MALLOC_", "OMP_", "GOMP_", "KMP_", "OPENBLAS_", "MKL_", "BLIS_", "NUMEXPR_", "LOKY_", "NPY_", "NUMPY_", "SCIPY_",
    "SKLEARN_", "PANDAS_", "ARROW_", "XGB", "BOTO_", "LANG", "LC_", "TZ",
)  # fmt: skip
_OWN = ("spare_python", "yielding")


def main(work: Path) -> None:
    """Import, wait, run the job."""
    wait_for_idle_processors()
    at_start = dict(os.environ)
    installed = sys.path[1:]
    gc.disable()
    for name in LIBRARIES:
        with suppress(ImportError):
            importlib.import_module(name)
    # What is there now stays to the end: nobody need look through it for what cannot be reached, neither during the job nor after it.
    gc.freeze()
    gc.enable()
    (work / "ready").touch()
    job = json.loads((work / "job").read_text())
    be_prompt([os.getpid()])
    if job["cwd"]:
        os.chdir(job["cwd"])
    if not can_run(job, at_start):
        start_anew(job["argv"], job["env"])
    os.environ.clear()
    os.environ.update(job["env"])
    tempfile.tempdir = None
    if "multiprocessing.process" in sys.modules:  # where its processes look for the script
        sys.modules["multiprocessing.process"].ORIGINAL_DIR = str(Path.cwd())  # type: ignore[attr-defined]
    sys.argv = job["argv"][1:]
    # As Python would have it: the folder of the script, then PYTHONPATH, then the environment's own.
    script = Path(sys.argv[0]).absolute()
    sys.path[:] = [str(script.resolve().parent), *job["path"], *installed]
    for name in _OWN:
        sys.modules.pop(name, None)
    run(str(script))


def start_anew(argv: list[str], env: dict[str, str]) -> NoReturn:
    """Become the very command of the job."""
    try:
        os.execvpe(argv[0], argv, env)
    except OSError as error:
        sys.stderr.write(f"cannot start {argv[0]}: {error}\n")
        os._exit(127)


def can_run(job: dict[str, Any], at_start: dict[str, str]) -> bool:
    """Whether a job cannot tell this process from a new one.

    It is a script of this Python, with no other setting of those that were read at the start, and no module of its own under a name that
    is taken.
    """
    interpreter, script = job["argv"][0], (job["argv"][1:] or [""])[0]
    if interpreter != sys.executable or not script.endswith(".py") or not Path(script).is_file():
        return False
    if _read_early(job["env"]) != _read_early(at_start):
        return False
    taken = {name.partition(".")[0] for name in sys.modules} - {"__main__", *_OWN}
    taken |= {"sitecustomize", "usercustomize"}  # Python would have run them at its start
    return taken.isdisjoint(_names([str(Path(script).parent), *job["path"]]))


def _read_early(env: dict[str, str]) -> dict[str, str]:
    return {name: value for name, value in env.items() if name.startswith(READ_AT_START) and name != "PYTHONPATH"}


def _names(folders: list[str]) -> set[str]:
    """Return the names of modules that could be imported from folders; an archive may hold any."""
    found: set[str] = set()
    for folder in map(Path, folders):
        if folder.is_file():
            return {"sys"}
        found |= {path.name.partition(".")[0] for path in folder.iterdir()} if folder.is_dir() else set()
    return found


def run(script: str) -> None:
    """Run a script as `python SCRIPT` does; what it raises has no trace of this file."""
    module = ModuleType("__main__")
    module.__dict__.update(__file__=script, __builtins__=sys.modules["builtins"])
    sys.modules["__main__"] = module
    original = sys.excepthook
    here = __file__

    def without_this_file(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        while trace and trace.tb_frame.f_code.co_filename == here:
            trace = trace.tb_next
        original(kind, error.with_traceback(trace), trace)

    sys.excepthook = without_this_file
    code = compile(Path(script).read_bytes(), script, "exec", dont_inherit=True)
    exec(code, module.__dict__)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
