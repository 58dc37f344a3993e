"""Shapley values by their axioms, against the definition, and of models whose values are known in closed form."""

from functools import cache
from itertools import permutations

import numpy as np
import pandas as pd
import pytest

from retraining.contract.rules import Contract
from retraining.inside.explaining import shapley
from retraining.inside.explaining.background import (
    BACKGROUND_ROWS,
    chosen_background,
    read_background,
    write_background,
)
from retraining.inside.explaining.shapley import EXACT_COLUMNS, asked_rows, explain
from retraining.inside.job_file import inputs_of


def table(rows: int, columns: int, seed: int = 0) -> pd.DataFrame:
    """Return numbers with gaps in column 1, and texts in column 0."""
    random = np.random.default_rng(seed)
    made = {f"x{at}": random.normal(size=rows) for at in range(1, columns)}
    texts = pd.Series(random.choice(["a", "b", "c"], rows), dtype=object)
    frame = pd.DataFrame({"x0": texts, **made})
    frame.loc[random.random(rows) < 0.3, "x1"] = np.nan
    return frame


def bent(frame: pd.DataFrame) -> np.ndarray:
    """Answer two outputs in which columns act together; the last column plays no part, the two before it the same."""
    first = frame["x0"].map({"a": 0.0, "b": 1.0, "c": 3.0}).to_numpy(dtype=float)
    gap = frame["x1"].isna().to_numpy(dtype=float)
    names = list(frame.columns)
    twins = frame[names[-2]].to_numpy() * frame[names[-3]].to_numpy()
    own = frame["x2"].to_numpy()
    return np.column_stack([np.exp(0.3 * first + gap) * own + twins, first * gap - np.maximum(own, 0) + twins])


def by_definition(ask, row: pd.DataFrame, background: pd.DataFrame) -> np.ndarray:
    """Return the mean gain of each column over all orders in which the columns turn from a background row's value to the row's."""
    names = list(row.columns)

    @cache
    def worth(coalition: frozenset[int]) -> np.ndarray:
        mixed = background.copy()
        for at in coalition:
            mixed[names[at]] = pd.Series([row[names[at]].iloc[0]] * len(mixed), dtype=row[names[at]].dtype)
        return ask(mixed).mean(axis=0)

    orders = list(permutations(range(len(names))))
    total = np.zeros((len(names), 2))
    for order in orders:
        for turn, at in enumerate(order):
            total[at] += worth(frozenset(order[: turn + 1])) - worth(frozenset(order[:turn]))
    return total / len(orders)


def test_exact_values_are_the_mean_gain_over_all_orders():
    frame, background = table(3, 5), table(4, 5, seed=1)
    found = explain(bent, frame, bent(frame), background)
    assert found.errors is None
    for row in range(len(frame)):
        np.testing.assert_allclose(found.values[row], by_definition(bent, frame[row : row + 1], background), atol=1e-12)


@pytest.mark.parametrize("columns", [6, EXACT_COLUMNS, EXACT_COLUMNS + 1, 40])
def test_values_sum_to_the_answer_minus_the_base(columns):
    frame, background = table(3, columns), table(20, columns, seed=1)
    answers = bent(frame)
    found = explain(bent, frame, answers, background)
    np.testing.assert_allclose(found.base, bent(background).mean(axis=0))
    np.testing.assert_allclose(found.values.sum(axis=1), answers - found.base, atol=1e-9)


@pytest.mark.parametrize("columns", [6, 20])
def test_a_column_without_a_part_gets_nothing_and_columns_that_act_alike_the_same(columns):
    frame, background = table(4, columns), table(20, columns, seed=1)
    names = list(frame.columns)
    for rows in (frame, background):
        rows[names[-2]] = rows[names[-3]]  # twins in their values as well as in what they do
    found = explain(bent, frame, bent(frame), background)
    assert not found.values[:, -1].any()
    first, second = found.values[:, -2], found.values[:, -3]
    if columns <= EXACT_COLUMNS:
        np.testing.assert_allclose(first, second, atol=1e-12)
        return
    assert not found.errors[:, -1].any()
    spread = np.hypot(found.errors[:, -2], found.errors[:, -3])
    assert (np.abs(first - second) <= 5 * spread + 1e-12).all()


