import io
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from page_site import Site

from retraining.contract.reader import read
from retraining.inside import losses
from retraining.page import known_models, trying
from retraining.page.files import check, comparing, sending
from retraining.settings.model_config import load_model_config

ROOT = Path(__file__).resolve().parents[2]
GOOD = ROOT / "data" / "surveys" / "good" / "2025-03-02_north_bay.csv"
HEAD = "sex,length,diameter,height,whole_weight,shucked_weight,viscera_weight,shell_weight"
ROW = "M,0.5,0.4,0.1,0.6,0.2,0.1,0.15"


class Endpoint:
    """Stands in for the runtime client: answers each row by a function of it."""

    def __init__(self, answer: Callable[[list[dict[str, Any]]], Any]) -> None:
        self.answer = answer
        self.asked: list[int] = []

    def invoke_endpoint(self, **request: Any) -> dict[str, Any]:
        rows = json.loads(request["Body"])["instances"]
        self.asked.append(len(rows))
        assert request["InferenceId"].startswith("ui-")
        return {"Body": io.BytesIO(json.dumps(self.answer(rows)).encode())}


def heavy(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Return ten rings for each row and one more for a whole weight of a gram."""
    return {"predictions": [10 + row["whole_weight"] for row in rows]}


@pytest.fixture
def answering(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Endpoint]:
    def put(answer: Callable[[list[dict[str, Any]]], Any] = heavy) -> Endpoint:
        endpoint = Endpoint(answer)
        monkeypatch.setattr(known_models.KnownModel, "runtime", property(lambda self: endpoint))
        return endpoint

    return put


def compared(site: Site, content: str | bytes, name: str = "own.csv", status: int = 200) -> Any:
    body = content.encode() if isinstance(content, str) else content
    answer = site.ask("POST", "/models/abalone/comparisons", "viewer", params={"name": name}, content=body)
    assert answer.status_code == status, answer.text
    return answer.json()


def test_what_was_measured_stands_beside_what_is_predicted(site: Site, answering) -> None:
    answering()
    said = compared(site, f"{HEAD},rings\n{ROW},9\nF,0.5,0.4,0.1,0.8,0.2,0.1,0.15,12\n")
    assert said["labelled"] and not said["more"] and said["rejected"] == 0
    assert [row["line"] for row in said["rows"]] == [2, 3]
    assert [(row["actual"], row["prediction"]) for row in said["rows"]] == [(9, 10.6), (12, 10.8)]
    assert said["scores"]["rmse"] == pytest.approx(math.sqrt((1.6**2 + 1.2**2) / 2))
    assert said["scores"]["mae"] == pytest.approx(1.4)
    assert said["scores"]["bias"] == pytest.approx(0.2)
    assert said["scores"]["r2"] == pytest.approx(1 - (1.6**2 + 1.2**2) / 4.5)
    assert "features" not in said["rows"][0]


def test_rows_without_target_are_answered_and_not_compared(site: Site, answering) -> None:
    answering()
    said = compared(site, f"{HEAD}\n{ROW}\n")
    assert (said["labelled"], said["scores"]) == (False, None)
    assert said["rows"] == [{"line": 2, "prediction": 10.6, "probabilities": None}]


def test_bad_rows_are_told_and_not_asked_about(site: Site, answering) -> None:
    endpoint = answering()
    said = compared(site, f"{HEAD},rings\nX{ROW[1:]},9\n{ROW},9\n{ROW},\n")
    assert endpoint.asked == [1]
    assert said["rejected"] == 2 and said["reasons"] == {"sex: not one of M, F, I": 1, "rings: missing": 1}
    assert said["first"][0] == {"line": 2, "column": "sex", "value": "X", "reason": "sex: not one of M, F, I"}


@pytest.mark.parametrize(
    ("content", "reason"), [("a,b\n1,2\n", "2 columns, expected"), (b"PK\x03\x04", ""), ("<html></html>", "HTML")]
)
def test_a_file_of_something_else_is_refused_with_words(site: Site, answering, content, reason) -> None:
    endpoint = answering()
    said = compared(site, content)
    assert said["refused"] and said["remedy"] and not said["rows"] and not endpoint.asked
    assert reason in said["refused"] or "header" in said["refused"]


def test_a_file_with_no_row_asks_nobody(site: Site, answering) -> None:
    endpoint = answering()
    assert compared(site, f"{HEAD},rings\n")["rows"] == [] and compared(site, "")["scores"] is None
    assert not endpoint.asked


def test_a_long_file_is_asked_about_in_pieces_up_to_a_limit(site: Site, answering, monkeypatch) -> None:
    endpoint = answering()
    monkeypatch.setattr(comparing, "MOST", 5)
    monkeypatch.setattr(trying, "CELLS", 8 * 2)
    said = compared(site, f"{HEAD},rings\n" + f"{ROW},9\n" * 7)
    assert said["more"] and len(said["rows"]) == 5 and endpoint.asked == [2, 2, 1]


def test_the_model_is_asked_about_the_values_that_the_merge_would_store(site: Site, tmp_path: Path) -> None:
    config = load_model_config(ROOT / "dags" / "models" / "abalone" / "model.yaml")
    found = check.rows(GOOD, GOOD.name, config.contract.model_dump(), 10_000)
    from retraining.contract.layout import inspect
    from retraining.contract.rules import Contract

    contract = Contract.of(config.contract.model_dump())
    layout = inspect(lambda: GOOD.open("rb"), GOOD.name, contract)
    lines = [
        line for line in read(lambda: GOOD.open("rb"), GOOD.name, contract, layout, {"train": 100}) if not line.reasons
    ]
    assert [(row["line"], *row["features"].values(), row["actual"]) for row in found["rows"]] == [
        (line.number, *line.values) for line in lines
    ]


def test_classes_are_compared_by_label_and_probability() -> None:
    answers = [
        {"prediction": 1, "probabilities": {"0": 0.25, "1": 0.75}},
        {"prediction": 1, "probabilities": {"0": 0.0, "1": 1.0}},
    ]
    rows = [comparing.judged(actual, answer) for actual, answer in zip((1, 0), answers, strict=True)]
    assert [row["right"] for row in rows] == [True, False]
    assert comparing.scores(rows)["accuracy"] == 0.5
    assert comparing.scores(rows)["log_loss"] == pytest.approx((-math.log(0.75) - math.log(1e-15)) / 2)


def test_the_figures_are_those_of_the_evaluation() -> None:
    """The page may not import numpy, so it counts by itself."""
    chance = np.random.default_rng(7)
    truth, said = chance.normal(10, 3, 50), chance.normal(10, 3, 50)
    rows = [
        comparing.judged(actual, {"prediction": one, "probabilities": None})
        for actual, one in zip(truth, said, strict=True)
    ]
    expected = losses.metrics("regression", truth, losses.scored("regression", truth, said))
    assert comparing.scores(rows) == {name: pytest.approx(expected[name]) for name in ("rmse", "mae", "bias", "r2")}

    classes = ("low", "middle", "high")
    shares = chance.dirichlet([1, 1, 1], 50)
    shares[0] = (0, 1, 0)
    at = chance.integers(0, 3, 50)
    at[0] = 0
    scored = losses.scored("multiclass", at, shares, classes)
    rows = [
        comparing.judged(classes[true], {"prediction": label, "probabilities": dict(zip(classes, row, strict=True))})
        for true, label, row in zip(at, scored.values, shares, strict=True)
    ]
    expected = losses.metrics("multiclass", at, scored)
    assert comparing.scores(rows) == {name: pytest.approx(expected[name]) for name in ("log_loss", "accuracy")}


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (lambda rows: {"predictions": [1.0] * (len(rows) + 1)}, "2 answers for 1 rows"),
        (lambda rows: {"predictions": ["nine"]}, "is no number"),
        (lambda rows: {"predictions": [True]}, "is no number"),
        (lambda rows: [], "no predictions"),
    ],
)
def test_odd_answers_are_named(site: Site, answering, answer, words) -> None:
    answering(answer)
    assert words in compared(site, f"{HEAD},rings\n{ROW},9\n", status=503)["detail"]


def test_what_only_a_job_can_take_is_told_with_its_folder(site: Site, monkeypatch) -> None:
    monkeypatch.setattr(sending, "find_spec", lambda name: None)
    assert compared(site, b"PAR1", "own.parquet", 413)["detail"].endswith("/abalone/batch/in/")
    monkeypatch.setattr(sending, "LARGEST", 1000)
    assert compared(site, b"x" * 1001, status=413)["detail"].endswith("/abalone/batch/in/")
