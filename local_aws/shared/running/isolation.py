"""Start one command in a mount namespace: it sees its own /opt/ml and /tmp, and neither the account's files nor another job's.

Run as a program: ``python isolation.py SPECIFICATION COMMAND [ARGUMENT ...]``. The specification is JSON: ``ml`` (what lies at /opt/ml, or
null), ``tmp`` (what lies at /tmp), ``hidden`` (a folder of which nothing is seen but ``kept``), ``kept`` (what stays in sight below
``hidden`` and /tmp), ``cwd`` (where the command starts), ``network`` (false: not even the loopback is up), ``hosts`` (a file that lies at
/etc/hosts, or null).

A process without privileges makes the namespace inside a user namespace of its own, in which it stays the user that it was. Where the
kernel refuses that (many containers), the exit code is 126 and nothing was run.

Only the standard library, and few modules of it: it runs once per job.
"""

import ctypes
import json
import os
import signal
import sys

_NEWNS, _NEWUSER, _NEWNET = 0x00020000, 0x10000000, 0x40000000
_MS_BIND, _MS_REC, _MS_PRIVATE = 4096, 16384, 1 << 18
_PR_SET_PDEATHSIG = 1
_OPT = "/opt"
_HOSTS = "/etc/hosts"
REFUSED = 126


def _call(name: str, *arguments: object) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if getattr(libc, name)(*arguments):
        number = ctypes.get_errno()
        raise OSError(number, f"{name}: {os.strerror(number)}")


def _unshare(network: bool) -> None:
    flags = _NEWNS | (0 if network else _NEWNET)
    user, group = os.geteuid(), os.getegid()
    try:
        _call("unshare", flags)
    except OSError:
        _call("unshare", flags | _NEWUSER)
        for name, text in (("setgroups", "deny"), ("uid_map", f"{user} {user} 1"), ("gid_map", f"{group} {group} 1")):
            with open(f"/proc/self/{name}", "w", encoding="ascii") as file:  # noqa: PTH123 - see module
                file.write(text)
    # Entering a user namespace ended the wish to die with the supervisor.
    _call("prctl", _PR_SET_PDEATHSIG, signal.SIGKILL)
    _call("mount", b"none", b"/", None, _MS_REC | _MS_PRIVATE, None)


def _bind(source: str, target: str) -> None:
    _call("mount", os.fsencode(source), os.fsencode(target), None, _MS_BIND | _MS_REC, None)


def _make(path: str, like: str) -> None:
    """Make what something can be bound onto: a folder, or a file."""
    if os.path.isdir(like):  # noqa: PTH112 - see module
        os.makedirs(path, exist_ok=True)  # noqa: PTH103
    else:
        os.makedirs(os.path.dirname(path), exist_ok=True)  # noqa: PTH103, PTH120
        os.close(os.open(path, os.O_CREAT | os.O_WRONLY, 0o600))


def _cover(folder: str, kept: "list[str]", fill: "str | None" = None) -> None:
    """Put another folder, `fill` or an empty one, over `folder`, with `kept` still in sight."""
    below = sorted({path for path in kept if path.startswith(folder + "/")}, key=len)
    held = [(path, os.open(path, os.O_PATH)) for path in below]
    if fill:
        _bind(fill, folder)
    else:
        _call("mount", b"none", os.fsencode(folder), b"tmpfs", 0, b"mode=0700")
    for path, descriptor in held:
        source = f"/proc/self/fd/{descriptor}"
        _make(path, source)
        _bind(source, path)
        os.close(descriptor)


def _give_ml(ml: str, scratch: str) -> None:
    """Let /opt/ml be `ml`. Where this machine has no such folder, /opt is put together anew from what it holds."""
    if not os.path.isdir(f"{_OPT}/ml"):  # noqa: PTH112
        stage = f"{os.path.dirname(scratch)}/opt-of-the-job"  # noqa: PTH120
        os.makedirs(f"{stage}/ml", exist_ok=True)  # noqa: PTH103
        for name in os.listdir(_OPT):  # noqa: PTH208
            source, target = f"{_OPT}/{name}", f"{stage}/{name}"
            if os.path.islink(source):  # noqa: PTH114
                os.symlink(os.readlink(source), target)  # noqa: PTH115, PTH211
            else:
                _make(target, source)
                _bind(source, target)
        _bind(stage, _OPT)
    _bind(ml, f"{_OPT}/ml")


def isolate(specification: "dict[str, object]") -> None:
    """Enter the namespace; OSError where the kernel refuses it."""
    ml, hidden = specification.get("ml"), specification.get("hidden")
    tmp, kept = str(specification["tmp"]), [str(path) for path in specification["kept"]]  # type: ignore[attr-defined]
    _unshare(bool(specification.get("network", True)))
    if specification.get("hosts") and os.path.exists(_HOSTS):  # noqa: PTH110 - see module
        _bind(str(specification["hosts"]), _HOSTS)
    if ml:
        _give_ml(str(ml), tmp)
    if hidden:
        _cover(str(hidden), [*kept, tmp])
    _cover("/tmp", [*kept, *([str(hidden)] if hidden else [])], fill=tmp)


def main() -> int:
    """Enter the namespace, then become the command."""
    specification, command = json.loads(sys.argv[1]), sys.argv[2:]
    try:
        isolate(specification)
        os.chdir(str(specification["cwd"]))
    except OSError as error:
        sys.stderr.write(f"this kernel gives the job no namespace of its own: {error}\n")
        return REFUSED
    try:
        os.execvpe(command[0], command, os.environ)
    except OSError as error:
        sys.stderr.write(f"cannot start {command[0]}: {error}\n")
        return 127


if __name__ == "__main__":
    sys.exit(main())
