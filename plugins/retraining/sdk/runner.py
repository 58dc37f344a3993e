"""Runs a function of a model folder's ``sdk_jobs.py`` beside the SageMaker SDK, and returns the job that it submitted.

The function is ordinary SDK code. The call that creates its job is carried out by ``jobs``, like that of a declarative step: the job is
named and tagged by its request's digest, and one that does the same work already is adopted. This module must not import Airflow.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import importlib.util
import json
import logging
import os
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from pathlib import Path
from types import FrameType, ModuleType
from typing import Any, cast

from retraining.aws.clients import client
from retraining.aws.documents import split_uri
from retraining.aws.errors import is_refusal
from retraining.aws.naming import digest
from retraining.jobs.code_bundle import bundled_files, code_files
from retraining.jobs.job import Asker, JobBusyError, JobError, Submitted
from retraining.jobs.kinds import JOB_KINDS
from retraining.jobs.sagemaker_job import SageMakerJob
from retraining.sdk import uploads as sdk_uploads
from retraining.sdk.capture import SdkStepError, WaitsForJobError, captured
from retraining.sdk.context import SDK_FILE, SDK_FUNCTIONS, SdkContext
from retraining.settings.access import AwsAccess

SDK_DEFAULTS = Path(__file__).with_name("sdk_defaults.yaml")

log = logging.getLogger(__name__)


def submit(
    folder: Path,
    function_name: str,
    context: SdkContext,
    access: AwsAccess,
    model: str,
    step: str,
    asker: Asker | None = None,
    *,
    at_creation: Callable[[], contextlib.AbstractContextManager[Callable[[Submitted, str], None]]] | None = None,
) -> Submitted:
    """Call a function of ``folder/sdk_jobs.py`` and return the job that it created or that does its work already.

    Args:
        folder: a model folder; its Python files are what the function finds in ``context.source_dir``.
        function_name: ``training``, ``evaluation`` or another function that takes the context.
        context: what the function is told.
        access: how to reach AWS. The SDK itself goes by the standard AWS variables; both must lead to the same account.
        model: the model's name, first part of the job's name.
        step: the step's name, second part of the job's name.
        asker: the run that the job belongs to.
        at_creation: makes a context around the creation of the job; it yields what is told of the job and its request's full digest.

    Raises:
        SdkStepError: the function is missing, fails, or does not submit exactly one job of the right kind.
        JobError: the job's name is taken by other work, or all its attempts failed.

    """

    def create(kind: str, request: dict[str, Any], name: str) -> tuple[str, str]:
        expected = SDK_FUNCTIONS.get(function_name, kind)
        if kind != expected:
            raise SdkStepError(
                f"{SDK_FILE}: {function_name}(ctx) submits a {kind} job, but this step is a {expected} job"
            )
        s3, job = client("s3", access), cast(SageMakerJob, JOB_KINDS[kind])
        request, leftover = sdk_uploads.move_uploads(s3, request, capture.uploaded, name, context.code_prefix)
        request = sdk_uploads.without_name(request, name, f"{model}-{step}")
        with (at_creation or _untold)() as tell:
            submitted = job.submit(access, model, step, request, asker)
            tell(submitted, digest(request, 64))
        found.append(submitted)
        sdk_uploads.delete(s3, leftover)
        return submitted.handle["name"], job.arn(access, submitted.handle)

    _set_sdk_defaults()
    _check_each_schema_once()
    found: list[Submitted] = []
    with _workplace(folder), captured(create) as capture:
        function = _function(_load(folder / SDK_FILE), function_name)
        try:
            function(context.model_copy(update={"source_dir": "source"}))
        except WaitsForJobError:
            log.warning("%s(ctx) waits for its job; pass wait=False: waiting is the operator's work", function_name)
        except Exception as error:
            if capture.error is not None:
                raise capture.error from None
            if found:
                log.warning("%s(ctx) failed after it had submitted its job, which counts", function_name, exc_info=True)
            elif is_refusal(error) or not _is_passing(error):
                raise SdkStepError(
                    f"{SDK_FILE}: {function_name}(ctx) of model {model} failed: {type(error).__name__}: {error}"
                ) from error
            else:
                raise
    if capture.error is not None:  # the function hid it
        raise capture.error
    if not found:
        raise SdkStepError(f"{SDK_FILE}: {function_name}(ctx) of model {model} submitted no job; call train() or run()")
    return found[0]


def main(order: Mapping[str, Any]) -> dict[str, Any]:
    """Carry out the order of an operator in a process of its own; return the job, or why there will be none.

    Args:
        order: ``function``, ``context``, ``access``, ``model``, ``step``, ``result_file`` (where the job is noted as soon as it exists) and
            ``parent`` (the process that waits). The code is what ``context.code_uri`` holds. ``asker`` holds the fields of ``Asker``.

    Returns:
        ``{"handle", "adopted", "digest"}``, ``{"refused": reason}`` when a retry would fail in the same way, or ``{"busy": reason}``.

    """
    gc.disable()  # a process of seconds: looking for garbage is a sixth of the SDK's import
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")
    logging.getLogger("botocore").setLevel(logging.WARNING)
    _end_with(int(order["parent"]))
    tempfile.tempdir = str(Path(order["result_file"]).parent)
    term = HeldSignal(_exit_at_once)
    signal.signal(signal.SIGTERM, term)
    access, result_file = AwsAccess(**order["access"]), Path(order["result_file"])
    context = SdkContext.model_validate(order["context"])
    asker = Asker(**order["asker"]) if order.get("asker") else None

    @contextlib.contextmanager
    def at_creation() -> Iterator[Callable[[Submitted, str], None]]:
        with term.held():
            yield lambda submitted, full: _note(result_file, submitted, full)

    try:
        with tempfile.TemporaryDirectory(prefix="sdk-step-") as folder:
            code = Path(folder, "model")
            _download(context.code_uri, access, code)
            model, step = order["model"], order["step"]
            submit(code, order["function"], context, access, model, step, asker, at_creation=at_creation)
    except JobBusyError as error:
        return {"busy": str(error)}
    except JobError as error:
        log.error("%s", error, exc_info=True)
        return {"refused": str(error)}
    except Exception as error:
        if not is_refusal(error):
            raise
        log.error("%s", error, exc_info=True)
        return {"refused": f"AWS refused the request of step {order['step']} of model {order['model']}: {error}"}
    gc.freeze()  # or the interpreter looks for garbage when it ends
    return dict(json.loads(result_file.read_text()))


class HeldSignal:
    """A signal handler that ends the process, but not between the creation of a job and the note of it.

    Args:
        end: ends the process; told the signal's number.

    """

    def __init__(self, end: Callable[[int], None]) -> None:
        self._end = end
        self._holding = False
        self._asked = 0

    def __call__(self, number: int, frame: FrameType | None) -> None:
        """Take the signal."""
        self._asked = number
        if not self._holding:
            self._end(number)

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Keep a signal for the end of the block."""
        self._holding = True
        try:
            yield
        finally:
            self._holding = False
            if self._asked:
                self._end(self._asked)


