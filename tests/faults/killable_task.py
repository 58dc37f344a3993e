"""A task in a process of its own, to be killed: python killable_task.py ENDPOINT_URL MODEL REQUEST.json"""

import json
import sys
from pathlib import Path

from task_runs import job_operator, run_operator

from retraining.aws_clients import AwsAccess

if __name__ == "__main__":
    url, model, request = sys.argv[1:]
    access = AwsAccess(region="us-east-1", endpoint_url=url)
    document = json.loads(Path(request).read_text())
    run_operator(lambda: job_operator("training", model, "train", access, lambda: document))
