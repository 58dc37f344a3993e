"""The API on the loopback in front of a real endpoint of local_aws, asked by programs and by people in a browser."""

import json
import re
import socket
import threading
import urllib.error
import urllib.request
from types import SimpleNamespace

import chromium
import pytest
from asked_api import ABALONE, ADULT, CONFIG, ROW, SCALE, Endpoint, Weighing

from lambda_functions.prediction_api import endpoint as sagemaker_endpoint
from lambda_functions.prediction_api.example import example_row
from lambda_functions.prediction_api.handler import Api
from lambda_functions.prediction_api.model import Model
from lambda_functions.prediction_api.rows import MOST_BYTES
from local_stack.verbs import api as verb
from local_stack.verbs.calls import CallError


@pytest.fixture(scope="module")
def environment(account):
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {
            "AWS_ENDPOINT_URL": account.url,
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_DEFAULT_REGION": "us-east-1",
        }.items():
            patch.setenv(name, value)
        yield


class Served:
    """An API on a port of its own."""

    def __init__(self, api: Api) -> None:
        self.lines: list[str] = []
        self.server = verb.server_of(api, 0, self.lines.append)
        self.url = f"http://127.0.0.1:{self.server.server_port}"

    def __enter__(self) -> "Served":
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.server.shutdown()
        self.server.server_close()

    def ask(self, path, body=None, **headers):
        data = None if body is None else json.dumps(body).encode()
        headers = {"Content-Type": "application/json", **headers} if data else headers
        try:
            with urllib.request.urlopen(urllib.request.Request(self.url + path, data, headers), timeout=30) as answer:
                return answer.status, dict(answer.headers), answer.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, dict(error.headers), error.read().decode()

    def raw(self, request: bytes) -> bytes:
        with socket.create_connection(("127.0.0.1", self.server.server_port), timeout=30) as connection:
            connection.sendall(request)
            answer = b""
            while part := connection.recv(65536):
                answer += part
        return answer


@pytest.fixture(scope="module")
def served(account, environment):
    account.model("scale", SCALE)
    account.sagemaker.create_endpoint(EndpointName="dev-abalone", EndpointConfigName="scale")
    assert account.endpoint_settled("dev-abalone")["EndpointStatus"] == "InService"
    with Served(Api(ABALONE, "dev-abalone", sagemaker_endpoint.client())) as served:
        yield served


@pytest.mark.local_aws
def test_a_program_gets_the_endpoints_answer(served):
    status, headers, body = served.ask("/predictions", {"rows": [ROW, {**ROW, "whole_weight": "0.7"}]})
    assert status == 200 and headers["content-type"] == "application/json"
    assert [one["prediction"] for one in json.loads(body)["predictions"]] == [6.0, 7.0]
    assert json.loads(body)["predictions"][0]["words"]["text"] == "about 7.5 years old"
    assert served.ask("/predictions", {"rows": [{**ROW, "sex": "X"}]})[0] == 422
    status, _, body = served.ask("/openapi.json")
    assert json.loads(body)["info"]["title"] == "abalone"


@pytest.mark.local_aws
def test_an_endpoint_that_is_gone_is_503(served, environment):
    with Served(Api(ABALONE, "dev-nobody", sagemaker_endpoint.client())) as other:
        status, headers, body = other.ask("/predictions", {"rows": [ROW]})
        assert status == 503 and headers["retry-after"] == "5"
        assert json.loads(body)["error"]["code"] == "no_model" and "dev-nobody" not in body


@pytest.mark.local_aws
def test_the_verb_says_in_one_line_why_nothing_is_served(served, environment):
    import boto3

    session = boto3.Session()
    assert verb.serving_endpoint(CONFIG, session) == "dev-abalone"
    with pytest.raises(CallError, match="serves nothing yet: make retrain"):
        verb.serving_endpoint(SimpleNamespace(name="abalone", endpoint="dev-other"), session)
    with pytest.raises(CallError, match="has no endpoint, it scores files: make score"):
        verb.serving_endpoint(SimpleNamespace(name="abalone", endpoint=None), session)
    with pytest.raises(CallError, match=rf"port {served.server.server_port} cannot be used .*API_PORT="):
        verb.serve(CONFIG, session, served.server.server_port, print)


@pytest.fixture
def quick():
    with Served(Api(ABALONE, "dev-abalone", Endpoint())) as served:
        yield served


@pytest.mark.parametrize("host", ["evil.example", "evil.example:80", "", "127.0.0.1", "[::1]:{port}"])
def test_another_name_of_this_machine_is_refused(quick, host):
    """A page of another site that lets its own name lead to 127.0.0.1 would read the answers."""
    host = host.replace("{port}", str(quick.server.server_port))
    for path, body in (("/", None), ("/openapi.json", None), ("/predictions", {"rows": [ROW]})):
        assert quick.ask(path, body, Host=host)[0] == 421


