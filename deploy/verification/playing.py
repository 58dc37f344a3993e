"""Plays tasks of the retraining DAG in this process, in the role that the tasks would have on MWAA, and keeps what each returned.

The operators are the DAG's own, with their arguments; a task whose result is in the journal is not played again.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from airflow.providers.standard.operators.python import BranchPythonOperator, PythonOperator
from airflow.sdk.definitions.mappedoperator import MappedOperator
from botocore.exceptions import ClientError

from deploy.verification.journal import Journal
from retraining.aws.clients import client
from retraining.aws.errors import error_code
from retraining.command.promote.playing import played
from retraining.dag.retraining_dag import retraining_dag

DEFAULTS: Mapping[str, Any] = {"force_retrain": False, "dry_run": False, "require_approval": False, "guards": {}}
PROPAGATION_SECONDS = 90
"""How long a new role may be unknown to STS: IAM tells its regions of changes one after the other."""
Say = Callable[[str], None]


class Player:
    """The tasks of one verification.

    Args:
        folder: the model's folder.
        journal: keeps results.
        say: takes one line of progress.

    """

    def __init__(self, folder: Path, journal: Journal, say: Say) -> None:
        self.dag = retraining_dag(folder)
        self.journal = journal
        self.say = say
        self.run = SimpleNamespace(
            dag_id=self.dag.dag_id, run_id=f"verification-{journal.attempt}", clear_number=0, conf={}
        )

    def play(self, *tasks: str) -> Any:
        """Play tasks one after the other; return the result of the last one."""
        result: Any = None
        for task in tasks:
            operator = self.dag.task_dict[task]
            if isinstance(operator, MappedOperator):
                result = self._play_mapped(task, operator)
                continue
            result = self._once(task, task, operator)
        return result

    def again(self, task: str) -> Any:
        """Play a task whose result is known once more, as a retry would; return what it returns now."""
        return self._played(task, self.dag.task_dict[task])

    def _play_mapped(self, task: str, operator: MappedOperator) -> list[Any]:
        """Play a task once for each of the arguments that the task before it listed."""
        [source] = {found.task_id for found in operator.iter_mapped_dependencies()}
        results = [
            self._once(f"{task}/{number}", task, operator.unmap({"op_kwargs": arguments}))
            for number, arguments in enumerate(self.journal.results[source])
        ]
        self.journal.keep(task, results)
        return results

    def _once(self, name: str, task: str, operator: Any) -> Any:
        if name not in self.journal.results:
            self.journal.keep(name, self._played(task, operator))
        return self.journal.results[name]

    def _played(self, task: str, operator: Any) -> Any:
        self.say(f"  task {task}")
        operator = operator.prepare_for_execution()
        if isinstance(operator, BranchPythonOperator):  # which tasks follow is for a scheduler to hear
            return PythonOperator.execute(operator, self._context(task, operator))
        return played(operator, self._context(task, operator), self.say)

    def _context(self, task: str, operator: Any) -> Any:
        known = self.journal.results

        def pull(task_ids: str | list[str], key: str = "return_value", **_: Any) -> Any:
            if isinstance(task_ids, str):
                return known.get(task_ids if key == "return_value" else f"{task_ids}/{key}")
            return [value for name in task_ids for value in known.get(name, [])]

        ti = SimpleNamespace(
            task_id=task,
            log_url=None,
            xcom_pull=pull,
            xcom_push=lambda key, value: self.journal.keep(f"{task}/{key}", value),
        )
        return {"ti": ti, "task": operator, "dag_run": self.run, "params": dict(DEFAULTS), "run_id": self.run.run_id}


def take_on(session: Any, role_arn: str) -> None:
    """Let the clients of this process act in a role from now on; the session keeps its own credentials.

    Raises:
        ClientError: the role cannot be taken on.

    """
    sts, began = session.client("sts"), time.monotonic()
    while True:
        try:
            keys = sts.assume_role(RoleArn=role_arn, RoleSessionName="verification")["Credentials"]
            break
        except ClientError as error:
            if error_code(error) != "AccessDenied" or time.monotonic() - began > PROPAGATION_SECONDS:
                raise
            time.sleep(5)
    os.environ["AWS_ACCESS_KEY_ID"] = keys["AccessKeyId"]
    os.environ["AWS_SECRET_ACCESS_KEY"] = keys["SecretAccessKey"]
    os.environ["AWS_SESSION_TOKEN"] = keys["SessionToken"]
    os.environ["AWS_DEFAULT_REGION"] = os.environ["AWS_REGION"] = session.region_name
    client.cache_clear()
