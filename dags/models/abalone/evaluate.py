"""Score challenger and champion on the same test rows and write what was predicted, row by row.

Runs as a SageMaker processing job. Each model is loaded in a process of its own, through the ``code/inference.py``
inside its own ``model.tar.gz``: what is judged is what is served, and a champion trained by older code keeps scoring.
This file imports nothing from its folder, so it can be shipped alone.

Output: ``rows.csv`` (``row,truth,challenger,champion,group,loss_challenger,loss_champion``; what is the champion's is empty
throughout when there is none; a loss is the squared error),
``summary.json`` (the statistics that the Lambda ``analyze_results`` derives from the rows, here by numpy and scipy as a
cross-check) and ``smoke.json`` (one request and the challenger's answer, to verify an endpoint with).
"""

from __future__ import annotations

import argparse
import csv
import importlib
import io
import json
import math
import os
import subprocess
import sys
import tarfile
import tempfile
from array import array
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack
from itertools import chain, islice
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple

import numpy as np

HEADER = ("row", "truth", "challenger", "champion", "group", "loss_challenger", "loss_champion")
CHUNK_ROWS = 10_000
CONFIDENCE = 0.95


class Row(NamedTuple):
    """One test row; inputs are texts as they stand in the file."""

    inputs: list[str]
    truth: float
    group: str


def read_rows(folder: Path, columns: Sequence[str], target: str, group: str) -> Iterator[Row]:
    """Yield the rows of every header-less ``*.csv`` under ``folder``, files in the order of their paths.

    Raises:
        ValueError: a line has another number of values than ``columns`` or no finite target.

    """
    target_at, group_at = columns.index(target), columns.index(group)
    for path in sorted(folder.rglob("*.csv")):
        with path.open(encoding="utf-8", newline="") as lines:
            reader = csv.reader(lines, strict=True)
            for values in reader:
                where = f"{path}, line {reader.line_num}"
                if len(values) != len(columns):
                    raise ValueError(f"{where}: {len(values)} values, expected {len(columns)}: {', '.join(columns)}")
                truth = _number(values[target_at])
                if truth is None:
                    raise ValueError(f"{where}: {target} is {values[target_at]!r}, not a finite number")
                inputs = values[:target_at] + values[target_at + 1 :]
                yield Row(inputs, truth, values[group_at])


class ArtifactProcess(AbstractContextManager["ArtifactProcess"]):
    """A model artifact, unpacked and loaded in a Python process of its own, that answers requests one by one.

    Two artifacts may hold different versions of the same modules; one interpreter could import only one of them.
    """

    def __init__(self, folder: Path, role: str) -> None:
        """Take the folder that holds ``model.tar.gz`` and the model's role, for messages."""
        self._archive = folder / "model.tar.gz"
        self._role = role
        self._cleanup = ExitStack()

    def __enter__(self) -> ArtifactProcess:
        with self._cleanup:
            unpacked = Path(self._cleanup.enter_context(tempfile.TemporaryDirectory(prefix=f"{self._role}-")))
            extract(self._archive, unpacked)
            self._process = self._cleanup.enter_context(
                subprocess.Popen(
                    [sys.executable, str(Path(__file__).resolve()), "--answer-for", str(unpacked)],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    text=True,
                    encoding="utf-8",
                )
            )
            self._cleanup.callback(self._process.kill)  # before waiting, so that a failed evaluation does not hang
            self._cleanup = self._cleanup.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._cleanup.close()

    def ask(self, body: str, content_type: str) -> None:
        """Send a request; the answer is fetched with ``answer``, so that several models can work at the same time."""
        try:
            self._process.stdin.write(json.dumps({"body": body, "content_type": content_type}) + "\n")
            self._process.stdin.flush()
        except BrokenPipeError as error:
            raise self._ended() from error

    def answer(self, rows: int) -> list[float]:
        """Return the predictions for the last request.

        Raises:
            RuntimeError: the artifact cannot be loaded or refuses the request.
            ValueError: the answer is not one finite number for each of the ``rows``.

        """
        line = self._process.stdout.readline()
        if not line:
            raise self._ended()
        answer = json.loads(line)
        if "error" in answer:
            raise RuntimeError(f"the {self._role} ({self._archive}) failed: {answer['error']}")
        predictions = answer["predictions"]
        if not isinstance(predictions, list) or len(predictions) != rows:
            count = len(predictions) if isinstance(predictions, list) else type(predictions).__name__
            raise ValueError(f"the {self._role} answered {rows} rows with {count} predictions")
        for number, value in enumerate(predictions, start=1):
            if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
                raise ValueError(
                    f"the {self._role} predicted {value!r} for row {number} of {rows}: not a finite number"
                )
        return [float(value) for value in predictions]

    def _ended(self) -> RuntimeError:
        code = self._process.wait()
        where = f"the {self._role} ({self._archive})"
        return RuntimeError(f"{where} ended with exit code {code} before it answered; its error is in the log above")


