"""Which candidate goes on: direction, finite metrics, and what a failed one costs the others."""

import io
import json
import math
import tarfile
from types import SimpleNamespace

import pytest
from botocore.exceptions import ClientError
from pydantic import ValidationError

from retraining.dag.tasks.model import ModelTasks, branches
from retraining.inside.artifact import CARD_FILE, write_artifact
from retraining.judging import candidates, model_card
from retraining.judging.candidates import JudgementError, choose
from retraining.serving.pinning import SHA256
from retraining.settings.access import AwsAccess
from retraining.settings.training.step import Training

NAMES = ["a", "b", "c"]


def training(metric: str = "validation:rmse", **changes) -> Training:
    candidates = [{"name": name} for name in NAMES]
    return Training(
        image="sagemaker-scikit-learn:1.9-0-cpu-py3",
        candidates=candidates,
        metrics={metric: "(x)"},
        selection_metric=metric,
        **changes,
    )


def results(metric: str = "validation:rmse", **values: float | None) -> list[dict]:
    return [
        {"candidate": name, "name": f"job-{name}", "metrics": {} if value is None else {metric: value}}
        for name, value in values.items()
    ]


def test_the_smallest_error_and_the_largest_score_go_on():
    assert choose(NAMES, results(a=2.1, b=2.0, c=2.2), training()).best["candidate"] == "b"
    auc = "validation:auc"
    assert choose(NAMES, results(auc, a=0.7, b=0.9, c=0.8), training(auc)).best["candidate"] == "b"
    odd = training("validation:profit", direction="max")
    assert choose(NAMES, results("validation:profit", a=1, b=-3, c=2), odd).best["candidate"] == "c"


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, None])
def test_a_metric_that_is_not_finite_never_wins(value):
    choice = choose(NAMES, results(a=value, b=2.0, c=2.2), training())
    assert choice.best["candidate"] == "b"
    assert "job-a" in choice.left_out["a"]


def test_a_failed_candidate_is_named_and_does_not_veto_the_others():
    choice = choose(NAMES, [*results(a=2.1, c=2.2), None], training())
    assert choice.best["candidate"] == "a"
    assert choice.left_out == {"b": "its training job failed"}
    assert choice.as_rows() == [
        {"name": "a", "value": 2.1, "chosen": True},
        {"name": "c", "value": 2.2, "chosen": False},
        {"name": "b", "chosen": False, "left_out": "its training job failed"},
    ]


def test_too_few_candidates_end_the_run_with_their_names():
    with pytest.raises(JudgementError, match=r"1 of 3 candidates .* asks for 2 \(b: .*; c: .*\)"):
        choose(NAMES, results(a=2.1, c=math.nan), training(min_candidates=2))
    with pytest.raises(JudgementError, match="0 of 3 candidates"):
        choose(NAMES, [], training())


def test_one_candidate_needs_no_metric():
    assert choose(["a"], results(a=None), training(min_candidates=3)).best["name"] == "job-a"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"metric": "validation:profit"}, "say with direction: min or direction: max"),
        ({"metric": "validation:auc", "direction": "min"}, "would choose the worst"),
        ({"min_candidates": 4}, "there are 3 candidates"),
    ],
)
def test_what_would_choose_wrongly_is_refused(changes, message):
    with pytest.raises(ValidationError, match=message):
        training(**changes)


@pytest.fixture
def artifact(tmp_path, monkeypatch):
    """Returns a function that makes an artifact what S3 answers with."""

    def put(card=None, cut=None):
        write_artifact(tmp_path / "model", {}, card or {}, tmp_path)
        if card is None:
            (tmp_path / "model" / CARD_FILE).unlink()
        with tarfile.open(tmp_path / "model.tar.gz", "w:gz") as tar:
            tar.add(tmp_path / "model", arcname=".")
        body = (tmp_path / "model.tar.gz").read_bytes()[:cut]
        s3 = SimpleNamespace(get_object=lambda Bucket, Key: {"Body": io.BytesIO(body)})
        monkeypatch.setattr(model_card, "client", lambda *_: s3)

    return put


