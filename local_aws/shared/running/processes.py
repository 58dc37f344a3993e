"""Subprocesses of jobs and endpoints: started under the supervisor, stoppable, bounded in time, logged to files."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
from dataclasses import dataclass, field
from pathlib import Path

from local_aws.shared.job_keys import JobKey
from local_aws.shared.settings import Settings

_SUPERVISOR = Path(__file__).with_name("supervisor.py")
_ISOLATION = Path(__file__).with_name("isolation.py")

NOT_ISOLATED = (
    "This kernel gives jobs no mount namespace: /opt/ml is found through SM_* variables and the request's own paths only, "
    "and a job can read what this user can read."
)

#: The numeric libraries of two jobs at once share the machine: neither takes more than half of its processors.
_THREADS = str(max(1, len(os.sched_getaffinity(0)) // 2))


#: Beginnings of variables that choose another endpoint or other credentials: a job here must not reach a real account.
_REDIRECTING = (
    "AWS_ENDPOINT_URL",
    "AWS_PROFILE",
    "AWS_DEFAULT_PROFILE",
    "AWS_SESSION_TOKEN",
    "AWS_SECURITY_TOKEN",
    "AWS_CONFIG_FILE",
    "AWS_SHARED_CREDENTIALS_FILE",
    "AWS_CONTAINER_",
    "AWS_WEB_IDENTITY_",
    "AWS_ROLE_",
    "AWS_CA_BUNDLE",
    "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS",
)


@dataclass(frozen=True)
class View:
    """What a job sees of this machine, see ``isolation.py``: folders of its own, and nothing of the account's but `kept`."""

    tmp: Path
    cwd: str
    hidden: Path
    kept: tuple[Path, ...]
    ml: Path | None = None
    network: bool = True
    hosts: Path | None = None

    def command(self) -> list[str]:
        """Return what goes before the job's own command."""
        self.tmp.mkdir(parents=True, exist_ok=True)
        specification = {
            "ml": str(self.ml) if self.ml else None,
            "tmp": str(self.tmp),
            "hidden": str(self.hidden),
            "kept": [str(path) for path in self.kept],
            "cwd": self.cwd,
            "network": self.network,
            "hosts": str(self.hosts) if self.hosts else None,
        }
        return [sys.executable, "-I", "-S", str(_ISOLATION), json.dumps(specification)]


def view_of_job(
    settings: Settings,
    root: Path,
    tmp: Path,
    cwd: str,
    ml: Path | None = None,
    network: bool = True,
    hosts: Path | None = None,
) -> View | None:
    """Return the view of a job whose files lie below `root`, None where jobs cannot be isolated."""
    if not settings.isolated:
        return None
    program = Path(__file__).resolve().parents[2]
    java = [Path(settings.java_home)] if settings.java_home else []
    interpreters = {Path(sys.executable), *settings.environments.glob("*/bin/python")}
    bases = [Path(sys.base_prefix), Path(sys.prefix), *(path.resolve().parents[1] for path in interpreters)]
    own = [settings.images.parent] if settings.images else []
    kept = (root, settings.environments, program, *java, *bases, *own)
    return View(tmp=tmp, cwd=cwd, hidden=settings.data_dir, kept=kept, ml=ml, network=network, hosts=hosts)


def can_isolate(scratch: Path) -> bool:
    """Return whether this kernel lets a process of ours have a mount namespace with an /opt/ml of its own."""
    ml = scratch / "ml"
    ml.mkdir(parents=True, exist_ok=True)
    try:
        view = View(tmp=scratch / "tmp", cwd="/opt/ml", hidden=scratch, kept=(ml,), ml=ml)
        done = subprocess.run([*view.command(), "true"], stdin=subprocess.DEVNULL, capture_output=True, timeout=10)
        return done.returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return False
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


@dataclass
class Outcome:
    """How a process ended."""

    exit_code: int
    stopped: bool = False
    timed_out: bool = False


