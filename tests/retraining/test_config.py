from pathlib import Path

import pytest
import yaml

from retraining.settings.model_config import ConfigError, load_model_config
from retraining.settings.periodic.cron import check_cron

ROOT = Path(__file__).resolve().parents[2]
SHIPPED = sorted((ROOT / "dags" / "models").glob("*/model.yaml"))


def write(folder: Path, change) -> Path:
    document = yaml.safe_load(SHIPPED[0].read_text())
    change(document)
    path = folder / "model.yaml"
    path.write_text(yaml.safe_dump(document, sort_keys=False))
    return path


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.parent.name)
def test_every_shipped_configuration_is_valid_and_named_as_its_folder(path):
    assert load_model_config(path).name == path.parent.name


@pytest.mark.parametrize(
    ("change", "place", "words"),
    [
        (lambda d: d.update(shedule={}), "shedule", "there is no such key"),
        (lambda d: d["training"].update(instance_typ="x"), "training.instance_typ", "there is no such key"),
        (lambda d: d["contract"]["columns"][1].update(min=2.0), "contract.columns.1", "impossible range"),
        (lambda d: d["contract"]["columns"][0].update(min=1), "contract.columns.0", "'min' and 'max' apply to numbers"),
        (lambda d: d["contract"]["columns"].append(dict(d["contract"]["columns"][1])), "contract", "declared twice"),
        (lambda d: d["contract"]["rules"][0].update(at_most="wieght"), "contract", "not a numeric column"),
        (
            lambda d: (d.pop("present"), d["contract"].update(target="sex")),
            "",
            "3 classes: write task: multiclass in place of task: regression",
        ),
        (
            lambda d: (d.pop("present"), d["contract"].update(target="colour")),
            "contract",
            "target 'colour' is not a column of the contract",
        ),
        (
            lambda d: d["contract"]["columns"][-1].update(type="date", min=None, max=None),
            "contract",
            "target 'rings' is a date: a target is a number, or a string whose classes 'allowed' lists",
        ),
        (
            lambda d: d["contract"]["columns"][0].update(allowed=["M", "F", "M"]),
            "contract.columns.0",
            "allows 'M' twice",
        ),
        (lambda d: d.update(split={"train": 80, "validation": 15, "test": 15}), "split", "add up to 110"),
        (lambda d: d.update(split={"by": "time"}), "split", "by: time needs a column"),
        (lambda d: d.update(split={"column": "sex"}), "split", "column 'sex' is read by: time only"),
        (lambda d: d.update(split={"by": "time", "column": "colour"}), "split", "'colour' is not a column of the"),
        (lambda d: d.update(split={"by": "time", "column": "sex"}), "split", "'sex' is a string: rows go by a date"),
        (lambda d: d.update(split={"by": "time", "column": "rings"}), "split", "'rings' is the target"),
        (
            lambda d: (
                d["contract"]["columns"].insert(0, {"name": "at", "type": "date", "nullable": True}),
                d.update(split={"by": "time", "column": "at"}),
            ),
            "split",
            "'at' is nullable: a row without a time",
        ),
        (
            lambda d: (
                d["contract"]["columns"].insert(0, {"name": "at", "type": "date"}),
                d["contract"].update(split_by=["sex"]),
                d.update(split={"by": "time", "column": "at"}),
            ),
            "split",
            "cannot keep the groups of contract.split_by together",
        ),
        (lambda d: d["gate"].update(required_odds=-1), "gate.required_odds", "greater than"),
        (lambda d: d["gate"]["guards"].update(auc=0.8), "gate", "auc is no metric of a regression task"),
        (lambda d: d["gate"].update(rmse_threshold=2.6), "gate", "rmse_threshold is no key any more"),
        (lambda d: d["evaluation"].update(group="colour"), "", "not a column of the contract"),
        (lambda d: d["training"]["candidates"].append(d["training"]["candidates"][0]), "training", "same name"),
        (lambda d: d.pop("deployment"), "deployment", "this key is missing"),
        (lambda d: d.update(landing={"new": "incoming/"}), "landing.new", "know new/ only"),
        (lambda d: d.update(landing={"raw": "new/"}), "landing.raw", "other than new/"),
        (lambda d: d.update(landing={"synthetic": "made/"}), "landing.synthetic", "only folders below new/"),
        (lambda d: d.update(schedule={"cron": "every day"}), "schedule.cron", "has 2 fields, not five"),
        (lambda d: d.update(schedule={"cron": "0 25 * * *"}), "schedule.cron", "'25' is no hour between 0 and 23"),
        (lambda d: d.update(name="abalone-"), "name", "is no name"),
        (lambda d: d.update(name="artifacts"), "name", "is taken"),
        (lambda d: d["deployment"].update(canary={"percent": 10}), "deployment", "ask for 10 instances"),
        (
            lambda d: d["deployment"].update(canary={"percent": 50}, instance_count=2, max_wait_seconds=40_000),
            "deployment",
            "AWS takes at most 28800",
        ),
    ],
)
def test_an_error_names_the_file_the_line_and_the_key(tmp_path, change, place, words):
    path = write(tmp_path, change)
    with pytest.raises(ConfigError) as caught:
        load_model_config(path)
    message = str(caught.value)
    assert words in message
    assert place in message
    line = int(message.split(f"{path}:", 1)[1].split(":", 1)[0])
    key = next((part for part in reversed(place.split(".")) if part and not part.isdigit()), None)
    if key and key in path.read_text():
        text = path.read_text().splitlines()[line - 1]
        assert key in text or text.lstrip().startswith("- ")


