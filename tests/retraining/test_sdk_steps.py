"""How a step gets its form, and what the SDK's process is told of AWS; without AWS."""

import shutil
import sys
from pathlib import Path

import pytest
import yaml

from retraining.aws.clients import standard_variables
from retraining.dag.retraining_dag import retraining_dag
from retraining.dag.sdk_operator import PYTHON_VARIABLE, SDK_STEPS_VARIABLE, sdk_python, with_chosen_forms
from retraining.sdk import context as sdk_context
from retraining.sdk.context import SdkContext
from retraining.settings.access import AwsAccess
from retraining.settings.model_config import ConfigError, Steps

FOLDER = Path(__file__).resolve().parents[2] / "dags" / "models" / "abalone"


@pytest.fixture
def folder(tmp_path):
    return shutil.copytree(FOLDER, tmp_path / "abalone")


def operators(dag):
    return {name: dag.task_dict[name].operator_class.__name__ for name in ("training", "evaluate_model")}


def set_steps(folder, **forms):
    document = yaml.safe_load((folder / "model.yaml").read_text()) | {"steps": forms}
    (folder / "model.yaml").write_text(yaml.safe_dump(document))


def test_steps_are_declarative_unless_model_yaml_says_otherwise(folder):
    assert operators(retraining_dag(folder)) == {"training": "AwsJobOperator", "evaluate_model": "AwsJobOperator"}
    set_steps(folder, training="sdk")
    assert operators(retraining_dag(folder)) == {"training": "SdkJobOperator", "evaluate_model": "AwsJobOperator"}
    assert "sagemaker" not in sys.modules


def test_the_environment_chooses_for_models_with_code_for_the_sdk(folder, monkeypatch):
    monkeypatch.setenv(SDK_STEPS_VARIABLE, "training, evaluation")
    assert set(operators(retraining_dag(folder)).values()) == {"SdkJobOperator"}


def test_the_environment_leaves_a_model_without_code_for_the_sdk_as_it_is(folder, monkeypatch):
    monkeypatch.setenv(SDK_STEPS_VARIABLE, "training,evaluation")
    (folder / "sdk_jobs.py").unlink()
    assert set(operators(retraining_dag(folder)).values()) == {"AwsJobOperator"}
    monkeypatch.setenv(SDK_STEPS_VARIABLE, "evaluate")
    with pytest.raises(ConfigError, match="RETRAINING_SDK_STEPS names evaluate"):
        retraining_dag(folder)


def test_a_misspelt_form_or_step_is_an_error(folder, config):
    with pytest.raises(ConfigError, match="RETRAINING_SDK_STEPS names evaluate; it may name training, evaluation"):
        with_chosen_forms(config, "training,evaluate")
    set_steps(folder, training="SDK")
    with pytest.raises(ConfigError, match=r"model\.yaml:\d+: steps\.training"):
        retraining_dag(folder)


def test_a_step_of_the_sdk_without_its_file_is_an_error_when_the_dag_is_parsed(folder):
    set_steps(folder, evaluation="sdk")
    (folder / "sdk_jobs.py").unlink()
    with pytest.raises(ConfigError, match=r"steps evaluation need .*sdk_jobs\.py, which does not exist"):
        retraining_dag(folder)


def test_overrides_that_a_step_of_the_sdk_would_not_read_are_refused_whoever_chose_the_form(folder, monkeypatch):
    path = folder / "model.yaml"
    path.write_text(
        path.read_text().replace("\ntraining:\n", "\ntraining:\n  overrides: {EnableNetworkIsolation: true}\n", 1)
    )
    assert set(operators(retraining_dag(folder)).values()) == {"AwsJobOperator"}
    monkeypatch.setenv(SDK_STEPS_VARIABLE, "training")
    with pytest.raises(ConfigError, match=r"training\.overrides are not read by a step in the form sdk"):
        retraining_dag(folder)
    monkeypatch.delenv(SDK_STEPS_VARIABLE)
    set_steps(folder, training="sdk")
    with pytest.raises(ConfigError, match=r"model\.yaml:\d+: training\.overrides are not read"):
        retraining_dag(folder)


def test_only_chosen_steps_are_other_work(config):
    assert Steps().sdk == ()
    assert with_chosen_forms(config, "") is config
    assert with_chosen_forms(config, "evaluation").steps.sdk == ("evaluation",)


def test_the_interpreter_is_a_setting(monkeypatch):
    monkeypatch.delenv(PYTHON_VARIABLE, raising=False)
    assert sdk_python().endswith("/.local/venvs/sagemaker/bin/python")
    monkeypatch.setenv(PYTHON_VARIABLE, "/opt/sdk/bin/python")
    assert sdk_python() == "/opt/sdk/bin/python"


def test_the_sdk_reaches_aws_as_the_library_does():
    access = AwsAccess(region="eu-west-1", endpoint_url="http://127.0.0.1:1", verify="/ca.pem")
    assert standard_variables(access) == {
        "AWS_DEFAULT_REGION": "eu-west-1",
        "AWS_REGION": "eu-west-1",
        "AWS_ENDPOINT_URL": "http://127.0.0.1:1",
        "AWS_CA_BUNDLE": "/ca.pem",
    }
    assert standard_variables(AwsAccess()) == {}
    with pytest.raises(ValueError, match=r"aws\.verify: false cannot be handed"):
        standard_variables(AwsAccess(verify=False))


def test_a_connection_becomes_variables_too(monkeypatch):
    monkeypatch.setenv(
        "AIRFLOW_CONN_SHELLS", "aws://key:secret@/?region_name=eu-west-1&endpoint_url=http%3A%2F%2F127.0.0.1%3A1"
    )
    found = standard_variables(AwsAccess(conn_id="shells"))
    assert (found["AWS_ACCESS_KEY_ID"], found["AWS_SECRET_ACCESS_KEY"]) == ("key", "secret")
    assert (found["AWS_DEFAULT_REGION"], found["AWS_ENDPOINT_URL"]) == ("eu-west-1", "http://127.0.0.1:1")


def test_a_context_survives_the_way_to_another_process(config, platform, plan):
    manifests = {split: f"s3://b/{split}.json" for split in ("train", "validation", "test")}
    training = sdk_context.training_context(config, platform, plan, config.training.candidates[0], manifests)
    evaluation = sdk_context.evaluation_context(config, platform, plan, manifests["test"], "s3://b/m.tar.gz", None)
    for context in (training, evaluation):
        assert SdkContext.model_validate_json(context.model_dump_json()) == context
    assert set(training.manifests) == {"train", "validation"}
    assert training.hyperparameters == config.training.candidates[0].hyperparameters
    assert (evaluation.champion, evaluation.max_runtime_seconds) == (None, config.evaluation.max_runtime_seconds)
