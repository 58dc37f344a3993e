import io
import json
import math
import threading
import tracemalloc
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import boto3
import numpy as np
import pytest
import row_blocks
from analysis import MAX_GROUPS, OTHER_GROUPS
from hypothesis import given, settings
from hypothesis import strategies as st

from lambda_functions.analyze_results import handler

HEADER = "row,truth,challenger,champion,group\n"


def as_csv(truth, challenger, champion=None, groups=None) -> bytes:
    champion = [""] * len(truth) if champion is None else [repr(float(value)) for value in champion]
    groups = ["M"] * len(truth) if groups is None else groups
    rows = zip(truth, challenger, champion, groups, strict=True)
    lines = (f"{number},{float(t)!r},{float(a)!r},{b},{g}\n" for number, (t, a, b, g) in enumerate(rows, start=1))
    return (HEADER + "".join(lines)).encode()


def analyze(body: bytes) -> dict:
    return handler.analyze_csv(io.BytesIO(body))


def sample(n: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    truth = rng.integers(1, 30, n).astype(float)
    challenger, champion = (truth + rng.standard_t(3, n) for _ in range(2))
    return truth, challenger, champion, rng.choice(["M", "F", "I"], n)


def by_numpy(truth, challenger, champion, groups) -> dict:
    def of(predictions, rows):
        errors = (predictions - truth)[rows]
        squares = np.mean(errors**2)
        return {"rmse": np.sqrt(squares), "mae": np.mean(np.abs(errors)), "bias": np.mean(errors), "loss": squares}

    def overall(predictions):
        explained = 1 - np.sum((predictions - truth) ** 2) / np.sum((truth - truth.mean()) ** 2)
        return of(predictions, slice(None)) | {"r2": explained}

    first, second = overall(challenger), overall(champion)
    gaps = (challenger - truth) ** 2 - (champion - truth) ** 2
    paired = {
        "n": len(truth),
        "files": 1,
        "weight": len(truth),
        "loss_challenger": first["loss"],
        "loss_champion": second["loss"],
        "difference": first["loss"] - second["loss"],
        "standard_error": np.std(gaps) / np.sqrt(len(gaps)),
    }
    parts = {
        name: {"challenger": of(challenger, groups == name), "champion": of(champion, groups == name)}
        for name in sorted(set(groups))
    }
    return {"challenger": first, "champion": second, "paired": paired, **parts}


def assert_equals_numpy(analysis: dict, expected: dict, rel: float = 1e-10) -> None:
    for name in ("challenger", "champion", "paired"):
        assert analysis[name] == pytest.approx(expected[name], rel=rel, abs=1e-12), name
    for name, group in analysis["groups"].items():
        for role in ("challenger", "champion"):
            assert group[role] == pytest.approx(expected[name][role], rel=rel, abs=1e-12), name


def test_all_statistics_equal_numpy_over_many_blocks():
    columns = sample(3 * row_blocks.BLOCK_ROWS + 17)
    analysis = analyze(as_csv(*columns))
    assert analysis["n"] == len(columns[0])
    assert_equals_numpy(analysis, by_numpy(*columns))


@given(n=st.integers(12, 60), seed=st.integers(0, 1000), block=st.integers(1, 9), chunk=st.integers(1, 40))
@settings(max_examples=40, deadline=None)
def test_the_result_does_not_depend_on_where_blocks_and_chunks_end(n, seed, block, chunk):
    columns = sample(n, seed)
    body = as_csv(*columns)
    whole = analyze(body)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(row_blocks, "BLOCK_ROWS", block)
        patch.setattr(row_blocks, "CHUNK_BYTES", chunk)
        cut = analyze(body)
    for name in ("challenger", "champion", "paired"):
        assert cut[name] == pytest.approx(whole[name], rel=1e-12)
    assert_equals_numpy(whole, by_numpy(*columns))


def test_large_offsets_cost_no_digits():
    truth, challenger, champion, groups = sample(10_000)
    shift = 2.0**30  # exact in binary, so the errors are what they were
    truth, challenger, champion = (np.round(values * 1024) / 1024 for values in (truth, challenger, champion))
    plain = analyze(as_csv(truth, challenger, champion, groups))
    shifted = analyze(as_csv(truth + shift, challenger + shift, champion + shift, groups))
    for name in ("challenger", "champion", "paired"):
        assert shifted[name] == pytest.approx(plain[name], rel=1e-12)


def test_models_that_almost_agree_have_a_standard_error_all_the_same():
    truth, challenger, _, groups = sample(5000)
    champion = challenger + np.random.default_rng(1).normal(0, 1e-7, len(truth))
    columns = (truth, challenger, champion, groups)
    paired = analyze(as_csv(*columns))["paired"]
    assert paired["standard_error"] == pytest.approx(by_numpy(*columns)["paired"]["standard_error"], rel=1e-7)


def test_identical_models_differ_by_exactly_nothing():
    truth, challenger, _, _ = sample(1000)
    paired = analyze(as_csv(truth, challenger, challenger))["paired"]
    assert (paired["difference"], paired["standard_error"]) == (0.0, 0.0)


def test_two_perfect_models_are_no_division_by_zero():
    analysis = analyze(as_csv([1, 2], [1, 2], [1, 2]))
    assert analysis["challenger"] == {"rmse": 0.0, "mae": 0.0, "r2": 1.0, "bias": 0.0, "loss": 0.0}
    assert analysis["paired"]["standard_error"] == 0.0


def test_a_first_model_has_no_comparison():
    truth, challenger, _, groups = sample(100)
    analysis = analyze(as_csv(truth, challenger, None, groups))
    assert analysis["champion"] is None
    assert analysis["paired"] is None
    assert set(analysis["groups"]) == {"M", "F", "I"}


def test_one_row_has_a_difference_but_no_standard_error_and_no_r2():
    analysis = analyze(as_csv([10], [12], [9]))
    assert analysis["challenger"] == {"rmse": 2.0, "mae": 2.0, "r2": None, "bias": 2.0, "loss": 4.0}
    assert (analysis["paired"]["difference"], analysis["paired"]["standard_error"]) == (3.0, None)


def test_a_groups_name_may_hold_a_comma_and_lines_may_end_as_on_windows():
    body = (HEADER + '1,5,6,,"north, deep"\n2,5,4,,south').replace("\n", "\r\n").encode("utf-8-sig")
    assert set(analyze(body)["groups"]) == {"north, deep", "south"}


def test_further_columns_are_ignored_and_rows_without_a_group_are_in_none():
    body = HEADER.replace("group", "group,loss_challenger,loss_champion") + "1,5,6,4,,1.0,1.0\n2,5,4,5,,1.0,0.0\n"
    analysis = analyze(body.encode())
    assert analysis["challenger"]["rmse"] == 1.0
    assert analysis["groups"] == {}


GOOD = "1,5.0,6.0,5.5,M\n"


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("", r"rows\.csv: the header is None, it lacks row, truth"),
        (
            "truth,prediction\n5,6\n",
            r"rows\.csv: the header is \['truth', 'prediction'\], it lacks row, challenger, champion",
        ),
        (HEADER, r"rows\.csv has no rows below its header"),
        (HEADER + GOOD + "2,5.0,6.0\n", r"rows\.csv, line 3: 3 fields, expected 5"),
        (HEADER + GOOD + "2,5.0,6.0,5.5,M,9\n", r"line 3: 6 fields"),
        (HEADER + "1,5,6,5,M,9\n", r"line 2: 6 fields"),
        (HEADER + GOOD + "\n" + GOOD, r"line 3: 0 fields"),
        (HEADER + GOOD + "2,5.0,,5.5,M\n", r"line 3: challenger is '', not a finite number"),
        (HEADER + GOOD + "2,five,6.0,5.5,M\n", r"line 3: truth is 'five', not a finite number"),
        (HEADER + GOOD + "2,5.0,nan,5.5,M\n", r"line 3: challenger is 'nan', not a finite number"),
        (HEADER + GOOD + "2,inf,6.0,5.5,M\n", r"line 3: truth is 'inf', not a finite number"),
        (HEADER + GOOD + "2,5.0,6.0,-inf,M\n", r"line 3: champion is '-inf', not a finite number"),
        (HEADER + GOOD + "2,5_0,6.0,5.5,M\n", r"line 3: truth is '5_0', not a finite number"),
        (HEADER + GOOD + "2,5.0,6.0,,M\n", r"line 3: the champion's prediction is missing, but other rows have one"),
        (HEADER + "1,5.0,6.0,,M\n" + GOOD, r"line 3: the champion's prediction is '5\.5', but earlier rows have none"),
        (HEADER + GOOD + "2,5.0,1e300,5.5,M\n", r"lines 2 to 3: an error is not finite or too large to square"),
        (HEADER + GOOD + '2,5.0,6.0,5.5,"M\n', r"rows\.csv, line 3: unexpected end of data"),
        ((HEADER + GOOD).encode() + b"2,5.0,6.0,5.5,\xff\n", r"rows\.csv, near line 1: not UTF-8"),
        (HEADER + "9" * 100_000, r"rows\.csv, line 2: longer than 65536 characters"),
    ],
)
def test_a_malformed_file_is_an_error_that_names_the_line(body, message):
    with pytest.raises(ValueError, match=message):
        analyze(body if isinstance(body, bytes) else body.encode())