@pytest.mark.parametrize("columns", [8, 30])
def test_of_a_linear_model_the_value_is_the_weight_times_the_distance_from_the_mean(columns):
    random = np.random.default_rng(3)
    weights = random.normal(size=columns)
    frame, background = (
        pd.DataFrame(random.normal(size=(rows, columns)), columns=[f"x{at}" for at in range(columns)])
        for rows in (5, 20)
    )
    found = explain(lambda rows: rows.to_numpy() @ weights, frame, frame.to_numpy() @ weights, background)
    expected = weights * (frame - background.mean()).to_numpy()
    np.testing.assert_allclose(found.values[:, :, 0], expected, atol=1e-12)
    if found.errors is not None:
        assert found.errors.max() < 1e-12, "the order does not matter to a sum"


def test_sampled_values_lie_within_their_errors_of_the_exact_ones(monkeypatch):
    frame, background = table(12, 9), table(20, 9, seed=1)
    exact = explain(bent, frame, bent(frame), background)
    monkeypatch.setattr(shapley, "EXACT_COLUMNS", 1)
    monkeypatch.setattr(shapley, "EXACT_AMONG_MANY", 2)
    sampled = explain(bent, frame, bent(frame), background)
    assert exact.errors is None
    unsure = sampled.errors > 1e-12
    assert unsure[:, [0, 1, 2], 0].mean() > 0.5, "three columns act together in the first output"
    z = (sampled.values - exact.values)[unsure] / sampled.errors[unsure]
    assert 0.7 < np.sqrt(np.mean(z**2)) < 1.4
    np.testing.assert_allclose(sampled.values[~unsure], exact.values[~unsure], atol=1e-9)


@pytest.mark.parametrize("columns", [6, 20])
def test_a_row_has_the_same_values_whatever_is_asked_beside_it(columns, monkeypatch):
    frame, background = table(6, columns), table(20, columns, seed=1)
    whole = explain(bent, frame, bent(frame), background)
    one = frame[4:5].reset_index(drop=True)
    np.testing.assert_array_equal(explain(bent, one, bent(one), background).values[0], whole.values[4])
    monkeypatch.setattr(shapley, "CELLS", 50)
    np.testing.assert_allclose(explain(bent, one, bent(one), background).values[0], whole.values[4], atol=1e-12)


@pytest.mark.parametrize("columns", [1, 2, 6, 13, 300])
def test_the_model_answers_for_no_more_rows_than_announced(columns):
    background = pd.DataFrame(np.random.default_rng(1).normal(size=(20, columns))).rename(columns=str)
    row, asked = background[:1] + 5, []

    def ask(rows):
        asked.append(len(rows))
        return rows.to_numpy().sum(axis=1)

    found = explain(ask, row, row.to_numpy().sum(axis=1), background)
    assert np.isclose(found.values.sum(), 5 * columns + (background[:1].sum(axis=1) - background.sum(axis=1).mean())[0])
    assert sum(asked) - len(background) <= asked_rows(columns, len(background))


def test_background_rows_answer_like_the_training_rows_and_come_back_as_they_were(tmp_path):
    training = table(3000, 4)

    def ask(rows):
        return np.exp(rows["x2"].to_numpy())

    background = chosen_background(ask, training)
    assert len(background) == BACKGROUND_ROWS
    np.testing.assert_allclose(ask(background).mean(), ask(training).mean(), rtol=0.15)
    assert background["x1"].isna().any()
    kinds = {"x0": "string", "x1": "double", "x2": "double", "x3": "double"}
    columns = [{"name": name, "type": kind, "nullable": True} for name, kind in kinds.items()]
    contract = Contract.of({"columns": [*columns, {"name": "y", "type": "double"}], "target": "y"})
    write_background(tmp_path, background, inputs_of(contract))
    pd.testing.assert_frame_equal(read_background(tmp_path, inputs_of(contract), contract), background)
    assert read_background(tmp_path / "elsewhere", inputs_of(contract), contract) is None
    lines = (tmp_path / "background.csv").read_text().splitlines()
    assert lines[0].split(",")[2] == repr(float(background["x2"][0])), "as a request writes it, which erasing looks for"


def test_few_training_rows_are_all_the_background_and_of_classes_each_has_its_share():
    assert len(chosen_background(lambda rows: rows["x2"].to_numpy(), table(7, 4))) == 7
    training = table(2000, 4)
    shares = np.eye(3)[training["x0"].map({"a": 0, "b": 1, "c": 2}).to_numpy(dtype=int)]
    counts = chosen_background(lambda rows: shares[rows.index], training)["x0"].value_counts()
    assert set(counts.index) == {"a", "b", "c"}
    assert counts.min() >= BACKGROUND_ROWS // 3
