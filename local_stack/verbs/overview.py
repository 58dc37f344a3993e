"""``make status``: what runs, what each model serves and since when, and what keeps a model or a DAG from running."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from local_stack import stack
from local_stack.airflow_api import AirflowApi
from local_stack.verbs import dag_state, model_check, runs, service
from local_stack.verbs.model_check import ModelFolder

WIDTH = 14


def lines(model: str | None = None) -> list[str]:
    """Return the whole picture; of a stack that is down, what can be known without it.

    Args:
        model: only this model, None for all.

    """
    parts = stack.status()
    shown = [
        f"{part.name:<{WIDTH}} {part.health:<16} {f'pid {part.pid}' if part.pid else ''}".rstrip() for part in parts
    ]
    folders = [model_check.read(model)] if model else model_check.read_all()
    running = {part.name for part in parts if part.health == "healthy"}
    serving = {folder.name: _serving(folder) for folder in folders if folder.sound} if "local_aws" in running else {}
    api = AirflowApi() if "api-server" in running else None
    errors, paused = (dag_state.import_errors(api), dag_state.paused(api)) if api else ({}, [])
    asked = dag_state.questions(api) if api else []
    shown += ["", *model_lines(folders, serving, errors, paused, asked)]
    if not running:
        shown.append("the stack is down: 'make up' starts it")
    return shown


def model_lines(
    folders: Sequence[ModelFolder],
    serving: Mapping[str, service.Service | str],
    errors: Mapping[str, str],
    paused: Sequence[str],
    asked: Sequence[tuple[str, str]] = (),
) -> list[str]:
    """Return the lines of the models.

    Args:
        folders: the model folders as they were read.
        serving: what each model serves, or why that is not known.
        errors: what Airflow could not import, by DAG id.
        paused: ids of the DAGs that are paused.
        asked: what waits for a person: id of the DAG, and a sentence.

    """
    shown: list[str] = []
    for folder in folders:
        texts: list[str] = []
        if folder.sound:
            found = serving.get(folder.name)
            texts.append("ready" if found is None else str(found))
            if isinstance(found, service.Service) and found.report:
                texts.append(f"report {found.report}")
            if isinstance(found, service.Service) and found.gathering:
                texts.append(found.gathering)
        else:
            texts += ["cannot be used:", *folder.problems]
        own = f"{folder.name.replace('-', '_')}_"
        texts += [f"DAG {dag} is paused: no run of it begins" for dag in paused if dag.startswith(own)]
        texts += [sentence for dag, sentence in asked if dag.startswith(own)]
        if folder.sound:
            texts += [
                f"Airflow cannot import dags/{dag}.py: {text}" for dag, text in errors.items() if dag.startswith(own)
            ]
        shown += [
            f"{name:<{WIDTH}} {text}".rstrip()
            for name, text in zip([folder.name, *[""] * len(texts)], texts, strict=False)
        ]
    known = tuple(f"{folder.name.replace('-', '_')}_" for folder in folders)
    shown += [
        f"Airflow cannot import dags/{dag}.py: {text}" for dag, text in errors.items() if not dag.startswith(known)
    ]
    return shown


def _serving(folder: ModelFolder) -> service.Service | str:
    session: Any = stack.aws_session()
    try:
        bucket = runs.data_bucket(session, folder.name)
    except session.client("ssm").exceptions.ParameterNotFound:
        return "its data platform is not there yet: 'make up' deploys it"
    found = service.of(session, folder.name, model_check.endpoint_of(folder.name), bucket)
    least = folder.config.schedule.min_rows if folder.config else 0
    if not least:
        return found
    from retraining.dataset.log import DatasetLog

    log = DatasetLog(session.client("s3"), bucket, f"{folder.name}/")
    return replace(found, gathering=log.read().gathering(least))
