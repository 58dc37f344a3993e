"""Command line: ``python -m local_aws --port 4566 --data-dir DIR --environments DIR``."""

from __future__ import annotations

import argparse
import asyncio
import atexit
import configparser
import contextlib
import errno
import gc
import logging
import os
import signal
import socket
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

from local_aws.gateway.ministack import Backend, configure_environment
from local_aws.gateway.signatures import read_or_make_keys, read_roles
from local_aws.sagemaker.images import ENVIRONMENTS
from local_aws.shared.running.processes import NOT_ISOLATED, can_isolate
from local_aws.shared.settings import Settings

_LOG = logging.getLogger(__name__)
_EXIT_USAGE = 2
_THREADS = 64


def parse_arguments(arguments: list[str] | None = None) -> Settings:
    """Return the settings of a command line."""
    parser = argparse.ArgumentParser(
        prog="local-aws",
        description="An AWS account on this machine: S3, SQS, SNS, SSM, IAM, STS, CloudWatch Logs, Lambda, Glue, "
        "CloudFormation and SageMaker behind one HTTP port. Ready when GET /_local_aws/health answers 200.",
    )
    parser.add_argument("--port", type=int, default=4566, help="HTTP port (default: %(default)s)")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    parser.add_argument(
        "--allow-host",
        action="append",
        default=[],
        metavar="NAME",
        help="also accept requests whose Host header is NAME (or a name below it); may be repeated",
    )
    parser.add_argument(
        "--credentials",
        type=Path,
        metavar="FILE",
        help="who may call, in the form of ~/.aws/credentials; made when missing (default: DATA_DIR/credentials)",
    )
    parser.add_argument(
        "--any-credentials",
        action="store_true",
        help="let everybody call who reaches the port, without or with any keys",
    )
    parser.add_argument(
        "--enforce-policies",
        action="store_true",
        help="refuse what a role's policies do not allow: of jobs and functions, of STS sessions, and of keys with a role_arn in FILE",
    )
    parser.add_argument(
        "--data-dir", type=Path, default=Path(".local_aws"), help="folder of all state and logs (default: %(default)s)"
    )
    parser.add_argument(
        "--environments",
        type=Path,
        metavar="DIR",
        help="folder of the virtual environments that run the jobs (default: all run in the one that runs this)",
    )
    parser.add_argument(
        "--images",
        type=Path,
        metavar="FILE",
        help="TOML: commands that stand for container images of one's own, by repository name",
    )
    parser.add_argument(
        "--java-home", default=os.environ.get("JAVA_HOME"), help="Java 17 for Spark (default: JAVA_HOME)"
    )
    parser.add_argument("--region", default="us-east-1", help="region of the account (default: %(default)s)")
    parser.add_argument(
        "--keep-job-folders", action="store_true", help="keep each job's working folder after its end, to look into"
    )
    parser.add_argument(
        "--spares",
        action="store_true",
        help="keep processes ready for the next jobs and model servers while memory is not short: about a GiB for seconds of each job",
    )
    parser.add_argument(
        "--access-log",
        type=Path,
        metavar="FILE",
        help="note each request there: a line of JSON with service and operation",
    )
    options = parser.parse_args(arguments)
    if options.environments and not options.environments.is_dir():
        parser.error(f"--environments {options.environments} is not a folder; create the job environments first")
    if options.access_log and not options.access_log.resolve().parent.is_dir():
        parser.error(f"--access-log {options.access_log}: its folder does not exist; create it first")
    credentials = (options.credentials or options.data_dir / "credentials").resolve()
    return Settings(
        credentials=None if options.any_credentials else credentials,
        enforce_policies=options.enforce_policies,
        port=options.port,
        host=options.host,
        allowed_hosts=frozenset(name.lower() for name in options.allow_host),
        data_dir=options.data_dir.resolve(),
        environments=(options.environments or options.data_dir / "environments").resolve(),
        own_environment=options.environments is None,
        images=options.images.resolve() if options.images else None,
        java_home=options.java_home,
        region=options.region,
        keep_job_folders=options.keep_job_folders,
        spares=options.spares,
        access_log=options.access_log.resolve() if options.access_log else None,
    )


def variables(settings: Settings) -> str:
    """Return the variables that lead a client here, as a shell takes them."""
    keys = f"AWS_SHARED_CREDENTIALS_FILE={settings.credentials} " if settings.credentials else ""
    return f"AWS_ENDPOINT_URL={settings.endpoint_url} {keys}AWS_DEFAULT_REGION={settings.region}"


