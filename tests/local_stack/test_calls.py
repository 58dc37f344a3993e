"""What the verbs are called with is checked by the standard library alone; the table of wrong calls is tests/test_wrong_calls.py."""

import re

import pytest

from local_stack import __main__ as command
from local_stack import layout
from local_stack.verbs import calls


@pytest.fixture
def project(tmp_path, monkeypatch):
    for name in ("abalone", "abalone-site", "cars"):
        (tmp_path / "dags" / "models" / name).mkdir(parents=True)
        (tmp_path / "dags" / "models" / name / "model.yaml").write_text("")
    for dag in ("abalone_retraining", "abalone_site_retraining", "abalone_survey", "cars_retraining"):
        (tmp_path / "dags" / f"{dag}.py").write_text("")
    monkeypatch.setattr(layout, "ROOT", tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("check", "value", "words"),
    [
        (calls.known_model, "nosuch", "there is no model 'nosuch'; there are abalone, abalone-site, cars"),
        (calls.known_model, "abalon", "did you mean abalone?"),
        (calls.known_model, "", "no model is named; there are abalone"),
        (calls.known_dag, "cars_rollback", "there is no DAG 'cars_rollback'"),
        (calls.known_dag, "", "no DAG is named: make run DAG="),
        (calls.params, "{why: x}", "PARAMS is not JSON"),
        (calls.params, "[1]", "not a JSON object such as PARAMS="),
        (calls.csv_files, "", "no file is named: make retrain FILE=path.csv"),
        (calls.csv_files, "one.csw", "there is no file one.csw; in that folder there is one.csv"),
        (calls.csv_files, "folder", "folder is a folder; name its files"),
        (calls.csv_files, "empty.csv", "empty.csv is empty"),
        (calls.csv_files, "one.csv folder/one.csv", "two files are called one.csv"),
    ],
)
def test_a_wrong_argument_is_answered_with_what_is_possible(project, check, value, words):
    (project / "folder").mkdir()
    for name in ("one.csv", "folder/one.csv"):
        (project / name).write_text("a\n")
    (project / "empty.csv").touch()
    with pytest.raises(calls.CallError) as refused:
        check(value)
    assert words in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("one.csv", ["one.csv"]),
        ("one.csv two.csv", ["one.csv", "two.csv"]),
        ("my survey's.csv", ["my survey's.csv"]),
        ("'two words.csv' one.csv", ["two words.csv", "one.csv"]),
    ],
)
def test_one_file_or_several_may_be_named(project, text, names):
    for name in ("one.csv", "two.csv", "my survey's.csv", "two words.csv"):
        (project / name).write_text("a\n")
    assert [path.name for path in calls.csv_files(text)] == names


@pytest.mark.parametrize(
    ("dag", "model"),
    [("abalone_retraining", "abalone"), ("abalone_site_retraining", "abalone-site"), ("other", None)],
)
def test_the_model_of_a_dag_is_the_one_with_the_longest_name(project, dag, model):
    assert calls.model_of(dag) == model


def test_a_parameter_that_the_dag_does_not_have_is_named_with_the_nearest():
    wrong = calls.unknown_params("x_retraining", ["dry_run", "dataset_versoin"], ["dataset_version", "dry_run"])
    assert wrong is not None
    assert "no parameter 'dataset_versoin'; did you mean dataset_version?" in wrong
    assert calls.unknown_params("x_retraining", ["dry_run"], ["dataset_version", "dry_run"]) is None


def test_a_call_is_checked_without_doing_anything(project, capsys):
    (project / "one.csv").write_text("a\n")
    assert command.main(["--only-check", "retrain", "one.csv", "--model", "cars"]) == 0
    assert command.main(["--only-check", "retrain", "one.csv", "--model", "nosuch"]) == 2
    assert capsys.readouterr().err.startswith("error: there is no model 'nosuch'")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("versions", ["versions", "cars"]),
        ("", ["versions", "cars"]),
        ("show 3", ["show", "cars", "3"]),
        ("show abalone 3", ["show", "abalone", "3"]),
        ("verify abalone", ["verify", "abalone"]),
        ("release abalone 09b2 --why 'a try'", ["release", "abalone", "09b2", "--why", "a try"]),
        ("release 09b2 --why 'a try'", ["release", "cars", "09b2", "--why", "a try"]),
    ],
)
def test_the_model_is_put_into_the_dataset_command_where_it_names_none(project, text, words):
    assert calls.dataset_words(text, "cars") == words


def test_a_dataset_command_about_an_unknown_model_names_the_known_ones(project):
    with pytest.raises(calls.CallError, match="there is no model 'nosuch'; there are abalone"):
        calls.dataset_words("show nosuch 3", "cars")


@pytest.mark.parametrize("name", ["AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3"])
def test_a_shell_that_is_led_elsewhere_is_not_aws(name):
    with pytest.raises(calls.CallError, match="this shell talks to http://x"):
        calls.leads_to_aws({name: "http://x"})
    calls.leads_to_aws({name: "http://x", "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS": "true"})
    calls.leads_to_aws({name: ""})


@pytest.mark.parametrize(
    ("origin", "target", "limit", "answer"),
    [
        ("", "prod", None, "FROM is not given, the deployment that the model serves in"),
        ("dev", "", None, "TO is not given, the deployment that the model goes to"),
        ("Dev", "prod", None, "FROM='Dev' is no name of a deployment"),
        ("prod", "prod", None, "FROM and TO are both prod"),
        ("dev", "prod", "-1", "LATENCY_MS=-1 is no limit"),
        ("dev", "prod", "nan", "LATENCY_MS=nan is no limit"),
        ("dev", "prod", "inf", "LATENCY_MS=inf is no limit"),
    ],
)
def test_a_promotion_goes_from_one_deployment_to_another(origin, target, limit, answer):
    with pytest.raises(calls.CallError, match=re.escape(answer)):
        calls.promotion(origin, target, limit)
    calls.promotion("dev", "prod", "250")


def test_a_promotion_on_aws_is_between_deployments_that_have_a_file_and_not_in_a_local_shell():
    calls.place_of_promotion("staging", "prod", True, {})
    with pytest.raises(calls.CallError, match="there is no deployment 'nosuch'"):
        calls.place_of_promotion("nosuch", "prod", True, {})
    with pytest.raises(calls.CallError, match="this shell talks to"):
        calls.place_of_promotion("staging", "prod", True, {"AWS_ENDPOINT_URL": "http://127.0.0.1:1"})
