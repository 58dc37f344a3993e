"""A job of several instances has one process for each, which know each other, share the data, and end together."""

import io
import json
import tarfile

import pytest
from botocore.exceptions import ClientError
from local_account import BUCKET, Account, channel, s3_input, s3_output

from local_aws.shared.running.hosts import MOST_INSTANCES, deciding
from local_aws.shared.running.processes import Outcome

TRAIN = """
import json, os, pathlib, socket
config = json.loads(pathlib.Path("/opt/ml/input/config/resourceconfig.json").read_text())
me, hosts = os.environ["SM_CURRENT_HOST"], json.loads(os.environ["SM_HOSTS"])
assert (config["current_host"], config["hosts"]) == (me, hosts)
if me == hosts[0]:
    server = socket.create_server((me, 23457))
    other, _ = server.accept()
    other.sendall(b"hello from " + me.encode())
    other.close()
    heard = "nobody"
else:
    for attempt in range(200):
        try:
            other = socket.create_connection((hosts[0], 23457), 10)
            break
        except ConnectionRefusedError:
            import time
            time.sleep(0.05)
    heard = other.recv(100).decode()
found = {name: sorted(os.listdir(f"/opt/ml/input/data/{name}")) for name in ("all", "parts")}
pathlib.Path(f"/opt/ml/model/{me}.json").write_text(json.dumps({"hosts": hosts, "heard": heard, **found}))
pathlib.Path("/opt/ml/model/shared.txt").write_text(me)
print(f"{me} heard={len(heard)};")
"""


def cluster(request: dict, count: int) -> dict:
    return {"ResourceConfig": request["ResourceConfig"] | {"InstanceCount": count}}


@pytest.mark.local_aws
def test_two_instances_train_on_their_parts_and_talk(account: Account) -> None:
    for name in "abc":
        account.put(f"shards/{name}.csv", name)
    sharded = channel("parts", f"s3://{BUCKET}/shards/")
    sharded["DataSource"]["S3DataSource"]["S3DataDistributionType"] = "ShardedByS3Key"
    request = account.training_request(
        "cluster", TRAIN, InputDataConfig=[channel("all", f"s3://{BUCKET}/shards/"), sharded]
    )
    request["AlgorithmSpecification"] |= {"MetricDefinitions": [{"Name": "heard", "Regex": "heard=([0-9]+);"}]}
    account.sagemaker.create_training_job(**(request | cluster(request, 2)))
    job = account.training_end("cluster")
    assert job["TrainingJobStatus"] == "Completed", job["FailureReason"]
    body = account.read(job["ModelArtifacts"]["S3ModelArtifacts"])
    with tarfile.open(fileobj=io.BytesIO(body)) as tar:
        files = {member.name: tar.extractfile(member).read().decode() for member in tar if member.isfile()}  # type: ignore[union-attr]
    first, second = json.loads(files["algo-1.json"]), json.loads(files["algo-2.json"])
    assert first["hosts"] == second["hosts"] == ["algo-1", "algo-2"]
    assert (first["heard"], second["heard"]) == ("nobody", "hello from algo-1")
    assert first["all"] == second["all"] == ["a.csv", "b.csv", "c.csv"]
    assert (first["parts"], second["parts"]) == (["a.csv", "c.csv"], ["b.csv"])
    assert files["shared.txt"] == "algo-1"
    assert job["FinalMetricDataList"][0]["Value"] == len("hello from algo-1")
    streams = account.logs.describe_log_streams(
        logGroupName="/aws/sagemaker/TrainingJobs", logStreamNamePrefix="cluster/"
    )["logStreams"]
    assert [stream["logStreamName"].split("/")[1][:7] for stream in streams] == ["algo-1-", "algo-2-"]


@pytest.mark.local_aws
def test_an_instance_that_fails_ends_the_job_with_its_own_words(account: Account) -> None:
    script = (
        "import os, time\n"
        "if os.environ['SM_CURRENT_HOST'] == 'algo-2':\n    raise ValueError('the second cannot')\n"
        "time.sleep(120)\n"
    )
    request = account.training_request("cluster-fails", script)
    account.sagemaker.create_training_job(**(request | cluster(request, 2)))
    job = account.training_end("cluster-fails")
    assert job["TrainingJobStatus"] == "Failed"
    assert "the second cannot" in job["FailureReason"]


@pytest.mark.local_aws
def test_a_processing_job_writes_the_outputs_of_all_its_instances(account: Account) -> None:
    for name in "ab":
        account.put(f"pieces/{name}.txt", name)
    script = """
import json, os, pathlib
config = json.loads(pathlib.Path("/opt/ml/config/resourceconfig.json").read_text())
names = sorted(os.listdir("/opt/ml/processing/input/data"))
pathlib.Path("/opt/ml/processing/output", config["current_host"]).write_text(",".join([*config["hosts"], *names]))
"""
    data = s3_input("data", f"s3://{BUCKET}/pieces/", "/opt/ml/processing/input/data")
    data["S3Input"]["S3DataDistributionType"] = "ShardedByS3Key"
    request = account.processing_request(
        "cluster", script,
        ProcessingOutputConfig={"Outputs": [s3_output("out", f"s3://{BUCKET}/pieces-out", "/opt/ml/processing/output")]},
        ProcessingResources={"ClusterConfig": {"InstanceType": "ml.m5.large", "InstanceCount": 3, "VolumeSizeInGB": 5}},
    )  # fmt: skip
    request["ProcessingInputs"].append(data)
    account.sagemaker.create_processing_job(**request)
    assert account.processing_end("cluster")["ProcessingJobStatus"] == "Completed"
    hosts = "algo-1,algo-2,algo-3"
    found = {key: account.read(f"s3://{BUCKET}/{key}").decode() for key in account.keys("pieces-out/")}
    assert found == {
        "pieces-out/algo-1": f"{hosts},a.txt",
        "pieces-out/algo-2": f"{hosts},b.txt",
        "pieces-out/algo-3": hosts,
    }


@pytest.mark.local_aws
def test_more_instances_than_there_can_be_are_refused(account: Account) -> None:
    request = account.training_request("cluster-large", "print(1)")
    create = account.sagemaker.create_training_job
    with pytest.raises(ClientError, match=rf"ResourceLimitExceeded.* is {MOST_INSTANCES} Instances"):
        create(**(request | cluster(request, MOST_INSTANCES + 1)))
    with pytest.raises(ClientError, match="EnableNetworkIsolation instances cannot talk"):
        create(**(request | cluster(request, 2) | {"EnableNetworkIsolation": True}))


def test_the_end_of_a_job_is_that_of_the_instance_that_failed_by_itself() -> None:
    well, failed = Outcome(0), Outcome(1)
    asked, late = Outcome(143, stopped=True), Outcome(143, timed_out=True)
    assert deciding([well, well]) == 0
    assert deciding([asked, failed]) == 1
    assert deciding([asked, late]) == 1
    assert deciding([well, asked]) == 1
