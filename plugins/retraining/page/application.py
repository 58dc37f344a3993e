"""The page as an application that Airflow mounts: its routes, and what becomes of errors.

Every route needs a person whom Airflow knows. Those about a model need the right to see its DAG, those that change something the right
to start it; a test walks over all routes.
"""

from __future__ import annotations

import json
import logging
from asyncio import gather
from functools import lru_cache
from importlib.resources import files
from typing import Annotated, Any

from airflow.api_fastapi.core_api.security import GetUserDep
from fastapi import FastAPI, HTTPException, Path, Query, Request
from fastapi.responses import HTMLResponse, JSONResponse, Response
from pydantic import Field

from retraining.aws.platform_parameter import PlatformError
from retraining.contract.plain_text import plain
from retraining.page import airflow_view, data_view, drift_view, history_view, now_view, quarantine, trying
from retraining.page.concurrency.shared import shared
from retraining.page.concurrency.threads import looking, working
from retraining.page.files import comparing, sending
from retraining.page.files.check import UncheckedError
from retraining.page.guard import REPORT_POLICY, Guard, Message, Receive, Send
from retraining.page.rights import Acting, Seeing, Visitor
from retraining.serving import batch
from retraining.settings.strict import Strict

ASSETS = {".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"}
LARGEST_JSON = 256 << 10
LOGGED_OUT = (
    "<!doctype html><html lang=en><meta charset=utf-8><title>Retraining</title>"
    "<p>You are not logged in. <a href='../'>Log in to Airflow</a>, then open this page again."
)

log = logging.getLogger(__name__)


class ReleaseRequest(Strict):
    """A person's word that a refused file, or the refused files of a batch, count as new again."""

    what: Annotated[str, Field(min_length=1, max_length=1024)]
    why: Annotated[str, Field(min_length=3, max_length=500)]
    accept: bool = False


class RowsRequest(Strict):
    """Rows to predict."""

    rows: Annotated[list[dict[str, str | int | float | bool | None]], Field(min_length=1, max_length=trying.ROWS)]
    explain: bool = False


FileName = Annotated[str, Query(min_length=1, max_length=1024)]
VersionNumber = Annotated[int, Path(ge=1, le=10**9)]
BatchId = Annotated[str, Path(pattern=quarantine.BATCH)]
WatchedVersion = Annotated[str | None, Query(pattern=drift_view.VERSION)]
Text = Annotated[str | None, Query(max_length=1024)]


async def answer(scope: Message, receive: Receive, send: Send) -> None:
    """Answer a request that Airflow passes on."""
    await application()(scope, receive, send)


@lru_cache(maxsize=1)
def application() -> Any:
    """Return the page, guarded; what a killed server left is removed first."""
    from airflow.configuration import conf

    sending.remove_leftovers()
    return Guard(routes(), known_by=(conf.get("api", "base_url", fallback=""),))


def routes() -> FastAPI:
    """Return the routes of the page."""
    app = FastAPI(title="Retraining", docs_url=None, redoc_url=None, openapi_url=None, redirect_slashes=False)
    _answer_errors(app)

    @app.get("/")
    async def page(user: GetUserDep) -> HTMLResponse:
        return HTMLResponse(_asset("index.html"))

    @app.get("/assets/{name}")
    async def asset(name: Annotated[str, Path(pattern=r"^[a-z_]+\.(js|css|svg)$")], user: GetUserDep) -> Response:
        kind = ASSETS[name[name.rindex(".") :]]
        return Response(_asset(name), media_type=kind, headers={"cache-control": "private, max-age=60"})

    @app.get("/models/{model}/now")
    async def now(visitor: Seeing) -> Response:
        view, looks = await gather(shared(now_view.now, visitor), _looks(visitor))
        data = await shared(data_view.counts, visitor, *looks)
        return JSONResponse({**view, "data": data, "person": _person(visitor), "largest_file": sending.LARGEST})

    @app.get("/models/{model}/dag")
    async def dag(person: airflow_view.Onlooking) -> Response:
        return JSONResponse(await airflow_view.dag_of(person))

    @app.get("/models/{model}/history")
    async def history(visitor: Seeing) -> Response:
        return JSONResponse(await shared(history_view.history, visitor))

    @app.get("/models/{model}/runs/{run_key}/report")
    async def report(visitor: Seeing, run_key: Annotated[str, Path(pattern=history_view.RUN_KEY)]) -> Response:
        found = await shared(history_view.report, visitor, run_key)
        return HTMLResponse(found, headers={"content-security-policy": REPORT_POLICY})

    @app.get("/models/{model}/data")
    async def data(visitor: Seeing, before: Annotated[int | None, Query(ge=1, le=10**9)] = None) -> Response:
        view = await shared(data_view.data, visitor, *await _looks(visitor), before)
        return JSONResponse({**view, "person": _person(visitor)})

    @app.get("/models/{model}/versions/{number}")
    async def version(visitor: Seeing, number: VersionNumber) -> Response:
        return JSONResponse(await shared(data_view.files_of, visitor, number))

    @app.get("/models/{model}/versions/{number}/profile")
    async def profile(visitor: Seeing, number: VersionNumber) -> Response:
        return JSONResponse(await shared(data_view.profile_of, visitor, number))

    @app.get("/models/{model}/batches/{batch}/reasons")
    async def reasons(visitor: Seeing, batch: BatchId) -> Response:
        return JSONResponse(await shared(quarantine.reasons_of, visitor, batch))

    @app.get("/models/{model}/batches/{batch}/rejected")
    async def rejected(
        visitor: Seeing,
        batch: BatchId,
        reason: Text = None,
        file: Text = None,
        column: Text = None,
        cursor: Annotated[str | None, Query(pattern=quarantine.CURSOR)] = None,
        limit: Annotated[int, Query(ge=1, le=200)] = 50,
    ) -> Response:
        wanted = {"reason": reason, "file": file, "column": column, "cursor": cursor, "limit": limit}
        return JSONResponse(await shared(quarantine.rejected_rows, visitor, batch, **wanted))

    @app.get("/models/{model}/drift")
    async def drift(visitor: Seeing, version: WatchedVersion = None) -> Response:
        return JSONResponse(await shared(drift_view.drift, visitor, version))

    @app.get("/models/{model}/drift/{version}/column")
    async def column(
        visitor: Seeing,
        version: Annotated[str, Path(pattern=drift_view.VERSION)],
        name: Annotated[str, Query(min_length=1, max_length=1024)],
    ) -> Response:
        return JSONResponse(await shared(drift_view.column, visitor, version, name))

    @app.post("/models/{model}/releases")
    async def release(visitor: Acting, wanted: ReleaseRequest) -> Response:
        return JSONResponse({"released": await looking(_release, visitor, wanted)})

    @app.post("/models/{model}/checks")
    async def check(visitor: Acting, request: Request, name: FileName) -> Response:
        async with sending.received(request, visitor.model, name, visitor.model.config.landing.new) as file:
            return JSONResponse(await working(sending.judged, visitor.model, file, name))

    @app.post("/models/{model}/files")
    async def send(visitor: Acting, request: Request, name: FileName) -> Response:
        async with sending.received(request, visitor.model, name, visitor.model.config.landing.new) as file:
            return JSONResponse(await working(sending.send, visitor.model, file, name, visitor.name))

    @app.get("/models/{model}/files")
    async def way(visitor: Seeing, key: FileName) -> Response:
        found = await shared(data_view.log, visitor)
        return JSONResponse(await looking(data_view.way_of, visitor.model, found, key))

    @app.post("/models/{model}/predictions")
    async def predict(visitor: Seeing, request: Request) -> Response:
        wanted = RowsRequest.model_validate(await _json(request))
        found = await working(trying.predict, visitor.model, wanted.rows, explain=wanted.explain)
        return JSONResponse({"predictions": found})

    @app.post("/models/{model}/comparisons")
    async def compare(visitor: Seeing, request: Request, name: FileName) -> Response:
        async with sending.received(request, visitor.model, name, batch.IN) as file:
            return JSONResponse(await working(comparing.compare, visitor.model, file, name))

    return app


