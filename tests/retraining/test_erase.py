"""Forgotten rows whose bytes are removed for good: no object, current or old, holds them, and `verify` proves it."""

import csv
import gzip
import io
import json
import re
import tarfile
import uuid

import pytest
from airflow.sdk.exceptions import AirflowFailException
from botocore.client import BaseClient
from serving_stage import Stage
from test_data_phase import BROKEN, HEADER, Landing, expected, row, survey

from retraining.command import dataset as dataset_command
from retraining.contract.rules import Contract
from retraining.dataset.log import DatasetLog
from retraining.dataset.object_versions import read_object, stored_objects
from retraining.dataset.verify import verify

pytestmark = pytest.mark.local_aws


@pytest.fixture
def landing(account, access, config, monkeypatch) -> Landing:
    bucket = f"erasing-{uuid.uuid4().hex[:8]}"
    account.s3.create_bucket(Bucket=bucket)
    account.s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    return Landing(Stage(account, access, config, bucket), monkeypatch)


def holders(landing: Landing, text: str) -> list[str]:
    """Keys of all objects that hold a text, in any version, packed or not."""
    found = []
    for stored in stored_objects(landing.s3, landing.stage.bucket, ""):
        body = read_object(landing.s3, landing.stage.bucket, stored)
        if body.startswith(b"\x1f\x8b"):
            body = gzip.decompress(body)
        if text.encode() in body:
            found.append(stored.key)
    return found


def put(landing: Landing, key: str, body: bytes | str) -> None:
    landing.s3.put_object(
        Bucket=landing.stage.bucket,
        Key=f"{landing.stage.name}/{key}",
        Body=body.encode() if isinstance(body, str) else body,
    )


def hash_of(landing: Landing, number: int) -> str:
    rules = Contract.of(landing.steps.config.contract.model_dump(mode="json"))
    return rules.row_hash(rules.judge(row(number).split(",")).values)


def smoke(*numbers: int) -> str:
    rows = [{"why": "x", "body": row(number).rsplit(",", 1)[0], "prediction": 9.5} for number in numbers]
    return json.dumps({"content_type": "text/csv", **rows[0], "rows": rows[1:]})


def batch_of(landing: Landing, *numbers: int) -> dict[str, bytes]:
    """Put a batch with its copies and answers, number 7 among them; return what must be left of each object without it."""
    names = HEADER.split(",")[:-1]

    def tables(chosen: list[int]) -> dict[str, bytes]:
        cells = {number: row(number).split(",")[:-1] for number in chosen}
        turned = [",".join(reversed(names)), *(",".join(reversed(cells[number])) for number in chosen)]
        keyed = [json.dumps(dict(zip(names, cells[number], strict=True))) for number in chosen]
        scored = [["line", *reversed(names), "prediction", "model"]]
        scored += [[str(numbers.index(number) + 2), *reversed(cells[number]), "9.5", "v1"] for number in chosen]
        rejected = [["line", "reasons", "row"]]
        rejected += [[str(numbers.index(number) + 2), "no", ",".join(reversed(cells[number]))] for number in chosen]
        files = {"in/turned.csv": turned, "in/whole.csv": [HEADER, *map(row, chosen)], "in/keyed.jsonl": keyed}
        files |= {f"work/w1/in/{place:06d}": lines for place, lines in enumerate(list(files.values()))}
        found = {f"batch/{key}": "".join(f"{line}\n" for line in lines) for key, lines in files.items()}
        for folder in ("out/turned.csv/v1-e", "work/w1/out-d/000000"):
            for title, records in (("scored", scored), ("rejected", rejected)):
                table = io.StringIO(newline="")
                csv.writer(table).writerows(records)
                found[f"batch/{folder}/{title}.csv"] = table.getvalue()
        return {key: text.encode() for key, text in found.items()}

    for key, body in tables(list(numbers)).items():
        put(landing, key, body)
    left = {key: body for key, body in tables([n for n in numbers if n != 7]).items() if "/w1/in/" not in key}
    left.pop("batch/in/keyed.jsonl")
    cells = [row(number).split(",")[:-1] for number in numbers if number != 7]
    left["batch/in/keyed.jsonl.kept.csv"] = "".join(
        f"{line}\n" for line in ("sep=,", *map(",".join, [names, *cells]))
    ).encode()
    return left