def test_an_error_in_a_later_block_names_its_line():
    body = as_csv(*sample(2 * row_blocks.BLOCK_ROWS)).decode() + "x,5,oops,5,M\n"
    with pytest.raises(ValueError, match=rf"line {2 * row_blocks.BLOCK_ROWS + 2}: challenger is 'oops'"):
        analyze(body.encode())


def test_a_champion_that_ends_at_a_block_is_noticed():
    body = as_csv(*sample(row_blocks.BLOCK_ROWS)).decode() + "x,5,5,,M\n"
    with pytest.raises(ValueError, match=rf"line {row_blocks.BLOCK_ROWS + 2}: the champion's prediction is missing"):
        analyze(body.encode())


def test_of_too_many_groups_the_later_ones_share_a_name():
    n = MAX_GROUPS + 7
    groups = analyze(as_csv(range(n), range(n), None, [f"g{number}" for number in range(n)]))["groups"]
    assert len(groups) == MAX_GROUPS + 1
    assert groups[OTHER_GROUPS]["n"] == 7


class Endless:
    """A body of ``rows`` rows that is made while it is read, so that only the reader can hold it."""

    def __init__(self, rows: int) -> None:
        self._parts = self._make(rows)

    def _make(self, rows: int) -> Iterator[bytes]:
        yield HEADER.encode()
        for start in range(0, rows, 1000):
            yield b"".join(b"%d,9.0,9.123456789,8.987654321,M\n" % row for row in range(start, start + 1000))

    def read(self, size: int) -> bytes:
        return next(self._parts, b"")