def trained(result):
    body = SimpleNamespace(
        access=None,
        planned=lambda plan: SimpleNamespace(training=training()),
        _pinned_result=lambda found: {**found, SHA256: "d"},
    )
    return ModelTasks.trained(body, {}, result, SimpleNamespace(op_kwargs={"candidate": "a"}))


def test_a_metric_that_sagemaker_did_not_find_in_the_log_is_that_of_the_artifact(artifact):
    figures = {"validation": {"n": 9, "rmse": 2.1, "groups": {"M": {"n": 1}}}, "train": {"rmse": 1.5}}
    artifact({"metrics": figures})
    late = {"name": "job-a", "model_data": "s3://b/m/model.tar.gz", "metrics": {"train:rmse": 1.25}}
    whole = trained(late)
    assert whole["metrics"] == {"train:rmse": 1.25, "validation:rmse": 2.1, "validation:n": 9.0}
    assert choose(NAMES, [whole, *results(b=2.2)], training()).best["candidate"] == "a"
    known = late | {"metrics": {"validation:rmse": 3.0}}
    assert trained(known)["metrics"] == {"validation:rmse": 3.0}, "the artifact is not even read"


@pytest.mark.parametrize("cut", [None, 20, 0])
def test_an_artifact_without_a_card_leaves_the_candidate_without_its_metric(artifact, cut):
    artifact(cut=cut)
    result = {"name": "job-a", "model_data": "s3://b/m/model.tar.gz", "metrics": {}}
    assert trained(result) == {**result, SHA256: "d", "candidate": "a"}


class Function:
    """A Lambda function that answers, or whose call fails."""

    def __init__(self, payload: dict, error: Exception | None = None, **more: str) -> None:
        self.payload, self.error, self.more = payload, error, more
        self.asked: list[dict] = []

    def invoke(self, **request: object) -> dict:
        self.asked.append(request)
        if self.error:
            raise self.error
        return {"Payload": io.BytesIO(json.dumps(self.payload).encode()), **self.more}


@pytest.fixture
def analyzing(monkeypatch):
    def ask(function: Function) -> tuple[dict, dict]:
        made = {}
        monkeypatch.setattr(candidates, "client", lambda service, access, **options: made.update(options) or function)
        return candidates.analyze(AwsAccess(), "analyze", {"rows_uri": "s3://b/rows.csv"}), made

    return ask


def test_the_analysis_is_asked_once_and_waited_for_as_long_as_it_may_take(analyzing):
    function = Function({"n": 3})
    answer, options = analyzing(function)
    assert (answer, len(function.asked)) == ({"n": 3}, 1)
    assert options == {"retry": False, "read_timeout": candidates.LONGEST_ANALYSIS}


def test_only_what_the_analysis_itself_says_is_final(analyzing):
    with pytest.raises(JudgementError, match=r"could not analyse s3://b/rows.csv: .*line 7"):
        analyzing(Function({"errorMessage": "line 7"}, FunctionError="Unhandled"))
    busy = ClientError({"Error": {"Code": "ServiceException", "Message": "try again"}}, "Invoke")
    with pytest.raises(ClientError, match="try again"):  # which the task tries again
        analyzing(Function({}, busy))


@pytest.mark.parametrize(
    ("promote", "params", "follow"),
    [
        (True, {}, ["approved"]),
        (True, {"require_approval": True}, ["approved", "ask_for_approval"]),
        (True, {"require_approval": True, "dry_run": True}, ["approved"]),
        (False, {"require_approval": True}, ["rejected"]),
    ],
)
def test_a_person_is_asked_only_about_what_would_be_deployed(promote, params, follow):
    assert branches(promote, params) == follow
