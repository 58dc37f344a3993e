"""Command line of the survey company: ``python -m survey --rows 100 --method ctgan --upload``."""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from local_stack import layout

sys.path.insert(0, str(layout.ROOT / "plugins"))  # where Airflow finds the library too

from local_stack import asking
from local_stack.airflow_settings import use_local_account
from local_stack.preflight import PreflightError
from local_stack.verbs.calls import OneLineParser, known_model
from retraining.aws.clients import client
from retraining.aws.documents import put_bytes_once, put_bytes_under_free_name
from retraining.serving.monitoring import LABELS
from retraining.settings.model_config import ModelConfig, load_model_config
from retraining.survey import job as survey_job
from retraining.survey.job import SurveyOptions
from survey import current_data, model_cache, predictions
from survey.environments import run_generator

FOLDER = layout.LOCAL / "survey"
NEW_SEED = 2**31
EVERY_REQUEST = 100
EPILOG = """examples:
  python -m survey --rows 1000 --method copula
  python -m survey --rows 100 --method ctgan --epochs 50 --upload
  python -m survey --rows 500 --method replay --upload
  python -m survey --rows 500 --drift 'rings+3' --drift 'sex=M:0.8,F:0.1,I:0.1' --upload
  python -m survey --rows 400 --drift 'shell_weight*0.75' --predict
  python -m survey --rows 500 --dirt 0.02 --duplicates 0.1 --late-days 3 --upload
"""


