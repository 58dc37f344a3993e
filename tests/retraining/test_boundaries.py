"""A data set that is split by time, as files land: what the boundaries do, and when the files are merged again."""

from __future__ import annotations

import random
from datetime import date, timedelta

import pytest
from airflow.sdk.exceptions import AirflowFailException
from test_corrected_rows import later
from test_data_phase import HEADER, Landing, landing, row

from retraining.jobs.plan import Champion
from retraining.settings.contract_keys import Contract, Split

__all__ = ["landing"]
pytestmark = pytest.mark.local_aws
SHARES = {"train": 70, "validation": 10, "test": 20}


def by_time(landing: Landing) -> Landing:
    contract = landing.steps.config.contract.model_dump(exclude={"identity"})
    contract["columns"] = [{"name": "measured_on", "type": "date"}, *contract["columns"]]
    update = {
        "contract": Contract.model_validate({**contract, "ignore": ["measured_on"]}),
        "split": Split(by="time", column="measured_on", **SHARES),
    }
    landing.steps.config = landing.steps.config.model_copy(update=update)
    return landing


def day(number: int) -> str:
    return (date(2026, 1, 1) + timedelta(days=number)).isoformat()


def days(*numbers: int, start: int = 0) -> str:
    """A file with a row of each day."""
    return "\n".join([f"measured_on,{HEADER}", *(f"{day(n)},{row(start + n)}" for n in numbers)]) + "\n"


def places(landing: Landing, known: dict[str, int], version: int | None = None) -> dict[str, list[int]]:
    """The days of each split."""
    state = landing.state if version is None else landing.state.at(version)
    found: dict[str, list[int]] = {}
    for split in SHARES:
        found[split] = []
        for output in state.training_objects(split, "csv_without_header"):
            body = landing.s3.get_object(Bucket=landing.stage.bucket, Key=output.key)["Body"].read().decode()
            found[split] += [known[",".join([*ln.split(",")[1:], ln.split(",")[0]])] for ln in body.splitlines()]
    return {split: sorted(numbers) for split, numbers in found.items()}


def in_order(found: dict[str, list[int]]) -> bool:
    train, validation, test = (found[split] for split in SHARES)
    return max(train) < min(validation + test) and max(validation, default=-1) < min(test)


def test_new_days_are_the_test_until_it_has_outgrown_its_share_then_the_boundaries_move_on(landing):
    by_time(landing)
    known = {row(n): n for n in range(200)}
    landing.put("a.csv", days(*range(40)))
    assert landing.run() == "merged"
    everything = {"train": list(range(28)), "validation": list(range(28, 32)), "test": list(range(32, 40))}
    assert places(landing, known) == everything
    before = landing.state.boundaries
    assert before == {"column": "measured_on", "validation_from": day(28), "test_from": day(32)}
    for number in (40, 44):
        landing.put(f"{number}.csv", days(*range(number, number + 4)))
        assert landing.run() == "merged"
        everything["test"] += range(number, number + 4)
        assert places(landing, known) == everything
        assert (landing.state.boundaries, landing.state.versions[-1].starts_anew) == (before, False)
    for number, anew in (
        (48, True),
        (52, False),
    ):  # with 24 of 52 days validation and test have more than 1.5 times 30 %
        landing.put(f"{number}.csv", days(*range(number, number + 4)))
        assert landing.run() == "merged"
        assert landing.state.versions[-1].starts_anew is anew
        assert landing.state.boundaries["test_from"] == day(41)
        assert places(landing, known)["train"] == list(range(36))
        assert places(landing, known)["test"] == list(range(41, number + 4))


def test_an_old_row_that_comes_late_trains_and_no_trained_row_comes_back(landing, capsys):
    by_time(landing)
    known = {row(n): n for n in range(200)}
    landing.put("a.csv", days(*range(20, 60)))
    assert landing.run() == "merged"
    before = landing.state.boundaries
    landing.put("late.csv", days(3))
    assert landing.run() == "merged"
    assert 3 in places(landing, known)["train"]
    # Without the newest rows the shares alone would call for earlier boundaries.
    told = landing.command(
        capsys, "forget", landing.stage.name, "--where", f"measured_on={day(59)}", "--why", "a clock ran fast"
    )
    assert "version 3" in told, told
    assert landing.state.versions[-1].starts_anew
    assert landing.state.boundaries == before
    assert in_order(places(landing, known))
    assert before["test_from"] in landing.command(capsys, "show", landing.stage.name, "3")


def test_an_older_version_whose_test_rows_the_champion_has_learnt_is_not_trained_on(landing, monkeypatch):
    by_time(landing)
    landing.put("a.csv", days(*range(40)))
    assert landing.run() == "merged"
    later(landing)
    landing.put("b.csv", days(*range(40, 90)))
    assert landing.run() == "merged"
    assert landing.state.versions[-1].starts_anew
    state, champion = landing.state, Champion(package_arn="p", model_data="s3://b/m.tar.gz", run_key="v2-0a")
    with pytest.raises(AirflowFailException, match=f"tests with rows from {day(32)} on"):
        landing.steps._require_unlearnt_tests(state, 1, champion)
    for pinned, serving in ((2, champion), (1, champion.model_copy(update={"run_key": "v1-0a"})), (1, None)):
        landing.steps._require_unlearnt_tests(state, pinned, serving)
    with pytest.raises(AirflowFailException, match="it knows the answers"):
        monkeypatch.setattr(
            "retraining.serving.champion.standing",
            lambda *a: type("Now", (), {"champion": champion, "disagreement": ""})(),
        )
        landing.steps.claim_new_data({"dataset_version": 1})


def test_random_arrivals_keep_every_version_in_order(landing):
    by_time(landing)
    dice = random.Random(7)
    known = {row(n): n for n in range(150)}
    left = list(range(150))
    dice.shuffle(left)
    landing.put("first.csv", days(*left[:40]))
    assert landing.run() == "merged"
    left = left[40:]
    while left:
        size = dice.randrange(15, 35)
        landing.put(f"{len(left)}.csv", days(*left[:size]))
        left = left[size:]
        assert landing.run() == "merged"
    seen: list[dict[str, list[int]]] = [places(landing, known, number + 1) for number in range(landing.state.latest)]
    trained: set[int] = set()
    for found in seen:
        assert in_order(found)
        assert not trained & {*found["test"], *found["validation"]}
        trained |= {*found["train"]}
