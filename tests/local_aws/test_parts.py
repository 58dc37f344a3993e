"""Parts of local_aws that need no running account."""

import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import EndpointConnectionError
from local_account import wait_for

from local_aws.glue.crawling.schema import (
    MAX_COLUMNS,
    Column,
    CsvClassifier,
    FileSchema,
    decompress,
    group_by_similarity,
    infer_csv,
    merge_schemas,
)
from local_aws.sagemaker.images import CREATED_BY, ENVIRONMENTS, python_for_image, repository
from local_aws.sagemaker.training_toolkit import decode_hyperparameters, script_arguments
from local_aws.shared.errors import JobError, ServiceError
from local_aws.shared.listing import list_page
from local_aws.shared.logs import STREAM_BYTES, LogShipper, exception_line, tail
from local_aws.shared.requests.validation import check_request
from local_aws.shared.running.processes import ManagedProcess
from local_aws.shared.sandbox import Sandbox, parse_s3_uri, relative_key, safe_join
from local_aws.shared.settings import Settings
from local_aws.shared.store import Store
from local_stack import layout


# -- schema -----------------------------------------------------------------------------------------------------------
def columns(text: str, **options) -> list[tuple[str, str]]:
    schema = infer_csv(text.encode(), truncated=False, **options)
    assert schema
    return [(column.name, column.type) for column in schema.columns]


def test_types_are_those_of_glue() -> None:
    text = "sex,length,rings,note\nM,0.5,15,\nF,1,7,x\nI,.25e1,9,\n"
    assert columns(text) == [("sex", "string"), ("length", "double"), ("rings", "bigint"), ("note", "string")]


def test_without_a_header_columns_are_numbered() -> None:
    assert columns("M,0.5,15\nF,0.4,7\n") == [("col0", "string"), ("col1", "double"), ("col2", "bigint")]


def test_a_few_broken_lines_do_not_widen_the_table() -> None:
    """The merge puts such lines into quarantine; a table as wide as the longest of them would keep all others from it."""
    good = "M,0.5,15\nF,0.4,7\nI,0.3,9\n"
    for broken in ("M,0.5,15,1\n", "M\n", "M,0.5,1,5,1,5\n"):
        assert columns(good + broken) == [("col0", "string"), ("col1", "double"), ("col2", "bigint")]
        assert columns("sex,length,rings\n" + broken + good)[0] == ("sex", "string")
        assert len(columns("sex,length,rings\n" + broken + good)) == 3


def test_a_first_row_of_strings_above_strings_is_no_header() -> None:
    assert columns("name,city\nann,rome\nbob,oslo\n") == [("col0", "string"), ("col1", "string")]
    present = CsvClassifier(contains_header="PRESENT")
    assert columns("name,city\nann,rome\n", classifier=present) == [("name", "string"), ("city", "string")]


def test_other_delimiters_quotes_and_repeated_names() -> None:
    assert columns('A|A|b c\n"x|y"|2|3\n') == [("a", "string"), ("a_1", "bigint"), ("b c", "bigint")]


def test_a_cut_line_is_not_looked_at() -> None:
    schema = infer_csv(b"a,b\n1,2\n3,4.", truncated=True)
    assert schema and schema.columns == (Column("a", "bigint"), Column("b", "bigint"))


@pytest.mark.parametrize("data", [b"", b"\n\n", b"\x00\x01\x02,\n", b"\xff\xfe\xfa\xfb,1\n"])
def test_what_is_no_text_has_no_schema(data: bytes) -> None:
    assert infer_csv(data, truncated=False) is None


def test_a_false_gzip_is_an_error() -> None:
    with pytest.raises(OSError, match="not a gzip file"):
        decompress(b"a,b\n1,2\n", "a.csv.gz")