def extract(archive: Path, folder: Path) -> None:
    """Unpack ``model.tar.gz`` into ``folder``, refusing members that would leave it.

    Raises:
        ValueError: there is no such archive, it is damaged, or it holds an unsafe member.

    """
    try:
        with tarfile.open(archive, "r:gz") as tar:
            tar.extractall(folder, filter="data")
    except FileNotFoundError as error:
        raise ValueError(f"{archive} does not exist: the channel must hold a training job's model.tar.gz") from error
    except tarfile.FilterError as error:
        raise ValueError(f"{archive} holds an unsafe member: {error}") from error
    except (tarfile.TarError, EOFError, OSError) as error:
        raise ValueError(f"{archive} cannot be unpacked: {error}") from error


def answer_for(folder: Path) -> None:
    """Load the artifact in ``folder`` and answer requests from standard input, one JSON document a line."""
    # This process is for one artifact: its modules come first, and the folder of this very file, which may hold newer
    # ones of the same names, is not searched at all.
    here = Path(__file__).resolve().parent
    sys.path[:] = [str(folder / "code"), *(path for path in sys.path if path and Path(path).resolve() != here)]
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what the artifact prints goes to the log and not between the answers
    inference = importlib.import_module("inference")
    model = inference.model_fn(str(folder))
    for line in sys.stdin:
        request = json.loads(line)
        try:
            data = inference.input_fn(request["body"], request["content_type"])
            content = inference.output_fn(inference.predict_fn(data, model), "application/json")
            text = content[0] if isinstance(content, tuple) else content
            answer = {"predictions": json.loads(text)["predictions"]}
        except Exception as error:
            answer = {"error": f"{type(error).__name__}: {error}"}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


