"""The dataset log against real S3 semantics: conditional puts of a running local_aws."""

import json
import uuid
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given
from hypothesis import strategies as st
from log_versions import make_version

from retraining.dataset.landing_zone import landed_files, listed, unseen, waiting
from retraining.dataset.log import CHECKPOINT_EVERY, DatasetLog, VersionConflictError
from retraining.dataset.records import IGNORED, REFUSED, Erasure, FileRecord, FileVerdict, Judgement, TrainedNote
from retraining.dataset.state import LogState, batch_digest, manifest_entries, new_files
from retraining.settings.model_config import Landing

RECORDS = st.lists(
    st.builds(
        FileRecord, key=st.text(min_size=1, max_size=5), etag=st.text(min_size=1, max_size=3), size=st.integers(0, 9)
    ),
    max_size=8,
)


@pytest.fixture
def log(account, bucket) -> DatasetLog:
    return DatasetLog(account.s3, bucket, f"model-{uuid.uuid4().hex[:8]}/")


def test_an_empty_log_has_no_version_and_asks_for_no_training(log):
    state = log.read()
    assert (state.latest, state.batches, state.untrained) == (0, (), False)


def test_committed_versions_are_read_back_in_order(log):
    versions = [make_version(number) for number in range(1, 4)]
    for version in versions:
        log.commit(version)
    assert log.read().versions == tuple(versions)


def test_the_loser_of_a_race_is_told_and_the_log_keeps_the_winner(log):
    log.commit(make_version(1))
    other = make_version(1).model_copy(update={"batch": "another"})
    with pytest.raises(VersionConflictError, match="start a new run"):
        log.commit(other)
    assert log.read().batches == (make_version(1).batch,)


def test_committing_the_same_batch_again_is_no_conflict(log):
    log.commit(make_version(1))
    log.commit(make_version(1))
    assert log.read().latest == 1


def test_of_many_writers_at_the_same_moment_exactly_one_commits(log):
    def attempt(number: int) -> bool:
        try:
            log.commit(make_version(1).model_copy(update={"batch": f"batch-{number}"}))
        except VersionConflictError:
            return False
        return True

    with ThreadPoolExecutor(max_workers=8) as pool:
        assert sum(pool.map(attempt, range(8))) == 1
    assert log.read().latest == 1


def test_a_checkpoint_changes_nothing_but_the_number_of_reads(log):
    versions = [make_version(number) for number in range(1, CHECKPOINT_EVERY + 3)]
    for version in versions:
        log.commit(version)
    assert f"log/checkpoint-{CHECKPOINT_EVERY:06d}.json" in log._tags("log/")
    assert log.read().versions == tuple(versions)


def test_a_gap_in_the_log_is_never_read_over(log):
    log.commit(make_version(1))
    log.commit(make_version(3))
    with pytest.raises(RuntimeError, match="version 2 is missing"):
        log.read()


BAD = FileVerdict(key="m/new/bad.csv", etag="e", size=1, outcome=REFUSED, reason="tabs", rows=9, quarantined=9)
AS_LANDED = FileRecord(key=BAD.key, etag=BAD.etag, size=BAD.size)


def refused_again(log, file):
    """Judge a released file as the next run would, with the same result; returns its batch."""
    batch = batch_digest([file], {}, {}, [])
    verdict = BAD.model_copy(update={"attempt": file.attempt, "beyond_budget": file.beyond_budget})
    log.judge(Judgement(batch=batch, created_at="later", files=(verdict,)))
    return batch


def test_refused_files_are_not_new_until_they_are_released(log):
    log.judge(Judgement(batch="b1", created_at="now", files=(BAD,)))
    assert new_files([AS_LANDED], log.read()) == []
    [lifted] = log.release("b1", who="operator", why="the contract was wrong")
    assert (lifted.batch, lifted.file) == ("b1", BAD)
    [again] = new_files([AS_LANDED], log.read())
    assert (again.identity, again.attempt, again.beyond_budget) == (AS_LANDED.identity, 1, False)