def labels_of(landing: Landing, *numbers: int) -> dict[str, bytes]:
    """Put files of labels, number 7 among them, with ids before the inputs; return what must be left of each without it."""
    names = HEADER.split(",")

    def tables(chosen: list[int]) -> dict[str, str]:
        cells = {number: [f"id-{number}", *row(number).split(",")] for number in chosen}
        table = ["inference_id," + HEADER, *(",".join(cells[number]) for number in chosen)]
        turned = [";".join(["rings", *names[:-1], "inference_id"])]
        turned += [";".join([cells[number][-1], *cells[number][1:-1], cells[number][0]]) for number in chosen]
        alone = ["inference_id,rings", *(f"id-{number},{row(number).split(',')[-1]}" for number in numbers)]
        files = {"table.csv": table, "turned.csv": turned, "alone.csv": alone}
        return {f"monitor/labels/{key}": "".join(f"{line}\n" for line in lines) for key, lines in files.items()}

    files = {key: text.encode() for key, text in tables(list(numbers)).items()}
    keyed = [dict(zip(["inference_id", *names], [f"id-{n}", *row(n).split(",")], strict=True)) for n in numbers]
    files["monitor/labels/keyed.jsonl.gz"] = gzip.compress("\n".join(map(json.dumps, keyed)).encode())
    for place, (key, body) in enumerate(files.items()):
        put(landing, key, body)
        put(landing, f"monitor/work/w1/labels/{place:06d}", body)
    left = {key: text.encode() for key, text in tables([n for n in numbers if n != 7]).items()}
    rest = [f"id-{number},{row(number)}" for number in numbers if number != 7]
    left["monitor/labels/keyed.jsonl.gz.kept.csv"] = "\n".join(["sep=,", f"inference_id,{HEADER}", *rest, ""]).encode()
    return left


