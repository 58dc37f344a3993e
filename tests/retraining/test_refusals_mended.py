"""Each kind of refusal is mended as its remedy says: by an upload, by a word in the contract with a release, or by `--accept`."""

import gzip
import json
import shlex
from collections import Counter

import pytest
from test_data_phase import BROKEN, FOREIGN, HEADER, Landing, landing, printed_command, row, survey

from retraining.settings.contract_keys import Contract

__all__ = ["landing"]
pytestmark = pytest.mark.local_aws
NUMBERS = range(40)
RENAMED = survey(*NUMBERS, header=HEADER.replace("whole_weight", "Gesamtgewicht"))
WITH_AGE = "\n".join(f"{line},{'age' if line == HEADER else 9}" for line in survey(*NUMBERS).splitlines())
SEMICOLONS = "\n".join(row(number).replace(",", ";") for number in NUMBERS)
COMMAS = survey(*NUMBERS).replace(",", ";").replace(".", ",")
GAPS = survey(*NUMBERS) + "\n".join(row(number).replace("M,", "male,") for number in range(40, 50)) + "\n"
#: File and text that are refused, words of the reason, and the keys of the contract that its remedy names.
BY_CONTRACT = {
    "another heading": (
        "a.csv",
        RENAMED,
        "has unknown Gesamtgewicht",
        {"aliases": {"whole_weight": ["Gesamtgewicht"]}},
    ),
    "one column more": ("a.csv", WITH_AGE, "has unknown age", {"ignore": ["age"]}),
    "another separator without header": ("a.csv", SEMICOLONS, "no header proves it", {"csv": {"delimiter": ";"}}),
    "decimal commas": ("a.csv", COMMAS, "decimal comma", {"csv": {"decimal": ","}}),
    "a value that is not listed": ("a.csv", GAPS, "not one of M, F, I", {"allowed": {"sex": ["M", "F", "I", "male"]}}),
    "a key of JSON": (
        "a.jsonl",
        "\n".join(
            json.dumps({**dict(zip(HEADER.split(","), row(n).split(","), strict=True)), "id": n}) for n in NUMBERS
        ),
        "the set of keys has unknown id",
        {"ignore": ["id"]},
    ),
}


def with_keys(landing: Landing, changes: dict) -> None:
    """Change model.yaml as the remedy says."""
    contract = landing.steps.config.contract.model_dump()
    for key, value in changes.items():
        if key in ("aliases", "allowed"):
            for column in contract["columns"]:
                column[key] = value.get(column["name"], column[key])
        else:
            contract[key] = value
    landing.steps.config = landing.steps.config.model_copy(update={"contract": Contract.model_validate(contract)})


@pytest.mark.parametrize("name", BY_CONTRACT)
def test_a_word_in_the_contract_and_the_printed_release_merge_it(landing, capsys, name):
    file, text, reason, changes = BY_CONTRACT[name]
    landing.put(file, text)
    assert landing.run() == "refused"
    assert reason in landing.error
    told = [word for key in changes for word in (key, "csv", "Mend the rows") if word in landing.error]
    assert told, landing.error
    with_keys(landing, changes)
    released = landing.command(capsys, *printed_command(landing.error, "release"))
    assert "counts as new again" in released
    assert landing.run() == "merged"
    assert sum(landing.rows().values()) == (50 if name == "a value that is not listed" else 40)
    assert landing.command(capsys, "refused", landing.stage.name) == "no file is refused\n"


@pytest.mark.parametrize("name", [*FOREIGN, "cut.csv.gz", "list.jsonl"])
def test_the_right_file_under_the_same_name_is_enough(landing, capsys, name):
    right = survey(*NUMBERS).encode()
    wrong = {"cut.csv.gz": gzip.compress(right)[:-9], "list.jsonl": b"[{}]"}.get(name, FOREIGN.get(name, "").encode())
    key = f"{landing.stage.name}/new/{name}"
    landing.s3.put_object(Bucket=landing.stage.bucket, Key=key, Body=wrong)
    assert landing.run() == "refused"
    assert key in landing.command(capsys, "refused", landing.stage.name)
    if name.endswith(".gz"):
        right = gzip.compress(right)
    if name.endswith(".jsonl"):
        rows = [dict(zip(HEADER.split(","), row(number).split(","), strict=True)) for number in NUMBERS]
        right = "\n".join(map(json.dumps, rows)).encode()
    landing.s3.put_object(Bucket=landing.stage.bucket, Key=key, Body=right)
    assert landing.run() == "merged"
    assert landing.rows() == Counter(map(row, NUMBERS))


def test_accept_takes_the_good_rows_and_quarantine_has_shown_the_others(landing, capsys):
    landing.put("half.csv", survey(*NUMBERS) + BROKEN.split("\n", 1)[1])
    assert landing.run() == "refused"
    shown = next(line for line in landing.error.splitlines() if "quarantine" in line)
    assert "sex: not one of M, F, I" in landing.command(
        capsys, *shlex.split(shlex.split(shown)[2].removeprefix("COMMAND="))
    )
    landing.command(capsys, *printed_command(landing.error, "release"), "--accept")
    assert landing.run() == "merged"
    assert landing.rows() == Counter(map(row, NUMBERS))
