"""The trainers in the box against scikit-learn's defaults, a table for each data set.

    python benchmarks/bench_trainers.py [--splits 10] [--data adult abalone ...] [--trainers xgboost ...]

Random 80/20 splits; of the 80 some rows are the validation rows, as in a run: 5 of 100 of Adult, 15 of 100 of smaller data. The loss is
the task's: log loss, squared error, Poisson deviance. scikit-learn's defaults are histogram gradient boosting and a linear model on
standardised numbers and one-hot categories; they learn from the same training rows, and use no validation rows. ``xgboost`` is compared
with the first, ``keras_mlp`` with the second. The error is that of the mean over the splits; the difference is taken split by split.
Adult's targets are compared at their three digits. A trainer with a library of its own trains in its own environment, as in a run, and is
scored here; one whose environment is not set up is left out. ``keras_mlp``, which takes far longer than all others together, is measured
when it is named.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import joblib
import numpy as np
import pandas as pd
from sklearn import datasets, metrics
from sklearn.compose import make_column_transformer
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.linear_model import LogisticRegression, PoissonRegressor, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from threadpoolctl import threadpool_limits

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "plugins"), str(ROOT)]  # so that it also runs as a plain script

from local_aws.sagemaker import images  # noqa: E402
from local_stack import layout  # noqa: E402
from retraining.inside import job_file, losses, training  # noqa: E402
from retraining.inside.answers import model_answers  # noqa: E402
from retraining.settings.trainers import DEFAULTS, IMAGES, complete  # noqa: E402

SPLITS = 10
LARGE = 10_000
ADULT = {"log_loss": 0.283, "auc": 0.927, "accuracy": 0.868}
"""What the best trainer has to reach on Adult."""
ENVIRONMENTS = {trainer: images.ENVIRONMENTS[images.repository(image)] for trainer, image in IMAGES.items()}
BESIDE = {"xgboost": "hist_gradient_boosting", "keras_mlp": "linear"}
"""Which of scikit-learn's defaults a trainer is compared with, if not that of its own name."""
USUAL = [trainer for trainer in DEFAULTS if trainer != "keras_mlp"]
"""What is measured unless trainers are named."""


class Data(NamedTuple):
    """A data set as a run would see it."""

    name: str
    task: str
    frame: pd.DataFrame
    """Inputs and ``target``."""


def load(name: str) -> Data:
    """Return one of the data sets."""
    if name == "adult":
        return Data(name, "binary", pd.read_csv(ROOT / "data" / "adult.csv.gz").rename(columns={"income": "target"}))
    if name in ("abalone", "abalone-count"):
        frame = pd.read_csv(ROOT / "data" / "abalone.csv").rename(columns={"rings": "target"})
        return Data(name, "regression" if name == "abalone" else "count", frame)
    found = getattr(datasets, f"load_{name}")(as_frame=True).frame
    found.columns = [f"x{number}" for number in range(found.shape[1] - 1)] + ["target"]
    if name == "diabetes":
        return Data(name, "regression", found)
    found["target"] = [f"class {value}" for value in found["target"]]
    return Data(name, "binary" if found["target"].nunique() == 2 else "multiclass", found)


NAMES = ("adult", "abalone", "abalone-count", "diabetes", "breast_cancer", "wine", "digits")


def job_of(data: Data, trainer: str) -> job_file.Job:
    """Return the job that would train on a data set."""
    columns = []
    for name in data.frame:
        values = data.frame[name]
        text = not pd.api.types.is_numeric_dtype(values)
        columns.append(
            {"name": name, "type": "string", "allowed": sorted(set(values))}
            if text
            else {"name": name, "type": "double"}
        )
    contract = {"columns": columns, "target": "target"}
    document = {"step": "training", "model": data.name, "task": data.task, "contract": contract, "trainer": trainer}
    return job_file.as_job(document | {"hyperparameters": complete(trainer, {})})


