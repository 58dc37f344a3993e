"""Which files of a manifest give way to a newer upload, and which is the newest: no Spark is needed to tell."""

from __future__ import annotations

from collections import Counter
from types import SimpleNamespace
from typing import Any

from survey_bucket import MODEL

from glue_scripts.merge.manifest import Manifest
from glue_scripts.merge.tally import Tally, judge_files


def manifest(*files: dict[str, Any]) -> Manifest:
    entries = [{"etag": None, "size": 1, "source": "survey", **file} for file in files]
    return Manifest.of({
        "batch": "b", "bucket": "s3", "files": entries, "contract": MODEL["contract"], "split": MODEL["split"],
        "history": [], "output": "o", "quarantine": "q", "report": "r",
    })  # fmt: skip


OLD_A = {
    "key": "landed/v/new/a.csv",
    "origin": "new/a.csv",
    "known": True,
    "replaced_by": "new/a.csv",
    "landed_at": "1",
}
OLD_B = {"key": "new/b.csv", "known": True, "replaced_by": None, "landed_at": "3"}
NEW_A = {"key": "new/a.csv", "landed_at": "2"}
NEW_C = {"key": "new/c.csv", "landed_at": "3"}


def group(file: int, rows: int) -> Any:
    return SimpleNamespace(file=file, n=rows, split=0, synthetic=False, target=1.0)


def test_the_newest_is_the_one_that_landed_last_then_the_last_by_name() -> None:
    whole = manifest(OLD_A, OLD_B, NEW_A, NEW_C)
    assert [whole.files[number].key for number in whole.newest_first] == [
        "new/c.csv", "new/b.csv", "new/a.csv", "landed/v/new/a.csv"
    ]  # fmt: skip


def judged(bad_rows_of_the_new: int) -> tuple[set[str], set[str], int]:
    whole = manifest(OLD_A, OLD_B, NEW_A)
    number = {file.key: at for at, file in enumerate(whole.files)}
    found = Tally()
    found.files[number["landed/v/new/a.csv"]]["bad"] = 1
    found.files[number["new/a.csv"]]["bad"] = bad_rows_of_the_new
    found.reasons[number["new/a.csv"]] = Counter({"rings: missing": bad_rows_of_the_new})
    good = [group(at, 40) for at in number.values()]
    refused, gone = judge_files(
        found, good, dict(enumerate(whole.files)), whole.contract, lambda _: "mend", whole.replacements
    )
    name = {at: key for key, at in number.items()}
    return {name[at] for at in refused}, {name[at] for at in gone}, found.total("accepted")


def test_a_file_gives_way_to_a_new_one_that_is_merged() -> None:
    assert judged(bad_rows_of_the_new=0) == (set(), {"landed/v/new/a.csv"}, 80)


def test_a_file_does_not_give_way_to_a_new_one_that_is_refused() -> None:
    assert judged(bad_rows_of_the_new=40) == ({"new/a.csv"}, set(), 80)
