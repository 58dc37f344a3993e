"""The merge and the plain reader give the same verdict on every line of every file: the samples, real situations, and files made up."""

from __future__ import annotations

import bz2
import gzip
import json
import os
import random

import pytest
from agreement import compare
from survey_bucket import MODEL, ROOT, Bucket, line_of

pytestmark = [
    pytest.mark.spark,
    pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning"),  # py4j leaves them to the collector
]
FILES = int(os.environ.get("AGREEMENT_FILES", "1000"))


def test_on_the_samples(bucket: Bucket) -> None:
    folder = ROOT / "data/surveys"
    paths = sorted(path for path in folder.rglob("*") if path.is_file() and path.suffix in (".csv", ".gz"))
    keys = [bucket.put(f"abalone/new/{path.name}", path.read_bytes()) for path in paths]
    assert len(keys) > 25
    compare(bucket, "b1", keys)
    compare(bucket, "b2", keys, bad_rows={"max_share": 1.0})


def test_on_real_situations(bucket: Bucket) -> None:
    paths = sorted(path for path in (ROOT / "tests/landing").rglob("*") if path.is_file() and path.suffix != ".py")
    keys = [
        bucket.put(f"abalone/new/{path.parent.name}/{path.name}", path.read_bytes())
        for path in paths
        if path.name != "situations.yaml"
    ]
    assert len(keys) > 40
    compare(bucket, "b1", keys)


def test_on_files_made_up(bucket: Bucket) -> None:
    dice = random.Random(20250301)
    keys = []
    for number in range(FILES):
        name, body = made_up(dice)
        keys.append(bucket.put(f"abalone/new/{number:05d}{name}", body))
    loose = compare(bucket, "b1", keys, bad_rows={"max_share": 1.0})
    outcomes = [file["outcome"] for file in loose["files"]]
    assert outcomes.count("merged") > FILES // 2, "most files reach the rows"
    assert outcomes.count("refused") > FILES // 50
    assert loose["rows_accepted"] > FILES
    assert len(loose["reasons"]) > 25
    compare(bucket, "b2", keys, bad_rows={"max_share": 0.3})


NASTY = (
    *(
        "",
        " ",
        "NA",
        "n/a",
        "-999",
        "NaN",
        "-inf",
        "1e999",
        "1e-999",
        "0x1p-1",
        "0.5d",
        "1d",
        "1_0",
        "0,5",
        '"0,5"',
        '"',
        '""',
    ),
    *(
        '"""',
        '" M "',
        "1e-1",
        ".1",
        "0.10",
        "+0.2",
        "-0.0",
        "5e9",
        "9.0",
        "9e0",
        "9.5",
        "007",
        "1" * 30,
        "0." + "1" * 40,
        "4.9e-324",
    ),
    *(
        "1.7976931348623157e308",
        "M\u00a0",
        "\tF",
        "\x01M",
        "\x1f",
        "\x1e",
        "m",
        "é",
        "😀",
        "\u2028",
        "length",
        "rings",
        "sex",
        "# x",
    ),
    *(
        "${env:HOME}",
        "'",
        "\\",
        "\\'",
        "%",
        "source",
        "a\x0bb",
        "\x0b0.5\x0b",
        "\x010.5",
        "0.5\x01",
        "0.5 0.6",
        "\u0661",
        "1e5",
    ),
    *("1E-2", "1e+1", "--1", "1.2.3", "e1", ".", "+", "-", "?"),
)


