"""JSON Lines and Parquet: the merge and the plain reader give one verdict, and each value arrives as it came."""

from __future__ import annotations

import datetime as dt
import decimal
import gzip
import io
import json
import random
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from agreement import compare
from survey_bucket import MODEL, Bucket, line_of

pytestmark = [
    pytest.mark.spark,
    pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning"),  # py4j leaves them to the collector
]
NAMES = [column["name"] for column in MODEL["contract"]["columns"]]
ODD = (
    *("null", "true", '""', '"NA"', "NaN", "-Infinity", "1e999", "1e-999", "0.10", "1E-1", "-0.0", "9.0", "9.5", "5e9"),
    *(
        '"0,5"',
        '"0.5"',
        '" M "',
        '"\\u0000"',
        '"\\ud800"',
        '"a\\nb"',
        '"a\\r\\nb"',
        '"\\u001c0"',
        '"\\u001e"',
        '"\\u001f"',
        '"\\""',
    ),
    *(
        '"\\"M\\""',
        '"a,b"',
        "[1]",
        "{}",
        "0." + "1" * 40,
        "1" * 30,
        "4.9e-324",
        '"é😀"',
        '"\\ud83d\\ude00"',
        '"rings"',
        "01",
        "+1",
        "1_0",
        "x",
    ),
)


def json_lines(dice: random.Random) -> bytes:
    """A file that somebody could land: mostly rows, some of them odd."""
    spelled = dice.choice([str, str, str.upper, lambda name: name.replace("_", " ").title()])
    lines = []
    with_source = dice.random() < 0.2
    for _ in range(dice.randrange(1, 25)):
        cells = dict(zip(NAMES, line_of(dice.randrange(200_000)).split(","), strict=True))
        tokens = {name: f'"{text}"' if name == "sex" or dice.random() < 0.1 else text for name, text in cells.items()}
        if with_source and dice.random() < 0.5:
            tokens["source"] = dice.choice(['"survey"', '"Synthetic"', "null", '"x"', "1"])
        if dice.random() < 0.4:
            tokens[dice.choice(NAMES)] = dice.choice(ODD)
        if dice.random() < 0.05:
            del tokens[dice.choice(NAMES)]
        pairs = [f'"{spelled(name)}": {token}' for name, token in dice.sample(list(tokens.items()), len(tokens))]
        if dice.random() < 0.05:
            pairs.append(dice.choice(['"rings": 3', '"RINGS ": null', '"\\u0073ex": "M"']))
        line = "{" + dice.choice([",", ", "]).join(pairs) + "}"
        lines.append(
            dice.choice([line] * 30 + ["", "  ", "{}", "[1]", "7", line + ",", line + line, "{" * 3000, "M,0.5"])
        )
    end = dice.choice(["\n", "\r\n"])
    return (dice.choice(["", "", "\ufeff"]) + end.join(lines) + dice.choice([end, ""])).encode()


def test_the_readers_agree_on_json_lines(bucket: Bucket) -> None:
    dice = random.Random(7)
    keys = []
    for number in range(150):
        body, ending = json_lines(dice), dice.choice([".jsonl", ".ndjson", ".json"])
        if dice.random() < 0.1:
            body, ending = gzip.compress(body), ending + ".gz"
        keys.append(bucket.put(f"abalone/new/{number:04d}{ending}", body))
    more = ['[{"sex": "M"}]', '{\n "sex": "M"\n}', "", "\n\n", '{"sex": "M"}', '{"x": 1}', "sex,length\nM,0.5\n"]
    keys += [bucket.put(f"abalone/new/more{number}.jsonl", body) for number, body in enumerate(more)]
    report = compare(bucket, "b1", keys, bad_rows={"max_share": 1.0})
    outcomes = [file["outcome"] for file in report["files"]]
    assert outcomes.count("merged") > 125
    assert outcomes.count("refused") > 5
    assert report["rows_accepted"] > 800
    assert {reason for reason in report["reasons"] if reason.startswith("line:")} >= {
        "line: not a JSON object", "line: a value is a list or an object", "line: a key that comes twice"
    }  # fmt: skip


COLUMNS = [
    {"name": "site", "type": "string", "nullable": True},
    {"name": "day", "type": "date", "nullable": True},
    {"name": "at", "type": "timestamp", "nullable": True},
    {"name": "ok", "type": "boolean", "nullable": True},
    {"name": "depth", "type": "double", "nullable": True},
    {"name": "count", "type": "int"},
]
MORE: dict[str, Any] = {"columns": COLUMNS, "target": "count", "rules": [], "bad_rows": {"max_share": 1.0}}
COMMAS: dict[str, Any] = {
    "csv": {"delimiter": ";", "decimal": ",", "thousands": ".", "multiline": True},
    "ignore": ["id"],
}


def parquet(table: pa.Table, **options: Any) -> bytes:
    body = io.BytesIO()
    pq.write_table(table, body, **options)
    return body.getvalue()


