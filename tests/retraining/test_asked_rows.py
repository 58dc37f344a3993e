"""Unwanted rows in files that a model was asked about: found whatever form a file has, and no other row goes with them."""

import bz2
import csv
import gzip
import io
import json

import pytest

from retraining.contract.layout import UNSCORED_SPLIT, Layout
from retraining.contract.reader import judge
from retraining.contract.rules import Contract as Rules
from retraining.jobs.remerge import erase
from retraining.jobs.remerge.asked_rows import Sought, without_inputs, without_scores
from retraining.jobs.remerge.forget import Unwanted

DOCUMENT = {
    "target": "rings",
    "columns": [
        {"name": "site", "type": "string"},
        {"name": "tank", "type": "int", "min": 0},
        {"name": "length", "type": "double", "min": 0},
        {"name": "rings", "type": "int", "min": 0},
    ],
}
ROWS = "site,tank,length\nnorth bay,5,0.25\nnorth bay,6,0.75\nsouth bay,5,0.5\n"
REST = "site,tank,length\nnorth bay,6,0.75\nsouth bay,5,0.5\n"
COPY = "batch/work/w/in/000000"


@pytest.fixture
def sought() -> Sought:
    return Sought.of([DOCUMENT], Unwanted(where={"site": "north bay", "tank": "5"}))


def keyed(text: str) -> str:
    return "".join(f"{json.dumps(row)}\n" for row in csv.DictReader(io.StringIO(text)))


@pytest.mark.parametrize("pack", [bytes, gzip.compress, bz2.compress])
@pytest.mark.parametrize("form", [str, keyed])
def test_a_copy_without_ending_is_read_in_every_form(sought, form, pack):
    rest, gone = without_inputs(pack(form(ROWS).encode()), COPY, sought)
    assert [line.number for line in gone] == [2 if form is str else 1]
    assert b"north bay,6,0.75\nsouth bay,5,0.5\n" in rest and b"0.25" not in rest


def found(rows: set[str]) -> erase._Found:
    return erase._Found(texts=rows, words={"north bay"})


def test_a_row_that_shares_a_text_with_an_unwanted_one_stays_to_be_scored(sought):
    assert erase._rest("batch/in/a.csv", ROWS.encode(), found(set()), sought) == (REST.encode(), False)
    assert erase._rest(COPY, ROWS.encode(), found(set()), sought) == (None, False)
    assert erase._rest(COPY, REST.encode(), found(set()), sought) == (REST.encode(), False)


def test_answers_for_other_rows_stay(sought):
    head, *rows = ROWS.splitlines()
    lines = [f"line,{head},prediction,model\r\n", *(f"{at},{row},9.5,v1\r\n" for at, row in enumerate(rows, start=2))]
    rest = without_scores("".join(lines).encode(), "batch/out/a.csv/v1-e/scored.csv", sought, lambda _: False)
    assert rest.decode() == "".join([lines[0], *lines[2:]])


def test_a_file_that_no_contract_reads_loses_the_lines_that_hold_such_a_text(sought):
    body = b"what,is,this\nnorth bay,?,?\nsouth bay,?,?\n"
    assert without_inputs(body, "batch/in/b.csv", sought) is None
    rest = b"what,is,this\nsouth bay,?,?\n"
    assert erase._rest("batch/in/b.csv", body, found(set()), sought) == (rest, False)


LABELS = "inference_id;tank;length;site;rings\nr-1;5;0.25;north bay;9\nr-2;6;0.75;north bay;9\n;5;0.5;south bay;7\n"


@pytest.mark.parametrize("pack", [bytes, gzip.compress, bz2.compress])
@pytest.mark.parametrize("form", [str, lambda text: keyed(text.replace(";", ","))])
def test_a_labelled_row_goes_with_its_id_whatever_the_order_of_its_columns(sought, form, pack):
    body = form(LABELS)
    ending = ("" if body == LABELS else ".jsonl") + {bytes: "", gzip.compress: ".gz", bz2.compress: ".bz2"}[pack]
    path = f"monitor/labels/2026/a.csv{ending}" if body == LABELS else f"monitor/labels/2026/a{ending}"
    rest, gone = without_inputs(pack(body.encode()), path, sought)
    assert [line.values[-1] for line in gone] == [9]
    lines = rest.decode().splitlines()
    assert len(lines) == (3 if body == LABELS else 4)
    assert b"r-1" not in rest and b"r-2" in rest and b"south bay" in rest


def test_a_labelled_row_goes_by_its_inputs_whatever_its_label_says():
    rules = Rules.of(DOCUMENT)
    sought = Sought.of([DOCUMENT], Unwanted())
    sought.add(judge(2, "north bay,5,0.25,11", rules, Layout(order=(0, 1, 2, 3), width=4), UNSCORED_SPLIT), rules)
    rest, gone = without_inputs(LABELS.encode(), "monitor/labels/a.csv", sought)
    assert [line.cells[0] for line in gone] == ["r-1"]
    assert rest.decode() == LABELS.replace("r-1;5;0.25;north bay;9\n", "")


@pytest.mark.parametrize("body", ["inference_id,rings\nr-1,9\n", "inference_id,site,rings\nr-1,north bay,9\n"])
def test_labels_without_all_inputs_are_nobodys_row(sought, body):
    assert without_inputs(body.encode(), "monitor/labels/a.csv", sought) is None
