import pytest
from page_site import BATCH, HOSTILE, REFUSED_KEY, RUN, Site

ANYBODY, SEE, ACT = "anybody whom Airflow knows", "who may see the DAG", "who may start the DAG"
ROWS = {"rows": [{"sex": "M"}]}
# Path, right that it needs, request, status for whom the right is there.
ROUTES = {
    ("GET", "/"): ("/", ANYBODY, {}, 200),
    ("GET", "/assets/{name}"): ("/assets/page.js", ANYBODY, {}, 200),
    ("GET", "/models/{model}/now"): ("/models/abalone/now", SEE, {}, 200),
    ("GET", "/models/{model}/dag"): ("/models/abalone/dag", SEE, {}, 200),
    ("GET", "/models/{model}/history"): ("/models/abalone/history", SEE, {}, 200),
    ("GET", "/models/{model}/runs/{run_key}/report"): (f"/models/abalone/runs/{RUN}/report", SEE, {}, 200),
    ("GET", "/models/{model}/data"): ("/models/abalone/data", SEE, {}, 200),
    ("GET", "/models/{model}/versions/{number}"): ("/models/abalone/versions/1", SEE, {}, 200),
    ("GET", "/models/{model}/versions/{number}/profile"): ("/models/abalone/versions/1/profile", SEE, {}, 200),
    ("GET", "/models/{model}/batches/{batch}/reasons"): (f"/models/abalone/batches/{BATCH}/reasons", SEE, {}, 200),
    ("GET", "/models/{model}/batches/{batch}/rejected"): (f"/models/abalone/batches/{BATCH}/rejected", SEE, {}, 200),
    ("GET", "/models/{model}/drift"): ("/models/abalone/drift", SEE, {}, 200),
    ("GET", "/models/{model}/drift/{version}/column"): ("/models/abalone/drift/v1/column?name=sex", SEE, {}, 200),
    ("GET", "/models/{model}/files"): ("/models/abalone/files?key=x", SEE, {}, 200),
    ("POST", "/models/{model}/predictions"): ("/models/abalone/predictions", SEE, {"json": ROWS}, 422),
    ("POST", "/models/{model}/comparisons"): ("/models/abalone/comparisons?name=a.csv", SEE, {"content": b"x"}, 200),
    ("POST", "/models/{model}/checks"): ("/models/abalone/checks?name=a.csv", ACT, {"content": b"x"}, 200),
    ("POST", "/models/{model}/files"): ("/models/abalone/files?name=a.csv", ACT, {"content": b"x"}, 200),
    ("POST", "/models/{model}/releases"): (
        "/models/abalone/releases",
        ACT,
        {"json": {"what": "none", "why": "test"}},
        404,
    ),
}
MAY = {
    "viewer": {ANYBODY, SEE},
    "user": {ANYBODY, SEE, ACT},
    "op": {ANYBODY, SEE, ACT},
    "admin": {ANYBODY, SEE, ACT},
    "outsider": {ANYBODY},
}
WRITES = [(path, request) for (method, _), (path, _, request, _) in ROUTES.items() if method == "POST"]


def test_the_table_has_every_route_of_the_page() -> None:
    from retraining.page.application import routes

    found = {(method, route.path) for route in routes().routes for method in route.methods - {"HEAD"}}
    assert found == set(ROUTES)


@pytest.mark.parametrize("route", ROUTES, ids=" ".join)
@pytest.mark.parametrize("role", MAY)
def test_each_role_gets_what_its_rights_on_the_dag_give(site: Site, route: tuple[str, str], role: str) -> None:
    path, needs, request, status = ROUTES[route]
    answer = site.ask(route[0], path, role, **request)
    assert answer.status_code == (status if needs in MAY[role] else 403), answer.text


@pytest.mark.parametrize("route", ROUTES, ids=" ".join)
def test_without_a_valid_token_nothing_is_answered(site: Site, route: tuple[str, str]) -> None:
    path, _, request, _ = ROUTES[route]
    assert site.ask(route[0], path, None, **request).status_code == 401
    assert site.ask(route[0], path, "expired", **request).status_code == 401
    assert site.ask(route[0], path, "forged", **request).status_code == 403


@pytest.mark.parametrize(("path", "request_"), WRITES)
@pytest.mark.parametrize(
    "headers",
    [
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Sec-Fetch-Site": "none"},
        {"Origin": "http://127.0.0.1:9999"},
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
    ],
)
def test_writes_of_other_origins_are_refused(site: Site, path: str, request_: dict, headers: dict) -> None:
    answer = site.ask("POST", path, "admin", headers=headers, **request_)
    assert answer.status_code == 403 and "another origin" in answer.json()["detail"]


@pytest.mark.parametrize(("path", "request_"), WRITES)
def test_a_write_without_the_header_of_the_page_is_refused(site: Site, path: str, request_: dict) -> None:
    for kind in ("text/plain", "multipart/form-data; boundary=x", "application/x-www-form-urlencoded"):
        answer = site.send("POST", path, "admin", content=b"x", headers={"Content-Type": kind})
        assert answer.status_code == 403 and "x-retraining-page" in answer.json()["detail"]


def test_a_write_of_the_page_itself_is_taken(site: Site) -> None:
    headers = {"Sec-Fetch-Site": "same-origin", "Origin": "http://127.0.0.1"}
    answer = site.ask("POST", "/models/abalone/releases", json={"what": "none", "why": "test"}, headers=headers)
    assert answer.status_code == 404


@pytest.mark.parametrize(
    ("model", "status", "words"),
    [
        ("oyster", 503, "/retraining/dev/oyster/platform does not exist"),
        ("..", 404, "Not Found"),
        ("abalone%2F..%2Fx", 404, "Not Found"),
        ("Abalone", 422, "string_pattern_mismatch"),
        ("a" * 40, 422, "string_too_long"),
    ],
)
def test_other_models_and_odd_names_are_not_there(site: Site, model: str, status: int, words: str) -> None:
    answer = site.ask("GET", f"/models/{model}/now", "admin")
    assert answer.status_code == status and words in answer.text


@pytest.mark.parametrize("route", ROUTES, ids=" ".join)
def test_every_answer_is_guarded(site: Site, route: tuple[str, str]) -> None:
    path, _, request, _ = ROUTES[route]
    for role in ("user", "outsider", None):
        headers = site.ask(route[0], path, role, **request).headers
        policy = headers["content-security-policy"]
        assert "default-src 'none'" in policy and "unsafe-inline" not in policy.split("style-src")[0]
        assert "frame-ancestors 'self'" in policy
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "same-origin"


def test_a_report_is_a_document_without_scripts_and_origin(site: Site) -> None:
    answer = site.ask("GET", f"/models/abalone/runs/{RUN}/report")
    assert answer.headers["content-security-policy"].startswith("sandbox; default-src 'none'")
    assert "script-src" not in answer.headers["content-security-policy"]


def test_what_files_are_called_never_comes_as_html(site: Site) -> None:
    for (method, _), (path, _, request, _) in ROUTES.items():
        answer = site.ask(method, path, **request)
        if "/models/" in path and not path.endswith("/report"):
            assert answer.headers["content-type"] == "application/json"
    assert REFUSED_KEY in site.ask("GET", "/models/abalone/data").text
    assert HOSTILE in site.ask("GET", "/models/abalone/drift/v1/column?name=sex").text


def test_who_is_logged_out_is_told_where_to_log_in(site: Site) -> None:
    answer = site.ask("GET", "/", None)
    assert answer.status_code == 401 and "Log in to Airflow" in answer.text
