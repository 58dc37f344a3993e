"""Sensing, claim and commit over everything that lands: each file is judged alone, and mending it is enough."""

import gzip
import json
import re
import shlex
import uuid
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import pytest
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from plain_merge import plain_merge
from serving_stage import Run, Stage

from retraining.command import dataset as dataset_command
from retraining.contract.rules import Contract
from retraining.dag.tasks.commit import DataRefusedError
from retraining.dag.tasks.retraining import RetrainingTasks
from retraining.dataset.records import IGNORED
from retraining.dataset.verdicts import refusals
from retraining.jobs.remerge import again as again_module

MODEL = Path(__file__).resolve().parents[2] / "dags" / "models" / "abalone"
HEADER = "sex,length,diameter,height,whole_weight,shucked_weight,viscera_weight,shell_weight,rings"
RUN = Run("r1")
pytestmark = pytest.mark.local_aws


def row(number: int) -> str:
    """A good row that differs from that of every other number."""
    return f"M,0.455,0.365,0.095,0.{514 + number % 300},0.2245,0.10{1 + number // 300:02},0.15,{1 + number % 29}"


def survey(*numbers: int, header: str = HEADER) -> str:
    return "\n".join([header, *(row(number) for number in numbers)]) + "\n"


def as_json_lines(numbers: Iterable[int]) -> str:
    rows = [dict(zip(HEADER.split(","), row(number).split(","), strict=True)) for number in numbers]
    return "".join(json.dumps(dict(reversed(cells.items()))) + "\n" for cells in rows)


BROKEN = survey(*range(900, 910)).replace("M,0.455", "X,0.455")
#: What a file that is refused, or no data at all, may look like, and its name.
FOREIGN = {
    "headings.csv": survey(1, header=HEADER.replace("rings", "age_in_years")),
    "broken.csv": BROKEN,
    "about.txt": "This survey was made in spring.\nThe north bay was cold.\n",
    "page.csv": "<html><body>Login</body></html>\n",
    "lfs.csv": "version https://git-lfs.github.com/spec/v1\noid sha256:0a\nsize 1\n",
    "plain.csv.gz": survey(2),
    "wide.csv": ",".join(f"c{number}" for number in range(2000)) + "\n",
}
MARKERS = {"_SUCCESS": "", ".part.crc": "x", "a.csv._COPYING_": survey(3), "tmp_$folder$": "", "empty.csv": ""}


