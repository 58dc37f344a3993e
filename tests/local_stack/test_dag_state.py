import os
import time
from datetime import UTC, datetime

import pytest

from local_stack import layout
from local_stack.verbs import dag_state

TRACE = """Traceback (most recent call last):
  File "x.py", line 3, in <module>
    load()
retraining.settings.model_config.ConfigError: {root}/dags/models/cars/model.yaml:7: gate.rmse: unknown key
{root}/dags/models/cars/model.yaml:9: target: missing
"""


class Airflow:
    """Answers as Airflow's REST API does, from lists of DAGs and import errors."""

    def __init__(self, dags, errors=()):
        self.dags, self.errors, self.asked = list(dags), list(errors), []

    def get(self, path, **query):
        if path == "importErrors":
            return {"import_errors": self.errors}
        assert path == "dags"
        return {"dags": [dag for dag in self.dags if "paused" not in query or dag["is_paused"] == query["paused"]]}

    def put(self, path):
        self.asked.append(path)


def dag(name, paused=False, age=0.0):
    read = datetime.fromtimestamp(time.time() - age, UTC).isoformat()
    return {"dag_id": name, "is_paused": paused, "last_parsed_time": read, "file_token": f"token-{name}"}


def error(name):
    return {"filename": f"{name}.py", "stack_trace": TRACE.format(root=layout.ROOT)}


def test_an_import_error_is_told_without_frames_and_class():
    assert dag_state.cause(TRACE.format(root=layout.ROOT)) == (
        "dags/models/cars/model.yaml:7: gate.rmse: unknown key\ndags/models/cars/model.yaml:9: target: missing"
    )
    assert dag_state.cause("Traceback\n  File\nValueError: no") == "ValueError: no"


def test_a_dag_that_cannot_be_imported_is_told_at_once_and_not_waited_for():
    said, started = [], time.monotonic()
    api = Airflow([dag("abalone_retraining")], [error("cars_retraining")])
    dag_state.wait_for_import(api, ["abalone", "cars"], said.append, seconds=30)
    assert time.monotonic() - started < 15
    assert said == [
        "Airflow cannot import dags/cars_retraining.py, so this DAG does not run: "
        "dags/models/cars/model.yaml:7: gate.rmse: unknown key\ndags/models/cars/model.yaml:9: target: missing"
    ]


def test_a_dag_that_does_not_come_does_not_stop_the_stack():
    said = []
    dag_state.wait_for_import(Airflow([]), ["abalone"], said.append, seconds=0)
    assert said[0].startswith("Airflow has not imported abalone_retraining within 0 s")


def test_a_paused_dag_is_seen_before_anything_waits(tmp_path):
    with pytest.raises(dag_state.DagError, match=r"is paused.*airflow dags unpause abalone_retraining"):
        dag_state.runnable(Airflow([dag("abalone_retraining", paused=True)]), "abalone_retraining", [tmp_path])


def test_a_dag_is_read_again_after_its_files_changed(tmp_path, monkeypatch):
    monkeypatch.setattr(layout, "LOGS", layout.ROOT / "staging" / "logs")
    file = tmp_path / "model.yaml"
    file.write_text("x")
    api = Airflow([dag("cars_retraining", age=60)])
    with pytest.raises(dag_state.DagError, match=r"since it was changed; see staging/logs/dag-processor.log$"):
        dag_state.runnable(api, "cars_retraining", [tmp_path], seconds=0.1)
    assert api.asked == ["parseDagFile/token-cars_retraining"]
    os.utime(file, (0, 0))
    assert dag_state.runnable(api, "cars_retraining", [tmp_path], seconds=0.1)["dag_id"] == "cars_retraining"


def test_a_dag_whose_file_has_a_mistake_says_which(tmp_path):
    api = Airflow([dag("cars_retraining")], [error("cars_retraining")])
    with pytest.raises(
        dag_state.DagError, match=r"cannot import dags/cars_retraining.py: dags/models/cars/model.yaml:7"
    ):
        dag_state.runnable(api, "cars_retraining", [], seconds=0.1)
