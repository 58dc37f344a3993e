"""A sweep's points are all combinations of the values; the best goes on only if it loses less by more than a standard error."""

import json
import shutil
from dataclasses import replace

import pytest
from local_account import wait_for
from production import MODEL, command, rows
from test_overrides import TWO

from experiment import sweep
from experiment.comparison import _sweep
from experiment.model_folder import read
from experiment.overrides import OverrideError, configure, find
from experiment.run import Experiment
from retraining.judging.candidates import JudgementError
from retraining.judging.paired_losses import Losses, paired

C, EPSILON = "algorithm.svr.C=1,3,10", "algorithm.svr.epsilon=0.1,0.2"


@pytest.fixture(scope="module")
def folder():
    return read(MODEL)


@pytest.fixture(scope="module")
def two(folder):
    """The shipped file with two candidates."""
    return {**folder.values, "training": {**folder.values["training"], "candidates": TWO}}


def test_every_combination_is_a_point_in_the_order_of_the_values(folder):
    found = sweep.points(folder.values, ["seed=4"], [C, EPSILON], None, folder.options)
    names = ("params.svr_C", "params.svr_epsilon")
    assert [tuple(point.values[name] for name in names) for point in found] == [
        (c, epsilon) for c in (1, 3, 10) for epsilon in (0.1, 0.2)
    ]
    assert found[3].settings == ("algorithm.svr.C=3", "algorithm.svr.epsilon=0.2")
    assert found[3].candidate.hyperparameters == {
        "algorithm": "svr_hgb",
        "seed": 4,
        "params": {"svr_C": 3, "svr_epsilon": 0.2},
    }
    again = find(folder.values, ["seed=4", *found[3].settings], None, folder.options)
    assert configure(folder.values, again).training.candidates[0] == found[3].candidate


def test_values_are_read_as_those_of_a_setting(folder):
    found = sweep.points(folder.values, [], ["hyperparameters.verbose=true,1e-3,text"])
    assert [point.values["verbose"] for point in found] == [True, 0.001, "text"]


@pytest.mark.parametrize(
    ("sweeps", "settings", "candidate", "words"),
    [
        (["algorithm.svr.C"], [], None, "is not PATH=VALUE,VALUE"),
        ([C, "algorithm.svr.epsilon=1,1"], [], None, "a value stands twice in '1,1'"),
        (["algorithm.svr.c=1,3"], [], None, "has no such hyperparameter; near: svr_C"),
        (["gate.required_odds=2,3"], [], None, "gate.required_odds is no hyperparameter of a candidate"),
        ([f"seed={','.join(map(str, range(26)))}", "algorithm.svr.C=1,2"], [], None, "the sweep has 52 points"),
        ([C], ["algorithm.svr.C=2"], None, "set the same thing"),
    ],
)
def test_a_sweep_that_is_none_is_refused_before_anything_trains(folder, sweeps, settings, candidate, words):
    with pytest.raises(OverrideError) as refused:
        Experiment(folder, settings, candidate, sweeps)
    assert words in str(refused.value)


def test_a_sweep_is_about_one_candidate(two):
    one, other = (f"training.candidates.{name}.hyperparameters.seed=1,2" for name in ("svr-hgb", "linear"))
    assert {point.candidate.name for point in sweep.points(two, [], [other])} == {"linear"}
    with pytest.raises(OverrideError, match="about the hyperparameters of one candidate"):
        sweep.points(two, [], [one, other])
    with pytest.raises(OverrideError, match="the sweep is about candidate linear, and --candidate says svr-hgb"):
        sweep.points(two, [], [other], "svr-hgb")


def test_an_experiment_asks_no_container_and_leaves_its_hyperparameters_alone(folder):
    uri = "123456789012.dkr.ecr.us-east-1.amazonaws.com/oyster-r:1"
    line = f"    - {{name: r, container: {uri}, hyperparameters: {{formula: rings ~ length}}}}\n"
    shipped = "    - {name: svr-hgb, hyper"
    with_r = replace(folder, text=folder.text.replace(shipped, f"{line}{shipped}", 1))
    with pytest.raises(OverrideError, match="candidate 'r' has a container, and an experiment asks no container"):
        Experiment(with_r, [], None)
    assert [item.name for item in Experiment(with_r, [], "svr-hgb").candidates] == ["svr-hgb"]


def test_points_are_ordered_by_what_the_loss_orders(folder):
    sweep.check(configure(folder.values, []))
    other = find(folder.values, ["training.selection_metric=train:rmse"])
    with pytest.raises(OverrideError, match="selection_metric 'train:rmse' of a regression must be validation:loss or"):
        sweep.check(configure(folder.values, other))


# -- the choice -----------------------------------------------------------------------------------------------------------------------


def job(name: str, value: float | None, **more) -> dict:
    metrics = {} if value is None else {"validation:rmse": value}
    return {"name": name, "model_data": f"s3://b/{name}/model.tar.gz", "metrics": metrics, **more}


