"""Command line of experiments: ``python -m experiment --set algorithm.svr.C=3``, in the environment with the SageMaker SDK."""

from __future__ import annotations

import argparse
import importlib.util
import json
import logging
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from local_stack import layout
from local_stack.airflow_settings import use_local_account
from local_stack.verbs.calls import OneLineParser

sys.path.insert(0, str(layout.ROOT / "plugins"))  # where Airflow finds the library too

from experiment import model_folder
from experiment.account import Consent, RefusedError
from experiment.comparison import render
from experiment.overrides import SHORT_FORMS, OverrideError
from experiment.progress import Progress
from experiment.proposal import ProposalError, diff, propose
from retraining.aws.errors import error_code
from retraining.aws.platform_parameter import UnreachableError
from retraining.jobs.job import JobError
from retraining.judging.candidates import JudgementError
from retraining.settings.model_config import ConfigError

EPILOG = """paths of --set:
  A path names keys of model.yaml below training, evaluation or gate; the items
  of a list go by their names:
    training.candidates.svr-hgb.hyperparameters.seed=3
    gate.guards.rmse=2.4
  Short forms, for the only candidate or the one of --candidate:
{short}
  VALUE is YAML.

examples:
  python -m experiment                 model.yaml as it is, on the newest data
  python -m experiment --set algorithm.svr.C=3 --set seed=1
  python -m experiment --set algorithm=linear --data-version 4
  python -m experiment --set algorithm.svr.C=3 --propose
  python -m experiment --sweep algorithm.svr.C=1,3,10 --sweep algorithm.svr.epsilon=0.1,0.5

The local stack is used unless --account environment says otherwise; then the
standard AWS variables say which account, and the command asks before it starts
jobs that cost money. Nothing of production is changed: results lie below
s3://BUCKET/MODEL/experiments/, and the same call again finds its jobs finished.
More in docs/experiment.md.
"""