def test_files_of_one_table_are_merged_and_others_kept_apart() -> None:
    one = FileSchema("csv", (Column("a", "bigint"), Column("b", "string")))
    wider = FileSchema("csv", (Column("a", "double"), Column("b", "string")))
    other = FileSchema("csv", (Column("x", "bigint"), Column("y", "bigint")))
    assert group_by_similarity([other, one, wider]) == [[1, 2], [0]]
    assert merge_schemas([one, wider]) == (Column("a", "double"), Column("b", "string"))


# -- sandbox ----------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("name", ["../x", "a/../../x", "/etc/passwd", "a\0b", ".."])
def test_names_cannot_leave_a_folder(tmp_path: Path, name: str) -> None:
    with pytest.raises(JobError, match="outside"):
        safe_join(tmp_path, name)


def test_container_paths_are_mapped_and_nothing_else(tmp_path: Path) -> None:
    box = Sandbox(tmp_path)
    assert box.map_text("/opt/ml/model") == f"{tmp_path}/opt/ml/model"
    assert box.map_text("--out=/opt/ml,x") == f"--out={tmp_path}/opt/ml,x"
    assert box.map_text("/opt/mlflow/x") == "/opt/mlflow/x"
    assert box.local("/opt/ml") == tmp_path / "opt/ml"
    for path in ("/opt/mlflow", "/etc", "opt/ml", ""):
        with pytest.raises(JobError, match="not under /opt/ml"):
            box.local(path)


def test_keys_below_a_prefix_keep_their_folders() -> None:
    assert relative_key("data/train/p=1/a.csv", "data/train/") == "p=1/a.csv"
    assert relative_key("data/train/a.csv", "data/train") == "a.csv"
    assert relative_key("data/train.csv", "data/train.csv") == "train.csv"
    assert relative_key("data/train-2.csv", "data/train") == "train-2.csv"
    assert relative_key("a.csv", "") == "a.csv"


def test_s3_uris() -> None:
    assert parse_s3_uri("s3://b/k/x") == ("b", "k/x")
    assert parse_s3_uri("s3://b") == ("b", "")
    for uri in ("http://b/k", "s3:///k", "b/k"):
        with pytest.raises(JobError, match="not an S3 URI"):
            parse_s3_uri(uri)


# -- processes --------------------------------------------------------------------------------------------------------
def managed(tmp_path: Path, code: str, **options) -> ManagedProcess:
    return ManagedProcess([sys.executable, "-c", code], dict(os.environ), tmp_path, tmp_path / "log", **options)


def test_exit_codes_and_output(tmp_path: Path) -> None:
    process = managed(tmp_path, "import sys; print('out'); print('err', file=sys.stderr); sys.exit(7)")
    process.start()
    outcome = process.wait()
    assert (outcome.exit_code, outcome.stopped, outcome.timed_out) == (7, False, False)
    assert sorted((tmp_path / "log").read_text().split()) == ["err", "out"]


def test_a_process_that_ignores_sigterm_is_killed_after_its_grace(tmp_path: Path) -> None:
    code = "import signal, time; signal.signal(15, signal.SIG_IGN); print('on', flush=True); time.sleep(300)"
    process = managed(tmp_path, code, grace_seconds=0.2)
    process.start()
    wait_for(lambda: (tmp_path / "log").read_text())
    process.stop()
    outcome = process.wait()
    assert (outcome.exit_code, outcome.stopped) == (137, True)


def test_the_time_limit_is_told_from_a_stop(tmp_path: Path) -> None:
    process = managed(tmp_path, "import time; time.sleep(300)")
    process.start()
    outcome = process.wait(limit_seconds=0.2)
    assert (outcome.timed_out, outcome.stopped) == (True, False)


def test_a_command_that_does_not_exist(tmp_path: Path) -> None:
    process = ManagedProcess(["/no/such/program"], {}, tmp_path, tmp_path / "log")
    process.start()
    assert process.wait().exit_code == 127
    assert "cannot start /no/such/program" in (tmp_path / "log").read_text()


