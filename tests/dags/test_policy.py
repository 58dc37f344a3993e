"""What must hold of every DAG file and every DAG, also of those that are added later."""

import itertools
import json
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
DAG_FILES = sorted((ROOT / "dags").glob("*.py"))
HEAVY = ["boto3", "botocore", "numpy", "pandas", "pyspark", "sklearn", "sagemaker"]
PUBLISHED_IDS = ["start", "crawl_data", "preprocess_data", "training", "evaluate_model", "analyze_results"]
PUBLISHED_IDS += ["check_threshold", "approved", "rejected", "deploy_model", "end"]

PARSE = """
import json, socket, sys
def refuse(*_, **__): raise AssertionError("a DAG file opened a socket")
import airflow.sdk
socket.socket.connect = socket.create_connection = socket.getaddrinfo = refuse
before = set(sys.modules)
import importlib.util
spec = importlib.util.spec_from_file_location("dag_file", sys.argv[1])
module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
from airflow.sdk import DAG
dags = [value for value in vars(module).values() if isinstance(value, DAG)]
print(json.dumps({"dags": [dag.dag_id for dag in dags], "modules": sorted({name.split(".")[0] for name in set(sys.modules) - before}),
    "database": [name for name in ("airflow.models.dagrun", "airflow.models.serialized_dag") if name in sys.modules]}))
"""


@pytest.fixture(scope="module")
def dag_bag():
    from airflow.dag_processing.dagbag import DagBag

    bag = DagBag(ROOT / "dags", bundle_path=ROOT / "dags")
    assert bag.import_errors == {}
    return bag


@pytest.fixture(scope="module")
def dags(dag_bag):
    return list(dag_bag.dags.values())


@pytest.mark.parametrize("path", DAG_FILES, ids=lambda path: path.stem)
def test_parsing_needs_no_network_no_credentials_and_no_heavy_library(path, tmp_path):
    environment = {
        "PATH": "/usr/bin:/bin",
        "PYTHONPATH": str(ROOT / "plugins"),
        "AIRFLOW_HOME": str(tmp_path),
        "HOME": str(tmp_path),
    }
    done = subprocess.run(
        [sys.executable, "-c", PARSE, str(path)], capture_output=True, text=True, env=environment, check=False
    )
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout.splitlines()[-1])
    assert answer["dags"]
    assert not set(HEAVY) & set(answer["modules"])
    assert not answer["database"], "models of Airflow's database take longer than all the rest"


def test_airflow_finds_every_dag_file_and_no_other(dag_bag, dags):
    assert {Path(dag.fileloc).name for dag in dags} == {path.name for path in DAG_FILES}


def test_a_dag_file_is_a_docstring_and_wiring_and_fits_on_one_screen():
    for path in DAG_FILES:
        text = path.read_text()
        assert len(text.splitlines()) <= 50, path
        assert text.startswith('"""'), path


def test_every_dag_explains_itself_and_has_an_owner(dags):
    for dag in dags:
        for heading in ("What it does", "When it runs", "Parameters", "What a re-run does"):
            assert heading in (dag.doc_md or ""), (dag.dag_id, heading)
        assert dag.tags
        assert all(task.owner != "airflow" for task in dag.tasks)


def test_every_dag_has_a_time_limit_and_tells_when_it_fails(dags):
    for dag in dags:
        assert dag.dagrun_timeout, dag.dag_id
        assert dag.on_failure_callback, dag.dag_id
        assert dag.max_active_runs == 1, dag.dag_id
        assert dag.catchup is False, dag.dag_id


def test_every_task_that_works_is_retried_and_limited(dags):
    for task in (task for dag in dags for task in dag.tasks):
        if task.task_id == "await_approval":
            assert task.response_timeout
            assert task.retries == 0
            continue
        assert task.retries >= 1, task.task_id
        assert task.execution_timeout, task.task_id


def test_a_job_may_wait_longer_than_the_job_itself_may_run(dags):
    from retraining.settings.model_config import load_model_config

    config = load_model_config(ROOT / "dags" / "models" / "abalone" / "model.yaml")
    dag = next(dag for dag in dags if dag.dag_id == "abalone_retraining")
    limits = {
        "preprocess_data": timedelta(minutes=config.etl.max_runtime_minutes),
        "evaluate_model": timedelta(seconds=config.evaluation.max_runtime_seconds),
    }
    for task_id, limit in limits.items():
        assert dag.get_task(task_id).max_wait > limit
    assert dag.get_task("training").partial_kwargs["max_wait"] > timedelta(seconds=config.training.max_runtime_seconds)


def test_the_ids_of_the_published_workflow_are_kept_in_order(dags):
    dag = next(dag for dag in dags if dag.dag_id == "abalone_retraining")
    assert set(PUBLISHED_IDS) <= set(dag.task_ids)
    for merge in ("crawl_data", "preprocess_data"):  # side by side
        spine = [
            name for name in PUBLISHED_IDS if name not in {"crawl_data", "preprocess_data", "approved", "rejected"}
        ]
        spine.insert(1, merge)
        for earlier, later in itertools.pairwise(spine):
            assert earlier in dag.get_task(later).get_flat_relative_ids(upstream=True), (earlier, later)


