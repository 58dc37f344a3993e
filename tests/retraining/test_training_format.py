"""The format in which jobs get their rows: which objects they are given, and what a change of it asks for."""

import json

import pytest
from airflow.sdk.exceptions import AirflowFailException
from test_data_phase import HEADER, RUN, Landing, landing, survey

from retraining.aws.documents import get_json
from retraining.jobs import requests as job_requests

__all__ = ["landing"]
pytestmark = pytest.mark.local_aws


def in_format(landing: Landing, form: str) -> Landing:
    training = landing.steps.config.training.model_copy(update={"format": form})
    landing.steps.config = landing.steps.config.model_copy(update={"training": training})
    return landing


def channel(landing: Landing, split: str) -> list[str]:
    """Keys of the objects that a run of the newest version gives to its jobs."""
    plan = landing.steps.claim_new_data({"force_retrain": True})
    found = landing.steps.check_data_quality(plan, {"force_retrain": True}, RUN)
    head, *names = get_json(landing.s3, found["manifests"][split])
    return [head["prefix"].removeprefix(f"s3://{landing.stage.bucket}/") + name for name in names]


def body(landing: Landing, key: str) -> str:
    return landing.s3.get_object(Bucket=landing.stage.bucket, Key=key)["Body"].read().decode()


def test_parquet_is_the_data_set_itself_and_csv_is_written_beside_it_for_those_who_ask(landing, capsys):
    in_format(landing, "parquet")
    landing.put("a.csv", survey(*range(40)))
    assert landing.run() == "merged"
    [version] = landing.state.versions
    assert (version.training_format, [*map(len, version.training.values())]) == ("parquet", [0, 0, 0])
    for split in ("train", "validation", "test"):
        keys = channel(landing, split)
        assert keys == [output.key for output in version.data if f"/split={split}/" in output.key] != []

    in_format(landing, "csv")
    landing.put("b.csv", survey(*range(40, 60)))
    said = "training.format is csv, but version 1 has its training files as parquet"
    with pytest.raises(AirflowFailException, match=said):
        landing.steps.claim_new_data({})
    assert said in landing.command(capsys, "migrate", landing.stage.name, "--plan")
    assert "version 2" in landing.command(capsys, "migrate", landing.stage.name)
    assert landing.state.versions[-1].training_format == "csv"
    assert landing.run() == "merged"
    target_first = [HEADER.split(",")[-1], *HEADER.split(",")[:-1]]
    for split in ("train", "validation", "test"):
        assert all(body(landing, key).splitlines()[0] == ",".join(target_first) for key in channel(landing, split))

    # Parquet is there whatever the format was.
    in_format(landing, "parquet")
    landing.put("c.csv", survey(*range(60, 80)))
    assert landing.run() == "merged"
    assert {key.rsplit(".", 1)[-1] for key in channel(landing, "train")} == {"parquet"}
    assert len(channel(landing, "train")) == 3


@pytest.mark.parametrize(
    ("form", "kind", "header"),
    [
        ("csv_without_header", "text/csv", False),
        ("csv", "text/csv", True),
        ("parquet", "application/x-parquet", False),
    ],
)
def test_a_training_job_is_told_the_kind_of_its_channels(landing, form, kind, header):
    in_format(landing, form)
    config, candidate = landing.steps.config, landing.steps.config.training.candidates[0]
    landing.put("a.csv", survey(*range(40)))
    plan = job_requests.RunPlan.model_validate(landing.steps.claim_new_data({}))
    uris = {split: f"s3://b/{split}.json" for split in ("train", "validation")}
    request = job_requests.training_request(config, landing.steps.platform, plan, candidate, uris)
    kinds = [one["ContentType"] for one in request["InputDataConfig"] if one["ChannelName"] != "job"]
    assert kinds == [kind, kind]
    document = job_requests.training_document(config, plan, candidate)
    assert document.get("csv_header", False) is header
    assert json.loads(json.dumps(document)) == document