def test_lengths_that_lie_are_refused_before_anything_is_read(quick):
    head = f"POST /predictions HTTP/1.1\r\nHost: 127.0.0.1:{quick.server.server_port}\r\nContent-Type: application/json\r\n"
    for line, status in (
        (f"Content-Length: {MOST_BYTES + 1}", b"413"),
        ("Content-Length: -1", b"411"),
        ("Content-Length: " + "9" * 5000, b"413"),
        ("Content-Length: x", b"411"),
        ("Transfer-Encoding: chunked", b"411"),
    ):
        answer = quick.raw(f"{head}{line}\r\n\r\n".encode())
        assert answer.startswith(b"HTTP/1.1 " + status), line


def test_methods_and_paths_that_are_not_there(quick):
    port = quick.server.server_port
    for start, status in (
        ("PUT /predictions", b"405"),
        ("OPTIONS /predictions", b"405"),
        ("GET /../form.js", b"404"),
        ("GET /%2e%2e/model.json", b"404"),
        ("GET /model.json", b"404"),
    ):
        answer = quick.raw(
            f"{start} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".encode()
        )
        assert answer.startswith(b"HTTP/1.1 " + status), start


def test_the_site_loads_nothing_from_elsewhere_and_runs_nothing_inline(quick):
    for name in ("", "index.html", "form.js", "dom.js", "explanation.js", "page.css", "icon.svg"):
        status, headers, body = quick.ask(f"/{name}")
        assert status == 200 and "script-src 'self'" in headers["content-security-policy"]
        assert not re.search(r"https?://(?!www\.w3\.org/)", body), name
        assert "innerHTML" not in body and " style=" not in body


# -- a browser ---------------------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def browser():
    with chromium.started() as browser:
        yield browser


@pytest.fixture
def page(browser):
    with chromium.opened(browser, viewport={"width": 1000, "height": 900}) as page:
        yield page


@chromium.needed
@pytest.mark.local_aws
def test_a_person_fills_in_the_form_and_reads_the_answer_in_the_models_own_words(served, page):
    page.goto(served.url)
    page.get_by_role("button", name="Fill in an example").click()
    page.get_by_label("whole_weight").fill("2.4")
    page.get_by_role("button", name="Predict rings").click()
    page.get_by_text("about 25.5 years old").wait_for()
    assert page.title() == "abalone"


@chromium.needed
@pytest.mark.local_aws
def test_what_is_wrong_stands_beside_its_field_which_gets_the_focus(served, page):
    page.goto(served.url)
    page.get_by_role("button", name="Fill in an example").click()
    page.get_by_label("height").fill("0,1")
    page.get_by_label("sex").select_option("")
    page.keyboard.press("Tab")
    page.get_by_label("height").press("Enter")
    page.get_by_role("alert").wait_for()
    assert page.locator("#field-height-wrong").inner_text() == "decimal comma"
    assert page.locator("#field-sex-wrong").inner_text() == "missing"
    assert page.evaluate("document.activeElement.id") == "field-sex"
    assert page.get_by_label("height").get_attribute("aria-invalid") == "true"
    described = page.get_by_label("height").get_attribute("aria-describedby").split()
    assert all(page.locator(f"#{name}").count() == 1 for name in described)


@chromium.needed
def test_the_keyboard_is_enough(quick, page):
    page.goto(quick.url)
    page.get_by_label("sex").wait_for()
    page.locator("body").press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    for value in ("M", "0.5", "0.4", "0.1", "0.6", "0.2", "0.1", "0.15"):
        page.keyboard.press("Tab")
        page.keyboard.type(value)
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    page.get_by_text("about 11.0 years old").wait_for()


@chromium.needed
def test_classes_are_told_with_their_probabilities(page):
    endpoint = Endpoint({"predictions": [">50K"], "probabilities": [[0.25, 0.75]], "classes": ["<=50K", ">50K"]})
    with Served(Api(ADULT, "dev-adult", endpoint)) as served:
        page.goto(served.url)
        page.get_by_role("button", name="Fill in an example").click()
        page.get_by_role("button", name="Predict income").click()
        page.get_by_text("income >50K").wait_for()
        assert page.get_by_label("probability of >50K").get_attribute("value") == "0.75"
        assert page.get_by_text("75.0 %").count() == 1


@pytest.fixture
def explaining():
    with Served(Api(ABALONE, "dev-abalone", Weighing())) as served:
        yield served


def asked_why(page, served):
    """Fill in the form, and ask why by the keyboard."""
    page.goto(served.url)
    page.get_by_role("button", name="Fill in an example").click()
    page.get_by_role("button", name="Predict rings").click()
    page.locator(".answer").wait_for()
    page.get_by_role("button", name="What moved this answer?").press("Enter")


