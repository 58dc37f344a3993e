"""An artifact's process that is a fork of its job answers, ends and tells as a new Python does; the jobs here have Pythons of their own."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy
import pytest
from abalone_artifacts import ROOT, pack

JOB = """
import _thread, gc, json, os, signal, sys, threading, time
from contextlib import ExitStack, suppress
from pathlib import Path
import pandas, statistics
from retraining.inside.artifact_process import ArtifactError, ArtifactProcess

signal.signal(signal.SIGTERM, lambda *_: None)
signal.signal(signal.SIGINT, lambda *_: None)
sys.excepthook = lambda *_: print("the hook of the job")
os.environ["SAGEMAKER_SUBMIT_DIRECTORY"] = "/nowhere"
held = os.open(os.devnull, os.O_RDONLY)
print("in the buffer when a fork begins")

class Held:
    def __del__(self, job=os.getpid()):
        if os.getpid() != job:
            os.write(2, b"finalized for the job")

gc.disable()
garbage = Held()
garbage.itself = garbage
del garbage
__import__("features").held = Held()
forever = threading.Lock()
forever.acquire()
if os.environ["KIND"] == "python":
    threading.Thread(target=forever.acquire, daemon=True).start()
if os.environ["KIND"] == "library":
    _thread.start_new_thread(forever.acquire, ())
if os.environ["KIND"] == "extension":
    import _pocketfft_umath
told = []

def asked(process):
    try:
        process.ask(body="1", content_type="text/csv")
        return process.answers("predictions", 1)[0]
    except ArtifactError as error:
        return str(error)

before = os.listdir("/proc/self/fd")
with ExitStack() as stack:
    processes = [stack.enter_context(ArtifactProcess(Path(folder), "model")) for folder in sys.argv[1:]]
    told += [asked(process) for process in processes]
    told += [asked(process) for process in processes if process._process.poll() is None]
    first = processes[0]._process
    with suppress(BrokenPipeError):
        first.stdin.close()
    ended = time.monotonic() + 20
    while first.poll() is None and time.monotonic() < ended:
        time.sleep(0.01)
    told.append(first.poll())
try:
    os.waitpid(-1, os.WNOHANG)
except ChildProcessError:
    told += ["nothing is left"] if os.listdir("/proc/self/fd") == before else ["descriptors are left"]
print("TOLD " + json.dumps(told), flush=True)
"""
SOUND = """
import json
from pathlib import Path
def model_fn(folder): return Path(folder)
def input_fn(body, content_type): return body
def output_fn(prediction, accept): return json.dumps({"predictions": [prediction]})
"""
LOOKING = (
    SOUND
    + """
import faulthandler, gc, multiprocessing, os, signal, sys, threading
gc.collect()
sys.stdout.write("printed by the artifact\\n")
def predict_fn(data, folder):
    names = ("features", "job", "statistics", "pandas", "retraining", "retraining.inside", "retraining.inside.artifact_process")
    streams = (sys.stdin, sys.stdout, sys.stderr)
    return {
        "argv": sys.argv, "path": sys.path, "main": sys.modules["__main__"].__file__, "cwd": os.getcwd(), "env": dict(os.environ),
        "descriptors": [os.readlink(path).partition(":")[0] for n in range(3, 256) if os.path.exists(path := f"/proc/self/fd/{n}")],
        "signals": [str(signal.getsignal(n)).partition(" at ")[0] for n in (signal.SIGTERM, signal.SIGINT, signal.SIGPIPE)],
        "hooks": [sys.excepthook is sys.__excepthook__, threading.excepthook is threading.__excepthook__],
        "streams": [[s.fileno(), s.name, s.mode, s.encoding, s.errors, s.line_buffering, s.write_through] for s in streams],
        "original": [a is b for a, b in zip(streams, (sys.__stdin__, sys.__stdout__, sys.__stderr__))],
        "buffers": [type(s.buffer).__name__ for s in streams], "mp": sys.modules["__mp_main__"] is sys.modules["__main__"],
        "threads": [threading.active_count(), threading.current_thread() is threading.main_thread(), faulthandler.is_enabled()],
        "session": [os.getsid(0) == os.getsid(os.getppid()), os.getpgid(0) == os.getpgid(os.getppid())],
        "lacks": [name for name in names if name not in sys.modules and name not in ("statistics", "pandas")],
        "sees": Path(folder, "note.txt").read_text(), "pid": os.getpid(), "command": Path("/proc/self/cmdline").read_text(),
    }
