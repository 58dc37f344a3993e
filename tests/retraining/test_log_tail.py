"""What a failure quotes of the logs in CloudWatch."""

import time
from pathlib import Path

from local_account import Account

from local_aws.shared.logs import LogShipper
from retraining.jobs.kinds import JOB_KINDS
from retraining.settings.access import AwsAccess


def test_the_container_that_started_last_has_the_newest_stream_whichever_logs_first(
    account: Account, access: AwsAccess, tmp_path: Path
) -> None:
    group = "/aws/sagemaker/Endpoints/two-containers"
    old_log, new_log = tmp_path / "old.log", tmp_path / "new.log"
    old = LogShipper(account.logs, old_log, group, "AllTraffic/old").start()  # logs nothing before it is asked
    time.sleep(0.2)
    new_log.write_text("no such model\n")
    LogShipper(account.logs, new_log, group, "AllTraffic/new").start().close()  # ends as soon as it has started
    old_log.write_text("POST /invocations\n")
    old.close()
    assert account.log(group, "AllTraffic/old") == "POST /invocations"
    assert JOB_KINDS["endpoint"].log_tail(access, {"endpoint": "two-containers"}) == ["no such model"]
