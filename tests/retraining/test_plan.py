import pytest
from log_versions import make_version

from retraining.dataset.records import FileRecord, FileVerdict
from retraining.dataset.state import LogState
from retraining.jobs.plan import Champion, batch_manifest, make_plan

STATE = LogState((make_version(1),))
CHAMPION = Champion(
    package_arn="arn:aws:sagemaker:eu-west-1:1:model-package/dev-abalone-models/1", model_data="s3://b/m.tar.gz"
)


def plan_of(**changes):
    inputs = {
        "model": "abalone",
        "state": STATE,
        "batch": "b2",
        "files": 1,
        "code_digest": "code",
        "settings": {"seed": 0},
        "candidates": ["svr-hgb"],
        "champion": None,
    }
    return make_plan(**{**inputs, **changes})


def test_a_batch_makes_the_next_version():
    plan = plan_of()
    assert (plan.version, plan.batch) == (2, "b2")
    assert plan.run_key.startswith("v2-")


def test_without_new_files_the_newest_version_is_trained():
    plan = plan_of(batch=None, files=0)
    assert (plan.version, plan.batch) == (1, None)


def test_a_batch_that_was_committed_meanwhile_is_the_same_work():
    committed = LogState((make_version(1), make_version(2).model_copy(update={"batch": "b2"})))
    assert plan_of(state=committed, batch=None).run_key == plan_of().run_key


@pytest.mark.parametrize(
    "change", [{"batch": "b3"}, {"code_digest": "other"}, {"settings": {"seed": 1}}, {"champion": CHAMPION}]
)
def test_other_inputs_are_another_run(change):
    assert plan_of(**change).run_key != plan_of().run_key


def test_a_second_run_on_unchanged_input_keeps_its_key_although_its_own_model_is_now_the_champion():
    first = plan_of()
    own = CHAMPION.model_copy(update={"work_digest": first.work_digest, "run_key": first.run_key})
    assert plan_of(champion=own).run_key == first.run_key


def test_a_pinned_version_ignores_new_files():
    state = LogState((make_version(1), make_version(2), make_version(3)))
    plan = plan_of(state=state, version=2)
    assert (plan.version, plan.batch, plan.files) == (2, None, 0)


def test_no_data_at_all_says_where_to_put_it():
    with pytest.raises(LookupError, match="abalone/raw/"):
        plan_of(state=LogState(), batch=None)


def test_the_manifest_tells_the_merge_everything(config):
    file = FileRecord(key="abalone/new/a.csv", etag="e", size=3, source="synthetic", version_id="v", attempt=1)
    manifest = batch_manifest(
        model="abalone",
        batch="b2",
        bucket="b",
        files=[file.model_dump(mode="json")],
        ignored=[FileVerdict(key="abalone/new/_SUCCESS", etag="e", size=0, outcome="ignored")],
        contract=config.contract.model_dump(mode="json"),
        split={"train": 80},
        history=["b1"],
        training_format="parquet",
    )
    [entry] = manifest["files"]
    assert entry == {
        "key": "abalone/new/a.csv",
        "etag": "e",
        "size": 3,
        "version_id": "v",
        "source": "synthetic",
        "attempt": 1,
        "beyond_budget": False,
        "read_from": None,
        "read_etag": "",
        "read_size": 0,
        "landed_at": "",
    }
    assert [record["key"] for record in manifest["ignored"]] == ["abalone/new/_SUCCESS"]
    assert manifest["output"] == "s3://b/abalone/dataset/"
    assert manifest["report"] == "s3://b/abalone/batches/b2/etl_report.json"
    assert manifest["history"] == ["b1"]
    assert manifest["training_format"] == "parquet"
    assert manifest["contract"]["target"] == "rings"