@chromium.needed
def test_a_person_asks_what_moved_the_answer_and_reads_it_in_a_table(explaining, page):
    asked_why(page, explaining)
    table = page.get_by_role("table", name="moves of rings")
    table.wait_for()
    rows = table.locator("tbody tr").all_inner_texts()
    assert len(rows) == len(ABALONE.contract.feature_columns) and rows[0].split()[0] == "whole_weight"
    assert page.get_by_role("img", name="moves of rings by column").count() == 1
    assert page.evaluate("document.activeElement.querySelector('h2').textContent") == "What moved the answer"
    assert page.get_by_role("button", name="What moved this answer?").count() == 0
    assert chromium.in_both_colours(page) == []
    assert chromium.width_on_a_phone(page) <= 360


@chromium.needed
@pytest.mark.local_aws
def test_a_model_that_does_not_explain_is_told_beside_its_answer(served, page):
    asked_why(page, served)
    page.get_by_text("does not explain its answers to these rows").wait_for()
    assert page.locator(".answer").count() == 1
    assert page.get_by_role("button", name="What moved this answer?").is_enabled()
    assert chromium.in_both_colours(page) == []


HOSTILE = '"><script>alert(1)</script><img src=x onerror=alert(2)>{{7*7}}\u202e'


@chromium.needed
def test_text_of_a_model_and_of_an_answer_never_runs(page):
    columns = [
        {"name": "a", "type": "string", "allowed": [HOSTILE, "b"], "description": HOSTILE, "unit": HOSTILE},
        {"name": "constructor", "type": "string", "nullable": True, "description": HOSTILE},
        {"name": "y", "type": "double", "unit": HOSTILE},
    ]
    present = {"value": "", "unit": HOSTILE, "text": "{value} " + HOSTILE, "decimals": 1}
    contract = {"columns": columns, "target": "y"}
    model = Model.of({"name": HOSTILE, "description": HOSTILE, "contract": contract, "classes": [], "present": present})
    assert example_row(model) is not None
    with Served(Api(model, "dev-x", Endpoint())) as served:
        page.goto(served.url)
        page.get_by_role("button", name="Fill in an example").click()
        page.get_by_role("button", name="Predict y").click()
        page.locator(".answer").wait_for()
        assert HOSTILE.split("{")[0] in page.locator(".answer").inner_text()
        page.get_by_label("a *").select_option("")
        page.get_by_role("button", name="Predict y").click()
        page.get_by_role("alert").wait_for()
        assert page.locator("img, main script").count() == 0


@chromium.needed
def test_axe_finds_nothing_on_form_mistakes_and_answer_and_a_phone_shows_all_of_it(quick, page):
    page.goto(quick.url)
    page.get_by_role("button", name="Predict rings").click()
    page.get_by_role("alert").wait_for()
    assert chromium.in_both_colours(page) == []
    page.get_by_role("button", name="Fill in an example").click()
    page.get_by_role("button", name="Predict rings").click()
    page.locator(".answer").wait_for()
    assert chromium.in_both_colours(page) == []
    assert chromium.width_on_a_phone(page) <= 360


class Gate:
    """The API behind a key, as the gateway answers: 401 without one, 403 for a wrong one."""

    def __init__(self, api: Api) -> None:
        self.api = api

    def answer(self, event):
        key = event["headers"].get("x-api-key")
        if key == "right":
            return self.api.answer(event)
        status = 403 if key else 401
        return {"statusCode": status, "headers": {}, "body": '{"message": "Unauthorized"}'}, {}


@chromium.needed
def test_who_opens_the_site_of_an_api_with_keys_enters_one_which_is_kept_nowhere(page):
    with Served(Gate(Api(ABALONE, "dev-abalone", Endpoint(), "key"))) as served:
        page.goto(served.url)
        page.get_by_label("Key").fill("wrong")
        page.get_by_role("button", name="Open the form").click()
        page.get_by_text("This key is not known.").wait_for()
        assert chromium.in_both_colours(page) == []
        page.get_by_label("Key").fill("right")
        page.get_by_label("Key").press("Enter")
        page.get_by_role("button", name="Fill in an example").click()
        page.get_by_role("button", name="Predict rings").click()
        page.get_by_text("about 11.0 years old").wait_for()
        stored = page.evaluate(
            "JSON.stringify([{...localStorage}, {...sessionStorage}, document.cookie, location.href])"
        )
        assert "right" not in stored
        page.reload()
        page.get_by_label("Key").wait_for()


@chromium.needed
def test_an_api_that_fails_is_told(page):
    with Served(Api(ABALONE, "dev-abalone", Endpoint(b"nonsense"))) as served:
        page.goto(served.url)
        page.get_by_role("button", name="Fill in an example").click()
        page.get_by_role("button", name="Predict rings").click()
        page.get_by_text("answered something that is no prediction").wait_for()