def losses_of(**by_name):
    return lambda uri: Losses(tuple((1, loss) for loss in by_name[uri.split("/")[3]]))


DECLARED = job("declared", 2.0, candidate="svr-hgb")
#: Differences to these: with the mean -0.5 and a standard error of 0.29, and with the mean -0.1 and one of 0.44.
BASE, CLEAR, UNCLEAR = [4.0, 4.0, 4.0, 4.0], [4.0, 3.0, 4.0, 3.0], [5.0, 3.0, 4.5, 3.1]


@pytest.fixture
def chosen(folder):
    found = sweep.points(folder.values, [], [C], None, folder.options)

    def made(losses, *values):
        swept = list(zip(found, values, strict=True))
        return sweep.best_of(swept, DECLARED, configure(folder.values, []), losses)

    return made


def test_the_best_point_goes_on_when_it_is_better_by_more_than_a_standard_error(chosen):
    losses = losses_of(declared=BASE, b=CLEAR)
    best, board = chosen(losses, job("a", 1.95), job("b", 1.9), job("c", 2.4))
    assert (best["candidate"], best["name"]) == ("svr-hgb-tuned", "b")
    assert [(trial["name"], trial["hyperparameters"]) for trial in board["trials"]] == [
        ("b", {"params.svr_C": 3}),
        ("a", {"params.svr_C": 1}),
        ("c", {"params.svr_C": 10}),
    ]
    assert (board["chosen"], board["settings"], board["against"]) == (True, ["algorithm.svr.C=3"], "svr-hgb")
    expected = paired(losses("s3://b/b/x"), losses("s3://b/declared/x"))
    assert (board["difference"], board["standard_error"]) == (expected.difference, expected.standard_error)


def test_a_better_number_within_a_standard_error_changes_nothing(chosen):
    best, board = chosen(losses_of(declared=BASE, b=UNCLEAR), job("a", 1.95), job("b", 1.9), None)
    assert (best, board["chosen"]) == (DECLARED, False)
    assert board["why"].endswith("but not by more than one standard error: svr-hgb stays")
    assert board["counts"] == {"completed": 2, "failed": 1, "stopped": 0}
    text = _sweep(type("Outcome", (), {"sweep": board})(), 80)
    assert [line.split() for line in text.splitlines()[:3]] == [
        ["params.svr_C", "validation:rmse"],
        ["3", "1.9"],
        ["1", "1.95"],
    ]
    assert "The best of 2 points, 1 failed: it loses less than svr-hgb" in text


def test_a_sweep_without_a_number_is_no_sweep(chosen):
    with pytest.raises(JudgementError, match="none of the 3 points of the sweep trained and reports validation:rmse"):
        chosen(losses_of(), None, job("b", None), job("c", float("nan")))


@pytest.mark.local_aws
def test_a_sweep_trains_each_point_once_and_shows_the_leaderboard(production, tmp_path):
    production.commit_rows(rows({"train": 400, "validation": 150, "test": 100}))
    copied = shutil.copytree(MODEL, tmp_path / "abalone")
    call = ["--sweep", "algorithm.svr.C=0.001,3", "--set", "algorithm.svr.C=0.002", "--model", str(copied)]
    wrong = command(production.account, *call)
    assert wrong.returncode == 2
    assert "set the same thing" in wrong.stderr
    # As it is declared it is all but a constant.
    text = (copied / "model.yaml").read_text()
    (copied / "model.yaml").write_text(
        text.replace("{algorithm: svr_hgb, seed: 0}", "{algorithm: svr_hgb, seed: 0, params: {svr_C: 0.001}}", 1)
    )
    call = ["--sweep", "algorithm.svr.C=0.001,3", "--model", str(copied)]
    done = command(production.account, *call, "--json", "--propose", "--force")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert [item["candidate"] for item in found["training"]] == ["svr-hgb", "svr-hgb-tuned"]
    assert [trial["hyperparameters"] for trial in found["sweep"]["trials"]] == [
        {"params.svr_C": 3},
        {"params.svr_C": 0.001},
    ]
    assert found["sweep"]["chosen"] is True
    assert (found["sweep"]["difference"], found["sweep"]["rows"]) == (pytest.approx(-1, abs=1.5), 150)
    assert [change["after"] for change in found["changes"]] == [3]
    assert "+    - {name: svr-hgb" in found["proposal"] and "svr_C: 3" in found["proposal"]
    sagemaker = production.account.sagemaker
    trained = sagemaker.list_training_jobs(NameContains="abalone-exp-")["TrainingJobSummaries"]
    assert len(trained) == 2  # the declared one is a point, too
    assert wait_for(lambda: all(item["TrainingJobStatus"] == "Completed" for item in trained))
    shown = command(production.account, *call)  # by now the file says 3
    assert shown.returncode == 0, shown.stderr
    assert "svr-hgb stays." in " ".join(shown.stdout.split())
    assert "params.svr_C  validation:rmse" in shown.stdout
    assert "reuses the finished job" in shown.stderr