@dataclass
class ManagedProcess:
    """A running command, and the two ways to end it early: `stop` (asked for) and the time limit."""

    argv: list[str]
    env: dict[str, str]
    cwd: Path
    stdout: Path
    stderr: Path | None = None
    grace_seconds: float = 10.0
    view: View | None = None
    _process: subprocess.Popen[bytes] | None = field(default=None, repr=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)
    _stopped: bool = False
    _timed_out: bool = False

    def start(self) -> None:
        """Start the command; its output is appended to the log files."""
        command = [sys.executable, "-I", "-S", str(_SUPERVISOR), str(self.grace_seconds)]
        command += [*(self.view.command() if self.view else []), *self.argv]
        with self.stdout.open("ab") as out:
            err = self.stderr.open("ab") if self.stderr else None
            try:
                process = subprocess.Popen(
                    command,
                    env=self.env,
                    cwd=self.cwd,
                    stdin=subprocess.PIPE,
                    stdout=out,
                    stderr=err or subprocess.STDOUT,
                    start_new_session=True,
                )
            finally:
                if err:
                    err.close()
        with self._lock:
            self._process = process
            if self._stopped or self._timed_out:
                process.terminate()

    def stop(self) -> None:
        """Ask the command to end; it is killed after its grace period."""
        with self._lock:
            self._stopped = True
            self._terminate()

    def kill(self) -> None:
        """End the command at once."""
        with self._lock:
            self._stopped = True
            if self._process and self._process.stdin and not self._process.stdin.closed:
                self._process.stdin.close()

    def _expire(self) -> None:
        with self._lock:
            if not self._stopped:
                self._timed_out = True
                self._terminate()

    def _terminate(self) -> None:
        if self._process and self._process.poll() is None:
            self._process.terminate()

    @property
    def running(self) -> bool:
        """Return whether the command still runs."""
        return self._process is not None and self._process.poll() is None

    def wait(self, limit_seconds: float | None = None) -> Outcome:
        """Wait for the end; after `limit_seconds` the command is asked to end."""
        assert self._process is not None, "start() comes first"
        timer = None
        if limit_seconds is not None:
            timer = threading.Timer(max(0.0, limit_seconds), self._expire)
            timer.daemon = True
            timer.start()
        try:
            code = self._process.wait()
        finally:
            if timer:
                timer.cancel()
            if self._process.stdin and not self._process.stdin.closed:
                self._process.stdin.close()
        return Outcome(exit_code=code, stopped=self._stopped, timed_out=self._timed_out and not self._stopped)


def job_environment(settings: Settings, python: Path, home: Path, key: JobKey, extra: dict[str, str]) -> dict[str, str]:
    """Return the environment of a job: what the service would give it, and nothing of this process's own.

    `home` holds HOME and TMPDIR; `extra` (the request's own variables) is added but cannot send the job's AWS calls elsewhere.
    """
    temporary = home / "tmp"
    temporary.mkdir(parents=True, exist_ok=True)
    base = {
        "PATH": os.pathsep.join([str(python.parent), "/usr/local/bin", "/usr/bin", "/bin"]),
        "LANG": "C.UTF-8",
        "PYTHONUNBUFFERED": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
        "OMP_NUM_THREADS": _THREADS,
        "OPENBLAS_NUM_THREADS": _THREADS,
        "MKL_NUM_THREADS": _THREADS,
        "LOKY_MAX_CPU_COUNT": _THREADS,
    }
    fixed = {
        "HOME": str(home),
        "TMPDIR": str(temporary),
        "AWS_ENDPOINT_URL": settings.endpoint_url,
        "AWS_ACCESS_KEY_ID": key.access_key,
        "AWS_SECRET_ACCESS_KEY": key.secret_key,
        "AWS_REGION": settings.region,
        "AWS_DEFAULT_REGION": settings.region,
        "AWS_EC2_METADATA_DISABLED": "true",
        "NO_PROXY": "127.0.0.1,localhost",
    }
    if settings.java_home:
        fixed["JAVA_HOME"] = settings.java_home
        fixed["PATH"] = os.pathsep.join([base["PATH"], str(Path(settings.java_home) / "bin")])
    return base | {name: value for name, value in extra.items() if not name.startswith(_REDIRECTING)} | fixed