def test_no_object_in_any_version_holds_an_erased_row(landing, capsys):
    name, secret = landing.stage.name, row(7)
    inputs = secret.rsplit(",", 1)[0]
    landing.put("a.csv", survey(*range(40)))
    assert landing.run() == "merged"
    landing.put("b.csv", survey(*range(40, 60)))
    assert landing.run() == "merged"
    landing.put("a.csv", survey(*range(60, 80)))  # the old version of the key still has the row
    assert landing.run() == "merged"
    bad = "\n".join([HEADER, secret, *("X" + row(number)[1:] for number in range(900, 910))]) + "\n"
    landing.put("refused.csv", bad)
    assert landing.run() == "refused"
    put(landing, "captured/abalone/x.jsonl", "\n".join(json.dumps({"data": row(n).rsplit(",", 1)[0]}) for n in (6, 7)))
    put(landing, "runs/r1/evaluation/smoke.json", smoke(7, 8))
    put(landing, "runs/r1/summary.json", json.dumps({"smoke": {"body": inputs}, "text": json.dumps([inputs])}))
    left = batch_of(landing, 6, 7, 8) | labels_of(landing, 6, 7, 8)
    put(landing, "monitor/work/w1/out-d/look.json", json.dumps({"rows": [inputs]}))
    put(landing, "survey/runs/d/synthetic.csv", f"{secret}\n{row(8)}\n")
    assert len(holders(landing, inputs)) >= 10
    assert holders(landing, hash_of(landing, 7))

    told = landing.command(capsys, "forget", name, "--row-hash", hash_of(landing, 7), "--why", "asked for", "--erase")
    assert "dataset version 1, 2, 3 can no longer be read" in told
    assert holders(landing, inputs) == []
    assert holders(landing, ",".join(reversed(inputs.split(",")))) == []
    assert not [key for key in holders(landing, "0.521") if "/new/" not in key]  # in no order and no notation
    assert holders(landing, hash_of(landing, 7)) == []
    assert landing.rows() == expected(*(number for number in range(80) if number != 7))
    assert f"removed {name}/new/a.csv" in told
    captured = landing.s3.get_object(Bucket=landing.stage.bucket, Key=f"{name}/captured/abalone/x.jsonl")["Body"].read()
    assert captured.decode() == json.dumps({"data": row(6).rsplit(",", 1)[0]}) + "\n"
    kept = landing.s3.get_object(Bucket=landing.stage.bucket, Key=f"{name}/runs/r1/evaluation/smoke.json")[
        "Body"
    ].read()
    assert json.loads(kept) == json.loads(smoke(8))
    for key, body in left.items():
        assert landing.s3.get_object(Bucket=landing.stage.bucket, Key=f"{name}/{key}")["Body"].read() == body, key
    assert not [key for key in landing.stage.keys("batch/work/") if "/in/" in key]
    assert f"{name}/monitor/labels/keyed.jsonl.gz" not in landing.stage.keys("monitor/labels/")
    assert [key[-6:] for key in landing.stage.keys("monitor/work/w1/labels/")] == ["000002"], "ids and labels alone"
    assert "everything is as the log says" in landing.command(capsys, "verify", name)
    with pytest.raises(LookupError, match=r"dataset version 2 was erased on .* \(asked for\)"):
        landing.state.readable_at(2)
    with pytest.raises(AirflowFailException, match="dataset version 2 was erased"):
        landing.steps.claim_new_data({"dataset_version": 2})


def test_rows_that_the_newest_version_forgot_long_ago_are_erased_too(landing, capsys):
    name = landing.stage.name
    landing.put("a.csv", survey(*range(40)))
    assert landing.run() == "merged"
    landing.command(capsys, "forget", name, "--row-hash", hash_of(landing, 7), "--why", "a typing error")
    assert len(holders(landing, row(7))) == 1
    told = landing.command(capsys, "forget", name, "--row-hash", hash_of(landing, 7), "--why", "asked for", "--erase")
    assert "dataset version 1 can no longer be read" in told
    assert holders(landing, row(7)) == []
    assert landing.state.latest == 2
    assert "no such row" not in told
    assert "holds such rows or files" in landing.command(
        capsys, "forget", name, "--row-hash", hash_of(landing, 7), "--why", "asked for", "--erase"
    )


def test_a_file_is_erased_with_what_was_made_of_its_rows_alone(landing, capsys):
    name = landing.stage.name
    landing.put("a.csv", survey(*range(30)))
    landing.put("b.csv", survey(*range(20, 50)))
    assert landing.run() == "merged"
    put(landing, "runs/r1/evaluation/smoke.json", smoke(25, 40))
    code = f"EXAMPLE = {row(40)!r}\n"
    put(landing, "code/0a/train.py", code)
    told = landing.command(capsys, "forget", name, "--file", "new/b.csv", "--why", "the wrong site", "--erase")
    assert "version 2: 30 rows" in told
    assert holders(landing, row(40).rsplit(",", 1)[0]) == [f"{name}/code/0a/train.py"]
    assert holders(landing, code), "programs of jobs stay as they are"
    kept = landing.s3.get_object(Bucket=landing.stage.bucket, Key=f"{name}/runs/r1/evaluation/smoke.json")[
        "Body"
    ].read()
    assert json.loads(kept) == json.loads(smoke(25))
    assert landing.rows() == expected(*range(30))
    assert "everything is as the log says" in landing.command(capsys, "verify", name)


def json_line(number: int) -> str:
    cells = dict(zip(HEADER.split(","), row(number).split(","), strict=True))
    return json.dumps({name: cell if name == "sex" else json.loads(cell) for name, cell in cells.items()})


