"""``make new-model``: what it makes of ten kinds of files, that the result takes the file, and what it refuses with words."""

import gzip
import random
import runpy
import shlex
from pathlib import Path

import pytest
import yaml

from retraining.command.new_model import check, folder, proposal
from retraining.command.new_model.__main__ import main, name_of
from retraining.command.new_model.columns import columns_of
from retraining.contract.rules import Contract
from retraining.contract.verdict import MERGED, judge_file
from retraining.settings.model_config import ModelConfig, load_model_config

ROWS = 240


@pytest.fixture
def make(tmp_path, capsys):
    """Write a file, make a model of it; return its configuration and what was printed, after the merge's rules took the file whole."""

    def made(text: str | bytes, target: str, *more: str, name: str = "sample.csv") -> tuple[ModelConfig, str]:
        path = tmp_path / name
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        dags = tmp_path / "dags"
        code = main([str(path), target, "--dags", str(dags), *more])
        said = capsys.readouterr()
        assert code == 0, said.err
        config = load_model_config(dags / "models" / "sample" / "model.yaml")
        for kind in ("retraining", "rollback", "batch", "monitor"):
            compile((dags / f"sample_{kind}.py").read_text(), kind, "exec")
        contract = Contract.of(config.contract.model_dump())
        verdict = judge_file(
            lambda: path.open("rb"), path.name, path.stat().st_size, contract, config.split.model_dump()
        )
        assert verdict.outcome == MERGED, verdict.reason
        return config, said.out

    return made


def test_each_dag_file_makes_its_dag(make, tmp_path):
    dice = random.Random(3)
    rows = (f"{dice.gauss(50, 9):.2f},{dice.gauss(200, 30):.1f}\n" for _ in range(200))
    make(f"size,price\n{''.join(rows)}", "price")
    for kind in ("retraining", "rollback", "batch", "monitor"):
        assert runpy.run_path(str(tmp_path / "dags" / f"sample_{kind}.py"))["dag"].dag_id == f"sample_{kind}"


def test_rows_without_a_target_are_named_and_have_room_in_the_budget(make):
    dice = random.Random(3)
    rows = (f"{dice.gauss(50, 9):.2f},{'' if row % 10 == 0 else f'{dice.gauss(200, 30):.1f}'}\n" for row in range(200))
    config, said = make(f"size,price\n{''.join(rows)}", "price")
    assert "the target; 20 rows have none and are set aside" in said
    assert config.contract.bad_rows.max_share == 0.15


@pytest.fixture
def refused(tmp_path, capsys):
    """Ask for a model that cannot be made; return the sentence, after a look that nothing was written."""

    def said(text: str | bytes, target: str, *more: str, name: str = "sample.csv") -> str:
        path = tmp_path / name
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        assert main([str(path), target, "--dags", str(tmp_path / "dags"), *more]) == 2
        assert not (tmp_path / "dags").exists()
        printed = capsys.readouterr()
        assert printed.out == ""
        assert printed.err.count("\n") == 1
        return printed.err

    return said


def table(header: str | None, line, rows: int = ROWS) -> str:
    """Return a CSV of lines that a function of row number and dice makes."""
    dice = random.Random(7)
    return "\n".join([*([header] if header else []), *(line(number, dice) for number in range(rows))]) + "\n"


def column(config: ModelConfig, name: str):
    return next(column for column in config.contract.columns if column.name == name)


def test_numbers_with_comma_between_semicolons_and_headings_of_people(make):
    text = table(
        "Länge (mm);Gewicht;Preis",
        lambda n, d: f"{d.uniform(1, 9):.2f};{d.uniform(10, 99):.1f};{d.uniform(1, 5):.2f}".replace(".", ","),
    )
    config, said = make(text, "Preis")
    assert (config.task, config.contract.csv.decimal) == ("regression", ",")
    assert [column.type for column in config.contract.columns] == ["double"] * 3
    assert column(config, "lange_mm").aliases == ("Länge (mm)",)
    assert list(config.gate.guards) == ["rmse"]
    assert 0.5 < config.gate.guards["rmse"] < 2
    assert "task regression" in said


