"""The processing job's request, names and marks of the files; the parts of the command that need no stack."""

from datetime import UTC, datetime
from pathlib import Path

import botocore.session
import pytest
from botocore.validate import ParamValidator
from pydantic import ValidationError

from local_aws.sagemaker.images import ENVIRONMENTS, repository
from local_stack import bootstrap
from retraining.contract.rows import row_split
from retraining.settings.machines.image_uris import image_uri
from retraining.settings.model_config import load_model_config
from retraining.settings.platform import Platform
from retraining.survey import job as survey_job
from retraining.survey.job import SurveyMachines, SurveyOptions
from survey import __main__ as command
from survey import current_data, predictions
from survey.generator import generate, tables

ROOT = Path(__file__).resolve().parents[2]
MOMENT = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)
PLACES = {name: f"s3://b/{name}/" for name in ("code", "request", "train", "known", "held-back", "model", "output")}


@pytest.fixture(scope="module")
def config():
    return load_model_config(ROOT / "dags/models/abalone/model.yaml")


@pytest.fixture(scope="module")
def platform():
    names = {name: name for name in Platform.model_fields if not name.endswith("_seconds")}
    return Platform(
        **{
            **names,
            "train_role_arn": "arn:aws:iam::123456789012:role/train",
            "evaluate_role_arn": "arn:aws:iam::123456789012:role/evaluate",
            "serve_role_arn": "arn:aws:iam::123456789012:role/serve",
            "survey_role_arn": "arn:aws:iam::123456789012:role/survey",
            "experiment_role_arn": "arn:aws:iam::123456789012:role/experiment",
            "account": "123456789012",
            "region": "eu-west-1",
            "bucket": "b",
        }
    )


def request_of(config, platform, method, cached=False):
    return survey_job.survey_request(config, platform, SurveyMachines(), method, PLACES, cached)


@pytest.mark.parametrize("method", ["ctgan", "copula", "replay"])
def test_the_request_is_known_to_aws(config, platform, method):
    shape = (
        botocore.session.get_session().get_service_model("sagemaker").operation_model("CreateProcessingJob").input_shape
    )
    report = ParamValidator().validate({"ProcessingJobName": "x", **request_of(config, platform, method)}, shape)
    assert not report.has_errors(), report.generate_report()


def test_ctgan_runs_in_its_own_image_and_keeps_its_model_once(config, platform):
    first, second = (request_of(config, platform, "ctgan", cached) for cached in (False, True))
    assert (
        first["AppSpecification"]["ImageUri"]
        == f"123456789012.dkr.ecr.eu-west-1.amazonaws.com/{survey_job.CTGAN_IMAGE}"
    )
    assert ENVIRONMENTS[repository(first["AppSpecification"]["ImageUri"])] == "survey"
    assert [output["S3Output"]["S3Uri"] for output in first["ProcessingOutputConfig"]["Outputs"]] == [
        "s3://b/output",
        "s3://b/model",
    ]
    assert [output["S3Output"]["S3Uri"] for output in second["ProcessingOutputConfig"]["Outputs"]] == ["s3://b/output"]
    assert [item["InputName"] for item in second["ProcessingInputs"]] == ["code", "request", "train", "model"]
    assert f"ctgan=={survey_job.CTGAN_IMAGE.rsplit('-', 1)[1]}" in bootstrap.lock_file("survey").read_text()


def test_other_methods_run_in_the_scikit_learn_image_and_never_see_test_rows(config, platform):
    request = request_of(config, platform, "copula")
    assert request["AppSpecification"]["ImageUri"] == image_uri(SurveyMachines().others.image, "eu-west-1")
    assert [item["InputName"] for item in request["ProcessingInputs"]] == ["code", "request", "train"]


@pytest.mark.parametrize(
    ("options", "key"),
    [
        ({"method": "copula"}, "abalone/new/synthetic/abalone.20260304050607"),
        ({"method": "replay"}, "abalone/new/abalone.20260304050607"),
        ({"method": "replay", "dirt": 0.1}, "abalone/new/abalone.20260304050607"),
        ({"method": "replay", "drift": ("rings+3",)}, "abalone/new/synthetic/abalone.20260304050607"),
        ({"method": "ctgan", "late_days": 2}, "abalone/new/synthetic/abalone.20260302050607"),
    ],
)
def test_only_untouched_measurements_land_unmarked(config, options, key):
    assert survey_job.landing_key(config, SurveyOptions(**options), MOMENT) == key


