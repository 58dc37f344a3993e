import features
import numpy as np
import pandas as pd
import pytest
from features import DenseNetwork, MatrixSVR, RatioFeatures, SmearedLogTarget
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import LinearRegression
from sklearn.svm import SVR

ROW = {
    "sex": "F",
    "length": 0.5,
    "diameter": 0.4,
    "height": 0.1,
    "whole_weight": 0.8,
    "shucked_weight": 0.4,
    "viscera_weight": 0.1,
    "shell_weight": 0.2,
}


def frame(*rows: dict) -> pd.DataFrame:
    return pd.DataFrame([ROW | row for row in rows])


def test_ratios_are_what_their_names_say():
    names = list(RatioFeatures().get_feature_names_out())
    values = dict(zip(names, RatioFeatures().fit_transform(frame({}))[0], strict=True))
    expected = {
        "length": 0.5,
        "log_height": np.log(0.1),
        "log_volume": np.log(0.02),
        "log_density": np.log(40),
        "shucked_share": 0.5,
        "viscera_share": 0.125,
        "shell_share": 0.25,
        "water_share": 0.125,
        "log_shell_to_shucked": np.log(0.5),
        "diameter_to_length": 0.8,
        "height_to_length": 0.2,
        "sex_M": 0,
        "sex_F": 1,
        "sex_I": 0,
    }
    assert {name: values[name] for name in expected} == pytest.approx(expected)


measurement = st.one_of(st.just(0.0), st.floats(0, 3, allow_subnormal=False))


@given(st.lists(st.fixed_dictionaries({name: measurement for name in features.MEASUREMENTS}), min_size=1, max_size=5))
@settings(max_examples=50, deadline=None)
def test_every_row_of_measurements_has_finite_features_zeros_too(rows):
    values = RatioFeatures().fit_transform(frame(*rows))
    assert values.shape == (len(rows), len(RatioFeatures().get_feature_names_out()))
    assert np.all(np.isfinite(values))


def test_a_rows_features_do_not_depend_on_other_rows(abalone):
    together = RatioFeatures().fit_transform(abalone)
    alone = RatioFeatures().fit_transform(abalone.iloc[[7]])
    assert np.array_equal(together[[7]], alone)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"sex": "X"}, r"row 2: sex is 'X', expected one of M, F, I"),
        ({"sex": None}, r"row 2: sex is nan"),
        ({"height": float("nan")}, r"row 2: height is nan, not a finite number"),
        ({"height": "tall"}, r"row 2: height is 'tall', not a finite number"),
        ({"whole_weight": float("inf")}, r"row 2: whole_weight is inf"),
    ],
)
def test_a_value_without_meaning_is_an_error_that_names_row_and_column(row, message):
    with pytest.raises(ValueError, match=message):
        RatioFeatures().transform(frame({}, row))


@pytest.mark.parametrize("column", ["sex", "height"])
def test_a_missing_column_is_named(column):
    with pytest.raises(ValueError, match=f"no column {column}"):
        RatioFeatures().transform(frame({}).drop(columns=column))


def test_smearing_predicts_the_mean_where_the_back_transformed_log_predicts_the_median():
    rng = np.random.default_rng(0)
    x = rng.uniform(0, 1, (20_000, 1))
    y = np.exp(1 + x[:, 0] + rng.normal(0, 0.8, len(x)))
    model = SmearedLogTarget(LinearRegression()).fit(x, y)
    assert model.smearing_ == pytest.approx(np.exp(0.8**2 / 2), rel=0.03)
    assert np.mean(model.predict(x)) == pytest.approx(np.mean(y), rel=0.01)
    assert np.mean(np.exp(model.regressor_.predict(x))) < 0.8 * np.mean(y)


def test_a_target_that_has_no_log_is_refused():
    with pytest.raises(ValueError, match=r"above 0"):
        SmearedLogTarget(LinearRegression()).fit([[1.0], [2.0]], [1.0, 0.0])


def test_network_inputs_have_length_one(abalone):
    inputs = features.network_inputs(abalone)
    assert inputs.shape == (len(abalone), len(features.NETWORK_INPUTS))
    assert np.linalg.norm(inputs, axis=1) == pytest.approx(1)


def test_the_dense_network_applies_relu_between_layers_and_none_at_the_end():
    width = len(features.NETWORK_INPUTS)
    hidden = np.zeros((width, 2))
    hidden[:, 0], hidden[:, 1] = 1, -1
    network = DenseNetwork([(hidden, np.array([0.5, 0.0])), (np.array([[2.0], [100.0]]), np.array([-9.0]))])
    rows = frame({}, {"sex": "I"})
    total = features.network_inputs(rows).sum(axis=1)
    assert network.predict(rows) == pytest.approx(2 * (total + 0.5) - 9)  # the second unit is negative, hence cut off


@pytest.mark.parametrize("rows", [1, MatrixSVR.BLOCK, MatrixSVR.BLOCK + 1, 1300])
def test_support_vectors_by_matrix_products_answer_as_scikit_learn_does(rows):
    generator = np.random.default_rng(0)
    known, new = generator.normal(size=(400, 6)), generator.normal(size=(rows, 6))
    fitted = MatrixSVR(gamma=0.3, C=2.0).fit(known, np.sin(known[:, 0]) + known[:, 1] ** 2)
    assert fitted.predict(new) == pytest.approx(SVR.predict(fitted, new), rel=1e-10, abs=1e-10)
