"""What a failure quotes of the logs in CloudWatch."""

import time
from pathlib import Path

from local_account import Account, wait_for

from local_aws.logs import LogShipper
from retraining.aws_clients import AwsAccess
from retraining.aws_jobs import JOB_KINDS


def test_the_container_that_started_last_has_the_newest_stream_whichever_logs_first(
    account: Account, access: AwsAccess, tmp_path: Path
) -> None:
    group = "/aws/sagemaker/Endpoints/two-containers"
    account.logs.create_log_group(logGroupName=group)
    old, new = tmp_path / "old.log", tmp_path / "new.log"
    shippers = [LogShipper(account.logs, old, group, "AllTraffic/old").start()]
    time.sleep(0.05)
    shippers.append(LogShipper(account.logs, new, group, "AllTraffic/new").start())
    new.write_text("no such model\n")
    wait_for(lambda: account.log(group, "AllTraffic/new"))
    old.write_text("POST /invocations\n")  # its first line: containers log nothing before they are asked
    for shipper in shippers:
        shipper.close()
    assert account.log(group, "AllTraffic/old") == "POST /invocations"
    assert JOB_KINDS["endpoint"].log_tail(access, {"endpoint": "two-containers"}) == ["no such model"]