def test_a_file_that_is_refused_again_is_listed_again_and_can_be_released_again(log):
    log.judge(Judgement(batch="b1", created_at="now", files=(BAD,)))
    for attempt, accept in ((1, False), (2, True)):
        log.release(BAD.key, who="operator", why="a try", accept=accept)
        state = log.read()
        assert state.refused_files == []
        [again] = new_files([AS_LANDED], state)
        assert (again.attempt, again.beyond_budget) == (attempt, accept)
        batch = refused_again(log, again)
        assert [judged.batch for judged in log.read().refused_files] == [batch]
        assert new_files([AS_LANDED], log.read()) == []
    assert [(release.who, release.why, release.accept) for release in log.read().releases] == [
        ("operator", "a try", False),
        ("operator", "a try", True),
    ]


def test_a_release_names_a_file_with_or_without_the_models_prefix(account, bucket):
    log = DatasetLog(account.s3, bucket, "m/")
    other = BAD.model_copy(update={"key": "m/new/other.csv"})
    log.judge(Judgement(batch="b2", created_at="now", files=(BAD, other)))
    log.release("new/bad.csv", who="operator", why="")
    assert [judged.file.key for judged in log.read().refused_files] == ["m/new/other.csv"]


def test_refused_and_ignored_files_of_a_version_are_known_and_no_rows_of_it(log):
    marker = BAD.model_copy(update={"key": "m/new/_SUCCESS", "outcome": IGNORED})
    version = make_version(1)
    log.commit(version.model_copy(update={"left_out": (BAD, marker)}))
    state = log.read()
    assert {BAD.identity, marker.identity} < state.known_files
    assert [judged.file.key for judged in state.refused_files] == [BAD.key]
    assert state.versions[0].files == version.files


def test_releasing_what_was_not_refused_is_an_error_that_names_what_is(log):
    with pytest.raises(LookupError, match="no file is refused"):
        log.release("b1", who="operator", why="")
    log.judge(Judgement(batch="b1", created_at="now", files=(BAD,)))
    with pytest.raises(LookupError, match=r"refused are m/new/bad\.csv"):
        log.release("b2", who="operator", why="")


def test_what_a_newer_library_wrote_is_read(account, bucket):
    prefix = f"model-{uuid.uuid4().hex[:8]}/"
    document = {**make_version(1).model_dump(mode="json"), "schema_version": 2, "moon": "full"}
    document["files"][0]["colour"] = "blue"
    account.s3.put_object(Bucket=bucket, Key=f"{prefix}dataset/log/000001.json", Body=json.dumps(document).encode())
    log = DatasetLog(account.s3, bucket, prefix)
    assert (log.read().latest, log.read().versions[0].schema_version) == (1, 2)


def test_a_version_that_starts_anew_leaves_the_batches_before_it_to_earlier_versions(log):
    for number in (1, 2, 3, 4):
        log.commit(make_version(number, rows=number).model_copy(update={"starts_anew": number == 3}))
    state = log.read()
    assert state.batches == tuple(make_version(number).batch for number in (3, 4))
    assert state.rows_by_split()["train"] == 7
    assert state.at(2).batches == tuple(make_version(number).batch for number in (1, 2))
    assert [output.key for output in state.at(2).training_objects("train", "csv_without_header")] == [
        make_version(number).training["train"][0].key for number in (1, 2)
    ]
    assert make_version(1).files[0].identity not in state.known_files


def test_a_version_asks_for_training_until_a_run_has_judged_it(log):
    log.commit(make_version(1))
    assert log.read().untrained
    log.note_trained(TrainedNote(version=1, run_key="v1-a", decision="rejected"))
    assert not log.read().untrained
    log.commit(make_version(2))
    assert log.read().untrained


def test_a_version_that_adds_no_row_asks_for_no_training(log):
    log.commit(make_version(1))
    log.note_trained(TrainedNote(version=1, run_key="v1-a", decision="approved"))
    log.commit(make_version(2, rows=0))
    assert not log.read().untrained


@given(RECORDS, RECORDS)
def test_a_file_is_new_exactly_when_no_version_has_its_key_and_etag(committed, landed):
    state = LogState((make_version(1, files=tuple(committed) or (FileRecord(key="x", etag="x", size=0),)),))
    fresh = new_files(landed, state)
    assert all(record.identity not in state.known_files for record in fresh)
    assert {record.identity for record in landed} - state.known_files == {record.identity for record in fresh}


