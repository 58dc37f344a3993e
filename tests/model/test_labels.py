"""Labels of rows that a model was asked about: the files that hold them, what they are held against, and what a look makes of them."""

import base64
import gzip
import json

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_watching import COLUMNS, CONTRACT, OTHER_ROW, ROW, captured

from retraining.contract.refusal import FileRefused
from retraining.contract.rules import Contract
from retraining.inside.watching import labels
from retraining.inside.watching.captured import Tally, frames
from retraining.inside.watching.kept_answers import KeptAnswers, chunks, name_hashes, record_type, row_hashes
from retraining.inside.watching.labels import Reading, read_labels
from retraining.inside.watching.ledger import ENTRY, Ledger, Outcome

NOON = 1_772_366_400
HEADER = "sex,length,diameter,height,whole_weight,shucked_weight,viscera_weight,shell_weight"


def labels_of(tmp_path, text, name="a.csv", contract=CONTRACT, task="regression"):
    """Return the entries of a file, and what became of its lines."""
    path = tmp_path / "000000"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    reading = Reading()
    return read_labels(path, f"abalone/monitor/labels/{name}", contract, task, NOON, reading), reading


ODD_ANSWERS = [
    f'{{"predictions": {value}}}'
    for value in ("[null]", "[{}]", "[[[1], 2]]", "7", '["a"]', f"[1{'0' * 400}]", "[NaN]")
]


def kept(tmp_path, *lines) -> np.ndarray:
    path = tmp_path / "a.jsonl"
    path.write_text("\n".join(lines) + "\n")
    keeper = KeptAnswers(tmp_path / "answers.bin", ())
    list(frames([path], COLUMNS, CONTRACT, ("ui-",), Tally(), keeper))
    return np.concatenate([np.zeros(0, record_type(())), *chunks([tmp_path / "answers.bin"], ())])


def truth(value, name, kind="CSV"):
    event = {"groundTruthData": {"data": value, "encoding": kind}, "eventMetadata": {"eventId": name}}
    return json.dumps({**event, "eventVersion": "0"})


# What a look keeps of answers


def test_answers_are_kept_by_inference_id_else_event_id_and_of_several_rows_by_their_number(tmp_path):
    found = kept(
        tmp_path,
        captured(ROW, inferenceId="a"),
        captured(ROW, eventId="e"),
        captured(f"{ROW}\n{OTHER_ROW}", answer='{"predictions": [1.5, 2.5]}', inferenceId="b"),
        captured(ROW, inferenceId="ui-1"),
        captured(ROW, answer="", inferenceId="unanswered"),
        captured(f"{ROW}\n{OTHER_ROW}", answer='{"predictions": [1.5]}', inferenceId="short"),
        *(captured(ROW, answer=odd, inferenceId="odd") for odd in ODD_ANSWERS),
    )
    assert dict(zip(found["name"].tolist(), found["answer"][:, 0].tolist(), strict=True)) == dict(
        zip(name_hashes(["a", "e", "b:1", "b:2"]).tolist(), [9.5, 9.5, 1.5, 2.5], strict=True)
    )


def test_a_row_has_one_hash_however_it_was_written(tmp_path):
    cells = dict(zip([c.name for c in COLUMNS], ["M", 0.455, 0.365, 0.095, 0.514, 0.2245, 0.101, 0.15], strict=True))
    found = kept(
        tmp_path,
        captured(ROW),
        captured(ROW.replace("0.455", " 0.4550 ")),
        captured(json.dumps([cells]), "application/json", "JSON"),
        captured(f"{ROW}\n{OTHER_ROW}", answer='{"predictions": [1, 2]}'),
    )
    assert sorted(np.unique(found["row"], return_counts=True)[1].tolist()) == [1, 4]
    zeros = pd.DataFrame({"x": [0.0, -0.0, np.nan], "t": pd.Series(["", "", np.nan], dtype=object)})
    first, second, third = row_hashes(zeros)
    assert first == second != third