def test_children_that_left_the_process_group_end_with_the_command(tmp_path: Path) -> None:
    code = (
        "import subprocess, sys; p = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(300)'],"
        " start_new_session=True); print(p.pid, flush=True)"
    )
    process = managed(tmp_path, code)
    process.start()
    process.wait()
    pid = int((tmp_path / "log").read_text())
    wait_for(lambda: not Path(f"/proc/{pid}").exists())


# -- small rules ------------------------------------------------------------------------------------------------------
def test_hyperparameters_are_decoded_and_become_arguments() -> None:
    decoded = decode_hyperparameters(
        {"alpha": "0.5", "text": '"a b"', "raw": "plain", "n": "3", "sagemaker_program": '"t.py"'}
    )
    assert script_arguments(decoded) == ["--alpha", "0.5", "-n", "3", "--raw", "plain", "--text", "a b"]


def test_images_are_known_by_their_repository(tmp_path: Path) -> None:
    assert (
        repository("1.dkr.ecr.us-east-1.amazonaws.com/sagemaker-scikit-learn:1.9-0-cpu-py3") == "sagemaker-scikit-learn"
    )
    assert repository("sagemaker-scikit-learn@sha256:abc") == "sagemaker-scikit-learn"
    settings = Settings(port=1, data_dir=tmp_path, environments=tmp_path)
    with pytest.raises(JobError, match="is not known to local_aws"):
        python_for_image(settings, "host/other:1")
    assert set(ENVIRONMENTS.values()) <= set(CREATED_BY)
    for image, verb in (
        ("tensorflow-training:2.19", "setup-tensorflow"),
        ("sagemaker-xgboost:3.2-0", "setup-xgboost"),
        ("sagemaker-scikit-learn:1.9-0", "setup"),
    ):
        with pytest.raises(JobError, match=rf"does not exist below .*: make {verb} creates it"):
            python_for_image(settings, f"host/{image}")
        assert f"\n{verb}:" in (layout.ROOT / "Makefile").read_text()