def test_waiting_files_keep_their_other_rows_whatever_they_are(landing, capsys):
    name = landing.stage.name
    landing.put("a.csv", survey(*range(40)))
    assert landing.run() == "merged"
    landing.put("waiting.csv", survey(7, *range(40, 50)))
    put(landing, "new/packed.csv.gz", gzip.compress(survey(7, *range(50, 60)).encode()))
    put(landing, "new/lines.jsonl", "".join(f"{json_line(number)}\n" for number in (7, *range(67, 76))))
    landing.command(capsys, "forget", name, "--row-hash", hash_of(landing, 7), "--why", "asked for", "--erase")
    assert holders(landing, row(7)) == []
    assert holders(landing, json_line(7)) == []
    assert landing.run() == "merged"
    assert landing.rows() == expected(*(number for number in (*range(60), *range(67, 76)) if number != 7))


def test_a_model_that_holds_such_a_text_is_named_and_stays(landing, capsys):
    name = landing.stage.name
    landing.put("a.csv", survey(*range(40)))
    assert landing.run() == "merged"
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        entry = tarfile.TarInfo("rows.csv")
        entry.size = len(row(7))
        archive.addfile(entry, io.BytesIO(row(7).encode()))
    put(landing, "models/m1/output/model.tar.gz", buffer.getvalue())
    told = landing.command(capsys, "forget", name, "--row-hash", hash_of(landing, 7), "--why", "asked for", "--erase")
    assert f"status 1: error: {name}/models/m1/output/model.tar.gz may hold the text" in told
    assert holders(landing, row(7)) == [f"{name}/models/m1/output/model.tar.gz"]


def cut(*_args, **_more):
    raise RuntimeError("cut")


def cut_at_put(monkeypatch, number: int, *keys: str) -> None:
    """Let all go on as always until one of the keys is about to be written for the n-th time."""
    call, seen = BaseClient._make_api_call, []

    def cutting(client, operation, parameters):
        if operation == "PutObject" and parameters["Key"].endswith(keys):
            seen.append(parameters["Key"])
            if len(seen) == number:
                cut()
        return call(client, operation, parameters)

    monkeypatch.setattr(BaseClient, "_make_api_call", cutting)


@pytest.mark.parametrize("at", ["put 1", "put 2", "put 4", "log", "removal"])
def test_an_erasure_that_was_cut_short_is_finished_and_loses_no_other_row(landing, capsys, monkeypatch, at):
    from retraining.jobs.remerge import erase as erase_module

    name, s3, bucket = landing.stage.name, landing.s3, landing.stage.bucket
    kept = (
        "new/waiting.csv",
        "new/packed.csv.gz.kept.csv",
        "captured/abalone/x.jsonl",
        "runs/r1/evaluation/smoke.json",
    )
    landing.put("a.csv", survey(*range(40)))
    assert landing.run() == "merged"
    landing.put("waiting.csv", survey(7, *range(40, 50)))
    put(landing, "new/packed.csv.gz", gzip.compress(survey(7, *range(50, 60)).encode()))
    put(landing, kept[2], "\n".join(json.dumps({"data": row(n).rsplit(",", 1)[0]}) for n in (6, 7)))
    put(landing, kept[3], smoke(7, 8))
    arguments = ("forget", name, "--row-hash", hash_of(landing, 7), "--why", "asked for", "--erase")
    with monkeypatch.context() as patch:
        if at.startswith("put"):
            cut_at_put(patch, int(at[-1]), *kept)
        elif at == "log":
            patch.setattr(DatasetLog, "erase", cut)
        else:
            patch.setattr(erase_module, "remove_objects", cut)
        assert "cut" in landing.command(capsys, *arguments)
    assert dataset_command.main(["verify", name]) == (1 if at == "removal" else 0)
    assert ("still exists, though it was to be erased" in capsys.readouterr().out) == (at == "removal")
    landing.command(capsys, *arguments)
    assert holders(landing, row(7)) == []
    assert "everything is as the log says" in landing.command(capsys, "verify", name)
    stored = [item.key for item in stored_objects(s3, bucket, f"{name}/")]
    assert [stored.count(f"{name}/{key}") for key in kept] == [1, 1, 1, 1]  # no copy was written twice
    assert json.loads(s3.get_object(Bucket=bucket, Key=f"{name}/{kept[3]}")["Body"].read()) == json.loads(smoke(8))
    assert landing.run() == "merged"
    assert landing.rows() == expected(*(number for number in range(60) if number != 7))