def made_up(dice: random.Random) -> tuple[str, bytes]:
    """A file that somebody could land, or nobody would: name ending and bytes."""
    names = [column["name"] for column in MODEL["contract"]["columns"]]
    order = dice.sample(range(9), 9) if dice.random() < 0.3 else list(range(9))
    mark = dice.choice([","] * 6 + [";", "\t", "|"])
    lines = []
    if dice.random() < 0.1:
        lines.append(dice.choice([f"sep={mark}", "Survey of spring", "# made by a tool", "", "Reef, north, 2025"]))
    headings = [names[place] for place in order]
    if dice.random() < 0.3:
        headings = [dice.choice([str.upper, str.title, lambda name: name.replace("_", " ")])(name) for name in headings]
    if dice.random() < 0.05:
        headings[dice.randrange(9)] = dice.choice(["weight", "", "Whole", "id", "rings"])
    with_source = dice.random() < 0.05
    if with_source:
        headings.append("source")
    header = mark.join(f'"{name}"' if dice.random() < 0.1 else name for name in headings)
    if mark != "," or order != list(range(9)) or with_source or dice.random() < 0.6:
        lines.append(header)
    for _ in range(dice.randrange(0, 25)):
        cells = line_of(dice.randrange(200_000)).split(",")
        cells = [cells[place] for place in order]
        if with_source:
            cells.append(dice.choice(["", "survey", "Synthetic", "x"]) if dice.random() < 0.1 else "")
        if dice.random() < 0.35:
            for _ in range(dice.choice([1, 1, 2])):
                place, change = dice.randrange(len(cells)), dice.randrange(8)
                if change < 5:
                    cells[place] = dice.choice(NASTY)
                elif change == 5:
                    cells.insert(place, dice.choice(NASTY))
                elif change == 6 and len(cells) > 1:
                    del cells[place]
                else:
                    cells[place] = f' "{cells[place]}" '
        line = mark.join(cells)
        lines.append(dice.choice([line] * 20 + [header, "", "  ", mark * 8, '"' + line, line + "\ufeff"]))
    if dice.random() < 0.04:
        lines.insert(dice.randrange(len(lines) + 1), mark.join(dice.sample(names, 9)))
    end = dice.choice(["\n", "\n", "\r\n", "\r"])
    text = ("\ufeff" if dice.random() < 0.1 else "") + end.join(lines) + (end if dice.random() < 0.8 else "")
    body = text.encode()
    how = dice.random()
    if how < 0.1:
        return ".csv.gz", gzip.compress(body)
    if how < 0.13:
        return ".csv.gz", gzip.compress(b"") + gzip.compress(body[:40]) + gzip.compress(body[40:])
    if how < 0.15:
        return ".csv.bz2", bz2.compress(body)
    if how < 0.17:
        return ".csv", text.encode("utf-16" if dice.random() < 0.5 else "latin-1", "replace")
    if how < 0.19:
        return ".csv.gz", gzip.compress(body)[:-5]
    if how < 0.22:
        return dice.choice([" [1].csv", "=x:y.csv", " ünï.csv", "%20+#;.csv", "{a,b}.csv", ".csv._COPYING_"]), body
    return ".csv", body


def test_on_contracts_that_say_more(bucket: Bucket) -> None:
    columns = [
        {"name": "site", "type": "string", "nullable": True, "aliases": ["Ort"]},
        {"name": "region", "type": "string", "allowed": ["EU", "NA"]},
        {"name": "day", "type": "date", "nullable": True},
        {"name": "at", "type": "timestamp", "nullable": True},
        {"name": "ok", "type": "boolean", "nullable": True},
        {"name": "depth", "type": "double", "nullable": True, "max": 5000},
        {"name": "count", "type": "int", "min": -5},
    ]
    texts = [
        'Pier 5"" pipe',
        "Reef, north",
        "O'Brien",
        "back\\slash",
        "02",
        "1e5",
        "NA",
        "null",
        "  pad  ",
        "é😀",
        "=SUM(A1)",
    ]
    texts += ["two\nlines", "a\tb", ""]
    days = ["2024-02-29", "2023-02-29", "0001-01-01", "9999-12-31", "1582-10-10", "", "NA", "today", "2024-1-1"]
    times = [
        "2024-02-29T23:30:00Z",
        "1900-01-01 00:00:00.000001+01:00",
        "2024-06-01T12:00-14:00",
        "2024-06-01T12:00",
        "",
    ]
    times += ["0001-01-01T00:00:00Z", "9999-12-31T23:59:59.999999Z"]
    numbers = [
        "1.234,5",
        "0,5",
        "0.455",
        "12.34",
        "-1.000",
        "1.234.567,25",
        "5e1",
        "",
        "NA",
        "-999",
        "1,5e-3",
        "99.999",
        ",5",
    ]
    counts = ["1", "1.000", "9,0", "-5", "-6", "9223372036854775807", "9223372036854775808", "NA", "1,5"]
    truths = ["true", "No", "1", "", "maybe", "NA"]
    dice = random.Random(11)
    choices = (["EU", "NA", "AP", ""], days, times, truths, numbers, counts)
    rows = [[f'"{dice.choice(texts)}"', *map(dice.choice, choices)] for _ in range(600)]
    body = "\r\n".join(["Ort;id;region;day;at;ok;depth;count", *(";".join([row[0], "x", *row[1:]]) for row in rows)])
    other = "# title\n" + body.replace("\r\n", "\n") + '\n"open'
    keys = [bucket.put("abalone/new/a.csv", body), bucket.put("abalone/new/b.csv", other)]
    report = compare(
        bucket, "b1", keys, columns=columns, target="count", rules=[], ignore=["id"], missing=["NA", "-999"],
        csv={"delimiter": ";", "decimal": ",", "thousands": ".", "multiline": True}, bad_rows={"max_share": 1.0},
    )  # fmt: skip
    assert report["rows_accepted"] > 30
    assert json.loads(json.dumps(report)) == report
