"""Whoever may start a run chooses among what its form offers, and no more."""

from pathlib import Path
from types import MappingProxyType

import jsonschema
import pytest
from airflow.sdk.exceptions import AirflowFailException

from retraining.aws import clients
from retraining.dag.retraining_dag import retraining_dag
from retraining.dag.tasks.retraining import RetrainingTasks
from retraining.settings.access import AwsAccess
from retraining.settings.model_config import load_model_config
from retraining.settings.run_parameters import NAMES, check_hyperparameters, check_run_parameters
from retraining.settings.training.candidate import Candidate

FOLDER = Path(__file__).resolve().parents[2] / "dags" / "models" / "abalone"
HOSTILE = [
    "sagemaker_submit_directory",
    "sagemaker_program",
    "sagemaker_container_log_level",
    "sm_model_dir",
    "columns",
    "target",
    "group",
    "dataset-version",
    "dataset_version",
    "",
    "-x",
    "--columns",
    "a b",
    "a=b",
    "a\n",
    "x" * 65,
    "${env:HOME}",
]


def test_the_form_has_the_names_that_are_checked():
    assert tuple(retraining_dag(FOLDER).params) == NAMES


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hyperparameter_of_the_library_s_or_sagemaker_s_is_refused_everywhere(name):
    with pytest.raises(ValueError, match="not a model's to set"):
        check_hyperparameters([name])
    with pytest.raises(ValueError, match="not a model's to set"):
        Candidate(name="c", hyperparameters={name: 1})
    schema = retraining_dag(FOLDER).params.get_param("hyperparameters").schema
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({name: 1}, schema)
    jsonschema.validate({"seed": 1, "svr_C": 2, "max-depth": 3, "a.b": 4}, schema)


def test_a_task_fails_for_good_before_anything_is_read():
    tasks = RetrainingTasks(load_model_config(FOLDER / "model.yaml"), FOLDER)
    for params in ({"hyperparameters": {"sagemaker_program": "evil.py"}}, {"endpoint": "other", "dry_run": True}):
        with pytest.raises(AirflowFailException, match=r"endpoint|sagemaker_program"):
            tasks.claim_new_data(params)
        with pytest.raises(AirflowFailException):
            tasks.look_for_work({"params": params})


def test_what_the_form_offers_passes_and_a_strange_name_is_shown_as_plain_text():
    check_run_parameters(dict.fromkeys(NAMES))
    check_run_parameters({"hyperparameters": {"seed": 1}})
    with pytest.raises(ValueError) as refused:
        check_run_parameters({"\x1b[31m" + "x" * 1000: 1})
    assert str(refused.value).isprintable() and len(str(refused.value)) < 300
    with pytest.raises(ValueError, match="at most 50"):
        check_hyperparameters(f"p{number}" for number in range(51))


def test_calls_that_name_the_platform_s_bucket_say_whose_it_is(monkeypatch):
    monkeypatch.setattr(clients, "_owners", {})
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    clients.client.cache_clear()
    s3 = clients.client("s3", AwsAccess(region="us-east-1", endpoint_url="http://127.0.0.1:9"))
    seen = []
    s3.meta.events.register(
        "before-call.s3", lambda params, **_: seen.append(params["headers"]) or (_Sent(), {"sent": True})
    )
    clients.expect_owner("mine", "111122223333")
    s3.put_object(Bucket="mine", Key="k", Body=b"1")
    s3.list_objects_v2(Bucket="mine")
    s3.get_object(Bucket="public", Key="k")
    clients.client.cache_clear()
    assert [headers.get("x-amz-expected-bucket-owner") for headers in seen] == ["111122223333", "111122223333", None]


class _Sent:
    status_code = 200
    headers = MappingProxyType({})
