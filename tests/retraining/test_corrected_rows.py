"""Corrections: the newest row of a thing counts, and a file that is uploaded again may take the place of its rows."""

from collections import Counter

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from serving_stage import Stage
from test_data_phase import BROKEN, FOREIGN, HEADER, Landing, landing, row, survey

from retraining.settings.contract_keys import Contract

__all__ = ["landing"]
pytestmark = pytest.mark.local_aws


def under(landing: Landing, **policies) -> Landing:
    """The landing zone of a model whose contract has these policies, and an id as its first column where one is the key."""
    contract = landing.steps.config.contract.model_dump(exclude={"identity"})
    if "key" in policies:
        contract["columns"] = [{"name": "id", "type": "string"}, *contract["columns"]]
        policies["ignore"] = ["id"]
    contract = Contract.model_validate({**contract, **policies})
    landing.steps.config = landing.steps.config.model_copy(update={"contract": contract})
    return landing


def animals(**numbers: int) -> str:
    """A survey in which each animal measures like the row of a number."""
    return "\n".join([f"id,{HEADER}", *(f"{animal},{row(number)}" for animal, number in numbers.items())]) + "\n"


def expected(*numbers: int) -> Counter:
    return Counter(map(row, numbers))


def later(landing: Landing) -> None:
    """S3 tells times to the second: let what follows land a second later."""
    [*_, newest] = sorted(file.record.landed_at for file in landing.steps._landed())
    while sorted(file.record.landed_at for file in landing.steps._landed())[-1] <= newest:
        landing.put("_clock", newest)


def test_a_correction_takes_the_place_of_the_row_in_its_split_and_back(landing):
    under(landing, key=["id"])
    landing.put("a.csv", animals(**{f"a{number}": number for number in range(40)}))
    assert landing.run() == "merged"
    places = where(landing)
    later(landing)
    landing.put("b.csv", animals(a7=100, new=101))
    assert landing.run() == "merged"
    assert landing.rows() == expected(*(number for number in range(40) if number != 7), 100, 101)
    assert where(landing)[row(100)] == places[row(7)]
    assert landing.state.versions[-1].starts_anew
    later(landing)
    landing.put("c.csv", animals(a7=7))
    assert landing.run() == "merged"
    assert landing.rows() == expected(*range(40), 101)
    assert sum(landing.state.at(1).rows_by_split().values()) == 40


def where(landing: Landing) -> dict[str, str]:
    """The split of each row of the newest version."""
    found = {}
    for split in ("train", "validation", "test"):
        for output in landing.state.training_objects(split, "csv_without_header"):
            body = landing.s3.get_object(Bucket=landing.stage.bucket, Key=output.key)["Body"].read().decode()
            found |= {",".join([*line.split(",")[1:], line.split(",")[0]]): split for line in body.splitlines()}
    return found


def test_of_two_rows_of_a_thing_in_one_file_the_last_counts(landing):
    under(landing, key=["id"])
    landing.put("a.csv", animals(**{f"a{number}": number for number in range(40)}) + f"a3,{row(50)}\na3,{row(51)}\n")
    assert landing.run() == "merged"
    assert landing.rows() == expected(*(number for number in range(40) if number != 3), 51)


def test_a_file_uploaded_again_takes_the_place_of_its_rows(landing, capsys):
    under(landing, overwrite="replace")
    key = landing.put("a.csv", survey(*range(40)))
    landing.put("b.csv", survey(*range(40, 50)))
    assert landing.run() == "merged"
    landing.put("c.csv", survey(50))
    assert landing.run() == "merged"
    assert not landing.state.versions[-1].starts_anew, "nothing is replaced"
    landing.put("a.csv", survey(*range(5, 45)))
    assert landing.run() == "merged"
    assert landing.rows() == expected(*range(5, 51))
    [gone] = [file for file in landing.state.versions[-1].left_out if file.outcome == "ignored"]
    assert gone.key == key
    assert landing.senses() is None
    assert "everything is as the log says" in landing.command(capsys, "verify", landing.stage.name)
    landing.put("a.csv", survey(*range(60, 70)))
    assert landing.run() == "merged"
    assert landing.rows() == expected(*range(40, 51), *range(60, 70))


def test_a_wrong_upload_takes_the_place_of_nothing(landing):
    under(landing, overwrite="replace")
    landing.put("a.csv", survey(*range(40)))
    assert landing.run() == "merged"
    landing.put("a.csv", BROKEN)
    assert landing.run() == "refused"
    assert (landing.state.latest, landing.rows()) == (1, expected(*range(40)))
    assert landing.senses() is None
    landing.put("a.csv", survey(*range(20)))
    assert landing.run() == "merged"
    assert landing.rows() == expected(*range(20))


def test_by_default_a_file_uploaded_again_adds_rows(landing):
    landing.put("a.csv", survey(*range(40)))
    assert landing.run() == "merged"
    landing.put("a.csv", survey(*range(30, 50)))
    assert landing.run() == "merged"
    assert landing.rows() == expected(*range(50))


def test_equal_rows_that_the_policy_keeps_are_no_mismatch(landing, capsys):
    under(landing, duplicates="keep")
    landing.put("a.csv", survey(*range(40), *range(10)))
    landing.put("b.csv", survey(0, 50))
    assert landing.run() == "merged"
    landing.put("c.csv", survey(1, 1, 51, 51))
    assert landing.run() == "merged"
    assert landing.rows() == expected(*range(40), *range(10), 50, 51, 51)
    assert "everything is as the log says" in landing.command(capsys, "verify", landing.stage.name)


NAMES = ("a.csv", "b.csv", "c.csv")
UPLOADS = st.tuples(
    st.sampled_from(NAMES), st.one_of(st.integers(0, 12), st.sampled_from(["headings.csv", "broken.csv"]))
)


@given(st.lists(st.lists(UPLOADS, min_size=1, max_size=3), min_size=1, max_size=4))
@settings(max_examples=5, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_the_data_set_is_what_the_newest_good_upload_of_each_file_holds(landing, batches):
    landing = under(
        Landing(
            Stage(landing.stage.account, landing.stage.access, landing.stage.config, landing.stage.bucket),
            pytest.MonkeyPatch(),
        ),
        overwrite="replace",
    )
    good: dict[str, range] = {}
    landing.put("base.csv", survey(*range(900, 940)))
    landing.run()
    for uploads in batches:
        last = dict(uploads)
        for name, what in last.items():
            landing.put(name, FOREIGN[what] if isinstance(what, str) else survey(*range(what * 5, what * 5 + 10)))
            if isinstance(what, int):
                good[name] = range(what * 5, what * 5 + 10)
        landing.run()
        assert landing.senses() is None
        assert landing.rows() == expected(*range(900, 940), *{number for rows in good.values() for number in rows})
