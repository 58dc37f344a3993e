"""Writes a model folder and its DAG files; nothing that exists is touched."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml

from retraining.command.new_model.proposal import Proposal
from retraining.command.new_model.sheet import NewModelError

IMAGE = "sagemaker-scikit-learn:1.9-0-cpu-py3"
KEYS = ("name", "type", "allowed", "min", "max", "nullable", "aliases")
DAG = '''"""{doc}"""

from pathlib import Path

from airflow.sdk import DAG

from retraining.dag.{module} import {kind}_dag

dag: DAG = {kind}_dag(Path(__file__).parent / "models" / "{name}", doc_md=__doc__)
'''
DOCS = {
    "retraining": """Retrain the {name} model when new rows have landed in S3, and deploy it unless the test rows speak against it.

**What it does.** New files are checked and merged as the next dataset version, the candidates of
`model.yaml` are trained, and the best is compared with the serving model on the same test rows.
`check_threshold` decides, and says why; docs/architecture.md explains each task.

**When it runs.** Seconds after a file lands in `s3://BUCKET/{name}/new/`, daily at 05:00 UTC as a
net, or by hand.

**Parameters.** The form of "Trigger": retrain without new data, dry run, ask a person, guards,
candidates, hyperparameters, dataset version.

**What a re-run does.** Jobs, models and packages are named by a digest of their inputs: a cleared
or repeated task finds the work that exists.
""",
    "rollback": """Return the {name} endpoint to an earlier approved model.

**What it does.** Picks the model package, brings the endpoint to it, verifies the answers, and
rejects the newer packages in the registry; docs/deployment.md explains each step.

**When it runs.** By hand only.

**Parameters.** The form of "Trigger": the package (empty for the approved one before the newest),
why (required), who.

**What a re-run does.** A cleared run goes back to the package that it chose the first time; a new
run without a package goes back one further.
""",
    "batch": """Score files with the {name} model that serves.

**What it does.** Files below `s3://BUCKET/{name}/batch/in/` find their answers below
`{name}/batch/out/`, bad rows with their reasons beside them; docs/batch.md explains each step.

**When it runs.** Hourly, or as `batch.cron` in `model.yaml` says; by hand. Without a new file a run
is skipped.

**Parameters.** Score again: also files that an earlier model has scored.

**What a re-run does.** A file is scored once by a model; a repeated task finds its job.
""",
    "monitor": """Watch the requests that the {name} model answers, and say when they have left what it was trained on.

**What it does.** Counts the requests that were captured since the last look in the bins of the
training rows, holds labels below `s3://BUCKET/{name}/monitor/labels/` against the answers, opens or
closes the one incident of the model; docs/monitor.md explains each step.

**When it runs.** Daily, or as `monitor.cron` in `model.yaml` says; by hand. Without a new request or
label a run is skipped.

**Parameters.** None; `monitor` in `model.yaml` says how seldom a false alarm may be.