def test_a_classifier_answer_is_kept_as_its_probabilities(tmp_path):
    keeper = KeptAnswers(tmp_path / "x" / "answers.bin", ("no", "yes"))
    frame = pd.DataFrame({"x": [1.0, 2.0, 3.0, 4.0]})
    keeper.see(frame, ["a", "b", "c", "d"], [[0.25, 0.75], ["0.5", "0.5"], [1.0], None])
    [found] = chunks([tmp_path / "x" / "answers.bin"], ("no", "yes"))
    assert found["answer"].tolist() == [[0.25, 0.75], [0.5, 0.5]]
    assert found["name"].tolist() == name_hashes(["a", "b"]).tolist()


def test_half_a_record_at_the_end_is_passed_over(tmp_path):
    KeptAnswers(tmp_path / "a", ()).see(pd.DataFrame({"x": [1.0, 2.0]}), ["a", "b"], [1, 2])
    (tmp_path / "a").write_bytes((tmp_path / "a").read_bytes()[:-3])
    assert [part["answer"].tolist() for part in chunks([tmp_path / "a"], ())] == [[[1.0]]]


# Files of labels


def test_a_table_of_ids_and_targets_is_read_in_the_forms_of_the_contract(tmp_path):
    for text, name in (
        ("inference_id,rings\nx,7\ny,8\n", "a.csv"),
        ('\ufeffRings;"Inference ID"\r\n7;x\r\n\r\n8;y\r\n', "a.csv"),
        (gzip.compress(b"inference_id,rings\nx,7\ny,8\n", mtime=0), "a.csv.gz"),
        ('{"inference_id": "x", "rings": 7}\n{"inference_id": "y", "rings": 8}\n', "a.jsonl"),
    ):
        found, reading = labels_of(tmp_path, text, name)
        assert found["name"].tolist() == name_hashes(["x", "y"]).tolist(), name
        assert found["value"].tolist() == [7, 8]
        assert (reading.labels, reading.unreadable, found["row"].tolist()) == (2, 0, [0, 0])


def test_ground_truth_lines_of_model_monitor_are_read(tmp_path):
    several = base64.b64encode(b"3\n4\n").decode()
    lines = [
        truth("7", "x"),
        truth(" 8.0\n", "y"),
        truth("1\n2", "z"),
        truth(several, "b", "BASE64"),
        truth(5, "n", "JSON"),
    ]
    found, reading = labels_of(tmp_path, "\n".join(lines), "2026/03/01/07/a.jsonl")
    assert found["name"].tolist() == name_hashes(["x", "y", "z:1", "z:2", "b:1", "b:2", "n"]).tolist()
    assert found["value"].tolist() == [7, 8, 1, 2, 3, 4, 5]
    assert reading.unreadable == 0


def test_rows_without_an_id_go_by_their_inputs(tmp_path):
    answers = kept(tmp_path, captured(ROW, inferenceId="a"))
    found, _ = labels_of(tmp_path, f"{HEADER},rings\n{ROW},7\n")
    assert (found["name"].tolist(), found["row"].tolist()) == ([0], answers["row"].tolist())
    both, _ = labels_of(tmp_path, f"inference_id,{HEADER},rings\nq,{ROW},7\n,{OTHER_ROW},8\n")
    assert both["name"].tolist() == [name_hashes(["q"])[0], 0]
    assert both["row"][0] == answers["row"][0] and both["row"][1] != 0


def test_what_is_wrong_with_the_inputs_of_a_row_with_an_id_costs_their_help_only(tmp_path):
    found, reading = labels_of(
        tmp_path, f"inference_id,{HEADER},rings\nq,{ROW.replace('0.455', 'wide')},7\n,{ROW.replace('0.455', '')},8\n"
    )
    assert (found["name"].tolist(), found["row"].tolist(), reading.unreadable) == (name_hashes(["q"]).tolist(), [0], 1)


@pytest.mark.parametrize("value", ["", "NaN", "inf", "1e999", "seven", "-3", "7,5", '"7', "9" * 5000])
def test_a_target_that_is_none_is_named_with_its_line_and_costs_no_other(tmp_path, value):
    found, reading = labels_of(tmp_path, f"inference_id,rings\nx,7\ny,{value}\nz,9\n")
    assert found["value"].tolist() == [7, 9]
    assert reading.unreadable == 1 and "line 3" in reading.examples[0]
    found, reading = labels_of(tmp_path, "\n".join([truth("7", "x"), truth(value, "y")]))
    assert (found["value"].tolist(), reading.unreadable) == ([7], 1)