"""
)


def artifact(folder: Path, inference: str, **modules: str) -> Path:
    """Pack an artifact of modules; return the folder of the archive."""
    code = folder / "unpacked" / "code"
    code.mkdir(parents=True)
    (folder / "unpacked" / "note.txt").write_text("its own folder")
    for name, text in {"inference": inference, **modules}.items():
        (code / f"{name}.py").write_text(text)
    return pack(folder / "unpacked", folder)


def played(folder: Path, *artifacts: Path, kind: str = "none") -> tuple[list[Any], str]:
    """Let a job ask artifacts, twice those that live; return what it was told, and its log.

    Of a ``kind`` it starts new Pythons: it has a thread of its own (python), one unknown to Python (library), or an extension module.
    """
    script = folder / "code" / "job.py"
    script.parent.mkdir(exist_ok=True)
    script.write_text(JOB)
    [extension] = Path(numpy.__file__).parent.glob("fft/_pocketfft_umath.*.so")
    shutil.copy(extension, script.parent)
    (script.parent / "features.py").write_text("VALUE = 'of the job'\n")
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT / "plugins"),
        "KIND": kind,
        "PYTHONWARNINGS": "error::DeprecationWarning",
    }
    done = subprocess.run(
        [sys.executable, script, *artifacts], env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    return json.loads(re.search("TOLD (.*)", done.stdout)[1]), done.stderr


def is_fork(answer: dict) -> bool:
    return "job.py" in answer["command"]


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_fork_sees_what_a_new_python_sees(tmp_path, monkeypatch, unbuffered):
    monkeypatch.setenv("PYTHONUNBUFFERED", unbuffered)
    looking = artifact(tmp_path / "looking", LOOKING)
    seen = []
    for kind, forked in (("none", True), ("python", False), ("library", False), ("extension", False)):
        [answer, again, code, end], log = played(tmp_path, looking, kind=kind)
        assert is_fork(answer) is forked
        assert answer.pop("pid") == again.pop("pid")
        assert answer["env"].pop("KIND") == kind
        assert (answer["sees"], code, end) == ("its own folder", 0, "nothing is left")
        assert log == "printed by the artifact\n"
        del answer["command"]
        seen.append(json.loads(re.sub(r"model-\w+", "model-X", json.dumps(answer))))
        assert seen[-1] == seen[0]
    assert "SAGEMAKER_SUBMIT_DIRECTORY" not in seen[0]["env"]


def test_two_artifacts_answer_by_their_own_modules_of_the_same_names(tmp_path):
    code = SOUND + "import features, os\nfrom retraining import VALUE\n"
    code += "def predict_fn(data, folder): return [features.VALUE, VALUE, Path('/proc/self/cmdline').read_text()]\n"
    folders = [
        artifact(tmp_path / name, code, features=f"VALUE = 'of {name}'", retraining=f"VALUE = 'library of {name}'")
        for name in ("challenger", "champion")
    ]
    told, _ = played(tmp_path, *folders)
    assert [answer[:2] for answer in told[:2]] == [
        ["of challenger", "library of challenger"],
        ["of champion", "library of champion"],
    ]
    assert all("job.py" in answer[2] for answer in told[:2])
    assert told[4] == 0  # the first saw the end of its requests while the second lived


@pytest.mark.parametrize("name", ["pandas", "statistics"])
def test_a_module_of_the_artifact_under_the_name_of_an_imported_one_is_its_own(tmp_path, name):
    code = SOUND + f"import {name}\ndef predict_fn(data, folder): return {name}.VALUE\n"
    [answer, *_], _ = played(tmp_path, artifact(tmp_path / "own", code, **{name: "VALUE = 'of the artifact'"}))
    assert answer == "of the artifact"


DEATHS = {
    "import sys\nsys.exit(7)": ("exit code 7", r""),
    "import sys\nsys.exit('no model')": ("exit code 1", r"no model\n"),
    "import sys\nsys.exit()": ("exit code 0", r""),
    "import os\nos.abort()": ("exit code -6", r""),
    "def deep():\n    raise ValueError('no')\ndeep()": (
        "exit code 1",
        r"Traceback (?s:.*)in deep\n(?s:.*)\nValueError: no\n",
    ),
    "import missing_module": (
        "exit code 1",
        r"Traceback (?s:.*)\nModuleNotFoundError: No module named 'missing_module'\n",
    ),
}


@pytest.mark.parametrize("code", DEATHS)
def test_an_artifact_that_ends_tells_its_code_and_its_error_as_a_new_python_does(tmp_path, code):
    message, error = DEATHS[code]
    folders = [artifact(tmp_path / "sound", LOOKING), artifact(tmp_path / "ending", code)]
    logs = []
    for kind in ("none", "python"):
        [answer, ended, again, ended_well, end], log = played(tmp_path, *folders, kind=kind)
        assert f"ended with {message} before it answered" in ended
        assert is_fork(answer) is (kind == "none")
        assert (answer["pid"], again["sees"]) == (again["pid"], "its own folder")
        assert (ended_well, end) == (0, "nothing is left")
        log = log.replace("printed by the artifact\n", "")
        logs.append(
            re.sub(r"model-\w+", "model-X", re.sub(r'  File ".*", line \d+, in <module>\n    main\(.*\n', "", log))
        )
        assert re.fullmatch(error, log)
    assert logs[0] == logs[1]


def test_artifacts_do_not_draw_the_same_random_numbers(tmp_path):
    code = (
        SOUND + "import random, numpy\ndef predict_fn(data, folder): return [random.random(), numpy.random.random()]\n"
    )
    folders = [artifact(tmp_path / name, code) for name in ("challenger", "champion")]
    told, _ = played(tmp_path, *folders)
    assert len({draw for answer in told[:4] for draw in answer}) == 8