**What a re-run does.** A look counts once; what was told stays told.
""",
}
MODULES = {
    "retraining": "retraining_dag",
    "rollback": "rollback_dag",
    "batch": "service_dags",
    "monitor": "service_dags",
}


def paths_of(name: str) -> list[str]:
    """Return where the files of a new model go below ``dags/``."""
    return [f"models/{name}/model.yaml", *(f"{name.replace('-', '_')}_{kind}.py" for kind in DOCS)]


def files_of(name: str, source: str, proposal: Proposal) -> dict[str, str]:
    """Return the files of a new model by their path below ``dags/``."""
    texts = [model_yaml(name, source, proposal)]
    texts += [
        DAG.format(kind=kind, module=MODULES[kind], name=name, doc=doc.format(name=name)) for kind, doc in DOCS.items()
    ]
    return dict(zip(paths_of(name), texts, strict=True))


def refuse_existing(dags: Path, files: Iterable[str]) -> None:
    """Refuse to write over anything.

    Raises:
        NewModelError: one of the files, or the model's folder, is there.

    """
    for path in files:
        there = (dags / path).parent if path.startswith("models/") else dags / path
        if there.exists():
            raise NewModelError(
                f"{there} exists, and nothing is overwritten: give the model another name with NAME=..., or take it away"
            )


def write(dags: Path, files: Mapping[str, str]) -> list[Path]:
    """Write the files; the DAG files come last, when what they read is there."""
    refuse_existing(dags, files)
    written = []
    for path, text in files.items():
        place = dags / path
        place.parent.mkdir(parents=True, exist_ok=True)
        with place.open("x", encoding="utf-8") as file:
            file.write(text)
        written.append(place)
    return written


def model_yaml(name: str, source: str, proposal: Proposal) -> str:
    """Return the text of ``model.yaml``, each decision with its reason."""
    classes = proposal.task in ("binary", "multiclass")
    train, validation, test = proposal.split
    looked = f"{proposal.rows:,} rows" if proposal.whole else f"the first {proposal.rows:,} rows"
    lines = [
        f"# Made from {looked} of {_comment(source)}; every line is yours to change. Reference of every key: docs/configuration.md",
        f"name: {_word(name)}",
        f"description: {_text(f'{proposal.target} predicted from a table of {len(proposal.columns) - 1} columns')}",
        f"task: {proposal.task}  # {proposal.task_note}",
        "",
        "contract:",
        "  columns:  # in file order; limits have room, a row beyond them is quarantined",
        *(f"    - {_flow(column.entry)}  # {_comment(column.note)}" for column in proposal.columns),
        f"  target: {_word(proposal.target)}",
    ]
    if proposal.ignored:
        lines.append("  ignore:  # these headings are passed over; a column to learn from is declared above instead")
        lines += [f"    - {_text(heading)}  # {_comment(why)}" for heading, why in proposal.ignored]
    lines += [f"  # take {_comment(column)} out of the file: {_comment(why)}" for column, why in proposal.suspected]
    if proposal.csv:
        lines.append(f"  csv: {_flow(proposal.csv)}  # how numbers and cells are written")
    if proposal.missing:
        lines.append(f"  missing: {_text(list(proposal.missing))}  # these words stand for no value")
    lines.append(
        f"  bad_rows: {{max_share: {proposal.bad_share:g}}}  # a file with a larger share of bad rows is refused"
    )
    if proposal.repeated:
        lines.append(f"  # {proposal.repeated:,} rows say the same as an earlier one; each counts once")
    lines += [
        "",
        f"split: {{train: {train}, validation: {validation}, test: {test}}}  # of few rows the test needs a larger share",
        "",
        "training:",
        f"  image: {IMAGE}",
        "  candidates:  # the one with the least loss on the validation rows goes on to the test",
        "    - {name: boosting, trainer: hist_gradient_boosting}",
        "    - {name: linear, trainer: linear}",
        "",
        "evaluation:",
        f"  image: {IMAGE}",
        f"  group: {_word(proposal.group)}  # errors are reported by it"
        if proposal.group
        else "  # group: a column to report errors by",
        "",
        "gate:",
        f"  guards: {_flow(proposal.guards)}  # {proposal.guard_note}; tighten it when you know your model",
        *(
            [
                "  # worst_group: {log_loss: ...}  # what each group must keep"
                if classes
                else "  # worst_group: {rmse: ...}  # what each group must keep"
            ]
        ),
        "",
        "deployment:",
        f"  endpoint: {_word(name)}",
        f"  image: {IMAGE}",
        "  data_capture_percent: 100  # requests and answers are kept for the monitor; 0 keeps none",
    ]
    return "\n".join(lines) + "\n"


def _flow(entry: Mapping[str, Any]) -> str:
    parts = []
    for key, value in entry.items():
        if key in ("name", "type"):
            text = _word(value)
        elif isinstance(value, int | float) and not isinstance(value, bool):
            text = _number(value)
        else:
            text = _text(value)
        parts.append(f"{key}: {text}")
    return "{" + ", ".join(parts) + "}"


def _word(name: str) -> str:
    """Return a name as YAML, in quotes if YAML reads another value in it, such as a truth value in ``no``."""
    return name if yaml.safe_load(name) == name else _text(name)


def _number(value: float) -> str:
    """Return a number as YAML reads one: with a point also before an exponent."""
    text = repr(value)
    return text if "." in text else text.replace("e", ".0e")


def _text(value: Any) -> str:
    """Return a value as YAML in double quotes, which JSON is."""
    text = json.dumps(value, ensure_ascii=False)
    return "".join(sign if sign.isprintable() else f"\\u{ord(sign):04x}" for sign in text)


def _comment(text: str) -> str:
    return "".join(sign if sign.isprintable() else " " for sign in text)