def test_memory_does_not_grow_with_the_rows():
    peaks = []
    for rows in (20_000, 100_000):
        tracemalloc.start()
        assert handler.analyze_csv(Endless(rows))["n"] == rows
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.2 * peaks[0]


@pytest.fixture
def s3(monkeypatch):
    """A loopback server that answers GetObject with what the test puts into ``objects``."""
    objects: dict[str, bytes] = {}

    class Objects(BaseHTTPRequestHandler):
        def do_GET(self):
            body = objects.get(self.path.split("?")[0])
            self.send_response(200 if body is not None else 404)
            cut = self.path.endswith("cut.csv")
            self.send_header("Content-Length", str(len(body or b"") + (100 if cut else 0)))
            self.end_headers()
            self.wfile.write(body or b"")

        def log_message(self, format, *args):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Objects)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{server.server_port}")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "local")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "local")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)
    yield objects
    server.shutdown()
    server.server_close()


def test_the_handler_streams_the_rows_from_s3_and_answers_in_json(s3):
    columns = sample(1000)
    s3["/bucket/runs/a/rows.csv"] = as_csv(*columns)
    analysis = handler.handler({"rows_uri": "s3://bucket/runs/a/rows.csv"}, None)
    assert_equals_numpy(analysis, by_numpy(*columns))
    assert json.loads(json.dumps(analysis, allow_nan=False)) == analysis