def test_what_waits_in_a_landing_zone_is_what_a_run_would_look_at(account, bucket):
    prefix, landing = f"model-{uuid.uuid4().hex[:8]}/", Landing()
    for name, body in (("raw/old.csv", b"1"), ("new/known.csv", b"2"), ("new/b.csv", b"3"), ("new/empty.csv", b"")):
        account.s3.put_object(Bucket=bucket, Key=prefix + name, Body=body)
    files = {file.record.key: file.record for file in landed_files(account.s3, bucket, prefix, landing)}
    known = tuple(files[prefix + name] for name in ("raw/old.csv", "new/known.csv"))
    state = LogState((make_version(1).model_copy(update={"files": known}),))
    found = waiting(listed(account.s3, bucket, prefix, landing), state, prefix, landing)
    looked_at, _ = unseen(landed_files(account.s3, bucket, prefix, landing), state)
    assert [file.record for file in found] == [file.record for file in looked_at] == [files[f"{prefix}new/b.csv"]]
    assert 0 <= found[0].age_seconds < 3600


@given(st.permutations(["a", "b", "c"]))
def test_the_address_of_a_batch_does_not_depend_on_the_order_of_its_files(order):
    files = [FileRecord(key=key, etag=f"e-{key}", size=1) for key in order]
    in_order = sorted(files, key=lambda record: record.key)
    assert batch_digest(files, {}, {}, []) == batch_digest(in_order, {}, {}, [])


def test_the_address_of_a_batch_depends_on_all_that_makes_its_rows():
    file = FileRecord(key="a", etag="1", size=1)
    addresses = [
        batch_digest([file], {}, {}, []),
        batch_digest([file.model_copy(update={"etag": "2"})], {}, {}, []),
        batch_digest([file.model_copy(update={"source": "synthetic"})], {}, {}, []),
        batch_digest([file], {"target": "rings"}, {}, []),
        batch_digest([file], {}, {"test": 5}, []),
        batch_digest([file], {}, {}, ["earlier"]),
        batch_digest([file.model_copy(update={"attempt": 1})], {}, {}, []),
        batch_digest([file.model_copy(update={"beyond_budget": True})], {}, {}, []),
    ]
    assert len(set(addresses)) == len(addresses)


def test_an_earlier_state_is_the_log_as_it_was():
    state = LogState(tuple(make_version(number) for number in range(1, 4)), trained=frozenset({1, 3}))
    assert state.at(2).batches == state.batches[:2]
    assert state.at(2).trained == {1}
    with pytest.raises(LookupError, match="versions 1 to 3"):
        state.at(4)


def test_a_manifest_names_only_what_the_log_knows():
    state = LogState((make_version(1), make_version(2)))
    prefix, *keys = manifest_entries("bucket", "abalone/", state.training_objects("train", "csv_without_header"))
    assert prefix == {"prefix": "s3://bucket/abalone/dataset/training/"}
    assert keys == [f"batch={number:016x}/split=train/part-00000.csv" for number in (1, 2)]


@pytest.fixture
def fetched(account):
    """Names of the documents of a log that are fetched from now on."""
    names: list[str] = []

    def note(params, **_):
        names.append(params["url_path"].partition("/dataset/")[2])

    account.s3.meta.events.register("before-call.s3.GetObject", note)
    yield names
    account.s3.meta.events.unregister("before-call.s3.GetObject", note)


def test_a_log_that_is_read_again_fetches_what_is_new_and_nothing_else(account, bucket, fetched):
    prefix = f"model-{uuid.uuid4().hex[:8]}/"
    writer, reader = DatasetLog(account.s3, bucket, prefix), DatasetLog(account.s3, bucket, prefix)
    for number in range(1, CHECKPOINT_EVERY + 2):
        writer.commit(make_version(number))
    writer.judge(Judgement(batch="b1", created_at="now", files=(BAD,)))
    first = reader.read()
    fetched.clear()
    assert reader.read() == first
    assert fetched == []
    writer.commit(make_version(CHECKPOINT_EVERY + 2))
    writer.release("b1", who="operator", why="a try")
    fetched.clear()
    again = reader.read()
    assert sorted(fetched) == [f"log/{CHECKPOINT_EVERY + 2:06d}.json", "released/000001.json"]
    assert again == DatasetLog(account.s3, bucket, prefix).read()