def defaults(data: Data) -> dict[str, Callable[[], Any]]:
    """Return makers of scikit-learn's defaults."""
    inputs = data.frame.drop(columns="target")
    texts = [name for name in inputs if not pd.api.types.is_numeric_dtype(inputs[name])]
    numbers = [name for name in inputs if name not in texts]
    encoded = lambda: make_column_transformer(  # noqa: E731
        (OneHotEncoder(handle_unknown="ignore", sparse_output=False), texts), (StandardScaler(), numbers)
    )
    if data.task in ("binary", "multiclass"):
        trees, linear = HistGradientBoostingClassifier, lambda: LogisticRegression(max_iter=1000)
    else:
        trees = HistGradientBoostingRegressor
        linear = (lambda: PoissonRegressor(max_iter=1000)) if data.task == "count" else Ridge
    options: dict[str, Any] = {"loss": "poisson"} if data.task == "count" else {}
    return {
        "hist_gradient_boosting": lambda: make_pipeline(encoded(), trees(random_state=0, **options)),
        "linear": lambda: make_pipeline(encoded(), linear()),
    }


def parts(data: Data, splits: int) -> Iterator[tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]]:
    """Yield training, validation and test rows of each split."""
    frame = data.frame.astype(
        {name: object for name in data.frame if not pd.api.types.is_numeric_dtype(data.frame[name])}
    )
    for seed in range(splits):
        order = np.random.default_rng(seed).permutation(len(frame))
        rest, test = frame.iloc[order[len(frame) // 5 :]], frame.iloc[order[: len(frame) // 5]]
        watched = len(frame) // (20 if len(frame) > LARGE else 7)
        yield rest.iloc[watched:], rest.iloc[:watched], test


def trained(data: Data, trainer: str, splits: int) -> list[tuple[Any, float]]:
    """Return the models of a trainer, one for each split, and the processor seconds that each took; trains in this environment."""
    job, models = job_of(data, trainer), []
    fit = training.fit_function(job)
    for known, watched, _ in parts(data, splits):
        started = time.process_time()
        model = training.fit_model(fit, job, known, watched)
        models.append((model, time.process_time() - started))
    return models


def trained_elsewhere(data: Data, trainer: str, splits: int) -> list[tuple[Any, float]]:
    """Return the same of a trainer with an environment of its own; none when that is not set up."""
    python = layout.python(ENVIRONMENTS[trainer])
    if not python.exists():
        print(f"{trainer} is left out: {images.CREATED_BY[ENVIRONMENTS[trainer]]}", file=sys.stderr)
        return []
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder) / "models"
        asked = ["--data", data.name, "--splits", str(splits), "--only-train", trainer, place]
        subprocess.run([python, Path(__file__).resolve(), *asked], check=True)
        return list(joblib.load(place))


def measure(data: Data, splits: int, trainers: Sequence[str]) -> dict[str, list[dict[str, float]]]:
    """Return the figures of each model on the test rows of each split."""
    found: dict[str, list[dict[str, float]]] = {}
    models = {
        trainer: (trained_elsewhere if trainer in IMAGES else trained)(data, trainer, splits) for trainer in trainers
    }
    for number, (known, _, test) in enumerate(parts(data, splits)):
        for trainer, made in models.items():
            if made:
                model, seconds = made[number]
                row = _figures(job_of(data, trainer), model, test)
                found.setdefault(trainer, []).append(row | {"seconds": seconds})
        for name, make in defaults(data).items():
            job, started = job_of(data, name), time.process_time()
            with threadpool_limits(1):
                fitted = make().fit(known.drop(columns="target"), known["target"])
            row = _figures(job, fitted, test)
            found.setdefault(f"scikit-learn's {name}", []).append(row | {"seconds": time.process_time() - started})
    return found


def _figures(job: job_file.Job, model: Any, test: pd.DataFrame) -> dict[str, float]:
    truth = losses.encoded(job.task, test["target"].to_numpy(), job.classes)
    answers = model_answers(model, test.drop(columns="target"), job.classes)
    if job.task == "count":
        answers = np.maximum(answers, 1e-9)
    found = losses.scored(job.task, truth, answers, job.classes)
    figures = {"loss": float(np.mean(found.losses))}
    if job.task == "binary":
        figures["auc"] = float(metrics.roc_auc_score(truth, answers[:, 1]))
    if job.classes:
        figures["accuracy"] = float(np.mean(answers.argmax(axis=1) == truth))
    else:
        figures["rmse"] = float(np.sqrt(np.mean((answers - truth) ** 2)))
    return figures


def table(data: Data, found: dict[str, list[dict[str, float]]]) -> str:
    """Return the means with their standard errors, and the difference of the losses to the default that a trainer is compared with."""
    names = list(next(iter(found.values()))[0])
    lines = [
        f"\n{data.name}: {len(data.frame):,} rows, {data.task}",
        f"| model | {' | '.join(names)} | difference of loss |",
    ]
    lines.append("|---" * (len(names) + 2) + "|")
    for model, rows in found.items():
        cells = [_with_error([row[name] for row in rows]) for name in names[:-1]]
        cells.append(f"{np.mean([row['seconds'] for row in rows]):.1f}")
        other = found.get(f"scikit-learn's {BESIDE.get(model, model)}")
        pairs = zip(rows, other, strict=True) if other else ()
        difference = [one["loss"] - two["loss"] for one, two in pairs]
        lines.append(f"| {model} | {' | '.join(cells)} | {_with_error(difference, sign='+') if difference else ''} |")
    return "\n".join(lines)


def _with_error(values: Sequence[float], sign: str = "") -> str:
    error = np.std(values, ddof=1) / np.sqrt(len(values)) if len(values) > 1 else float("nan")
    return f"{np.mean(values):{sign}.4f} ± {error:.4f}"


def main() -> int:
    """Print the tables; 1 when a trainer misses its target or is worse than the default by more than one standard error."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--splits", type=int, default=SPLITS)
    parser.add_argument("--data", nargs="+", choices=NAMES, default=NAMES)
    parser.add_argument("--trainers", nargs="+", choices=list(DEFAULTS), default=USUAL)
    parser.add_argument("--only-train", nargs=2, metavar=("TRAINER", "FILE"), help="write its models of one data set")
    chosen = parser.parse_args()
    if chosen.only_train:
        trainer, place = chosen.only_train
        joblib.dump(trained(load(chosen.data[0]), trainer, chosen.splits), place)
        return 0
    return run(chosen.data, chosen.splits, chosen.trainers)


def run(names: Sequence[str], splits: int, trainers: Sequence[str] = USUAL) -> int:
    """Measure and print; return the exit code of ``main``."""
    wrong = []
    for name in names:
        data = load(name)
        found = measure(data, splits, trainers)
        print(table(data, found), flush=True)
        for trainer in [name for name in DEFAULTS if name in found]:
            other = found[f"scikit-learn's {BESIDE.get(trainer, trainer)}"]
            differences = [one["loss"] - two["loss"] for one, two in zip(found[trainer], other, strict=True)]
            error = np.std([row["loss"] for row in other], ddof=1) / np.sqrt(splits) if splits > 1 else np.inf
            if np.mean(differences) > error:
                wrong.append(
                    f"{name}: {trainer} loses {np.mean(differences):.4f} more than scikit-learn's default, SE {error:.4f}"
                )
        if name == "adult" and "hist_gradient_boosting" in found:
            best = {
                key: np.mean([row["loss" if key == "log_loss" else key] for row in found["hist_gradient_boosting"]])
                for key in ADULT
            }
            wrong += [
                f"adult: {key} {best[key]:.4f}, target {limit}"
                for key, limit in ADULT.items()
                if (round(best[key], 3) > limit if key == "log_loss" else round(best[key], 3) < limit)
            ]
    for sentence in wrong:
        print(f"MISSED {sentence}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
