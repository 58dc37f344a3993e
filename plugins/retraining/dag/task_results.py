"""Hands the results of earlier tasks to a task body by name.

Airflow's own ``task.output`` arguments do this too, but each draws an edge from its task, and a graph in which one task points to all
others tells a reader nothing. Here the edges are the order of work alone.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Result:
    """The result of a task: its return value, or another XCom ``key``; of a mapped task, the list over all its instances.

    ``beside`` names a task whose result ends that list, if the DAG has it.
    """

    task_id: str
    key: str = "return_value"
    mapped: bool = False
    beside: str | None = None

    def pull(self, ti: Any) -> Any:
        """Read the result; None when the task was skipped or has not run."""
        if self.mapped:
            tasks = [self.task_id, *([self.beside] if self.beside else [])]
            return [value for value in ti.xcom_pull(task_ids=tasks, key=self.key) if value is not None]
        return ti.xcom_pull(task_ids=self.task_id, key=self.key, map_indexes=None)


def with_results(function: Callable[..., Any], **results: Result) -> Callable[..., Any]:
    """Return a callable for a PythonOperator that calls ``function`` with these results and with what it wants of the task's context.

    Args:
        function: a task body; its parameters are results, op_kwargs, or names of the context such as ``params`` and ``ti``.
        results: results by the name of the parameter that takes them.

    """
    wanted = inspect.signature(function).parameters

    @functools.wraps(function)
    def body(ti: Any, **context: Any) -> Any:
        pulled = {name: result.pull(ti) for name, result in results.items()}
        offered = {**context, "ti": ti, **pulled}
        return function(**{name: offered[name] for name in wanted if name in offered})

    del body.__wrapped__  # Airflow reads the signature to decide which part of the context to pass: all of it
    return body
