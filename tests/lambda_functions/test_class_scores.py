"""Scores of classifiers from streamed counts, against scikit-learn on all rows at once."""

import io
import tracemalloc

import numpy as np
import pytest
from sklearn import metrics

from lambda_functions.analyze_results import handler

HEAD = "row,truth,challenger,champion,group,loss_challenger,loss_champion,probability_challenger,probability_champion\n"
BINARY = ["no", "yes"]
THREE = ["a", "b", "c"]


def binary(n: int, seed: int, share: float, noise: float, shift: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    """Return truth (0, 1) and a model's probabilities of the second class."""
    rng = np.random.default_rng(seed)
    truth = (rng.random(n) < share).astype(int)
    score = 2.0 * truth + rng.normal(0, noise, n) + np.log(share / (1 - share)) + shift
    return truth, np.clip(1 / (1 + np.exp(-score)), 1e-12, 1 - 1e-12)


def as_csv(truth, probability, classes, groups=None, limit: float = 0.5) -> bytes:
    groups = ["g"] * len(truth) if groups is None else groups
    lines = []
    for y, p, group in zip(truth, probability, groups, strict=True):
        if len(classes) == 2:
            label, loss, text = int(p >= limit), -np.log([1 - p, p][y]), repr(float(p))
        else:
            label, loss, text = int(np.argmax(p)), -np.log(p[y]), " ".join(repr(float(value)) for value in p)
        lines.append(f"1,{classes[y]},{classes[label]},,{group},{float(loss)!r},,{text},\n")
    return (HEAD + "".join(lines)).encode()


def analyze(body: bytes, classes: list[str]) -> dict:
    return handler.analyze_csv(io.BytesIO(body), task="binary" if len(classes) == 2 else "multiclass", classes=classes)


@pytest.mark.parametrize(
    ("share", "noise", "shift"),
    [(0.5, 1.0, 0.0), (0.24, 2.0, 0.0), (0.01, 1.5, -3.0), (0.5, 9.0, 12.0), (0.3, 0.2, 0.0)],
)
def test_scores_of_two_classes_are_those_of_scikit_learn(share, noise, shift):
    truth, p = binary(20_000, 3, share, noise, shift)
    found = analyze(as_csv(truth, p, BINARY), BINARY)["challenger"]
    label = p >= 0.5
    assert found["auc"] == pytest.approx(metrics.roc_auc_score(truth, p), abs=1e-5)
    assert found["pr_auc"] == pytest.approx(metrics.average_precision_score(truth, p), abs=1e-4)
    assert found["accuracy"] == pytest.approx(metrics.accuracy_score(truth, label))
    assert found["balanced_accuracy"] == pytest.approx(metrics.balanced_accuracy_score(truth, label))
    assert found["f1"] == pytest.approx(metrics.f1_score(truth, label))
    assert found["log_loss"] == pytest.approx(metrics.log_loss(truth, p), rel=1e-9)
    assert found["brier"] == pytest.approx(metrics.brier_score_loss(truth, p))
    bands = np.minimum((p * 20).astype(int), 19)
    expected = sum(abs(np.sum(p[bands == band]) - np.sum(truth[bands == band])) for band in range(20)) / len(p)
    assert found["calibration_error"] == pytest.approx(expected)


def test_ties_of_leaves_count_half_as_they_must():
    rng = np.random.default_rng(0)
    p = rng.choice([0.1, 0.2, 0.20001, 0.7, 1.0, 0.0], 5000)
    truth = (rng.random(5000) < np.clip(p, 0.05, 0.95)).astype(int)
    body = as_csv(truth, np.clip(p, 1e-15, 1 - 1e-15), BINARY)
    assert analyze(body, BINARY)["challenger"]["auc"] == pytest.approx(metrics.roc_auc_score(truth, p), abs=1e-4)


def test_the_threshold_is_that_of_the_labels():
    truth, p = binary(4000, 1, 0.3, 1.5)
    found = analyze(as_csv(truth, p, BINARY, limit=1 / 6), BINARY)
    assert found["challenger"]["accuracy"] == pytest.approx(metrics.accuracy_score(truth, p >= 1 / 6))
    confusion = metrics.confusion_matrix(truth, p >= 1 / 6)
    assert found["curves"]["challenger"]["confusion"] == confusion.tolist()


def test_scores_of_three_classes_are_those_of_scikit_learn():
    rng = np.random.default_rng(5)
    truth = rng.choice(3, 6000, p=[0.6, 0.3, 0.1])
    score = rng.normal(0, 1, (6000, 3))
    score[np.arange(6000), truth] += 1.2
    p = np.exp(score) / np.exp(score).sum(axis=1, keepdims=True)
    result = analyze(as_csv(truth, p, THREE, groups=rng.choice(["x", "y"], 6000)), THREE)
    found, label = result["challenger"], p.argmax(axis=1)
    assert found["accuracy"] == pytest.approx(metrics.accuracy_score(truth, label))
    assert found["balanced_accuracy"] == pytest.approx(metrics.balanced_accuracy_score(truth, label))
    assert found["f1"] == pytest.approx(metrics.f1_score(truth, label, average="macro"))
    assert found["log_loss"] == pytest.approx(metrics.log_loss(truth, p), rel=1e-9)
    assert found["brier"] == pytest.approx(np.mean(np.sum((p - np.eye(3)[truth]) ** 2, axis=1)))
    assert found["auc"] == pytest.approx(metrics.roc_auc_score(truth, p, multi_class="ovr"), abs=1e-4)
    assert set(result["groups"]) == {"x", "y"}
    assert "auc" not in result["groups"]["x"]["challenger"]


def test_groups_have_scores_of_their_own():
    truth, p = binary(8000, 2, 0.4, 1.0)
    groups = np.where(np.arange(8000) % 3 == 0, "few", "many")
    found = analyze(as_csv(truth, p, BINARY, groups=groups), BINARY)["groups"]["few"]
    rows = groups == "few"
    assert found["n"] == rows.sum()
    assert found["challenger"]["auc"] == pytest.approx(metrics.roc_auc_score(truth[rows], p[rows]), abs=1e-3)
    assert found["champion"] is None


def test_what_the_rows_cannot_tell_is_none():
    found = analyze(as_csv([1, 1, 1], [0.9, 0.8, 0.3], BINARY), BINARY)["challenger"]
    assert found["auc"] is None
    assert found["accuracy"] == pytest.approx(2 / 3)
    found = analyze(as_csv([0, 0], [0.1, 0.2], BINARY), BINARY)["challenger"]
    assert (found["auc"], found["pr_auc"], found["f1"]) == (None, None, None)
    three = np.array([[0.5, 0.3, 0.2], [0.2, 0.5, 0.3]])
    assert analyze(as_csv([0, 1], three, THREE), THREE)["challenger"]["auc"] is None


GOOD = "1,no,yes,,g,0.5,,0.4,\n"


@pytest.mark.parametrize(
    ("body", "classes", "message"),
    [
        (HEAD.replace(",probability_champion", "") + GOOD, BINARY, "it lacks probability_champion"),
        (HEAD + GOOD + "1,maybe,yes,,g,0.5,,0.4,\n", BINARY, r"line 3: truth is 'maybe', not a class: no, yes"),
        (HEAD + GOOD + "1,no,maybe,,g,0.5,,0.4,\n", BINARY, r"line 3: challenger is 'maybe', not a class"),
        (
            HEAD + GOOD + "1,no,no,,g,0.5,,1.4,\n",
            BINARY,
            r"line 3: probability_challenger is '1\.4', a probability is not",
        ),
        (HEAD + GOOD + "1,no,no,,g,0.5,,nan,\n", BINARY, r"line 3: probability_challenger is 'nan'"),
        (HEAD + GOOD + "1,no,no,,g,inf,,0.5,\n", BINARY, r"line 3: loss_challenger is 'inf', not a finite number"),
        (HEAD + "1,a,a,,g,0.5,,0.5 0.5 0.5,\n", THREE, r"3 probabilities of 3 classes that add up to 1\.5"),
        (HEAD + "1,a,a,,g,0.5,,0.5 0.5,\n", THREE, r"2 probabilities of 3 classes"),
    ],
)
def test_a_malformed_row_is_an_error_that_names_it(body, classes, message):
    with pytest.raises(ValueError, match=message):
        analyze(body.encode(), classes)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ({"task": "ranking"}, "'task' is 'ranking', expected one of regression"),
        ({"task": "binary"}, "'classes' is None"),
        ({"task": "binary", "classes": THREE}, "binary has two"),
        ({"task": "regression", "classes": BINARY}, "a number none"),
    ],
)
def test_task_and_classes_have_to_fit(words, message):
    with pytest.raises(ValueError, match=message):
        handler.analyze_csv(io.BytesIO(HEAD.encode()), **words)


