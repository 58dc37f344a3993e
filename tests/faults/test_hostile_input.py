"""What strangers send, made up by the thousand: names, headings, cells, files, archives, requests, parameters, expressions.

Nothing of it ends a process, takes more than its share of time, brings a control character to a log, a terminal, a mail or a page, or makes
the environment speak: a canary in it is looked for in every answer. ``FUZZ_EXAMPLES`` says how many (`make test-fuzz`).
"""

import gzip
import io
import json
import os
import re
import tarfile
import time
from contextlib import suppress
from html import unescape
from types import SimpleNamespace

import numpy as np
import pytest
import yaml
from conftest import MODEL_FOLDER
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from threadpoolctl import ThreadpoolController

from lambda_functions.prediction_api.handler import Api
from lambda_functions.prediction_api.model import Model, described
from local_aws.gateway.corrections.glue import wanted_values
from local_aws.gateway.signatures import Signed, refusal
from local_aws.gateway.support import OWN
from local_aws.glue.crawling.schema import MAX_COLUMNS, decompress, infer_csv
from local_aws.shared.archives import extract_archive
from local_aws.shared.errors import JobError, ServiceError
from local_aws.shared.requests.members import check_members, paths_of
from local_aws.shared.requests.validation import check_request
from local_aws.shared.sandbox import safe_join
from retraining.contract.layout import inspect, refuse_key
from retraining.contract.names import ignored_reason
from retraining.contract.plain_text import plain, plain_lines, plain_names
from retraining.contract.reader import read
from retraining.contract.refusal import FileRefused
from retraining.contract.rules import Contract
from retraining.inside import serving
from retraining.inside.job_file import inputs_of
from retraining.settings.model_config import load_model_config
from retraining.settings.present.section import Present
from retraining.settings.run_parameters import check_run_parameters
from retraining.telling import report_html
from retraining.telling.outcomes import Outcome, body, subject

EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", "0"))
CANARY = "CANARY-8d1f4c-IN-THE-ENVIRONMENT"
CONTRACT = Contract.of(yaml.safe_load((MODEL_FOLDER / "model.yaml").read_text())["contract"])
API_MODEL = Model.of(json.loads(json.dumps(described(load_model_config(MODEL_FOLDER / "model.yaml")))))
SPLIT = {"train": 80, "validation": 10, "test": 10}
SECONDS_PER_MB = 20.0  # of processor time on a slow machine; a parser that is quadratic takes minutes

PIECES = (
    "${env:FUZZ_CANARY}", "${FUZZ_CANARY}", "$FUZZ_CANARY", "$(printenv FUZZ_CANARY)", "`printenv`", "%(FUZZ_CANARY)s", "{FUZZ_CANARY}",
    "{{ var.value.get('FUZZ_CANARY') }}", "${system:user.home}", "${jndi:ldap://x}", "\x1b[2J", "\x1b]0;title\x07", "\x9b31m", "\u202e",
    "\u2066", "\u2028", "\u200b", "\ufeff", "\x00", "\r", "\n", "\t", "\ud800", "<script>alert(1)</script>", "<img src=x onerror=alert(1)>",
    "'", '"', '""', '","', ",", ";", "|", "`", "--", "';DROP TABLE x;--", "=cmd|' /C calc'!A0", "@SUM(1)",
    "../", "..%2f", "a//b", "/etc/passwd",
    "x" * 500, '"a",' * 200, "," * 300, "9" * 400, "1e400", "NaN", "-0", "M", "0.5", "7", "sex", "length", "rings", "é", "長", "\U000e0041",
)  # fmt: skip
TEXTS = st.lists(st.sampled_from(PIECES) | st.text(max_size=6), max_size=8).map("".join)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=5,
)


def some(share: float) -> settings:
    checks = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large]
    return settings(
        max_examples=max(60, int(EXAMPLES * share)), deadline=None, suppress_health_check=checks, database=None
    )


@pytest.fixture(autouse=True)
def canary(monkeypatch):
    monkeypatch.setenv("FUZZ_CANARY", CANARY)


def harmless(text: str, longest: int) -> None:
    assert CANARY not in text
    assert len(text) <= longest
    assert all(line.isprintable() for line in text.replace("\t", " ").split("\n")), repr(text)


@pytest.mark.faults_fast
@some(0.2)
@given(TEXTS)
def test_text_for_people_is_printable_short_and_says_nothing_of_the_environment(text):
    harmless(plain(text), 400)
    harmless(plain_lines(text), 4000)
    harmless(plain_names([text] * 9), 300)
    outcome = Outcome(text, text, [("File", text)], [("Log", text)])
    harmless(body("abalone", outcome), 6000)
    assert subject("abalone", outcome).isascii() and "\n" not in subject("abalone", outcome)