def test_no_end_of_the_crawl_holds_up_the_run(dags):
    for dag in (dag for dag in dags if dag.dag_id.endswith("_retraining")):
        assert dag.get_task("crawl_data").downstream_task_ids == {"after_crawl"}
        assert dag.get_task("after_crawl").trigger_rule == "all_done"
        assert dag.get_task("check_data_quality").upstream_task_ids == {"after_crawl", "preprocess_data"}


def test_a_run_without_new_data_is_skipped_to_its_end_and_both_branches_meet(dags):
    dag = next(dag for dag in dags if dag.dag_id == "abalone_retraining")
    assert dag.get_task("publish_report").upstream_task_ids == {"approved", "rejected", "verify_endpoint"}
    assert dag.get_task("publish_report").trigger_rule == "none_failed_min_one_success"
    assert dag.get_task("check_threshold").downstream_task_ids == {"approved", "rejected", "ask_for_approval"}


def test_one_failed_candidate_vetoes_nobody_and_candidates_come_from_the_plan(dags):
    dag = next(dag for dag in dags if dag.dag_id == "abalone_retraining")
    assert dag.get_task("after_training").trigger_rule == "all_done_min_one_success"
    assert dag.get_task("after_training").upstream_task_ids == {"training"}
    assert dag.get_task("evaluate_model").upstream_task_ids == {"after_training", "score_champion"}
    assert dag.get_task("evaluate_model").trigger_rule == "all_success"
    mapped_over = dag.get_task("training").expand_input.value["op_kwargs"]
    assert mapped_over.operator.task_id == "list_candidates"


def test_a_person_is_told_before_the_wait_for_an_answer_begins(dags):
    dag = next(dag for dag in dags if dag.dag_id == "abalone_retraining")
    assert dag.get_task("await_approval").upstream_task_ids == {"ask_for_approval"}
    assert dag.get_task("register_model").upstream_task_ids == {"approved", "await_approval"}
    assert "ask_for_approval" not in dag.get_task("approved").downstream_task_ids  # the branch would never skip it


def test_both_ends_of_every_run_finish_a_deployment_that_nobody_finished(dags):
    dag = next(dag for dag in dags if dag.dag_id == "abalone_retraining")
    assert dag.get_task("sense_new_data").upstream_task_ids == {"settle_endpoint"}
    for name in ("close_endpoint", "stop_leftovers"):
        assert dag.get_task(name).is_teardown
        assert dag.get_task(name).upstream_task_ids == {"end"}
    rollback = next(dag for dag in dags if dag.dag_id == "abalone_rollback")
    assert rollback.get_task("release_endpoint").is_teardown


def test_what_needs_neither_the_merge_nor_the_training_does_not_wait_for_them(dags):
    dag = next(dag for dag in dags if dag.dag_id == "abalone_retraining")
    assert dag.get_task("list_candidates").upstream_task_ids == {"claim_new_data"}
    assert dag.get_task("training").upstream_task_ids == {"check_data_quality", "list_candidates"}
    assert dag.get_task("score_champion").upstream_task_ids == {"check_data_quality"}


def test_a_second_model_is_a_second_folder_and_a_three_line_file(tmp_path):
    import yaml
    from airflow.dag_processing.dagbag import DagBag

    source = ROOT / "dags" / "models" / "abalone"
    folder = tmp_path / "models" / "oyster"
    folder.mkdir(parents=True)
    document = yaml.safe_load((source / "model.yaml").read_text()) | {"name": "oyster"}
    (folder / "model.yaml").write_text(yaml.safe_dump(document))
    for path in source.glob("*.py"):
        (folder / path.name).write_bytes(path.read_bytes())
    (tmp_path / ".airflowignore").write_text((ROOT / "dags" / ".airflowignore").read_text())
    (tmp_path / "oyster_retraining.py").write_text(
        "from pathlib import Path\n"
        "from airflow.sdk import DAG\n"
        "from retraining.dag.retraining_dag import retraining_dag\n"
        "dag: DAG = retraining_dag(Path(__file__).parent / 'models' / 'oyster')\n"
    )
    bag = DagBag(tmp_path, bundle_path=tmp_path)
    assert bag.import_errors == {}
    dag = bag.dags["oyster_retraining"]
    [asset] = dag.timetable.asset_condition.objects
    [watcher] = asset.watchers
    assert watcher.trigger.queue_name == "retraining-dev-oyster-new-data"
    assert "training" in dag.task_ids


def test_the_plugin_folder_hides_the_library_from_the_plugin_manager():
    assert "retraining/" in (ROOT / "plugins" / ".airflowignore").read_text()
