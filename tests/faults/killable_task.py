"""A task in a process of its own, to be killed: python killable_task.py ENDPOINT_URL MODEL declarative|sdk ORDER.json"""

import json
import sys
from pathlib import Path
from types import SimpleNamespace

from task_runs import run_operator, training_operator

from retraining.settings.access import AwsAccess

if __name__ == "__main__":
    url, model, form, order = sys.argv[1:]
    access = AwsAccess(region="us-east-1", endpoint_url=url)
    document = json.loads(Path(order).read_text())
    run = SimpleNamespace(dag_id="m_retraining", run_id="manual__1", clear_number=0)
    run_operator(lambda: training_operator(form, model, access, document), {"dag_run": run})