def test_a_file_without_header_names_its_target_by_position(make):
    config, _ = make(table(None, lambda n, d: f"{d.choice('MFI')},{d.random():.3f},{d.randint(1, 29)}"), "3")
    assert (config.contract.target, config.task) == ("column_3", "regression")
    assert column(config, "column_1").allowed == ("F", "I", "M")
    assert config.evaluation.group == "column_1"


def test_words_for_gaps_and_codes_that_are_no_numbers(make):
    def line(number, dice):
        income = "NA" if number % 9 == 0 else f"{dice.randint(1000, 9000)}"
        region = "NA" if number % 4 == 0 else dice.choice(["EU", "AS"])
        return f"{income},{dice.randint(0, 99):05},{region},{'?' if number % 7 == 0 else dice.choice('ab')},{dice.choice(['no', 'yes'])}"

    config, said = make(table("income,zip,region,kind,left", line), "left")
    income, postcode, region, kind = (column(config, name) for name in ("income", "zip", "region", "kind"))
    assert (income.type, income.nullable, postcode.type) == ("int", True, "string")
    assert region.allowed == ("AS", "EU", "NA"), "a region may be called NA"
    assert (kind.allowed, kind.nullable, region.nullable) == (("a", "b"), True, False)
    assert config.contract.missing == ("?", "NA")
    assert "words for a missing value: ?, NA" in said


def test_ids_constants_and_leaks_are_left_out_with_a_reason(make):
    def line(number, dice):
        price = dice.uniform(10, 90)
        return f"{number},{number + 1},acme,{dice.random():.3f},{price * 100:.0f},{-2 * price:.4f},{price:.4f}"

    config, said = make(table(",row_id,firm,x,cents,debt,price", line), "price")
    assert [column.name for column in config.contract.columns] == ["x", "price"]
    assert set(config.contract.ignore) == {"", "row_id", "firm", "cents", "debt"}
    assert said.count("a leak") == 2
    assert said.count("an id") == 2
    assert "every row says acme" in said


def test_a_code_of_the_class_is_a_leak_and_a_good_predictor_is_none(make):
    def line(number, dice):
        label = number % 2
        return (
            f"{label},{label * 2 + dice.gauss(0, 1):.3f},{label * 100 + dice.random():.3f},{['small', 'large'][label]}"
        )

    config, said = make(table("code,hint,apart,size", line), "size")
    assert [column.name for column in config.contract.columns] == ["hint", "size"]
    assert said.count("a leak") == 2


def test_dates_sentences_and_truth_values(make):
    def line(number, dice):
        day = f"2024-{dice.randint(1, 12):02}-{dice.randint(1, 28):02}"
        note = f"patient {number} came in on a rainy day and left {number % 5} hours later"
        seen, smoker = f"{dice.randint(1, 28)}/{dice.randint(1, 12)}/2024", dice.choice(["true", "false"])
        return f"{day},{day}T08:30:00Z,{seen},{note},{smoker},{dice.random():.4f}"

    config, said = make(table("day,at,seen,note,smoker,dose", line), "dose")
    assert [column.type for column in config.contract.columns] == ["date", "timestamp", "boolean", "double"]
    assert set(config.contract.ignore) == {"seen", "note"}
    assert "dates in another form" in said


def test_three_hundred_columns(make):
    names = ",".join(f"f{number}" for number in range(300))
    config, _ = make(table(names, lambda n, d: ",".join(f"{d.random():.3f}" for _ in range(300))), "f299")
    assert len(config.contract.columns) == 300


def test_three_classes_as_codes_or_as_texts_or_as_you_say(make):
    config, said = make(table("x,grade", lambda n, d: f"{d.random():.3f},{n % 3}"), "grade")
    assert (config.task, column(config, "grade").allowed) == ("multiclass", ("0", "1", "2"))
    assert "TASK=regression" in said
    assert config.gate.guards["log_loss"] == pytest.approx(1.1)


