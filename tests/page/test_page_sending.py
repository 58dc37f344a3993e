import gzip
import hashlib
import os
import random
import time
from pathlib import Path
from typing import Any

import pytest
from local_account import Account
from page_site import BUCKET, PLATFORM, Site

from retraining.contract.rules import Contract
from retraining.contract.verdict import judge_file
from retraining.page.files import check, sending
from retraining.settings.model_config import load_model_config

ROOT = Path(__file__).resolve().parents[2]
SURVEYS = ROOT / "data" / "surveys"
CONFIG = load_model_config(ROOT / "dags" / "models" / "abalone" / "model.yaml")
GOOD = (SURVEYS / "good" / "2025-03-02_north_bay.csv").read_bytes()
CHECKS, FILES = "/models/abalone/checks", "/models/abalone/files"


def send(site: Site, path: str, name: str, content: bytes, role: str = "user") -> object:
    return site.ask("POST", path, role, params={"name": name}, content=content)


def keys(account: Account) -> list[str]:
    found = account.s3.list_objects_v2(Bucket=BUCKET, Prefix="abalone/").get("Contents", [])
    return [item["Key"] for item in found]


@pytest.mark.parametrize("path", sorted((SURVEYS / "bad").iterdir()), ids=lambda path: path.name)
def test_the_page_says_of_a_file_what_the_merge_would(site: Site, path: Path) -> None:
    verdict = send(site, CHECKS, path.name, path.read_bytes()).json()
    contract = Contract.of(CONFIG.contract.model_dump())
    size, split = path.stat().st_size, CONFIG.split.model_dump()
    expected = judge_file(lambda: path.open("rb"), path.name, size, contract, split, first_lines=check.LINES)
    assert {**expected.as_json(), "file": path.name} == {name: verdict[name] for name in expected.as_json()}


def test_a_check_sends_nothing(site: Site, account: Account) -> None:
    before = keys(account)
    assert send(site, CHECKS, "good.csv", GOOD).json()["outcome"] == "merged"
    assert keys(account) == before


def test_a_good_file_lands_once_under_a_key_that_carries_its_content(site: Site, account: Account) -> None:
    first = send(site, FILES, "north bay.csv", GOOD).json()
    digest = hashlib.sha256(GOOD).hexdigest()[:12]
    assert first["key"] == f"abalone/new/north-bay-{digest}.csv" and not first["already_there"]
    assert account.s3.get_object(Bucket=BUCKET, Key=first["key"])["Body"].read() == GOOD
    assert site.get(FILES, key=first["key"]) == {"state": "waiting"}
    again = send(site, FILES, "north bay.csv", GOOD).json()
    assert again["key"] == first["key"] and again["already_there"]


def test_a_file_that_the_merge_would_refuse_is_not_sent(site: Site, account: Account) -> None:
    before = keys(account)
    answer = send(site, FILES, "semicolons.csv", (SURVEYS / "bad" / "header_only.csv").read_bytes()).json()
    assert answer["key"] is None
    answer = send(site, FILES, "truncated.csv.gz", (SURVEYS / "bad" / "truncated.csv.gz").read_bytes()).json()
    assert answer["key"] is None and answer["outcome"] == "refused" and answer["remedy"]
    assert keys(account) == before


@pytest.mark.parametrize(
    "name",
    [
        "../../raw/x.csv",
        "synthetic/x.csv",
        "a/b\\c.csv",
        "_hidden.csv",
        ".hidden.csv",
        "${env:HOME}.csv",
        "=cmd|x.csv",
        "a\r\nb.csv",
        "\u202egnp.csv",
        "x" * 900 + ".csv",
        "\x1b[2J.csv",
        "  ",
    ],
)
def test_no_name_reaches_another_place(site: Site, account: Account, name: str) -> None:
    key = send(site, FILES, name, GOOD + b"M,0.5,0.4,0.1,0.6,0.2,0.1,0.15,%d\n" % (1 + len(name) % 30)).json()["key"]
    folder, _, last = key.rpartition("/")
    assert folder == "abalone/new" and last[0].isalnum() and last.endswith(".csv") and len(last) < 100
    assert last.isascii() and not set(last) & set("\\${}=|\r\n ")
    account.s3.delete_object(Bucket=BUCKET, Key=key)


@pytest.mark.parametrize(
    ("name", "ending"),
    [("a.jsonl", ".jsonl"), ("a.CSV.GZ", ".csv.gz"), ("a.json.zst", ".json.zst"), ("a.gz", ".gz"), ("a", ".csv")],
)
def test_a_key_keeps_what_the_merge_takes_from_a_name(name: str, ending: str) -> None:
    from retraining.page.known_models import KnownModel
    from retraining.settings.platform import Platform

    model = KnownModel(CONFIG, Platform.model_validate(PLATFORM))
    assert sending.key_of(model, name, "0" * 64) == f"abalone/new/a-{'0' * 12}{ending}"