@pytest.mark.parametrize(
    ("text", "name", "reason"),
    [
        (b"", "a.csv", "no line is a label"),
        (b"x,7\ny,8\n", "a.csv", "header"),
        (b"inference_id,sex\nx,M\n", "a.csv", "lacks rings"),
        (b"rings,sex\n7,M\n", "a.csv", "have no inference_id, and to be found by their inputs they lack length"),
        (b"inference_id,rings\nx,\n", "a.csv", "no line is a label"),
        (b"inference_id,rings\n\xff\xfe,7\n", "a.csv", "not UTF-8"),
        (gzip.compress(b"inference_id,rings\nx,7\n", mtime=0)[:-9], "a.csv.gz", "corrupt gzip"),
        (gzip.compress(b"inference_id,rings\nx,7\n", mtime=0), "a.csv", "gzip content"),
        (b"PK\x03\x04 a workbook", "a.xlsx", ""),
        (b'{"groundTruthData": {}}\n', "a.jsonl", "no line is a label"),
        (b'{"groundTruthData": ' + b"[" * 200_000, "a.jsonl", "no line is a label"),
    ],
)
def test_a_file_that_holds_no_labels_is_refused_with_words(tmp_path, text, name, reason):
    with pytest.raises(FileRefused) as refused:
        labels_of(tmp_path, text, name)
    assert reason in refused.value.reason


def test_ground_truth_lines_that_are_none_cost_no_other(tmp_path):
    odd = [
        "no json",
        "[]",
        '{"groundTruthData": "7", "eventMetadata": {"eventId": "x"}}',
        truth(None, "x"),
        truth(True, "x", "JSON"),
        truth("7", ""),
        truth("7", {"a": 1}),
        truth("7", "x", "PARQUET"),
        truth("!", "x", "BASE64"),
    ]
    found, reading = labels_of(tmp_path, "\n".join([truth("7", "\ud800"), *odd, truth("8", "y")]))
    assert (len(found), reading.unreadable, len(reading.examples)) == (2, len(odd), 3)


def test_a_classification_has_the_place_of_its_class(tmp_path):
    columns = [{"name": "x", "type": "double"}, {"name": "kind", "type": "string", "allowed": ["a", "b"]}]
    contract = Contract.of({"columns": columns, "target": "kind"})
    found, reading = labels_of(tmp_path, "inference_id,kind\n1,b\n2,a\n3,c\n", contract=contract, task="binary")
    assert (found["value"].tolist(), reading.unreadable) == ([1, 0], 1)
    truths = Contract.of({"columns": [columns[0], {"name": "won", "type": "boolean"}], "target": "won"})
    found, _ = labels_of(tmp_path, "inference_id,won\n1,true\n2,no\n", contract=truths, task="binary")
    assert found["value"].tolist() == [1, 0]


def test_more_labels_than_can_be_remembered_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(labels, "MOST", 2)
    with pytest.raises(FileRefused, match="more than 2 labels"):
        labels_of(tmp_path, "inference_id,rings\nx,7\ny,8\nz,9\n")


# The ledger


def entries(*made, came=NOON) -> np.ndarray:
    """Return entries of (name, value) or (name, value, row); a name that ends in :1 has a second one."""
    found = np.zeros(len(made), dtype=ENTRY)
    for at, (name, value, *row) in enumerate(made):
        other = name.removesuffix(":1") if name.endswith(":1") else ""
        found[at] = (*name_hashes([name, other]), row[0] if row else 0, value, came, 0)
    return found


def answers(*made):
    """Return a source of answers (name, row, value)."""
    found = np.zeros(len(made), dtype=record_type(()))
    for at, (name, row, value) in enumerate(made):
        found[at] = (name_hashes([name])[0], row, (value,))
    return lambda: iter([found[:1], found[1:]])


def matched(book: Ledger, source, outcome: Outcome) -> list[tuple[float, float]]:
    values, found = book.match(source, outcome)
    return sorted(zip(values.tolist(), found[:, 0].tolist(), strict=True))