def test_the_exception_of_a_log_is_found(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text("Traceback (most recent call last):\n  File x\nKeyError: 'a'\nlater words\n")
    assert exception_line(log) == "KeyError: 'a'"
    log.write_text("only words\n\n")
    assert exception_line(log) == "only words"
    assert exception_line(tmp_path / "none") == ""
    log.write_text("first line\n" + "x" * 50)
    assert tail(log, 55) == "x" * 50


def test_documents_survive_in_the_order_of_their_making(tmp_path: Path) -> None:
    store = Store(tmp_path / "db.sqlite")
    assert store.insert("job", "b", {"n": 1})
    assert store.insert("job", "a", {"n": 2})
    assert not store.insert("job", "b", {"n": 3})
    store.update("job", "b", lambda document: document.update(n=4))
    store.close()
    again = Store(tmp_path / "db.sqlite")
    assert again.all("job") == [{"n": 4}, {"n": 2}]
    again.close()


def test_pages_are_complete_and_in_order() -> None:
    documents = [{"Name": f"n{number}", "CreationTime": number, "Status": "Done"} for number in range(25)]
    seen: list[str] = []
    token: dict[str, str] = {}
    while True:
        page = list_page(
            documents,
            {"MaxResults": 10, **token},
            result="Items",
            fields=("Name",),
            name_field="Name",
            status_field="Status",
        )
        seen += [item["Name"] for item in page["Items"]]
        if "NextToken" not in page:
            break
        token = {"NextToken": page["NextToken"]}
    assert seen == [f"n{number}" for number in reversed(range(25))]
    with pytest.raises(ServiceError, match="pagination token"):
        list_page(documents, {"NextToken": "!"}, result="Items", fields=("Name",), name_field="Name")


def test_a_validation_message_counts_and_names_its_errors() -> None:
    with pytest.raises(ServiceError) as caught:
        check_request("sagemaker", "AddTags", {"ResourceArn": "arn:aws:x", "Tags": [{"Key": "", "Value": "v"}]})
    assert caught.value.code == "ValidationException"
    assert caught.value.message.startswith("2 validation errors detected: ")
    assert "'tags.1.member.key'" in caught.value.message
    assert json.dumps(caught.value.extra) == "{}"
    # The pattern of names must not hang on a hostile one.
    with pytest.raises(ServiceError):
        check_request("sagemaker", "DescribeModel", {"ModelName": "-" * 100_000})


class Logs:
    """The part of CloudWatch Logs that a shipper uses; it fails the first time."""

    def __init__(self) -> None:
        self.calls = 0
        self.lines: list[str] = []

    def create_log_group(self, **_) -> None:
        """Exists."""

    def create_log_stream(self, **_) -> None:
        """Exists."""

    def put_log_events(self, logEvents, **_) -> None:
        self.calls += 1
        if self.calls == 1:
            raise EndpointConnectionError(endpoint_url="http://127.0.0.1:9")
        self.lines += [event["message"] for event in logEvents]


def test_lines_that_could_not_be_put_are_put_with_the_next_ones(tmp_path) -> None:
    client, log = Logs(), tmp_path / "a.log"
    log.write_text("first\n")
    shipper = LogShipper(client, log, "group", "stream").start()
    wait_for(lambda: client.calls)
    with log.open("a") as file:
        file.write("second")
    shipper.close()
    assert client.lines == ["first", "second"]


def test_a_talkative_job_fills_the_account_s_logs_to_a_limit_and_says_so(tmp_path: Path) -> None:
    log, client = tmp_path / "log.txt", CountingClient()
    line = b"x" * 1000 + b"\n"
    log.write_bytes(line * (STREAM_BYTES // 1000 * 2))
    LogShipper(client, log, "group", "stream").start().close()
    assert STREAM_BYTES * 0.9 < client.size < STREAM_BYTES * 1.1
    assert client.last.startswith("The log is longer than 16 MiB: the rest is only in ")


def test_a_line_without_an_end_is_shipped_cut(tmp_path: Path) -> None:
    log, client = tmp_path / "log.txt", CountingClient()
    log.write_bytes(b"y" * 9_000_000)
    LogShipper(client, log, "group", "stream").start().close()
    assert (client.size, set(client.last)) == (200_000, {"y"})


class CountingClient:
    """CloudWatch Logs that only counts."""

    size, last = 0, ""

    def create_log_group(self, **_: Any) -> None: ...

    def create_log_stream(self, **_: Any) -> None: ...

    def put_log_events(self, logEvents: list[dict[str, Any]], **_: Any) -> None:
        self.size += sum(len(event["message"]) for event in logEvents)
        self.last = logEvents[-1]["message"]


@pytest.mark.parametrize(
    "text", ["," * 100_000 + "\n1\n", "a" * 140_000 + ",b\n1,2\n", '"' * 200_001, "a,b\n" + ",".join("1" * 3_000)]
)
def test_a_hostile_header_is_no_known_format_or_a_table_at_once(text: str) -> None:
    """What it takes grows with the length of the text, not with its square: 100,000 columns would take minutes otherwise."""
    schema = infer_csv(text.encode(), truncated=False)
    assert schema is None or len(schema.columns) <= MAX_COLUMNS


def test_a_link_in_place_of_an_output_is_not_followed(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    (home / "credentials").write_text("secret")
    box = Sandbox(tmp_path / "container")
    (box.ml / "output").mkdir(parents=True)
    (box.ml / "model").symlink_to(home)
    (box.ml / "output" / "failure").symlink_to(home / "credentials")
    for path in (box.ml / "model", box.ml / "model" / "deeper", box.ml / "output" / "failure"):
        with pytest.raises(JobError, match="uploads no links"):
            box.output(path)
    assert box.output(box.ml / "output") == box.ml / "output"
    with pytest.raises(JobError, match="outside"):
        box.output(home)