def test_a_malformed_object_is_named_by_its_uri(s3):
    s3["/bucket/rows.csv"] = (HEADER + "1,2\n").encode()
    with pytest.raises(ValueError, match=r"s3://bucket/rows\.csv, line 2: 2 fields"):
        handler.handler({"rows_uri": "s3://bucket/rows.csv"})


def test_an_object_that_ends_early_is_not_taken_for_a_short_one(s3):
    s3["/bucket/cut.csv"] = as_csv(*sample(50))
    with pytest.raises(Exception, match=r"(?i)incomplete|broken|bytes read"):
        handler.handler({"rows_uri": "s3://bucket/cut.csv"})


@pytest.mark.parametrize(
    "event",
    [
        {"GroundTruth": [3, 5.0, 8], "Predictions": [4.0, 5, 6]},
        {"body": '{"GroundTruth": [3, 5.0, 8], "Predictions": [4.0, 5, 6]}', "httpMethod": "POST"},
    ],
)
def test_the_published_document_is_analysed_too(event):
    analysis = handler.handler(event)
    assert analysis["n"] == 3
    assert analysis["challenger"]["rmse"] == pytest.approx(math.sqrt(5 / 3), rel=1e-15)
    assert analysis["champion"] is analysis["paired"] is None
    assert analysis["groups"] == {}


@pytest.mark.parametrize(
    ("event", "message"),
    [
        ({}, r"no 'GroundTruth' in the event \(keys: \[\]\)"),
        ({"GroundTruth": [1]}, r"no 'Predictions' in the event \(keys: \['GroundTruth'\]\)"),
        ({"GroundTruth": [1, 2], "Predictions": [1]}, r"'GroundTruth' has 2 values, 'Predictions' 1"),
        ({"GroundTruth": [], "Predictions": []}, r"are empty"),
        ({"GroundTruth": [1, None], "Predictions": [1, 2]}, r"GroundTruth\[1\] is None, not a finite number"),
        ({"GroundTruth": [1], "Predictions": [float("nan")]}, r"Predictions\[0\] is nan, not a finite number"),
        ({"GroundTruth": [1], "Predictions": ["1"]}, r"Predictions\[0\] is '1', not a finite number"),
        ({"GroundTruth": [1], "Predictions": [True]}, r"Predictions\[0\] is True, not a finite number"),
        ({"GroundTruth": [10**400], "Predictions": [1]}, r"GroundTruth\[0\] is 1000"),
        ({"GroundTruth": [1e300], "Predictions": [1]}, r"from index 0 on: an error is not finite or too large"),
        ({"GroundTruth": 1, "Predictions": [1]}, r"'GroundTruth' must be a list of numbers, got int"),
        ({"body": "{"}, r"'body' is not JSON"),
        ({"body": "[]"}, r"'body' must hold a JSON object, got list"),
        ({"rows_uri": "rows.csv"}, r"'rows_uri' is 'rows\.csv', expected s3://BUCKET/KEY"),
        ({"rows_uri": None}, r"'rows_uri' is None"),
        ([], r"the event must be a JSON object, got list"),
    ],
)
def test_a_malformed_event_is_an_error_that_names_the_key(event, message):
    with pytest.raises(ValueError, match=message):
        handler.handler(event)