def typed_tables() -> dict[str, pa.Table]:
    """One data set in the types that tools write."""
    dice = random.Random(3)
    rows = 200
    doubles = [
        dice.choice([dice.random(), dice.uniform(-1e300, 1e300), 5e-324, 0.1, 1e22, -0.0, None]) for _ in range(rows)
    ]
    texts = [
        dice.choice(['Pier 5" pipe', "Reef, north", "007", "NA", "a\nb", " é😀 ", "", None, "x;y"]) for _ in range(rows)
    ]
    days = [dice.choice([None, dt.date(2025, 3, 1), dt.date(1, 1, 1), dt.date(9999, 12, 31)]) for _ in range(rows)]
    moments = [
        dice.choice([None, dt.datetime(2025, 3, 1, 10, 15, 0, 1, dt.UTC), dt.datetime(1900, 1, 1, tzinfo=dt.UTC)])
        for _ in range(rows)
    ]
    table = pa.table({
        "Site": pa.array(texts),
        "day": pa.array(days),
        "at": pa.array(moments, pa.timestamp("us", "Europe/Madrid")),
        "ok": pa.array([dice.choice([True, False, None]) for _ in range(rows)]),
        "depth": pa.array(doubles),
        "count": pa.array(range(rows), pa.int64()),
        "id": pa.array([[1]] * rows),
        "__index_level_0__": pa.array(range(rows)),
    })  # fmt: skip

    def other(name: str, values: pa.Array) -> pa.Table:
        return table.set_column(table.column_names.index(name), name, values)

    nanos = pa.array([1_740_824_100_000_000_001, 1_740_824_100_000_000_000] * (rows // 2), pa.timestamp("ns", "UTC"))
    money = pa.array([decimal.Decimal("1234.5000000000"), decimal.Decimal("-0.0000000001")] * (rows // 2))
    return {
        "plain": table,
        "dictionary": other("Site", pa.array(texts).dictionary_encode()),
        "bytes": other("Site", pa.array([None if text is None else text.encode() for text in texts], pa.binary())),
        "float32": other("depth", pa.array([0.1, 0.455] * (rows // 2), pa.float32())),
        "decimal": other("depth", money),
        "not finite": other("depth", pa.array([float("nan"), float("inf")] * (rows // 2))),
        "numbers as text": other("depth", pa.array(["1.234,5", "0.5"] * (rows // 2))),
        "count as float": other("count", pa.array([float(number) for number in range(rows)])),
        "unsigned": other("count", pa.array([2**64 - 1 - number for number in range(rows)], pa.uint64())),
        "nanoseconds": other("at", nanos),
        "no zone": other("at", pa.array([dt.datetime(2025, 3, 1)] * rows, pa.timestamp("ns"))),
        "days as midnights": other("day", pa.array([dt.datetime(2025, 3, 1)] * rows, pa.timestamp("ns"))),
        "a list": other("Site", pa.array([["a"]] * rows)),
        "another name": table.rename_columns(["Ort", *table.column_names[1:]]),
        "no rows": table.slice(0, 0),
    }  # fmt: skip


def test_the_readers_agree_on_parquet(bucket: Bucket) -> None:
    keys = [bucket.put(f"abalone/new/{name}.parquet", parquet(table)) for name, table in typed_tables().items()]
    whole = parquet(typed_tables()["plain"])
    keys += [
        bucket.put("abalone/new/cut.parquet", whole[:-100]),
        bucket.put("abalone/new/damaged.parquet", whole[:300] + bytes(200) + whole[500:]),
        bucket.put("abalone/new/packed.parquet.gz", gzip.compress(whole)),
        bucket.put("abalone/new/text.parquet", "site,count\na,1\n"),
        bucket.put("abalone/new/a.csv", "site;count\nb;7\n"),
    ]
    for batch, more in (("b1", {"ignore": ["id"]}), ("b2", COMMAS)):
        report = compare(bucket, batch, keys, **MORE, **more)
        outcome = {file["key"].split("/")[-1]: (file["outcome"], file["reason"]) for file in report["files"]}
        refused = {name for name, (what, _) in outcome.items() if what == "refused"}
        named = {"a list", "another name", "cut", "damaged", "text"}
        assert refused == {f"{name}.parquet" for name in named} | {"packed.parquet.gz"}
        assert report["rows_accepted"] > 800


def test_values_of_parquet_and_json_lines_are_those_of_csv(bucket: Bucket) -> None:
    dice = random.Random(5)
    values = [dice.uniform(-1, 1) * 10 ** dice.randrange(-300, 300) for _ in range(500)]
    table = pa.table({"site": [f"s{number}" for number in range(500)], "depth": values, "count": range(500)})
    rows = table.to_pylist()
    bodies = {
        "a.csv": "site,depth,count\n" + "".join(f"{row['site']},{row['depth']!r},{row['count']}\n" for row in rows),
        "b.jsonl": "".join(json.dumps(row) + "\n" for row in rows),
        "c.parquet": parquet(table),
    }
    keys = [bucket.put(f"abalone/new/{name}", body) for name, body in bodies.items()]
    report = bucket.merge("b1", keys, **MORE)
    assert [(file["accepted"], file["duplicate"]) for file in report["files"]] == [(500, 0), (0, 500), (0, 500)]
    found = {row["site"]: row["depth"] for rows in bucket.data("b1").values() for row in rows}
    assert found == {row["site"]: row["depth"] for row in rows}