@pytest.mark.faults_fast
@some(0.2)
@given(st.lists(TEXTS, max_size=12), st.sampled_from(("a.csv", "a.csv.gz", "a")), st.booleans(), st.binary(max_size=30))
def test_a_file_is_read_or_refused_in_words(lines, name, packed, garbage):
    content = "\n".join(lines).encode("utf-8", "surrogatepass") + garbage
    stored = gzip.compress(content, 1) if packed else content
    begun = time.process_time()
    try:
        layout = inspect(lambda: io.BytesIO(stored), f"abalone/new/{name}", CONTRACT)
        for line in read(lambda: io.BytesIO(stored), f"abalone/new/{name}", CONTRACT, layout, SPLIT):
            for reason in line.reasons:
                harmless(reason, 400)
    except FileRefused as error:
        harmless(error.reason, 2100)
        harmless(error.remedy, 2100)
    assert time.process_time() - begun < 1 + SECONDS_PER_MB * len(content) / 1e6


@pytest.mark.faults_fast
@pytest.mark.parametrize("piece", ['"', ",", " ", "a", "\t", '""', '","', '"a",', 'a"', '",'])
def test_a_megabyte_of_one_piece_is_told_apart_in_time(piece):
    header = ",".join(CONTRACT.names)
    for text in (piece * (1_000_000 // len(piece)), f"{header}\n" + "\n".join([(piece * 4_000)[:4_000]] * 250)):
        begun = time.process_time()
        with suppress(FileRefused):
            layout = inspect(lambda text=text: io.BytesIO(text.encode()), "a.csv", CONTRACT)
            for _ in read(lambda text=text: io.BytesIO(text.encode()), "a.csv", CONTRACT, layout, SPLIT):
                pass
        infer_csv(text.encode(), truncated=True)
        assert time.process_time() - begun < SECONDS_PER_MB


@pytest.mark.faults_fast
@some(0.1)
@given(st.lists(TEXTS, max_size=8), st.binary(max_size=40), st.booleans())
def test_a_crawled_file_is_a_table_or_of_no_known_format(lines, garbage, packed):
    content = "\n".join(lines).encode("utf-8", "surrogatepass") + garbage
    with suppress(OSError):
        content, _ = decompress(gzip.compress(content) if packed else content, "a.csv.gz" if packed else "a.csv")
        schema = infer_csv(content, truncated=False)
        assert schema is None or 0 < len(schema.columns) <= MAX_COLUMNS


HEADER_NAMES = ("authorization", "x-amz-date", "x-amz-content-sha256", "x-amz-target", "host", "x-amz-security-token")


@pytest.mark.faults_fast
@some(0.1)
@given(st.dictionaries(st.sampled_from(HEADER_NAMES), TEXTS), TEXTS, TEXTS, st.binary(max_size=20))
def test_a_signature_is_refused_in_words(headers, query, path, payload):
    known = (
        "AWS4-HMAC-SHA256 Credential=KEY/20260101/us-east-1/s3/aws4_request, SignedHeaders=host, Signature=" + "0" * 64
    )
    for text in (headers.get("authorization", ""), known):
        signed = Signed(headers | {"authorization": text}, query)
        code, message = refusal(signed, {"KEY": CANARY}.get, "GET", f"/{path}", payload, None)
        assert code
        assert CANARY not in message


OPERATIONS = [(service, name) for service in ("sagemaker", "glue") for name in OWN[service] if paths_of(service, name)]


@pytest.mark.faults_fast
@some(0.1)
@given(st.sampled_from(OPERATIONS), st.data())
def test_a_request_is_taken_or_refused_in_aws_s_form(operation, data):
    service, name = operation
    tops = sorted({path.partition(".")[0] for path in paths_of(service, name)})
    params = data.draw(st.dictionaries(st.sampled_from(tops), VALUES, max_size=4))
    for check in (check_request, check_members):
        try:
            check(service, name, params)
        except ServiceError as error:
            assert CANARY not in error.message
            return


@pytest.mark.faults_fast
@some(0.1)
@given(VALUES, st.dictionaries(TEXTS, VALUES, max_size=3))
def test_parameters_of_a_run_are_taken_or_refused_in_words(hyperparameters, others):
    params = {**others, "hyperparameters": hyperparameters if isinstance(hyperparameters, dict) else {}}
    try:
        check_run_parameters(params)
    except ValueError as error:
        harmless(str(error), 600)


ROWS = st.dictionaries(st.sampled_from(CONTRACT.names), VALUES) | st.lists(VALUES, min_size=8, max_size=8) | VALUES
BODIES = st.one_of(
    TEXTS.map(lambda text: text.encode("utf-8", "surrogatepass")),
    st.binary(max_size=60),
    st.lists(ROWS, max_size=3).map(lambda rows: json.dumps({"instances": rows, "explain": True}).encode()),
    st.lists(ROWS, max_size=3).map(lambda rows: json.dumps(rows).encode()),
    st.sampled_from(
        (b"[" * 100_000, b'{"instances": [' + b"9" * 5_000 + b"]}", b'{"instances": [[1e999]]}', b'"\\ud800"')
    ),
)
KINDS = st.sampled_from(("application/json", "text/csv", "text/csv; charset=latin-1", "", "*/*", "x" * 5000)) | TEXTS
SERVED = serving.Model(
    SimpleNamespace(predict=lambda frame: np.ones(len(frame))),
    inputs_of(CONTRACT),
    CONTRACT,
    (),
    None,
    ThreadpoolController(),
    None,
)


@pytest.mark.faults_fast
@some(0.1)
@given(BODIES, KINDS, KINDS)
def test_a_request_to_a_model_is_answered_or_refused_in_words(body, content_type, accept):
    begun = time.process_time()
    try:
        answer, kind = serving.transform_fn(SERVED, body, content_type, accept)
        assert kind in ("application/json", "text/csv")
        harmless(answer, 10_000)
    except serving.InvalidRequest as refusal:
        assert refusal.status_code in (400, 406, 413, 415)
        harmless(str(refusal), 1000)
    assert time.process_time() - begun < 2


@pytest.mark.faults_fast
@some(0.05)
@given(BODIES | TEXTS, KINDS, st.sampled_from(("/predictions", "/openapi.json")) | TEXTS, st.booleans(), TEXTS)
def test_a_request_to_the_api_is_answered_as_json_and_its_log_line_is_one_line(body, kind, path, packed, domain):
    told_by_model = {"Body": io.BytesIO(b'{"predictions": [1.0]}')}
    api = Api(API_MODEL, "endpoint", SimpleNamespace(invoke_endpoint=lambda **request: told_by_model))
    text = body if isinstance(body, str) else body.decode("latin-1")
    context = {"requestId": domain, "domainName": domain, "http": {"method": "POST"}}
    response, told = api.answer(
        {
            "rawPath": path,
            "requestContext": context,
            "headers": {"Content-Type": kind},
            "body": text,
            "isBase64Encoded": packed,
        }
    )
    assert response["statusCode"] in (200, 400, 404, 405, 413, 415, 422, 502)
    harmless(response["body"], 60_000)
    harmless(json.dumps(told), 6_000)


@pytest.mark.faults_fast
@some(0.05)
@given(TEXTS, TEXTS, st.floats())
def test_the_words_of_a_prediction_are_made_of_its_number_alone(value, text, prediction):
    """``present`` of model.yaml holds a formula and a template: neither is ever evaluated as anything else."""
    try:
        present = Present(value=value[:200], text=text[:200] + "{value}")
        shown = present.shown("rings", prediction) if present.names() <= {"rings"} else None
    except ValueError:
        return
    assert shown is None or CANARY not in shown["text"]


@pytest.mark.faults_fast
@some(0.05)
@given(TEXTS, TEXTS)
def test_a_page_shows_text_as_text(title, cell):
    page = report_html.section_of(
        title, report_html.table_of(report_html.as_text(title), [[report_html.as_text(cell)]])
    )
    harmless(page, 10_000)
    assert set(re.findall(r"<([a-z0-9]+)", page)) <= {"section", "h2", "div", "table", "thead", "tr", "tbody", "td"}


@pytest.mark.faults_fast
@some(0.05)
@given(TEXTS, st.integers(0, 9))
def test_a_name_of_a_landed_file_is_passed_over_refused_or_taken(name, size):
    if reason := ignored_reason(f"abalone/new/{name}", size):
        harmless(reason, 400)
    with suppress(FileRefused):
        refuse_key(f"abalone/new/{name}")


@pytest.mark.faults_fast
@some(0.05)
@given(TEXTS)
def test_an_expression_is_understood_or_refused(text):
    with suppress(ServiceError):
        assert len(wanted_values(text, ["year", "site"])) <= 2


@pytest.mark.faults_fast
@some(0.05)
@given(TEXTS)
def test_a_name_stays_below_its_folder(tmp_path, text):
    with suppress(JobError):
        joined = safe_join(tmp_path, text)
        assert os.path.normpath(joined).startswith(str(tmp_path))


@pytest.mark.faults_fast
@some(0.05)
@given(
    st.lists(st.tuples(TEXTS, st.sampled_from((b"0", b"1", b"2", b"3", b"5", b"6", b"x")), TEXTS), max_size=4),
    st.integers(0, 2000),
    st.binary(max_size=4),
)
def test_an_archive_stays_in_its_folder(tmp_path_factory, members, place, damage):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, kind, link in members:
            member = tarfile.TarInfo(name.replace("\0", "")[:90])
            member.type, member.linkname = kind, link.replace("\0", "")[:90]
            with suppress(UnicodeEncodeError, ValueError):
                tar.addfile(member)
    stored = bytearray(buffer.getvalue())
    stored[place : place + len(damage)] = damage
    root = tmp_path_factory.mktemp("archive")
    (root / "a.tar").write_bytes(stored)
    with suppress(JobError):
        extract_archive(root / "a.tar", root / "inside")
    assert {path.name for path in root.iterdir()} <= {"a.tar", "inside"}
    inside = os.path.realpath(root)
    assert all(os.path.realpath(path).startswith(inside) for path in (root / "inside").rglob("*"))


def test_the_search_for_what_harms_finds_it():
    for text in (CANARY, "\x1b[31m", "a\rb", "x" * 11, unescape("&#8238;")):
        with pytest.raises(AssertionError):
            harmless(text, 10)