def evaluate(
    rows: Iterable[Row],
    inputs: Sequence[str],
    challenger: ArtifactProcess,
    champion: ArtifactProcess | None,
    output: Path,
) -> dict[str, Any]:
    """Score ``rows`` with both models, write ``rows.csv`` and ``smoke.json``, and return the summary.

    Raises:
        ValueError: there are no rows, or a model's answer is not one finite number per row.
        RuntimeError: an artifact cannot be loaded or refuses the rows.

    """
    rows = iter(rows)
    first = next(rows, None)
    if first is None:
        raise ValueError("the test channel has no rows: nothing can be compared")
    truth, groups = array("d"), []
    scores = {role: array("d") for role in ("challenger", "champion")}
    models = {"challenger": challenger, **({"champion": champion} if champion else {})}
    output.mkdir(parents=True, exist_ok=True)
    with (output / "rows.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(HEADER)
        stream = chain([first], rows)
        while chunk := list(islice(stream, CHUNK_ROWS)):
            # By name and not by position: a champion may have been trained before a column was added or moved.
            named = [{name: _typed(text) for name, text in zip(inputs, row.inputs, strict=True)} for row in chunk]
            body = json.dumps({"instances": named}, allow_nan=False)
            for model in models.values():
                model.ask(body, "application/json")
            answers = {role: model.answer(len(chunk)) for role, model in models.items()}
            for number, row in enumerate(chunk):
                predicted = [answers[role][number] if role in answers else None for role in scores]
                losses = [None if value is None else (value - row.truth) ** 2 for value in predicted]
                texts = ["" if value is None else repr(value) for value in (*predicted, *losses)]
                writer.writerow([len(truth) + 1, repr(row.truth), *texts[:2], row.group, *texts[2:]])
                truth.append(row.truth)
                groups.append(row.group)
            for role, values in answers.items():
                scores[role].extend(values)
    body = _csv_line(first.inputs)
    challenger.ask(body, "text/csv")
    smoke = {"content_type": "text/csv", "body": body, "prediction": challenger.answer(1)[0]}
    _write_json(output / "smoke.json", smoke)
    return summarise(np.array(truth), np.array(scores["challenger"]), np.array(scores["champion"]), np.array(groups))


def summarise(truth: np.ndarray, challenger: np.ndarray, champion: np.ndarray, groups: np.ndarray) -> dict[str, Any]:
    """Return what the Lambda ``analyze_results`` returns.

    All arrays have the shape (rows,); ``champion`` is empty if there is none.
    """
    by_group = group_statistics(truth, challenger, groups)
    worst = max(by_group, key=lambda name: by_group[name]["rmse"])
    return {
        "n": len(truth),
        "challenger": error_statistics(truth, challenger),
        "champion": error_statistics(truth, champion) if len(champion) else None,
        "paired": paired_statistics(truth, challenger, champion) if len(champion) else None,
        "groups": by_group,
        "worst_group": {"group": worst, "rmse": by_group[worst]["rmse"]},
    }


def error_statistics(truth: np.ndarray, predictions: np.ndarray) -> dict[str, float | None]:
    """Return rmse, mae, r2 (None when the truth does not vary) and bias (mean of prediction - truth)."""
    errors = predictions - truth
    total = float(np.sum((truth - truth.mean()) ** 2))
    return {
        "rmse": float(np.sqrt(np.mean(errors**2))),
        "mae": float(np.mean(np.abs(errors))),
        "r2": 1.0 - float(np.sum(errors**2)) / total if total > 0 else None,
        "bias": float(np.mean(errors)),
    }


def group_statistics(truth: np.ndarray, predictions: np.ndarray, groups: np.ndarray) -> dict[str, dict[str, float]]:
    """Return n, rmse and bias for each value of ``groups``."""
    statistics = {}
    for name in np.unique(groups):
        errors = (predictions - truth)[groups == name]
        statistics[str(name)] = {
            "n": len(errors),
            "rmse": float(np.sqrt(np.mean(errors**2))),
            "bias": float(np.mean(errors)),
        }
    return statistics


def paired_statistics(truth: np.ndarray, challenger: np.ndarray, champion: np.ndarray) -> dict[str, float | int | None]:
    """Return the difference of the RMSE (challenger - champion), its standard error and its one-sided upper bound.

    It is the paired t test on squared errors in the unit of the target: rmse_u - rmse_v = mean(u - v) / (rmse_u +
    rmse_v).
    """
    from scipy.stats import t

    n = len(truth)
    gaps = (challenger - truth) ** 2 - (champion - truth) ** 2
    total = float(np.sqrt(np.mean((challenger - truth) ** 2)) + np.sqrt(np.mean((champion - truth) ** 2))) or 1.0
    difference = float(np.mean(gaps)) / total
    if n < 2:
        return {"n": n, "rmse_difference": difference, "standard_error": None, "upper_bound_95": None}
    standard_error = float(np.std(gaps, ddof=1) / np.sqrt(n)) / total
    bound = difference + float(t.ppf(CONFIDENCE, n - 1)) * standard_error
    return {"n": n, "rmse_difference": difference, "standard_error": standard_error, "upper_bound_95": bound}


def main(arguments: Sequence[str] | None = None) -> int:
    """Evaluate as the arguments say."""
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--test", type=Path, required=True, help="folder of header-less CSV")
    parser.add_argument("--challenger", type=Path, required=True, help="folder that holds model.tar.gz")
    parser.add_argument("--champion", type=Path, help="folder that holds model.tar.gz; none for the first model")
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--columns", type=json.loads, required=True, help="names in file order, a JSON list")
    parser.add_argument("--target", required=True)
    parser.add_argument("--group", required=True, help="column whose values the errors are split by")
    parser.add_argument("--challenger-name", default="challenger")
    parser.add_argument("--champion-name", default="champion")
    args = parser.parse_args(arguments)
    for name in (args.target, args.group):
        if name not in args.columns:
            parser.error(f"--columns {args.columns} has no {name!r}")
    rows = read_rows(args.test, args.columns, args.target, args.group)
    inputs = [name for name in args.columns if name != args.target]
    names = {"challenger": args.challenger_name, "champion": args.champion_name if args.champion else None}
    with ExitStack() as stack:
        challenger = stack.enter_context(ArtifactProcess(args.challenger, "challenger"))
        champion = stack.enter_context(ArtifactProcess(args.champion, "champion")) if args.champion else None
        summary = {**evaluate(rows, inputs, challenger, champion, args.output), "names": names}
    _write_json(args.output / "summary.json", summary)
    print(json.dumps(summary))
    return 0


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def _typed(text: str) -> str | float:
    value = _number(text)
    return text if value is None else value


def _csv_line(values: Sequence[str]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="").writerow(values)
    return text.getvalue()


def _write_json(path: Path, document: Any) -> None:
    path.write_text(json.dumps(document, indent=2, allow_nan=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--answer-for"]:
        answer_for(Path(sys.argv[2]))
    else:
        sys.exit(main())