def test_json_lines_are_judged_by_name(site: Site) -> None:
    row = '{"sex": "M", "length": 0.5, "diameter": 0.4, "height": 0.1, "whole_weight": 0.6, "shucked_weight": 0.2, '
    row += '"viscera_weight": 0.1, "shell_weight": 0.15, "rings": 9}\n'
    verdict = send(site, CHECKS, "rows.jsonl", row.encode()).json()
    assert (verdict["outcome"], verdict["accepted"]) == ("merged", 1)


def test_a_file_that_only_the_merge_can_read_is_not_called_bad(site: Site, monkeypatch) -> None:
    monkeypatch.setattr(sending, "find_spec", lambda name: None)
    answer = send(site, CHECKS, "rows.parquet", b"PAR1")
    assert answer.status_code == 413 and "a job can: aws s3 cp" in answer.json()["detail"]


def test_a_file_that_is_too_large_is_refused_and_says_where_it_goes(site: Site, monkeypatch) -> None:
    monkeypatch.setattr(sending, "LARGEST", 1000)
    said = send(site, CHECKS, "big.csv", b"x" * 1001)
    assert said.status_code == 413 and "aws s3 cp FILE s3://" in said.json()["detail"]

    async def blocks():
        for _ in range(20):
            yield b"x" * 100

    unsaid = site.ask("POST", CHECKS, params={"name": "big.csv"}, content=blocks())
    assert unsaid.status_code == 413 and unsaid.json() == said.json()


def test_nothing_is_left_of_a_file_on_its_way_and_nobody_else_can_read_it(
    tmp_path: Path, site: Site, monkeypatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    inner, seen = sending.judged, []

    def judged(model: Any, file: sending.Received, name: str) -> Any:
        seen.append((file.path.parent, file.path.stat().st_mode & 0o777, file.path.read_bytes(), file.size))
        return inner(model, file, name)

    monkeypatch.setattr(sending, "judged", judged)
    assert send(site, CHECKS, "one.csv", b"M,1").status_code == 200
    monkeypatch.setattr(sending, "LARGEST", 2)
    assert send(site, CHECKS, "big.csv", b"M,1").status_code == 413
    assert seen == [(tmp_path, 0o600, b"M,1", 3)] and list(tmp_path.iterdir()) == []


def test_an_archive_that_unpacks_without_end_is_ended(site: Site, monkeypatch) -> None:
    monkeypatch.setattr(check, "SECONDS", 1)
    row = b"M,0.5,0.4,0.1,0.6,0.2,0.1,0.15,9\n"
    verdict = send(site, CHECKS, "bomb.csv.gz", gzip.compress(row * 3_000_000))
    assert verdict.status_code == 413 and "aws s3 cp" in verdict.json()["detail"]


def test_verdicts_of_made_up_files_equal_those_of_the_reader(tmp_path: Path) -> None:
    """The process is handed the contract as JSON: nothing of it may be lost on the way."""
    chance = random.Random(5)
    contract = Contract.of(CONFIG.contract.model_dump())
    cells = ["M", "F", "I", "", "0.5", "0,5", "nan", "9", "41", "1e400", '"', "x" * 300, "\u202e", "-1"]
    text = "\n".join(
        ",".join(chance.choice(cells) for _ in range(chance.choice([8, 9, 9, 9, 10]))) for _ in range(3000)
    )
    path = tmp_path / "made.csv"
    path.write_text(text)
    split = CONFIG.split.model_dump()
    expected = judge_file(lambda: path.open("rb"), "made.csv", path.stat().st_size, contract, split, first_lines=200)
    assert check.verdict(path, "made.csv", CONFIG.contract.model_dump(), split) == expected.as_json()


def test_what_a_killed_server_had_received_is_removed_and_nothing_else(tmp_path: Path, monkeypatch, site: Site) -> None:
    from retraining.page.application import application

    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    long_ago = time.time() - sending.LONGEST_WAY - 60
    others = tmp_path / "others"
    others.mkdir()
    for name in ("retraining-page-old", "retraining-page-new", "something-old"):
        (tmp_path / name).write_bytes(b"1,2")
    (tmp_path / "retraining-page-link").symlink_to(others)
    for name in ("retraining-page-old", "something-old", "retraining-page-link"):
        os.utime(tmp_path / name, (long_ago, long_ago), follow_symlinks=False)
    application.cache_clear()
    application()
    left = {path.name for path in tmp_path.iterdir()}
    assert left == {"others", "retraining-page-new", "something-old", "retraining-page-link"}