def classify(document, task, **target):
    document.update(task=task, gate={"guards": {"log_loss": 0.7}})
    document["contract"]["columns"][-1] = {"name": "rings", **target}


@pytest.mark.parametrize(
    ("task", "target", "words"),
    [
        ("binary", {"type": "int", "min": 0, "max": 1}, None),
        ("binary", {"type": "string", "allowed": ["few", "many"]}, None),
        ("multiclass", {"type": "string", "allowed": ["few", "some", "many"]}, None),
        ("binary", {"type": "int", "min": 1, "max": 40}, "task binary needs two classes"),
        ("multiclass", {"type": "int", "min": 0, "max": 3}, "task multiclass needs classes"),
        ("multiclass", {"type": "string", "allowed": ["few", "many"]}, "has 2 classes: write task: binary"),
        ("binary", {"type": "string", "allowed": ["a", "b", "c"]}, "has 3 classes: write task: multiclass"),
        ("multiclass", {"type": "string"}, "target 'rings' is a string: list its classes"),
        ("multiclass", {"type": "string", "allowed": ["many"]}, "target 'rings' is a string: list its classes"),
    ],
)
def test_a_target_fits_its_task(tmp_path, task, target, words):
    path = write(tmp_path, lambda document: classify(document, task, **target))
    if words is None:
        assert load_model_config(path).task == task
        return
    with pytest.raises(ConfigError, match=words):
        load_model_config(path)


def test_costs_are_those_of_two_classes(tmp_path):
    def costly(document):
        classify(document, "binary", type="int", min=0, max=1)
        document["costs"] = {"false_positive": 1, "false_negative": 4}

    costs = load_model_config(write(tmp_path, costly)).costs
    assert costs is not None
    assert costs.threshold == 0.2
    with pytest.raises(ConfigError, match="costs are those of a binary task's two classes, and this is a regression"):
        load_model_config(write(tmp_path, lambda document: document.update(costs={})))


def test_all_problems_are_listed_at_once(tmp_path):
    def change(document):
        document["gate"]["required_odds"] = -2
        document["training"]["colour"] = "red"

    with pytest.raises(ConfigError) as caught:
        load_model_config(write(tmp_path, change))
    assert len(str(caught.value).splitlines()) == 2


@pytest.mark.parametrize(
    ("text", "words"), [("a: [", "not valid YAML"), ("- a", "expected a mapping"), ("", "expected a mapping")]
)
def test_what_is_no_configuration_at_all_is_said_so(tmp_path, text, words):
    path = tmp_path / "model.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=words):
        load_model_config(path)


def test_a_missing_file_names_the_folder_and_the_remedy(tmp_path):
    with pytest.raises(ConfigError, match=r"needs a model\.yaml"):
        load_model_config(tmp_path / "model.yaml")


@pytest.mark.parametrize("cron", ["0 5 * * *", "*/15 8-18 * * mon-fri", "0 0 1,15 jan *", "@daily", "0 5 * * 7"])
def test_every_usual_cron_expression_passes(cron):
    check_cron(cron)


@pytest.mark.parametrize("cron", ["", "60 5 * * *", "0 5 * * fry", "0 5 0 * *", "*/0 * * * *", "0 5 * * * *", "@never"])
def test_what_the_scheduler_could_not_read_is_refused(cron):
    with pytest.raises(ValueError, match="cron"):
        check_cron(cron)