def test_labels_find_their_answer_by_name_by_the_first_rows_name_and_last_by_row():
    book, outcome = Ledger(), Outcome()
    book.take(entries(("a", 1), ("b:1", 2), ("", 3, 77), ("gone", 4, 88), ("late", 5)), outcome)
    source = answers(("a", 11, 1.5), ("b", 12, 2.5), ("c", 77, 3.5), ("d", 88, 4.5))
    assert matched(book, source, outcome) == [(1, 1.5), (2, 2.5), (3, 3.5), (4, 4.5)]
    assert (outcome.matched, outcome.waiting, outcome.repeated) == (4, 1, 0)
    assert matched(book, answers(("late", 5, 5.5)), outcome) == [(5, 5.5)]
    assert matched(book, answers(("late", 5, 5.5), ("a", 11, 1.5)), outcome) == []


def test_a_label_counts_once_and_of_two_that_differ_the_first():
    book, outcome = Ledger(), Outcome()
    book.take(entries(("a", 1), ("a", 1), ("a", 2), ("", 3, 77), ("", 3, 77)), outcome)
    assert (outcome.repeated, outcome.contradicting) == (2, 1)
    source = answers(("a", 11, 1.5), ("c", 77, 3.5), ("a", 12, 9.5))
    assert matched(book, source, outcome) == [(1, 1.5), (3, 3.5)]
    again = Outcome()
    book.take(entries(("a", 1), ("a", 7), ("", 1, 11), ("c", 3), ("a:1", 1), ("new", 4)), again)
    assert (again.repeated, again.contradicting) == (3, 1), "also by the row of a name, and by the name of a row"
    assert matched(book, source, again) == []
    assert (again.repeated, again.contradicting, again.waiting) == (4, 1, 1), "a:1 is a"


def test_a_row_that_waits_is_repeated_by_the_next_file_too():
    book, outcome = Ledger(), Outcome()
    book.take(entries(("", 3, 77)), outcome)
    book.take(entries(("", 3, 77), ("", 4, 77)), outcome)
    assert (len(book.entries), outcome.repeated, outcome.contradicting) == (1, 1, 1)


def test_what_waits_too_long_is_forgotten():
    book, outcome = Ledger(), Outcome()
    book.take(entries(("a", 1), ("b", 2)), outcome)
    matched(book, answers(("a", 1, 1.5)), outcome)
    book.take(entries(("c", 3), came=NOON + 10), outcome)
    book.forget(NOON + 1, outcome)
    assert (outcome.expired, len(book.entries)) == (1, 1)


def test_a_ledger_is_read_as_it_was_written(tmp_path):
    book = Ledger(entries(("a", 1), ("b:1", 2, 5)))
    book.write(tmp_path / "l")
    assert (Ledger.read(tmp_path / "l").entries == book.entries).all()
    assert len(Ledger.read(tmp_path / "none").entries) == 0


NAMES = st.sampled_from(["a", "b", "b:1", "c:2", ""])
ROWS = st.integers(1, 3)


@settings(deadline=None, max_examples=150)
@given(
    st.lists(st.tuples(NAMES, ROWS, st.integers(0, 2)), max_size=12),
    st.lists(st.tuples(st.sampled_from(["a", "b", "c:2", "d"]), ROWS), max_size=6, unique_by=lambda item: item[0]),
    st.integers(0, 12),
)
def test_however_labels_come_each_counts_once_and_each_answer_too(made, given_answers, cut):
    book, outcome, seen = Ledger(), Outcome(), []
    source = answers(*((name, row, at) for at, (name, row) in enumerate(given_answers)))
    for part in (made[:cut], made[cut:], made):
        book.take(entries(*((name, value, row) for name, row, value in part)), outcome)
        seen += book.match(source, outcome)[1][:, 0].tolist()
    assert len(seen) == len(set(seen)), "an answer counts once"
    assert outcome.matched == len(seen) == int((book.entries["counted"] == 1).sum())
    assert outcome.matched + outcome.repeated + outcome.contradicting + outcome.waiting == 2 * len(made)
    counted_names = book.entries["name"][book.entries["counted"] == 1]
    assert len(np.unique(counted_names)) == len(counted_names)