def parser() -> argparse.ArgumentParser:
    """Return the parser; its help is the command's reference."""
    made = OneLineParser(
        prog="python -m survey",
        description="Make new measurements from the current dataset version, judge them, and upload them as new data.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    made.add_argument("--model", default="abalone", help="model folder below dags/models (default: %(default)s)")
    made.add_argument("--rows", type=int, default=100, help="rows to make (default: %(default)s)")
    made.add_argument(
        "--method",
        choices=("ctgan", "copula", "replay"),
        default="copula",
        help="ctgan: neural, needs PyTorch, installed on first use; copula: Gaussian copula per sex; "
        "replay: real rows that the dataset does not have yet (default: %(default)s)",
    )
    made.add_argument("--epochs", type=int, default=300, help="ctgan: passes over the data (default: %(default)s)")
    made.add_argument("--fit-seed", type=int, default=0, help="ctgan: seed of the fit (default: %(default)s)")
    made.add_argument("--seed", type=int, help="seed of the draw (default: another one in each call)")
    made.add_argument(
        "--valid-only",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="draw until there are enough rows that meet the contract, or say how many were found (default: yes)",
    )
    made.add_argument(
        "--drift",
        action="append",
        default=[],
        metavar="SPEC",
        help="COLUMN*FACTOR, COLUMN+NUMBER, COLUMN-NUMBER, or a mix COLUMN=VALUE:SHARE,...; may be repeated",
    )
    made.add_argument(
        "--dirt", type=float, default=0.0, metavar="SHARE", help="share of rows to break, in every way in turn"
    )
    made.add_argument(
        "--dirt-kinds", nargs="+", default=[], metavar="KIND", help="only these: missing, below:height, rule, line ..."
    )
    made.add_argument("--duplicates", type=float, default=0.0, metavar="SHARE", help="share of rows that come twice")
    made.add_argument(
        "--known-rows",
        type=float,
        default=0.0,
        metavar="SHARE",
        help="share of rows to add that the dataset has already",
    )
    made.add_argument("--late-days", type=float, default=0.0, metavar="DAYS", help="age of the file by its name")
    made.add_argument(
        "--upload", action="store_true", help="put the file into the landing zone: this starts a retraining"
    )
    made.add_argument(
        "--predict", action="store_true", help="ask the model's endpoint about each row, as those do who use it"
    )
    made.add_argument(
        "--labels",
        action="store_true",
        help="with --predict: send what is true of the rows, too, for the monitor to see what the model loses",
    )
    made.add_argument(
        "--account",
        choices=("local", "environment"),
        default="local",
        help="local: the stack of 'make up'; environment: what AWS_* variables say (default: %(default)s)",
    )
    made.add_argument(
        "--offer-held-back", type=Path, metavar="CSV", help="upload real rows for the DAG's replay, and do nothing else"
    )
    return made


def main(arguments: list[str] | None = None) -> int:
    """Make one survey; 0 is success, 1 a failure, 2 a call or a machine that is not right."""
    chosen = parser().parse_args(arguments)
    if chosen.account == "local":
        use_local_account()
    try:
        folder = layout.ROOT / "dags" / "models" / known_model(chosen.model)
        config = load_model_config(folder / "model.yaml")
        if chosen.offer_held_back:
            return _offer(config, chosen.offer_held_back)
        return _survey(config, chosen)
    except (PreflightError, ValueError, LookupError, current_data.UnreachableError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except subprocess.CalledProcessError as error:
        print(f"error: {error}; its output is above", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


def _survey(config: ModelConfig, chosen: argparse.Namespace) -> int:
    now = datetime.now(UTC)
    seed = chosen.seed if chosen.seed is not None else int(now.timestamp() * 1000) % NEW_SEED
    given = {name: value for name, value in vars(chosen).items() if name in SurveyOptions.model_fields}
    options = SurveyOptions.model_validate({**given, "seed": seed})
    if chosen.predict and config.endpoint is None:
        raise ValueError(
            f"model {config.name} has no endpoint to ask: leave --predict out, or upload to {config.name}/batch/in/"
        )
    if chosen.labels and not (chosen.predict and config.deployment.captured_percent and config.monitor.label_days):
        raise ValueError(
            "labels belong to answers that the monitor keeps: --labels needs --predict, deployment.data_capture_percent above 0 and "
            "monitor.label_days above 0"
        )
    if chosen.upload or chosen.predict:
        current_data.reach(config)  # before minutes of fitting
    original = layout.ROOT / "data" / f"{config.name}.csv"
    data = current_data.find(config, original, options.method == "replay", FOLDER / "data", _say)
    key = survey_job.landing_key(config, options, now)
    output = FOLDER / "files" / f"{now:%Y%m%d%H%M%S}-{options.method}-{seed}"
    output.mkdir(parents=True, exist_ok=True)
    request = output / "request.json"
    contract = config.contract.model_dump(mode="json")
    request.write_text(json.dumps(options.request(contract), indent=1), encoding="utf-8")
    _say(f"{options.rows:,} rows by {options.method} from {data.label}, seed {seed}")
    inputs: list[str | Path] = ["--request", request, "--train", data.train, "--output", output]
    prefix = survey_job.model_prefix(config, data.batches, options)
    model = FOLDER / "models" / Path(prefix).name
    if options.method == "ctgan":
        inputs += ["--model", model]
        if data.platform:
            model_cache.fetch(client("s3", config.aws), data.platform.bucket, prefix, model)
    if options.method == "replay":
        held_back = output / "held_back"
        held_back.mkdir()
        shutil.copy(original, held_back)  # alone: beside it lie surveys that are made up
        inputs += ["--known", data.known, "--held-back", held_back]
    if code := run_generator(options.method, inputs):
        return code
    if options.method == "ctgan" and data.platform and chosen.upload:
        model_cache.store(client("s3", config.aws), data.platform.bucket, prefix, model)
    report = json.loads((output / "report.json").read_text(encoding="utf-8"))
    _describe(report, output)
    if chosen.predict and config.endpoint:
        with (output / "survey.csv").open(encoding="utf-8", newline="") as file:
            columns = [column.name for column in config.contract.columns]
            multiline = config.contract.csv.multiline
            questions = list(predictions.questions_of(file, columns, config.contract.target, multiline))
        endpoint, ids = config.endpoint, [f"{output.name}-{number}" for number in range(1, len(questions) + 1)]
        answered = asking.ask(
            client("sagemaker-runtime", config.aws), endpoint, [asked.body for asked in questions], ids
        )
        _say(f"endpoint {endpoint} answered {len(answered):,} requests and refused {len(ids) - len(answered):,}")
        if chosen.labels and data.platform:
            labels = predictions.labels_of(questions, ids, config.contract.target)
            uri = f"s3://{data.platform.bucket}/{config.name}/{LABELS}{output.name}.csv"
            put_bytes_once(client("s3", config.aws), uri, labels.encode(), "text/csv")
            _say(f"uploaded {len(questions):,} labels: {uri}")
        if data.platform and config.deployment.captured_percent == EVERY_REQUEST:
            late = asking.not_captured(client("s3", config.aws), data.platform.bucket, config, answered, now)
            if late:
                _say(
                    f"{len(late):,} of the requests are not captured yet: they count at a later look of {config.name}_monitor"
                )
    if not chosen.upload:
        return 0
    if not report["rows"] or data.platform is None:
        print("error: there is nothing to upload: the file has no rows", file=sys.stderr)
        return 1
    names = survey_job.free_names(f"s3://{data.platform.bucket}/{key}")
    body = (output / "survey.csv").read_bytes()
    uri = put_bytes_under_free_name(client("s3", config.aws), names, body, "text/csv")
    _say(f"uploaded {uri}" + ("" if options.real else " (marked synthetic: its rows are only trained on)"))
    return 0


def _describe(report: dict[str, Any], output: Path) -> None:
    found, quality = report["violations"], report["quality"]
    _say(f"contract: {found['rejected']:,} of {found['rows']:,} rows will be rejected")
    drawn = report["drawn"]
    _say(f"drawn: {drawn['rows']:,} rows, {drawn['share']:.1%} of them against the contract")
    if quality and quality["classifier_auc"] is not None:
        _say(
            f"distance: classifier AUC {quality['classifier_auc']:.3f}, "
            f"mean difference of correlations {quality['correlation']['mean_difference']:.3f}"
        )
    _say(f"file: {output / 'survey.csv'}\nreport: {output / 'report.html'}")


def _offer(config: ModelConfig, path: Path) -> int:
    body = path.read_bytes()
    header = body.splitlines()[0].decode("utf-8-sig").strip().split(",") if body else []
    missing = [column.name for column in config.contract.columns if column.name not in header]
    if missing:
        raise ValueError(f"{path}: its header lacks {', '.join(missing)}")
    platform = current_data.reach(config)
    uri = f"s3://{platform.bucket}/{config.name}/{survey_job.HELD_BACK}{path.name}"
    client("s3", config.aws).put_object(
        Bucket=platform.bucket, Key=f"{config.name}/{survey_job.HELD_BACK}{path.name}", Body=body
    )
    _say(f"uploaded {uri}")
    return 0


def _say(line: str) -> None:
    print(line, flush=True)


if __name__ == "__main__":
    sys.exit(main())