def test_without_versions_of_objects_the_copy_without_the_rows_stays(landing, capsys):
    name, s3, bucket = landing.stage.name, landing.s3, landing.stage.bucket
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Suspended"})
    landing.put("a.csv", survey(*range(40)))
    assert landing.run() == "merged"
    landing.put("waiting.csv", survey(7, *range(40, 50)))
    arguments = ("forget", name, "--row-hash", hash_of(landing, 7), "--why", "asked for", "--erase")
    landing.command(capsys, *arguments)
    assert holders(landing, row(7)) == []
    landing.put("late.csv", survey(7, *range(50, 60)))
    landing.command(capsys, *arguments)  # what the first one removed has another content by now, and stays
    assert landing.run() == "merged"
    assert landing.rows() == expected(*(number for number in range(60) if number != 7))


def test_a_wrong_byte_is_found_in_each_kind_of_file_of_the_log(landing, capsys, monkeypatch):
    from retraining.dataset import log as log_module

    monkeypatch.setattr(log_module, "CHECKPOINT_EVERY", 2)
    s3, bucket, name = landing.s3, landing.stage.bucket, landing.stage.name
    landing.put("broken.csv", BROKEN)
    assert landing.run() == "refused"
    landing.command(capsys, "release", name, "new/broken.csv", "--why", "a test")
    landing.put("a.csv", survey(*range(40)))
    assert landing.run() == "merged"
    arguments = ("forget", name, "--row-hash", hash_of(landing, 7), "--why", "asked for", "--erase")
    assert "removed for good" in landing.command(capsys, *arguments)
    landing.judged()
    put(landing, "quarantine/none.json", "{}")  # beside the log, and no concern of it
    log = DatasetLog(s3, bucket, f"{name}/")

    def problems() -> list[str]:
        return verify(s3, bucket, f"{name}/", log.read, lambda line: None)

    assert problems() == []
    kinds: dict[str, str] = {}
    for key in sorted(landing.stage.keys("dataset/") + landing.stage.keys("batches/")):
        kind = key.replace(landing.state.versions[-1].batch, "B")
        if "/landed/" not in kind and ("/B" in kind or "=B" in kind or "batch" not in kind):
            kinds[re.sub(r"[0-9a-f]{6,}", "N", kind)] = f"{name}/{key}"
    for kind in ("log/N.json", "log/checkpoint-N.json", "judged/N.json", "released/N.json", "erased/N.json"):
        assert f"dataset/{kind}" in kinds
    assert {kind.split("/")[1] for kind in kinds if "batch=B" in kind} == {
        "data",
        "training",
        "hashes",
        "profiles",
    }
    assert {"batches/B/manifest.json", "batches/B/etl_report.json"} <= set(kinds)
    for kind, key in kinds.items():
        body = s3.get_object(Bucket=bucket, Key=key)["Body"].read()
        wrong = bytearray(body)
        at = len(body) // 2
        wrong[at] = ord("7") if wrong[at] != ord("7") else ord("8")
        s3.put_object(Bucket=bucket, Key=key, Body=bytes(wrong))
        assert any(key in line for line in problems()), kind
        s3.put_object(Bucket=bucket, Key=key, Body=body)
    assert problems() == []