def test_a_fitted_model_belongs_to_a_dataset_version_and_its_fit_options(config):
    def prefix(batches=("a",), **options):
        return survey_job.model_prefix(config, batches, SurveyOptions(method="ctgan", **options))

    assert prefix() == prefix(seed=5, rows=7, dirt=0.1)
    assert len({prefix(), prefix(("a", "b")), prefix(epochs=5), prefix(fit_seed=1)}) == 4


def test_options_and_the_generators_request_have_the_same_members(document):
    options = SurveyOptions(method="replay", rows=5, drift=("rings+1",), dirt=0.5)
    request = generate.Request.of(options.request(document["contract"]))
    assert (request.rows, request.drift, request.dirt) == (5, ("rings+1",), 0.5)
    with pytest.raises(ValidationError):
        SurveyOptions(method="replay", dirt=2)


def test_every_option_of_the_command_is_an_option_of_the_survey():
    chosen = vars(command.parser().parse_args([]))
    assert set(SurveyOptions.model_fields) <= set(chosen)


def test_the_dag_ships_the_generator_that_the_command_runs():
    files = survey_job.generator_files(ROOT / "dags" / "survey")
    assert files == survey_job.generator_files(ROOT / "survey" / "generator")
    assert "generator/__main__.py" in files
    with pytest.raises(FileNotFoundError, match="holds no survey generator"):
        survey_job.generator_files(ROOT / "docs")


def test_without_a_platform_the_original_data_stand_in_and_test_rows_stay_unseen(
    config, document, contract, tmp_path, monkeypatch
):
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    said = []
    data = current_data.find(config, ROOT / "data" / "abalone.csv", False, tmp_path, said.append)
    assert "nothing answers at http://127.0.0.1:9" in said[0]
    assert data.platform is None
    train = tables.read_training_rows(data.train, contract)
    assert {row_split(contract, row, document["split"]) for row in tables.cells(train, contract)} == {"train"}
    everything = tables.read_training_rows(data.known, contract)
    assert 0.83 < len(train) / len(everything) < 0.87
    held_back = current_data.find(config, ROOT / "data" / "abalone.csv", True, tmp_path, said.append)
    fresh = generate.not_yet_known([ROOT / "data" / "abalone.csv"], held_back.known, contract)
    assert len(fresh) == len(everything) - len(tables.read_training_rows(held_back.known, contract)) > 500


def test_wheels_beside_the_index_are_passed_on_and_torch_follows_the_machine(tmp_path, monkeypatch):
    for name in ("UV_FIND_LINKS", "UV_TORCH_BACKEND", "PIP_FIND_LINKS"):
        monkeypatch.delenv(name, raising=False)
    assert bootstrap._wheels("jobs") == {}
    assert bootstrap._wheels("survey") == {"UV_TORCH_BACKEND": "auto"}
    (tmp_path / "torch-2.13.0-x.whl").touch()
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    assert bootstrap._wheels("survey") == {"UV_FIND_LINKS": str(tmp_path)}


def test_the_lock_has_no_cuda_packages():
    lock = bootstrap.lock_file("survey").read_text()
    assert "\ntorch==2.13.0\n" in lock
    assert not any(word in lock for word in ("nvidia", "cuda", "triton"))


def test_each_row_of_a_file_is_a_request_without_its_target():
    lines = ["M,1,7,2\n", "F,3,8,4\n", "half,a\n"]
    questions = list(predictions.questions_of(lines, ["sex", "a", "rings", "b"], "rings", False))
    assert questions == [("M,1,2", "7"), ("F,3,4", "8")]
    assert predictions.labels_of(questions, ["x-1", "x,2"], "rings") == 'inference_id,rings\nx-1,7\n"x,2",8\n'


def test_a_text_with_commas_quotes_or_breaks_stays_one_cell_of_its_request():
    lines = ['"Bay, north",7,"a ""wide"" one"\n', '"two\n', 'lines",8,b\n']
    found = list(predictions.questions_of(lines, ["site", "rings", "note"], "rings", True))
    assert [question.body for question in found] == ['"Bay, north","a ""wide"" one"', '"two\nlines",b']


def test_a_quote_without_a_pair_spoils_no_other_row():
    lines = ['"M,7,a\n', "F,8,b\n"]
    assert list(predictions.questions_of(lines, ["sex", "rings", "note"], "rings", False)) == [("F,b", "8")]