async def _looks(visitor: Visitor) -> tuple[data_view.Log, data_view.Landing]:
    return await gather(shared(data_view.log, visitor), shared(data_view.landing, visitor))


def _release(visitor: Visitor, wanted: ReleaseRequest) -> list[str]:
    """Release what a person names; return the keys of the files that count as new again."""
    dataset, who = visitor.model.dataset, visitor.name
    lifted = dataset.release(wanted.what, who=who, why=wanted.why, accept=wanted.accept)
    log.info("%s released %s of model %s: %s", plain(who), plain(wanted.what), visitor.model.name, plain(wanted.why))
    return [judged.file.key for judged in lifted]


def _person(visitor: Visitor) -> dict[str, Any]:
    return {"name": visitor.name, "may_act": visitor.may_act}


async def _json(request: Request) -> Any:
    """Read a JSON body of bounded size.

    Raises:
        HTTPException: it is larger, or no JSON.

    """
    body = b""
    async for block in request.stream():
        body += block
        if len(body) > LARGEST_JSON:
            raise HTTPException(413, f"a request of rows may have {LARGEST_JSON >> 10} KB")
    try:
        return json.loads(body)
    except (ValueError, RecursionError) as error:
        raise HTTPException(400, "the request is no JSON") from error


@lru_cache(maxsize=32)
def _asset(name: str) -> bytes:
    """Return a file of the page.

    Raises:
        LookupError: there is none of that name.

    """
    try:
        return files("retraining.page").joinpath("static", name).read_bytes()
    except OSError as error:
        raise LookupError(f"there is no {name}") from error


def _answer_errors(app: FastAPI) -> None:
    """Answer what can go wrong with a status and a sentence; nothing of the inside is told."""
    from botocore.exceptions import BotoCoreError, ClientError
    from pydantic import ValidationError

    def as_status(status: int) -> Any:
        async def answer(request: Request, error: Exception) -> JSONResponse:
            return JSONResponse({"detail": plain(error.args[0] if error.args else error)}, status)

        return answer

    @app.exception_handler(HTTPException)
    async def refused(request: Request, error: HTTPException) -> Response:
        if error.status_code == 401 and request.scope["path"].endswith("/") and request.method == "GET":
            return HTMLResponse(LOGGED_OUT, 401)
        return JSONResponse({"detail": error.detail}, error.status_code)

    @app.exception_handler(trying.InvalidRowsError)
    async def broken(request: Request, error: trying.InvalidRowsError) -> JSONResponse:
        return JSONResponse({"detail": plain(error), "reasons": error.reasons}, 422)

    @app.exception_handler(ValidationError)
    async def unreadable(request: Request, error: ValidationError) -> JSONResponse:
        return JSONResponse({"detail": plain(error.errors(include_input=False)[0]["msg"])}, 422)

    async def unreachable(request: Request, error: Exception) -> JSONResponse:
        log.warning("AWS does not answer a request of the page: %s", error)
        return JSONResponse({"detail": f"AWS does not answer: {plain(error, 200)}"}, 503)

    for kind in (BotoCoreError, ClientError):
        app.add_exception_handler(kind, unreachable)
    for kind, status in (
        (LookupError, 404),
        (sending.TooLargeError, 413),
        (UncheckedError, 413),
        (trying.NoAnswerError, 503),
        (PlatformError, 503),
    ):
        app.add_exception_handler(kind, as_status(status))
