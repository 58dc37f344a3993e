"""Test error and training time of the shipped pipelines, the published network's recipe and a linear baseline.

    python benchmarks/bench_model.py [--output .local/bench] [--algorithms svr_hgb linear ...] [--gate-draws 4000] [--trainer-splits 10]

Every model is judged on all 4,177 rows of the data (the two with height 0 and the two with height above 0.3 included)
in two ways: ten random 80/20 splits (mean RMSE, standard error from the spread over splits) and pooled 10-fold
cross-validation (RMSE of all out-of-fold errors, standard error from their squares). All models see the same splits.
Seconds are processor time with one thread. The published network runs on Keras when TensorFlow is installed; without
it, as scikit-learn's closest equivalent, and is labelled so. Then the promotion gate is benchmarked on such errors
(``bench_gate``), and the trainers in the box on data sets of every task (``bench_trainers``).
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.model_selection import KFold, ShuffleSplit

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "plugins")]  # so that it also runs as a plain script

from benchmarks import bench_gate, bench_trainers  # noqa: E402
from benchmarks.abalone_data import (  # noqa: E402
    Data,
    PublishedNetworkEquivalent,
    Regressor,
    fit_on_one_core,
    load,
    rmse,
    rmse_difference,
    shipped,
)
from benchmarks.figures import note  # noqa: E402
from local_stack import layout  # noqa: E402

SPLITS = 10
FOLDS = 10
DEFAULT = "svr_hgb"
TARGETS = {"splits": 2.10, "cross_validation": 2.06, "seconds": 3.0}


def algorithms() -> dict[str, tuple[str, Callable[[], Regressor]]]:
    """Return label and maker of each model that can be trained here."""
    models = {
        "svr_hgb": ("svr_hgb (default)", shipped("svr_hgb")),
        "svr_hgb_mlp": ("svr_hgb_mlp", shipped("svr_hgb_mlp")),
        "linear": ("linear", shipped("linear")),
        "published": ("published network, scikit-learn equivalent", PublishedNetworkEquivalent),
    }
    if importlib.util.find_spec("tensorflow"):
        models["keras"] = ("published network, Keras", shipped("keras"))
    return models


def measure(make: Callable[[], Regressor], data: Data) -> dict[str, Any]:
    """Return errors, their standard errors, seconds per fit and the out-of-fold predictions of one model."""
    errors, seconds = [], []
    for training, test in ShuffleSplit(SPLITS, test_size=0.2, random_state=0).split(data.inputs):
        model, taken = fit_on_one_core(make, data, training)
        errors.append(rmse(data.target[test], model.predict(data.inputs.iloc[test])))
        seconds.append(taken)
    predictions = np.empty_like(data.target)
    for training, test in KFold(FOLDS, shuffle=True, random_state=0).split(data.inputs):
        model, _ = fit_on_one_core(make, data, training)
        predictions[test] = model.predict(data.inputs.iloc[test])
    pooled = rmse(data.target, predictions)
    squares = (predictions - data.target) ** 2
    return {
        "splits": float(np.mean(errors)),
        "splits_se": float(np.std(errors, ddof=1) / np.sqrt(SPLITS)),
        "cross_validation": pooled,
        "cross_validation_se": float(np.std(squares, ddof=1) / np.sqrt(len(squares)) / (2 * pooled)),
        "bias": float(np.mean(predictions - data.target)),
        "seconds": float(np.mean(seconds)),
        "predictions": predictions,
    }


def report(results: Mapping[str, Mapping[str, Any]], data: Data) -> bool:
    """Print the table and return whether the default pipeline meets its targets."""
    print(
        f"RMSE on all {len(data.target)} rows, standard error in brackets; difference to the default on the same rows"
    )
    print(f"{'model':<46}{'10 splits':>16}{'10-fold CV':>16}{'difference':>18}{'bias':>8}{'s/fit':>8}")
    for name, result in results.items():
        difference = ""
        if name != DEFAULT and DEFAULT in results:
            gap, error = rmse_difference(data.target, result["predictions"], results[DEFAULT]["predictions"])
            difference = f"{gap:+.3f} ({error:.3f})"
        print(
            f"{result['label']:<46}"
            f"{result['splits']:>8.3f} ({result['splits_se']:.3f})"
            f"{result['cross_validation']:>8.3f} ({result['cross_validation_se']:.3f})"
            f"{difference:>18}{result['bias']:>+8.3f}{result['seconds']:>8.2f}"
        )
    if DEFAULT not in results:
        return True
    met = all(results[DEFAULT][name] <= limit for name, limit in TARGETS.items())
    wanted = ", ".join(f"{name} <= {limit}" for name, limit in TARGETS.items())
    print(f"targets of the default ({wanted}): {'met' if met else 'MISSED'}")
    return met


def plot(results: Mapping[str, Mapping[str, Any]], data: Data, path: Path) -> None:
    """Draw errors with their standard errors, and predicted against true for the default."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    figure, (left, right) = plt.subplots(1, 2, figsize=(12, 4.4), layout="constrained", width_ratios=[1.4, 1])
    labels = [result["label"] for result in results.values()]
    places = np.arange(len(labels))
    for shift, kind, label in ((-0.1, "splits", "10 random splits"), (0.1, "cross_validation", "pooled 10-fold CV")):
        values = [result[kind] for result in results.values()]
        spread = [result[f"{kind}_se"] for result in results.values()]
        left.errorbar(values, places + shift, xerr=spread, fmt="o", capsize=3, label=label)
    left.set_yticks(places, labels)
    left.invert_yaxis()
    left.set(xlabel="RMSE in rings (bars: one standard error)")
    left.legend()
    name = DEFAULT if DEFAULT in results else next(iter(results))
    right.plot(data.target, results[name]["predictions"], ".", markersize=2, alpha=0.5)
    right.axline((0, 0), slope=1, color="black", linewidth=1)
    right.set(xlabel="rings", ylabel="out-of-fold prediction", title=results[name]["label"])
    figure.savefig(path, dpi=150)


def main() -> int:
    """Run the benchmark; the exit code says whether the targets are met."""
    available = algorithms()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=layout.LOCAL / "bench")
    parser.add_argument("--algorithms", nargs="+", choices=list(available), default=list(available))
    parser.add_argument("--gate-draws", type=int, default=4000, help="0 leaves the gate out")
    parser.add_argument("--trainer-splits", type=int, default=bench_trainers.SPLITS, help="0 leaves the trainers out")
    args = parser.parse_args()
    args.output.mkdir(parents=True, exist_ok=True)
    data = load()
    results = {}
    for name in args.algorithms:
        label, make = available[name]
        print(f"training {label} ...", file=sys.stderr)
        results[name] = {"label": label, **measure(make, data)}
    met = report(results, data)
    if DEFAULT in results:
        names = {"splits": "random splits", "cross_validation": "cross-validation"}
        note({f"RMSE of the default, {words}": results[DEFAULT][name] for name, words in names.items()})
    document = {
        name: {key: value for key, value in result.items() if key != "predictions"} for name, result in results.items()
    }
    text = json.dumps({"rows": len(data.target), "targets": TARGETS, "models": document}, indent=2)
    (args.output / "model.json").write_text(text + "\n", encoding="utf-8")
    plot(results, data, args.output / "model.png")
    if args.gate_draws:
        met = bench_gate.benchmark(args.output, args.gate_draws) and met
    if args.trainer_splits:
        met = bench_trainers.run(bench_trainers.NAMES, args.trainer_splits) == 0 and met
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