class Landing:
    """A landing zone, and runs of the data phase over it."""

    def __init__(self, stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
        self.stage = stage
        self.steps = RetrainingTasks(stage.config, MODEL)
        self.s3 = stage.account.s3
        # The command reads model.yaml and starts the Glue job: here the stage's configuration and the plain merge.
        monkeypatch.setattr(dataset_command, "AwsAccess", lambda: stage.access)
        monkeypatch.setattr(dataset_command, "load_model_config", lambda path: self.steps.config)
        monkeypatch.setattr(again_module, "merge_again", lambda access, platform, model, uri: self.merge(uri))

    def put(self, name: str, text: str) -> str:
        key = f"{self.stage.name}/new/{name}"
        self.s3.put_object(Bucket=self.stage.bucket, Key=key, Body=text.encode())
        return key

    def merge(self, uri: str) -> None:
        from retraining.aws.documents import get_json

        plain_merge(self.s3, get_json(self.s3, uri))

    def senses(self, **params: object) -> str | None:
        return self.steps.look_for_work({"params": params})[0]

    def run(self, **params: object) -> str:
        """Play the data phase of a run; return how it ended."""
        if self.senses(**params) is None:
            return "nothing new"
        try:
            plan = self.steps.claim_new_data(params)
            if plan["batch"]:
                self.merge(f"s3://{self.stage.bucket}/{self.stage.name}/batches/{plan['batch']}/manifest.json")
            self.steps.check_data_quality(plan, params, RUN)
        except DataRefusedError as error:
            self.error = str(error)
            return "refused"
        except AirflowSkipException as skipped:
            self.error = str(skipped)
            return "skipped"
        except AirflowFailException as error:  # too few rows for every split
            assert "rows; add real data" in str(error), error
        self.judged()
        return "merged"

    def judged(self) -> None:
        """Note that a run judged a model of the newest version, as its last task does."""
        from retraining.dataset.records import TrainedNote

        latest = self.state.latest
        self.steps._dataset.note_trained(TrainedNote(version=latest, run_key=f"v{latest}", decision="rejected"))

    @property
    def state(self):
        return self.steps._dataset.read()

    def rows(self) -> Counter:
        """The rows of the newest version in the order of the contract."""
        found: Counter = Counter()
        for split in ("train", "validation", "test"):
            for output in self.state.training_objects(split, "csv_without_header"):
                body = self.s3.get_object(Bucket=self.stage.bucket, Key=output.key)["Body"].read().decode()
                found.update(",".join([*line.split(",")[1:], line.split(",")[0]]) for line in body.splitlines())
        return found

    def command(self, capsys: pytest.CaptureFixture, *arguments: str) -> str:
        capsys.readouterr()
        status = dataset_command.main(list(arguments))
        told = capsys.readouterr()
        return told.out if status == 0 else f"status {status}: {told.err}"


@pytest.fixture
def landing(account, access, config, monkeypatch) -> Landing:
    bucket = f"landing-{uuid.uuid4().hex[:8]}"
    account.s3.create_bucket(Bucket=bucket)
    account.s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    return Landing(Stage(account, access, config, bucket), monkeypatch)


def expected(*numbers: int) -> Counter:
    return Counter(row(number) for number in numbers)


@pytest.mark.parametrize("name", FOREIGN)
def test_a_wrong_file_alone_refuses_itself_and_the_next_run_starts_clean(landing, name):
    key = landing.put(name, FOREIGN[name])
    assert landing.run() == "refused"
    assert key in landing.error
    assert landing.senses() is None
    landing.put("next.csv", survey(*range(40)))
    assert landing.run() == "merged"
    assert landing.rows() == expected(*range(40))


def test_all_wrong_files_and_markers_beside_a_good_one_cost_it_nothing(landing):
    for name, text in {**FOREIGN, **MARKERS}.items():
        landing.put(name, text)
    landing.put("good.csv", survey(*range(60)))
    assert landing.run() == "merged"
    assert landing.rows() == expected(*range(60))
    [version] = landing.state.versions
    assert len(refusals(version.left_out)) == len(FOREIGN)
    ignored = {file.key.rsplit("/", 1)[-1] for file in version.left_out if file.outcome == IGNORED}
    assert ignored == set(MARKERS)
    assert landing.senses() is None


def test_few_rows_are_merged_at_once_and_trained_on_with_those_that_follow(landing):
    config = landing.steps.config
    gathers = config.schedule.model_copy(update={"min_rows": 30})
    landing.steps = RetrainingTasks(config.model_copy(update={"schedule": gathers}), MODEL)
    landing.put("first.csv", survey(*range(20)))
    assert landing.run() == "merged", "a first model trains on what there is"
    landing.put("few.csv", survey(*range(20, 40)))
    assert landing.run() == "skipped"
    assert landing.error == (
        "20 rows came since dataset version 1, the newest with a judged model: a training waits for 30 (schedule.min_rows). Dataset "
        "version 2 has the rows, and the run that trains takes them along"
    )
    assert landing.rows() == expected(*range(40))
    assert landing.senses() is None, "what waits is no reason to run, and no change of the code"
    assert landing.senses(force_retrain=True) == "dataset version 2 has no judged model yet"
    landing.put("more.csv", survey(*range(40, 50)))
    assert landing.run() == "merged"
    landing.put("one.csv", survey(50))
    assert landing.run(force_retrain=True) == "merged", "who asks for a training gets it"


def test_markers_alone_start_no_run(landing):
    landing.put("good.csv", survey(*range(40)))
    assert landing.run() == "merged"
    for name, text in MARKERS.items():
        landing.put(name, text)
    assert landing.senses() is None


@pytest.mark.parametrize("name", ["broken.csv", "another_name.csv"])
def test_mending_is_enough_under_the_same_name_or_another(landing, capsys, name):
    landing.put("good.csv", survey(*range(40)))
    landing.put("broken.csv", BROKEN)
    assert landing.run() == "merged"
    assert "broken.csv" in landing.command(capsys, "refused", landing.stage.name)
    landing.put(name, survey(*range(900, 910)))
    assert landing.run() == "merged"
    assert landing.rows() == expected(*range(40), *range(900, 910))
    assert ("1 more refused" in landing.command(capsys, "refused", landing.stage.name)) is (name == "broken.csv")


def printed_command(text: str, word: str) -> list[str]:
    """The arguments of a printed ``make dataset-log COMMAND=...``, as make and a shell take it apart."""
    [line] = re.findall(rf"make dataset-log COMMAND=.*{word} .*", text)
    argument = shlex.split(line)[2].removeprefix("COMMAND=")
    return shlex.split(argument.replace("$$", "$"))


def test_the_printed_release_runs_as_printed_and_a_second_refusal_is_listed_again(landing, capsys):
    nasty = 'it\'s $HOME "of" 2026 [v1]:a=b.csv'
    key = landing.put(nasty, BROKEN)
    assert landing.run() == "refused"
    for attempt in (1, 2):
        release = printed_command(landing.command(capsys, "refused", landing.stage.name), "release")
        assert release[:3] == ["release", landing.stage.name, key]
        assert "counts as new again" in landing.command(capsys, *release)
        assert landing.command(capsys, "refused", landing.stage.name) == "no file is refused\n"
        assert landing.run() == "refused"
        assert len(landing.state.releases) == attempt
    by_batch = printed_command(landing.error, "release")
    assert "counts as new again" in landing.command(capsys, *by_batch, "--accept")
    assert [(release.accept, bool(release.who), bool(release.why)) for release in landing.state.releases] == [
        (False, True, True),
        (False, True, True),
        (True, True, True),
    ]


def test_accept_merges_the_good_rows_of_a_file_beyond_the_budget(landing, capsys):
    half = survey(*range(50)) + BROKEN.split("\n", 1)[1]
    landing.put("half.csv", half)
    assert landing.run() == "refused"
    landing.command(capsys, "release", landing.stage.name, "new/half.csv", "--accept", "--why", "the site is new")
    assert landing.run() == "merged"
    assert landing.rows() == expected(*range(50))
    assert landing.state.versions[0].files[0].beyond_budget


def test_quarantine_says_why_for_a_version_and_for_a_refused_batch(landing, capsys):
    landing.put("broken.csv", BROKEN)
    assert landing.run() == "refused"
    batch = landing.state.judgements[0].batch
    told = landing.command(capsys, "quarantine", landing.stage.name, batch)
    assert "10 of 10 rows rejected" in told
    assert "sex: not one of M, F, I" in told
    landing.put("good.csv", survey(*range(40)))
    assert landing.run() == "merged"
    assert "no row was rejected" in landing.command(capsys, "quarantine", landing.stage.name, "1")
    assert "versions 1 to 1" in landing.command(capsys, "quarantine", landing.stage.name, "2")


def exchanged(config):
    """The contract with two columns exchanged in place."""
    columns = list(config.contract.columns)
    columns[6], columns[7] = columns[7], columns[6]
    contract = config.contract.model_copy(
        update={"columns": tuple(columns), "identity": tuple(c.name for c in columns)}
    )
    return config.model_copy(update={"contract": contract})


def test_exchanged_columns_stop_before_anything_is_paid_and_migrate_mends_the_data_set(landing, capsys):
    landing.put("a.csv", survey(*range(40)))
    assert landing.run() == "merged"
    landing.steps.config = exchanged(landing.steps.config)
    landing.put("b.csv", survey(*range(40, 50)))
    before = landing.stage.keys("")
    with pytest.raises(AirflowFailException, match="another order: viscera_weight, shell_weight") as caught:
        landing.steps.claim_new_data({})
    assert landing.stage.keys("") == before
    name = landing.stage.name
    assert f'make dataset-log COMMAND="migrate {name}"' in str(caught.value)
    plan = landing.command(capsys, "migrate", name, "--plan")
    assert "needs the migration: columns stand in another order" in plan
    assert landing.state.latest == 1
    assert "40 rows accepted" in landing.command(capsys, "migrate", name)
    assert "under this contract already" in landing.command(capsys, "migrate", name)
    state = landing.state
    assert (state.latest, state.batches) == (2, (state.versions[1].batch,))
    assert sum(state.rows_by_split().values()) == 40
    assert landing.run() == "merged"
    assert sum(landing.state.rows_by_split().values()) == 50
    with pytest.raises(AirflowFailException, match="dataset version 1 were stored under another contract"):
        landing.steps.claim_new_data({"dataset_version": 1})


@pytest.mark.parametrize(
    ("params", "words"), [({}, "has no data"), ({"dataset_version": 77}, "dataset version 77 does not exist")]
)
def test_what_no_repetition_can_change_fails_at_once(landing, params, words):
    with pytest.raises(AirflowFailException, match=words):
        landing.steps.claim_new_data(params)


def test_a_migration_reads_overwritten_files_as_they_were(landing, capsys):
    landing.put("a.csv", survey(*range(40)))
    assert landing.run() == "merged"
    landing.put("a.csv", survey(*range(40, 60)))
    assert landing.run() == "merged"
    landing.steps.config = exchanged(landing.steps.config)
    assert "60 rows accepted" in landing.command(capsys, "migrate", landing.stage.name)
    assert landing.senses() is not None  # to train on the new version
    keys = {file.key for file in landing.state.versions[-1].files}
    assert keys == {f"{landing.stage.name}/new/a.csv"}


def test_forgotten_rows_stay_out_of_this_and_all_later_versions(landing, capsys):
    name = landing.stage.name
    landing.put("a.csv", survey(*range(40)))
    landing.put("b.csv.gz", survey(*range(40, 60)))
    packed = gzip.compress(survey(*range(40, 60)).encode())
    landing.s3.put_object(Bucket=landing.stage.bucket, Key=f"{name}/new/b.csv.gz", Body=packed)
    assert landing.run() == "merged"
    whole = row(45).split(",")[4]
    told = landing.command(capsys, "forget", name, "--where", f"whole_weight={whole}00", "--why", "asked for")
    assert "version 2: 59 rows" in told
    assert landing.rows() == expected(*range(45), *range(46, 60))
    assert sum(landing.state.at(1).rows_by_split().values()) == 60
    landing.steps.config = exchanged(landing.steps.config)
    assert "59 rows accepted" in landing.command(capsys, "migrate", name)
    told = landing.command(capsys, "forget", name, "--file", "new/a.csv", "--why", "the wrong site")
    assert "version 4: 19 rows" in told
    [forgotten] = [file for file in landing.state.versions[-1].left_out if file.key.endswith("a.csv")]
    assert forgotten.reason.startswith("forgotten: the wrong site")
    assert landing.run() == "merged"  # a model of the new version; the forgotten file is not new
    assert landing.state.latest == 4
    assert "no such row" in landing.command(capsys, "forget", name, "--row-hash", "0" * 32, "--why", "x")
    assert "is no file of" in landing.command(capsys, "forget", name, "--file", "new/a.csv", "--why", "x")
    assert "not a column" in landing.command(capsys, "forget", name, "--where", "colour=red", "--why", "x")
    assert "everything is as the log says" in landing.command(capsys, "verify", name)


def test_a_forgotten_row_goes_by_its_hash_too(landing, capsys):
    landing.put("a.csv", survey(*range(40)))
    assert landing.run() == "merged"
    contract = landing.steps.config.contract.model_dump(mode="json")
    rules = Contract.of(contract)
    row_hash = rules.row_hash(rules.judge(row(7).split(",")).values)
    told = landing.command(capsys, "forget", landing.stage.name, "--row-hash", row_hash, "--why", "a typing error")
    assert "version 2: 39 rows" in told
    assert landing.rows() == expected(*(number for number in range(40) if number != 7))


def test_wider_limits_just_work(landing):
    landing.put("a.csv", survey(*range(40)))
    assert landing.run() == "merged"
    contract = landing.steps.config.contract
    wider = tuple(column.model_copy(update={"max": 99}) if column.max else column for column in contract.columns)
    landing.steps.config = landing.steps.config.model_copy(
        update={"contract": contract.model_copy(update={"columns": wider})}
    )
    landing.put("b.csv", survey(*range(40, 50)))
    assert landing.run() == "merged"
    recorded = [version.contract for version in landing.state.versions]
    assert recorded[0].digest != recorded[1].digest
    assert recorded[1].keys["columns"][0]["name"] == "sex"


FILES = st.one_of(
    st.tuples(st.just("good"), st.integers(0, 20)),
    st.tuples(st.just("json"), st.integers(0, 20)),
    st.tuples(st.just("foreign"), st.sampled_from(sorted(FOREIGN))),
    st.tuples(st.just("marker"), st.sampled_from(sorted(MARKERS))),
)


@given(st.lists(st.lists(FILES, min_size=1, max_size=4), min_size=1, max_size=4))
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_good_rows_of_good_files_are_in_the_data_set_once_whatever_lands_beside_them(landing, batches):
    landing = Landing(
        Stage(landing.stage.account, landing.stage.access, landing.stage.config, landing.stage.bucket),
        pytest.MonkeyPatch(),
    )
    good: set[int] = set()
    for arrival, files in enumerate(batches):
        for number, (kind, what) in enumerate(files):
            if kind == "good":
                numbers = range(what * 10, what * 10 + 10)
                landing.put(f"{arrival}/{number}.csv", survey(*numbers))
                good |= set(numbers)
            elif kind == "json":
                numbers = range(what * 10, what * 10 + 10)
                landing.put(f"{arrival}/{number}.jsonl", as_json_lines(numbers))
                good |= set(numbers)
            else:
                landing.put(f"{arrival}-{number}/{what}", {**FOREIGN, **MARKERS}[what])
        kinds = {kind for kind, _ in files}
        ended = landing.run()
        if kinds & {"good", "json"}:
            assert ended in ("merged", "skipped"), ended
        elif "foreign" in kinds:
            assert ended == "refused", ended
        else:
            assert ended == "nothing new", ended
        assert landing.senses() is None
        assert landing.rows() == Counter(dict.fromkeys(map(row, good), 1))
