"""The comparison of losses: weights by file, files as clusters, and the formula itself on all rows at once."""

import io

import numpy as np
import pytest
import row_blocks
from hypothesis import given, settings
from hypothesis import strategies as st

from lambda_functions.analyze_results import handler


def as_csv(challenger, champion, files) -> bytes:
    """Return rows whose losses are these; the predictions do not matter."""
    head = "row,truth,challenger,champion,loss_challenger,loss_champion,file\n"
    rows = zip(challenger, champion, files, strict=True)
    return (head + "".join(f"1,0,0,0,{float(a)!r},{float(b)!r},{f}\n" for a, b, f in rows)).encode()


def by_formula(challenger, champion, files, weights) -> dict:
    """Return the same by plain numpy over all rows."""
    w = np.asarray(weights)[files]
    d = challenger - champion
    mean = np.sum(w * d) / np.sum(w)
    rows = np.sum((w * (d - mean)) ** 2)
    clusters = sum(np.sum((w * (d - mean))[files == file]) ** 2 for file in np.unique(files))
    return {
        "n": len(d),
        "files": len(np.unique(files)),
        "weight": np.sum(w),
        "loss_challenger": np.sum(w * challenger) / np.sum(w),
        "loss_champion": np.sum(w * champion) / np.sum(w),
        "difference": mean,
        "standard_error": np.sqrt(max(rows, clusters)) / np.sum(w),
    }


@given(n=st.integers(2, 80), seed=st.integers(0, 10_000), files=st.integers(1, 9), block=st.integers(1, 30))
@settings(max_examples=60, deadline=None)
def test_the_stream_gives_what_the_formula_says(n, seed, files, block):
    rng = np.random.default_rng(seed)
    number = rng.integers(0, files, n) if seed % 2 else np.sort(rng.integers(0, files, n))
    challenger, champion = rng.exponential(1, n), rng.exponential(1, n) + rng.normal(0, 1, files)[number]
    weights = (0.5 ** rng.uniform(0, 9, files)).tolist()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(row_blocks, "BLOCK_ROWS", block)
        found = handler.analyze_csv(io.BytesIO(as_csv(challenger, champion, number)), weights=weights)["paired"]
    assert found == pytest.approx(by_formula(challenger, champion, number, weights), rel=1e-9, abs=1e-12)


def test_rows_that_move_together_are_no_independent_evidence():
    """Ten arrivals with an offset each: the error of rows alone would be several times too small."""
    rng = np.random.default_rng(0)
    shared, false = [], []
    for _ in range(400):
        number = np.repeat(np.arange(10), 50)
        gaps = rng.normal(0, 0.6, 10)[number] + rng.normal(0, 1, 500)
        paired = handler.analyze_csv(io.BytesIO(as_csv(gaps, gaps * 0, number)))["paired"]
        false.append(paired["difference"] / paired["standard_error"] < -1.645)
        naive = np.std(gaps) / np.sqrt(500)
        shared.append(paired["difference"] / naive < -1.645)
    assert np.mean(shared) > 0.25
    assert np.mean(false) < 0.11


def test_an_old_file_fades():
    body = as_csv([1.0] * 10 + [0.0] * 10, [0.0] * 10 + [1.0] * 10, [0] * 10 + [1] * 10)
    assert handler.analyze_csv(io.BytesIO(body), weights=[1.0, 1.0])["paired"]["difference"] == pytest.approx(0.0)
    paired = handler.analyze_csv(io.BytesIO(body), weights=[0.25, 1.0])["paired"]
    assert paired["difference"] == pytest.approx((0.25 - 1) / 1.25)
    assert paired["weight"] == pytest.approx(12.5)


def test_a_row_of_a_file_without_a_weight_is_an_error_that_names_the_lines():
    with pytest.raises(ValueError, match=r"lines 2 to 3: a row is of file 3, but the event has weights of 2 files"):
        handler.analyze_csv(io.BytesIO(as_csv([1, 2], [2, 1], [0, 3])), weights=[1.0, 1.0])
    with pytest.raises(ValueError, match=r"line 3: file is 'x', not the number of a file"):
        handler.analyze_csv(io.BytesIO(as_csv([1, 2], [2, 1], [0, "x"])))


@pytest.mark.parametrize("weights", [[0.0], [-1.0], [float("nan")], ["1"]])
def test_weights_are_numbers_above_0(weights):
    with pytest.raises(ValueError, match="'weights' must be a list of numbers above 0"):
        handler.analyze_csv(io.BytesIO(b""), weights=weights)