def test_what_a_log_says_is_put_together_again_when_any_document_of_it_is_new(log):
    log.commit(make_version(1))
    said = log.read()
    assert log.read() is said
    for change in (
        lambda: log.commit(make_version(2)),
        lambda: log.judge(Judgement(batch="b1", created_at="now", files=(BAD,))),
        lambda: log.release("b1", who="operator", why="a try"),
        lambda: log.erase(Erasure(created_at="now", who="operator", why="a wish", versions=(1,), removed=())),
        lambda: log.note_trained(TrainedNote(version=2, run_key="r", decision="approved")),
    ):
        change()
        before, said = said, log.read()
        assert said != before and log.read() is said


def test_a_document_that_changed_under_its_name_is_fetched_again(account, bucket):
    prefix = f"model-{uuid.uuid4().hex[:8]}/"
    log = DatasetLog(account.s3, bucket, prefix)
    log.commit(make_version(1))
    log.read()
    other = make_version(1).model_copy(update={"batch": "another"}).model_dump_json()
    account.s3.put_object(Bucket=bucket, Key=f"{prefix}dataset/log/000001.json", Body=other.encode())
    assert log.read().batches == ("another",)
    account.s3.delete_object(Bucket=bucket, Key=f"{prefix}dataset/log/000001.json")
    assert log.read().latest == 0


def test_a_log_that_is_read_again_does_not_list_the_versions_of_its_checkpoint(account, bucket):
    log = DatasetLog(account.s3, bucket, f"model-{uuid.uuid4().hex[:8]}/")
    for number in range(1, CHECKPOINT_EVERY + 3):
        log.commit(make_version(number))
    listed: list[str] = []

    def note(parsed, **_):
        listed.extend(item["Key"].partition("/dataset/log/")[2] for item in parsed.get("Contents", []))

    log.read()
    account.s3.meta.events.register("after-call.s3.ListObjectsV2", note)
    try:
        state = log.read()
    finally:
        account.s3.meta.events.unregister("after-call.s3.ListObjectsV2", note)
    first, second, checkpoint = sorted(name for name in listed if name)
    assert (int(first[:6]), int(second[:6])) == (CHECKPOINT_EVERY + 1, CHECKPOINT_EVERY + 2)
    assert checkpoint.startswith("checkpoint-")
    assert state == DatasetLog(account.s3, bucket, log._prefix).read()


@pytest.mark.parametrize("versions", [3, CHECKPOINT_EVERY, CHECKPOINT_EVERY + 3])
def test_another_log_in_the_place_of_one_that_was_read_is_read(account, bucket, versions):
    """As after a reset of the local stack, while the API server runs."""
    prefix = f"model-{uuid.uuid4().hex[:8]}/"
    log = DatasetLog(account.s3, bucket, prefix)
    for number in range(1, CHECKPOINT_EVERY + 2):
        log.commit(make_version(number))
    assert log.read().latest == CHECKPOINT_EVERY + 1
    listed = account.s3.list_objects_v2(Bucket=bucket, Prefix=prefix)["Contents"]
    account.s3.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": item["Key"]} for item in listed]})
    other = DatasetLog(account.s3, bucket, prefix)
    for number in range(1, versions + 1):
        other.commit(make_version(number).model_copy(update={"batch": f"other-{number}"}))
    assert log.read() == other.read()
    assert log.read().batches[0] == "other-1"


def test_a_log_remembers_one_reading_however_many_there_were(log):
    for number in range(1, CHECKPOINT_EVERY + 2):
        log.commit(make_version(number))
        log.read()
    assert [name for name, _ in log._last[0]] == [
        f"log/checkpoint-{CHECKPOINT_EVERY:06d}.json",
        f"log/{CHECKPOINT_EVERY + 1:06d}.json",
    ]