def parser() -> argparse.ArgumentParser:
    """Return the parser; its help is the command's reference."""
    short = "\n".join(f"    {form:<22} {meaning}" for form, meaning in SHORT_FORMS.items())
    made = OneLineParser(
        prog="python -m experiment",
        description="Train and evaluate a variation of a model through the SageMaker SDK,\n"
        "and compare it with the champion.",
        epilog=EPILOG.format(short=short),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    made.add_argument(
        "--set", action="append", default=[], metavar="PATH=VALUE", dest="settings", help="change a setting; repeatable"
    )
    made.add_argument(
        "--sweep",
        action="append",
        default=[],
        metavar="PATH=VALUE,VALUE",
        help="train every combination of values of hyperparameters, and the candidate as it is; repeatable",
    )
    made.add_argument("--data-version", type=int, metavar="N", help="dataset version (default: the newest)")
    made.add_argument("--candidate", metavar="NAME", help="train this candidate only (default: all, the best goes on)")
    made.add_argument(
        "--model",
        type=Path,
        default=layout.ROOT / "dags" / "models" / "abalone",
        metavar="FOLDER",
        help="model folder (default: dags/models/abalone)",
    )
    made.add_argument(
        "--propose",
        action="store_true",
        help="write the change into model.yaml when the gate approves it, and show it as a diff",
    )
    made.add_argument(
        "--account",
        choices=("local", "environment"),
        default="local",
        help="local: the stack of 'make up'; environment: what AWS_* variables say (default: %(default)s)",
    )
    made.add_argument("--force", action="store_true", help="with --propose: write the change whatever the gate says")
    made.add_argument("--yes", action="store_true", help="start paid jobs on AWS without asking")
    made.add_argument("--json", action="store_true", help="print the outcome as JSON instead of tables")
    return made


def main(arguments: list[str] | None = None) -> int:
    """Carry out one experiment; 0: there is a verdict, 1: a job failed, 2: a call or a machine that is not right, 130: interrupted."""
    made = parser()
    chosen = made.parse_args(arguments)
    if chosen.propose and not (chosen.settings or chosen.sweep):
        made.error("--propose writes down what --set or --sweep changes: give at least one of them")
    _quieten()
    progress = Progress()
    if chosen.account == "local":
        use_local_account()
    try:
        return _experiment(chosen, progress)
    except (
        OverrideError,
        ProposalError,
        ConfigError,
        UnreachableError,
        RefusedError,
        LookupError,
        FileNotFoundError,
    ) as error:
        return _failed(progress, error, 2)
    except (JobError, JudgementError) as error:
        return _failed(progress, error, 1)
    except KeyboardInterrupt:
        progress.clear()
        print("interrupted; the same command picks up what is finished", file=sys.stderr)
        return 130
    except Exception as error:
        if not error_code(error) and not isinstance(error, _aws_errors()):
            raise
        return _failed(progress, error, 1)


def _experiment(chosen: argparse.Namespace, progress: Progress) -> int:
    if importlib.util.find_spec("sagemaker") is None:
        raise UnreachableError(
            f"{sys.executable} has no SageMaker SDK: use 'make experiment', or the interpreter {layout.python('sagemaker')}"
        )
    from experiment.jobs import Interruption
    from experiment.run import Experiment

    folder = model_folder.read(chosen.model)
    experiment = Experiment(folder, chosen.settings, chosen.candidate, chosen.sweep)
    if chosen.propose:  # before minutes of training
        first = experiment.points[0].overrides if experiment.points else ()
        propose(folder.text, [*experiment.overrides, *first])
    interruption = Interruption()
    with interruption.listening():
        outcome = experiment.run(chosen.data_version, progress, interruption, Consent(chosen.yes))
    convinced = may_be_proposed(outcome.decision, chosen.force)
    settings = [*chosen.settings, *(outcome.sweep["settings"] if outcome.sweep and outcome.sweep["chosen"] else ())]
    stays = bool(outcome.sweep) and not settings
    change = _write_proposal(chosen, settings) if chosen.propose and convinced and not stays else None
    if chosen.json:
        print(json.dumps({**outcome.as_dict(), "proposal": change}, indent=1, ensure_ascii=False))
        return 0
    reconfigure = getattr(sys.stdout, "reconfigure", None)
    if reconfigure:
        reconfigure(errors="replace")  # a terminal without ≤ still gets its table
    print(f"\n{render(outcome, shutil.get_terminal_size().columns)}")
    if chosen.propose and not convinced:
        print(
            "\nmodel.yaml is unchanged: the gate did not approve this change. PROPOSE=force (--force) writes it all the same"
        )
    if chosen.propose and convinced and stays:
        print("\nmodel.yaml is unchanged: the candidate goes on as it is declared")
    if change is not None:
        print(f"\nwritten into {_shown(chosen.model)}:\n{change}" if change else "\nmodel.yaml says this already")
    return 0


def may_be_proposed(decision: Mapping[str, Any], forced: bool) -> bool:
    """Whether a change may be written into model.yaml: the gate approved it, or a person insists."""
    return bool(decision["promote"]) or forced


def _write_proposal(chosen: argparse.Namespace, settings: list[str]) -> str:
    """Write what these settings change into the file as it is by now, and return the diff."""
    from experiment.run import Experiment

    folder = model_folder.read(chosen.model)
    text = propose(folder.text, Experiment(folder, settings, chosen.candidate).overrides)
    if text != folder.text:
        model_folder.write_text(folder.path, text)
    return diff(folder.text, text, _shown(chosen.model))


def _shown(folder: Path) -> str:
    """Return a model.yaml's path from the project's root, as git shows it, or from the file system's outside of it."""
    path = (folder / "model.yaml").resolve()
    return path.relative_to(layout.ROOT).as_posix() if path.is_relative_to(layout.ROOT) else str(path)


def _quieten() -> None:
    """Let only what matters through: some of the SDK's loggers set levels of their own, and it warns of what is meant to be."""
    handler = logging.StreamHandler()
    handler.addFilter(lambda record: not record.name.startswith("sagemaker") or record.levelno >= logging.ERROR)
    logging.basicConfig(level=logging.WARNING, format="%(message)s", handlers=[handler])
    logging.disable(logging.INFO)


def _aws_errors() -> type[Exception]:
    from botocore.exceptions import BotoCoreError

    return BotoCoreError


def _failed(progress: Progress, error: Exception, code: int) -> int:
    progress.clear()
    words = error.args[0] if isinstance(error, LookupError) and error.args else error
    print(f"error: {words}", file=sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(main())