def _exit_at_once(number: int) -> None:
    """End without a ``SystemExit``, which the SDK swallows in places. Temporary files are in the folder that the operator deletes."""
    os._exit(128 + number)


@contextlib.contextmanager
def _untold() -> Iterator[Callable[[Submitted, str], None]]:
    yield lambda submitted, full: None


def _note(path: Path, submitted: Submitted, full: str) -> None:
    """Write the job down in one move: a reader finds all of it or nothing."""
    draft = path.with_suffix(".draft")
    draft.write_text(json.dumps({"handle": submitted.handle, "adopted": submitted.adopted, "digest": full}))
    draft.replace(path)


def _end_with(parent: int) -> None:
    """Let the kernel end this process when the task that waits for it is killed: a job is not started for nobody."""
    if sys.platform == "linux":
        pr_set_pdeathsig = 1
        ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGTERM)
    if os.getppid() != parent:
        sys.exit("the task that started this process has ended")


def _set_sdk_defaults() -> None:
    """Set the SDK's own switches, unless the environment has: no usage reports, no simulation of the job role's rights.

    The role comes from the data platform and has what the jobs need; the SDK would refuse it for lack of rights to networks, which it
    does not use.
    """
    os.environ.setdefault("SAGEMAKER_ADMIN_CONFIG_OVERRIDE", str(SDK_DEFAULTS))
    os.environ.setdefault("SAGEMAKER_VALIDATE_ROLE", "false")


@cache
def _check_each_schema_once() -> None:
    """Spare a third of a step's seconds: for every value that it looks up, the SDK has the schema of its own defaults checked again."""
    from jsonschema import Draft202012Validator

    check, checked = Draft202012Validator.check_schema, dict[int, Any]()

    def check_schema(schema: Any, *arguments: Any, **options: Any) -> None:
        if id(schema) not in checked:
            check(schema, *arguments, **options)
            checked[id(schema)] = schema  # held, so that no other one gets its id

    Draft202012Validator.check_schema = staticmethod(check_schema)


@contextlib.contextmanager
def _workplace(folder: Path) -> Iterator[None]:
    """Make a working directory in which ``source`` holds the model's code: the SDK writes this path into what it uploads."""
    files = bundled_files(folder) or code_files(folder)
    with tempfile.TemporaryDirectory(prefix="sdk-code-") as place:
        source = Path(place, "source")
        source.mkdir()
        for name, body in files.items():
            if name != SDK_FILE:
                (source / name).parent.mkdir(parents=True, exist_ok=True)
                (source / name).write_bytes(body)
        with contextlib.chdir(place):
            yield


def _download(code_uri: str, access: AwsAccess, folder: Path) -> None:
    """Fetch the code that the run's plan names, so that a file changed meanwhile changes nothing."""
    bucket, prefix = split_uri(code_uri)
    s3 = client("s3", access)
    folder.mkdir()
    listed = s3.list_objects_v2(Bucket=bucket, Prefix=prefix).get("Contents", [])
    for key in (item["Key"] for item in listed if item["Key"].endswith(".py")):
        path = folder / key.removeprefix(prefix)
        if not path.resolve().is_relative_to(folder.resolve()):
            raise SdkStepError(f"s3://{bucket}/{key} would be written outside of its folder: remove the object")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(s3.get_object(Bucket=bucket, Key=key)["Body"].read())


def _load(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location("sdk_jobs", path)
    if spec is None or spec.loader is None or not path.exists():
        raise SdkStepError(
            f"the model folder has no {SDK_FILE}; write one, or take the step out of `steps` in model.yaml"
        )
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise SdkStepError(f"{SDK_FILE} cannot be imported: {type(error).__name__}: {error}") from error
    return module


def _function(module: ModuleType, name: str) -> Callable[[SdkContext], Any]:
    function = getattr(module, name, None)
    if not callable(function):
        raise SdkStepError(f"{SDK_FILE} has no function {name}(ctx)")
    return function


def _is_passing(error: Exception) -> bool:
    """Tell whether an error comes from the network or the service, and may be gone at the next try."""
    from botocore.exceptions import BotoCoreError, ClientError

    return isinstance(error, (BotoCoreError, ClientError, ConnectionError, TimeoutError))
