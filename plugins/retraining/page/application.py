"""The page as an application that Airflow mounts: its routes, and what becomes of errors.

Every route needs a person whom Airflow knows. Those about a model need the right to see its DAG, those that change something the right
to start it; a test walks over all routes.
"""

from __future__ import annotations

import json
import logging
from functools import lru_cache
from importlib.resources import files
from typing import Annotated, Any

from airflow.api_fastapi.core_api.security import GetUserDep
from fastapi import FastAPI, HTTPException, Path, Query, Request
from fastapi.responses import HTMLResponse, JSONResponse, Response
from pydantic import Field

from retraining.aws.platform_parameter import PlatformError
from retraining.contract.plain_text import plain
from retraining.page import data_view, drift_view, history_view, now_view, quarantine, trying
from retraining.page.files import comparing, sending
from retraining.page.files.check import UncheckedError
from retraining.page.guard import REPORT_POLICY, Guard
from retraining.page.rights import Acting, Seeing, Visitor
from retraining.page.threads import looking, working
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
WatchedVersion = Annotated[str | None, Query(pattern=drift_view.VERSION)]
Text = Annotated[str | None, Query(max_length=1024)]


@lru_cache(maxsize=1)
def application() -> Any:
    """Return the page, guarded."""
    from airflow.configuration import conf

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
    @looking
    def now(visitor: Seeing) -> dict[str, Any]:
        return {**now_view.now(visitor.model), "person": _person(visitor), "largest_file": sending.LARGEST}

    @app.get("/models/{model}/history")
    @looking
    def history(visitor: Seeing) -> dict[str, Any]:
        return history_view.history(visitor.model)

    @app.get("/models/{model}/runs/{run_key}/report")
    @looking
    def report(visitor: Seeing, run_key: Annotated[str, Path(pattern=history_view.RUN_KEY)]) -> HTMLResponse:
        found = history_view.report(visitor.model, run_key)
        return HTMLResponse(found, headers={"content-security-policy": REPORT_POLICY})

    @app.get("/models/{model}/data")
    @looking
    def data(visitor: Seeing, before: Annotated[int | None, Query(ge=1, le=10**9)] = None) -> dict[str, Any]:
        return {**data_view.data(visitor.model, before), "person": _person(visitor)}

    @app.get("/models/{model}/versions/{number}")
    @looking
    def version(visitor: Seeing, number: Annotated[int, Path(ge=1, le=10**9)]) -> dict[str, Any]:
        return data_view.files_of(visitor.model, number)

    @app.get("/models/{model}/versions/{number}/profile")
    @looking
    def profile(visitor: Seeing, number: Annotated[int, Path(ge=1, le=10**9)]) -> dict[str, Any]:
        return data_view.profile_of(visitor.model, number)

    @app.get("/models/{model}/batches/{batch}/reasons")
    @looking
    def reasons(visitor: Seeing, batch: Annotated[str, Path(pattern=quarantine.BATCH)]) -> dict[str, Any]:
        return quarantine.reasons_of(visitor.model, batch)

    @app.get("/models/{model}/batches/{batch}/rejected")
    @looking
    def rejected(
        visitor: Seeing,
        batch: Annotated[str, Path(pattern=quarantine.BATCH)],
        reason: Text = None,
        file: Text = None,
        column: Text = None,
        cursor: Annotated[str | None, Query(pattern=quarantine.CURSOR)] = None,
        limit: Annotated[int, Query(ge=1, le=200)] = 50,
    ) -> dict[str, Any]:
        return quarantine.rejected_rows(
            visitor.model, batch, reason=reason, file=file, column=column, cursor=cursor, limit=limit
        )

    @app.get("/models/{model}/drift")
    @looking
    def drift(visitor: Seeing, version: WatchedVersion = None) -> dict[str, Any]:
        return drift_view.drift(visitor.model, version)

    @app.get("/models/{model}/drift/{version}/column")
    @looking
    def column(
        visitor: Seeing,
        version: Annotated[str, Path(pattern=drift_view.VERSION)],
        name: Annotated[str, Query(min_length=1, max_length=1024)],
    ) -> dict[str, Any]:
        return drift_view.column(visitor.model, version, name)

    @app.post("/models/{model}/releases")
    @looking
    def release(visitor: Acting, wanted: ReleaseRequest) -> dict[str, Any]:
        dataset, who = visitor.model.dataset, visitor.name
        lifted = dataset.release(wanted.what, who=who, why=wanted.why, accept=wanted.accept)
        log.info(
            "%s released %s of model %s: %s", plain(who), plain(wanted.what), visitor.model.name, plain(wanted.why)
        )
        return {"released": [judged.file.key for judged in lifted]}

    @app.post("/models/{model}/checks")
    async def check(visitor: Acting, request: Request, name: FileName) -> dict[str, Any]:
        async with sending.received(request, visitor.model, name, visitor.model.config.landing.new) as file:
            return await working(sending.judged, visitor.model, file, name)

    @app.post("/models/{model}/files")
    async def send(visitor: Acting, request: Request, name: FileName) -> dict[str, Any]:
        async with sending.received(request, visitor.model, name, visitor.model.config.landing.new) as file:
            return await working(sending.send, visitor.model, file, name, visitor.name)

    @app.get("/models/{model}/files")
    @looking
    def way(visitor: Seeing, key: FileName) -> dict[str, Any]:
        return data_view.way_of(visitor.model, key)

    @app.post("/models/{model}/predictions")
    async def predict(visitor: Seeing, request: Request) -> dict[str, Any]:
        wanted = RowsRequest.model_validate(await _json(request))
        return {"predictions": await working(trying.predict, visitor.model, wanted.rows, explain=wanted.explain)}

    @app.post("/models/{model}/comparisons")
    async def compare(visitor: Seeing, request: Request, name: FileName) -> dict[str, Any]:
        async with sending.received(request, visitor.model, name, batch.IN) as file:
            return await working(comparing.compare, visitor.model, file, name)

    return app


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