@pytest.mark.parametrize("task", ["regression", "count"])
def test_a_task_that_is_given_wins(make, task):
    config, _ = make(table("x,grade", lambda n, d: f"{d.random():.3f},{n % 3}"), "grade", "--task", task)
    assert (config.task, column(config, "grade").type, column(config, "grade").min) == (task, "int", 0)


def test_counts(make):
    visits = lambda d: min(int(d.expovariate(0.4)), 40)  # noqa: E731
    config, _ = make(table("x,visits", lambda n, d: f"{d.random():.3f},{visits(d)}"), "visits")
    assert (config.task, list(config.gate.guards)) == ("count", ["deviance"])


def test_cells_with_line_ends_and_quotes_in_a_packed_file(make):
    text = table('x,"said, so",left', lambda n, d: f'{d.random():.3f},"{d.choice(["a", "b"])}, ""c""\nd",{n % 2}')
    config, _ = make(gzip.compress(text.encode()), "left", name="sample.csv.gz")
    assert config.contract.csv.multiline
    assert (config.task, column(config, "left").max) == ("binary", 1)
    assert column(config, "said_so").aliases == ("said, so",)


def test_a_file_with_another_separator_hint_and_columns_named_as_those_of_the_data_set(make):
    text = "sep=;\n" + table(
        "source;Split;x;y", lambda n, d: f"{d.choice('ab')};{d.choice('cd')};{d.random():.3f};{d.random():.3f}"
    )
    config, _ = make(text, "y")
    assert [column.name for column in config.contract.columns] == ["source_value", "split_value", "x", "y"]


GOOD = table("x,y", lambda n, d: f"{d.random():.3f},{d.random():.3f}")


@pytest.mark.parametrize(
    ("text", "target", "words"),
    [
        (GOOD, "z", "there is no column 'z'; there are x, y"),
        (table("length,price", lambda n, d: f"{d.random()},{d.random()}"), "prices", "did you mean TARGET=price?"),
        (table(None, lambda n, d: f"{d.random():.3f},{d.random():.3f}"), "y", "no header"),
        (
            table("x,y", lambda n, d: f"{d.random():.3f},{d.random():.3f}", 60),
            "y",
            "60 rows have a value of y: at least 100",
        ),
        (table("x,y", lambda n, d: f"{d.random():.3f},same"), "y", "every row says same for y"),
        (
            table("x,y", lambda n, d: f"{d.random():.3f},{'rare' if n < 3 else 'ab'[n % 2]}"),
            "y",
            "fewer than 10 rows, too few",
        ),
        (table("x,y", lambda n, d: f"{d.random():.3f},name{n}"), "y", "240 different texts"),
        (table("x,y", lambda n, d: f"{d.random():.3f},2024-01-{n % 28 + 1:02}"), "y", "y holds dates"),
        (table("x,y", lambda n, d: f"{d.random():.3f},{'' if n % 3 else n}"), "y", "80 rows have a value"),
        (table("x", lambda n, d: f"{d.random():.3f}"), "x", "has one column"),
        (table("a b,a_b,y", lambda n, d: f"{d.random():.3f},{d.random():.3f},{d.random():.3f}"), "y", "rename one"),
        (
            table("x,y", lambda n, d: f"same,{d.random():.3f}"),
            "y",
            "no column is left to learn from (x: every row says same",
        ),
        ("", "y", "empty"),
        ("x,y\n", "y", "a header and no rows"),
        (b"PK\x03\x04xl/", "y", "an Excel file, not CSV"),
        (GOOD.encode().replace(b"0.", b"\xff.", 1), "y", "encoding is not UTF-8"),
    ],
)
def test_what_cannot_be_is_said_in_one_line_and_nothing_is_written(refused, text, target, words):
    assert words in refused(text, target)


@pytest.mark.parametrize(
    ("task", "words"),
    [
        ("multiclass", "y has 240 values: TASK=multiclass, or"),
        ("count", "y does not hold whole numbers from 0 on"),
    ],
)
def test_a_task_that_does_not_fit_is_refused(refused, task, words):
    text = "x,y\n" + "".join(f"{number},{number + 0.5}\n" for number in range(ROWS))
    said = refused(text, "y", "--task", task)
    assert words in said or "more than the 50 that are taken for classes" in said


