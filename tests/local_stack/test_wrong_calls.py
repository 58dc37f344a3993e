"""Wrong calls of the verbs: each ends with exit code 2 and one line that says what is possible; nothing is started or written."""

import os
import subprocess
from pathlib import Path

import pytest
from local_account import free_port

from local_stack import layout

ROOT = Path(__file__).resolve().parents[2]
GOOD = "FILE=data/surveys/good/2025-03-02_north_bay.csv"
MODELS, DAGS, DOWN = (
    "abalone",
    "abalone_batch, abalone_monitor, abalone_retraining, abalone_rollback, abalone_survey",
    "'make up' starts the local stack",
)
CALLS = [
    # verb, mistake -> answer
    ("retrain", "no file is named: make retrain FILE=path.csv"),
    ("retrain FILE=", "no file is named: make retrain FILE=path.csv"),
    ("retrain FILE=nope.csv", "there is no file nope.csv"),
    ("retrain FILE=data/abalone.cvs", "in that folder there is abalone.csv"),
    ("retrain FILE=nowhere/x.csv", "there is no file nowhere/x.csv"),
    ("retrain FILE=data", "data is a folder; name its files"),
    ("retrain FILE=data/surveys/bad/empty.csv", "is empty: it has no row to train on"),
    ("retrain FILE='data/abalone.csv nope.csv'", "there is no file nope.csv"),
    ("retrain FILE='data/abalone.csv data/abalone.csv'", "two files are called abalone.csv"),
    ("retrain FILE='data/abalone.csv data'", "data is a folder"),
    (f"retrain {GOOD} MODEL=nosuch", f"there is no model 'nosuch'; there is {MODELS}"),
    (f"retrain {GOOD} MODEL=abalon", "did you mean abalone?"),
    (f"retrain {GOOD} MODEL=ABALONE", "there is no model 'ABALONE'"),
    (f"retrain {GOOD} MODEL=abalone_retraining", "there is no model 'abalone_retraining'"),
    (f"retrain {GOOD} MODEL=../x", "there is no model '../x'"),
    ("retrain MODEL=nosuch", "no file is named"),
    ("score", "no file is named: make score FILE=path.csv"),
    ("score FILE=data/surveys/bad/empty.csv", "is empty: it has no row to score"),
    (f"score {GOOD} MODEL=nosuch", f"there is no model 'nosuch'; there is {MODELS}"),
    ("run", f"no DAG is named: make run DAG=...; there are {DAGS}"),
    ("run DAG=", "no DAG is named"),
    ("run DAG=nope", f"there is no DAG 'nope'; there are {DAGS}"),
    ("run DAG=abalone", "there is no DAG 'abalone'"),
    ("run DAG=abalone_retrain", "did you mean abalone_retraining?"),
    ("run DAG=abalone-retraining", "did you mean abalone_retraining?"),
    ("run DAG=cars_rollback", "there is no DAG 'cars_rollback'"),
    ("run DAG=abalone_rollback PARAMS='{why: x}'", "PARAMS is not JSON"),
    ("run DAG=abalone_rollback PARAMS=why", "PARAMS is not JSON"),
    ("run DAG=abalone_rollback PARAMS='[1]'", "PARAMS is '[1]', not a JSON object"),
    ("run DAG=abalone_rollback PARAMS=3", "PARAMS is '3', not a JSON object"),
    ("run DAG=abalone_rollback PARAMS=\"{'why': 'x'}\"", "names and texts stand in double quotes"),
    ("promote", "FROM is not given, the deployment that the model serves in: make promote FROM=staging TO=prod"),
    ("promote FROM=dev", "TO is not given, the deployment that the model goes to: make promote FROM=staging TO=prod"),
    ("promote FROM= TO=prod", "FROM is not given"),
    ("promote FROM=dev TO=dev", "FROM and TO are both dev"),
    ("promote FROM=my-stage TO=prod", "FROM='my-stage' is no name of a deployment"),
    ("promote FROM=dev TO=../x", "TO='../x' is no name of a deployment"),
    ("promote FROM=dev TO=prod MODEL=nosuch", f"there is no model 'nosuch'; there is {MODELS}"),
    ("promote FROM=dev TO=prod LATENCY_MS=fast", "LATENCY_MS=fast is no limit: a number of milliseconds"),
    ("promote FROM=dev TO=prod LATENCY_MS=0", "LATENCY_MS=0 is no limit"),
    ("promote FROM=dev TO=prod", DOWN),
    (
        "promote FROM=stging TO=prod AWS=1",
        "there is no deployment 'stging'; did you mean staging? there are dev, prod, staging",
    ),
    ("check-model MODEL=nosuch", f"there is no model 'nosuch'; there is {MODELS}"),
    ("check-model MODEL=abalon", "did you mean abalone?"),
    ("status MODEL=nosuch", "there is no model 'nosuch'"),
    ("api", DOWN),
    ("api MODEL=nosuch", f"there is no model 'nosuch'; there is {MODELS}"),
    ("api API_PORT=0", "API_PORT=0 is no port: a number from 1 to 65535"),
    ("api API_PORT=web", "invalid int value: 'web'"),
    ("openapi MODEL=abalon", "did you mean abalone?"),
    ("api-key MODEL=abalone", "no deployment is named"),
    ("api-key ENV=prod MODEL=nosuch", "there is no model 'nosuch'"),
    ("report", DOWN),
    ("report MODEL=nosuch", "there is no model 'nosuch'"),
    ("report RUN_KEY=v9-x", DOWN),
    ("logs", "no job has run on this machine yet"),
    ("logs JOB=abalone-train", "no job has run on this machine yet"),
    ("dataset-log", DOWN),
    ("dataset-log MODEL=nosuch", "there is no model 'nosuch'"),
    ("dataset-log COMMAND=verify", DOWN),
    ("dataset-log COMMAND='show nosuch 3'", "there is no model 'nosuch'"),
    ("dataset-log COMMAND='quarantine nosuch 1'", "there is no model 'nosuch'"),
    ("up LOCAL_AWS_PORT=web", "LOCAL_AWS_PORT=web is no port: a number from 1 to 65535"),
    ("survey AIRFLOW_PORT=80800", "AIRFLOW_PORT=80800 is no port: a number from 1 to 65535"),
    ("up LOCAL_AWS_PORT=8099 AIRFLOW_PORT=8099", "cannot both have port 8099"),
    ("query", "no query is named: make query SQL="),
    ("query SQL=", "no query is named: make query SQL="),
    ("query SQL='select 1'", DOWN),
    ("query SQL='select 1' MODEL=nosuch", "there is no model 'nosuch'"),
    ("profile", DOWN),
    ("profile MODEL=nosuch", "there is no model 'nosuch'"),
    ("query SQL='select 1' VERSION=newest", "--version: invalid int value: 'newest'"),
    ("survey MODEL=nosuch", "there is no model 'nosuch'"),
    ("survey METHOD=magic", "invalid choice: 'magic'"),
    ("survey ROWS=many", "--rows: invalid int value: 'many'"),
    ("experiment MODEL=nosuch", "there is no model 'nosuch'"),
    ("experiment DATA_VERSION=newest", "--data-version: invalid int value: 'newest'"),
    ("reset MODEL=nosuch", "there is no model 'nosuch'"),
    ("deploy", "no deployment is named: make deploy ENV=...; there are dev, prod, staging"),
    ("deploy ENV=pord", "there is no deployment 'pord'; did you mean prod? there are dev, prod, staging"),
    ("deploy-dags ENV=nosuch", "there is no deployment 'nosuch'; there are dev, prod, staging"),
    ("destroy", "no deployment is named"),
    ("destroy ENV=nosuch", "there is no deployment 'nosuch'"),
    ("cost MODEL=nosuch", f"there is no model 'nosuch'; there is {MODELS}"),
    ("cost ENV=pord", "there is no deployment 'pord'; did you mean prod? there are dev, prod, staging"),
    ("cost ENV=", "no deployment is named: make cost ENV=...; there are dev, prod, staging"),
    ("cost ENV=../x", "ENV='../x' is no name of a deployment"),
    ("up ENV=../x", "ENV='../x' is no name of a deployment"),
    ("up ENV=my-stage", "ENV='my-stage' is no name of a deployment"),
]
IN_A_LOCAL_SHELL = [
    (f"{verb} ENV=prod", "this shell talks to http://127.0.0.1:4566 (AWS_ENDPOINT_URL), not to AWS")
    for verb in ("deploy", "deploy PLAN=1", "deploy-dags", "destroy", "promote FROM=staging TO=prod AWS=1")
]