def test_counts_have_the_poisson_deviance():
    rng = np.random.default_rng(1)
    mu = rng.gamma(2, 2, 3000)
    truth = rng.poisson(mu)
    lines = "".join(f"1,{y},{float(m)!r},\n" for y, m in zip(truth, mu, strict=True))
    found = handler.analyze_csv(io.BytesIO(("row,truth,challenger,champion\n" + lines).encode()), task="count")
    assert found["challenger"]["deviance"] == pytest.approx(metrics.mean_poisson_deviance(truth, mu), rel=1e-9)
    with pytest.raises(ValueError, match="lines 2 to 2: the Poisson deviance needs counts and predictions above 0"):
        handler.analyze_csv(io.BytesIO(b"row,truth,challenger,champion\n1,2,0.0,\n"), task="count")


class Endless:
    """A body of ``rows`` rows that is made while it is read, so that only the reader can hold it."""

    def __init__(self, rows: int) -> None:
        self._parts = iter([HEAD.encode(), *([GOOD.encode() * 1000] * (rows // 1000))])

    def read(self, size: int) -> bytes:
        return next(self._parts, b"")


def test_memory_does_not_grow_with_the_rows():
    peaks = []
    for rows in (20_000, 80_000):
        tracemalloc.start()
        assert handler.analyze_csv(Endless(rows), task="binary", classes=BINARY)["n"] == rows
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.2 * peaks[0]