def test_a_file_of_another_notation_is_named(refused):
    assert "sample.jsonl is no CSV file" in refused('{"x": 1, "y": 2}\n' * 200, "y", name="sample.jsonl")


@pytest.mark.parametrize("word", ["No", "off", "ON", "yes", "null", "true"])
def test_a_heading_that_yaml_takes_for_another_value_is_a_name(make, tmp_path, capsys, word):
    text = table(f"size,{word},price", lambda n, d: f"{d.uniform(1, 9):.2f},{d.choice('ab')},{d.uniform(1, 5):.2f}")
    config, _ = make(text, "price")
    assert column(config, word.lower()).allowed == ("a", "b")
    assert config.evaluation.group == word.lower()
    path, dags = tmp_path / "sample.csv", tmp_path / "other"
    assert main([str(path), word, "--name", word.lower(), "--dags", str(dags)]) == 0, capsys.readouterr().err
    config = load_model_config(dags / "models" / word.lower() / "model.yaml")
    names = (config.name, config.contract.target, config.deployment.endpoint)
    assert names == (word.lower(),) * 3


@pytest.mark.parametrize("number", [1e30, 1e-7, -2e-9, 1.5e300, 0.25, 7, -3])
def test_a_limit_is_a_number_to_yaml_however_it_is_written(number):
    assert yaml.safe_load(folder._flow({"max": number})) == {"max": number}


def test_a_proposal_that_is_no_valid_model_yaml_is_said_in_one_line(refused, monkeypatch):
    monkeypatch.setattr(check, "model_yaml", lambda *_: "name: sample\ntask: magic\n")
    said = refused(table("a,b", lambda n, d: f"{d.random()},{d.random()}"), "b")
    assert "no model.yaml can be made of the file that is valid: model.yaml:2: task: " in said


def test_nothing_is_overwritten(make, tmp_path, capsys):
    make(GOOD, "y")
    before = {path: path.read_bytes() for path in (tmp_path / "dags").rglob("*") if path.is_file()}
    assert main([str(tmp_path / "sample.csv"), "y", "--dags", str(tmp_path / "dags")]) == 2
    assert "exists, and nothing is overwritten" in capsys.readouterr().err
    assert {path: path.read_bytes() for path in (tmp_path / "dags").rglob("*") if path.is_file()} == before


@pytest.mark.parametrize(
    ("heading", "name"),
    [
        ("Größe (m²)", "grosse_m2"),
        ("  Straße ", "strasse"),
        ("numéro_d'ordre", "numero_d_ordre"),
        ("温度", "c"),
        ("1st", "c_1st"),
    ],
)
def test_a_heading_keeps_its_letters_in_its_name(heading, name):
    assert proposal._name(heading, {}) == name


def test_the_next_command_runs_as_it_is_printed(tmp_path, capsys):
    file = tmp_path / "it's $HOME of 2026.csv"
    file.write_text(GOOD)
    assert main([str(file), "y", "--name", "printed", "--dags", str(tmp_path / "dags")]) == 0
    words = shlex.split(capsys.readouterr().out.rpartition("then: ")[2])
    assert words == ["make", "retrain", f"FILE={str(file).replace('$', '$$')}", "MODEL=printed"]


def test_a_name_is_made_of_the_file_or_checked():
    assert name_of(None, Path("2024 Penguins (v2).csv.gz")) == "model-2024-penguins-v2"
    assert name_of("my-model", Path("x.csv")) == "my-model"


def test_a_word_that_is_a_number_is_a_gap_only_where_it_stands_out():
    columns, _ = columns_of(["weight", "degrees"], [["-999", "-999"], ["5", "-3"], ["7", "4"]] * 10)
    assert [column.gaps for column in columns] == [10, 0]
    assert columns[1].limits[0] < -999