@pytest.fixture(scope="module")
def types(tmp_path_factory):
    """Type a call of make in the repository, with a local folder that has the environments and nothing else."""
    local = tmp_path_factory.mktemp("wrong") / "local"
    local.mkdir()
    (local / "venvs").symlink_to(layout.VENVS)
    own = ("AWS_", "AIRFLOW_", "MAKE", "MFLAGS")
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith(own)},
        "RETRAINING_LOCAL_DIR": str(local),
        "LOCAL_AWS_PORT": str(free_port()),
        "AIRFLOW_PORT": str(free_port()),
    }

    def call(arguments: str, **changes: str) -> list[str]:
        done = subprocess.run(
            ["bash", "-c", f"make {arguments}"],
            cwd=ROOT,
            env=environment | changes,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 2, done.stdout + done.stderr
        assert done.stdout == ""
        assert [path.name for path in local.iterdir()] == ["venvs"]
        return [line for line in done.stderr.splitlines() if not line.startswith("make: ***")]

    return call


def test_there_are_fifty_of_them():
    assert len(CALLS) + len(IN_A_LOCAL_SHELL) >= 50


@pytest.mark.parametrize(("arguments", "answer"), CALLS, ids=[call for call, _ in CALLS])
def test_a_wrong_call_is_one_line_with_the_remedy(types, arguments, answer):
    [line] = types(arguments)
    assert line.startswith("error: ")
    assert answer in line


@pytest.mark.parametrize(("arguments", "answer"), IN_A_LOCAL_SHELL, ids=[call for call, _ in IN_A_LOCAL_SHELL])
def test_nothing_is_deployed_from_a_shell_that_talks_to_the_local_stack(types, arguments, answer):
    [line] = types(arguments, AWS_ENDPOINT_URL="http://127.0.0.1:4566")
    assert answer in line


def test_a_query_asks_no_other_account_when_the_variables_of_the_local_one_are_not_to_be_had(tmp_path):
    programs, asked = tmp_path / "bin", tmp_path / "asked"
    programs.mkdir()
    (programs / "python").write_text(f"#!/bin/sh\ntouch {asked}\n")
    (programs / "python").chmod(0o700)
    recipe = ["CHECK=true", "SETUP_DEV=true", "RUN=false", f"DEV={programs}"]
    done = subprocess.run(["make", "query", "SQL=select 1", *recipe], cwd=ROOT, capture_output=True, check=False)
    assert done.returncode != 0
    assert not asked.exists()