def stand_in(environments: Path) -> None:
    """Let the environment that runs this process stand for all images."""
    environments.mkdir(parents=True, exist_ok=True)
    for name in set(ENVIRONMENTS.values()):
        link = environments / name
        link.unlink(missing_ok=True)
        link.symlink_to(sys.prefix)


def bind(settings: Settings) -> socket.socket:
    """Return the listening socket; OSError when the port is taken."""
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((settings.host, settings.port))
        listener.listen(1024)
    except OSError:
        listener.close()
        raise
    listener.set_inheritable(False)
    return listener


def serve(settings: Settings, listener: socket.socket) -> None:
    """Run the account until SIGTERM or SIGINT."""
    # MiniStack reads the environment at import: nothing of it may be imported earlier.
    from hypercorn.asyncio import serve as hypercorn_serve
    from hypercorn.config import Config

    backend = Backend(settings)
    from local_aws.gateway.access_log import AccessLog, Application
    from local_aws.gateway.server import Gateway
    from local_aws.glue.service import Glue
    from local_aws.sagemaker.service import SageMaker
    from local_aws.shared.clients import Clients
    from local_aws.shared.sandbox import remove_leftovers
    from local_aws.shared.store import Store

    store = Store(settings.data_dir / "state" / "local_aws.sqlite")
    clients = Clients(settings)
    sagemaker = SageMaker(settings, store, clients)
    glue = Glue(settings, store, clients)
    if not settings.keep_job_folders:
        remove_leftovers(settings.jobs_dir)
    sagemaker.recover()
    glue.recover()
    application: Application = Gateway(settings, backend, sagemaker, glue, clients)
    if settings.access_log:
        application = AccessLog(application, settings.access_log)
    config = Config()
    config.bind = [f"fd://{listener.fileno()}"]
    config.keep_alive_timeout = 75
    config.graceful_timeout = 3
    config.loglevel = "WARNING"
    _LOG.info("%s", variables(settings))

    async def main() -> None:
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        # An operation may ask the account itself: those that wait must not take the threads of those that answer.
        loop.set_default_executor(ThreadPoolExecutor(_THREADS, thread_name_prefix="request"))
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop.set)

        async def stopped() -> None:
            await stop.wait()
            # Jobs and servers end while the port still answers: their last uploads and logs go through it.
            await asyncio.to_thread(_shut_down, sagemaker, glue)

        # Endpoints come back once the port answers: they fetch their models through it.
        threading.Thread(target=sagemaker.endpoints.restore, name="restore", daemon=True).start()
        glue.runs.spares.start()
        glue.runs.recorder.start()
        sagemaker.spares.start()
        await hypercorn_serve(application, config, shutdown_trigger=stopped)

    asyncio.run(main())
    backend.end_functions()
    store.close()


def _shut_down(sagemaker: object, glue: object) -> None:
    for service in (sagemaker, glue):
        service.shutdown()  # type: ignore[attr-defined]


def main() -> int:
    """Start the account; return the exit code."""
    # An end that looks through all objects for what cannot be reached takes most of a second.
    atexit.register(gc.freeze)
    os.umask(0o077)  # state, logs and what jobs work on are their owner's alone
    settings = parse_arguments()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s [%(name)s] %(message)s")
    # MiniStack tells of every write of its state.
    for name in ("persistence", "ministack"):
        logging.getLogger(name).setLevel(logging.WARNING)
    try:
        listener = bind(settings)
    except OSError as error:
        reason = "it is already in use" if error.errno == errno.EADDRINUSE else os.strerror(error.errno or 0)
        sys.stderr.write(
            f"local_aws cannot listen on {settings.host}:{settings.port}: {reason}. "
            "Stop the program that uses it or choose another --port.\n"
        )
        return _EXIT_USAGE
    settings.data_dir.mkdir(parents=True, exist_ok=True)
    with contextlib.suppress(PermissionError):  # a volume may belong to somebody else
        settings.data_dir.chmod(0o700)
    if settings.credentials is not None:
        try:
            keys = read_or_make_keys(settings.credentials)
            settings = replace(settings, keys=keys, roles=read_roles(settings.credentials))
        except (OSError, ValueError, configparser.Error) as error:
            sys.stderr.write(f"local_aws cannot use the keys of {settings.credentials}: {error}\n")
            return _EXIT_USAGE
    if settings.own_environment:
        stand_in(settings.environments)
    isolated = can_isolate(settings.data_dir / "probe")
    if not isolated:
        _LOG.warning("%s", NOT_ISOLATED)
    settings = replace(settings, isolated=isolated)
    configure_environment(settings)
    serve(settings, listener)
    return 0


if __name__ == "__main__":
    sys.exit(main())
