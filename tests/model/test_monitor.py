"""The watch over a model by the task bodies of its DAG against a real local_aws: a real endpoint, its captures, real jobs."""

import json
import time
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest
from airflow.sdk.exceptions import AirflowSkipException, DagRunTriggerException
from local_account import REPOSITORY, Account, wait_for
from served_model import BUCKET, read, register, run_job, running, serve, tasks, told

from retraining.dag.tasks.monitor import MonitorTasks
from retraining.judging import drift_incident
from retraining.judging.drift import Finding
from retraining.serving import monitoring, watch_records
from retraining.serving.monitoring import LabelFile
from retraining.settings.model_config import load_model_config

DRIFTED = "shell_weight"


@pytest.fixture(scope="module")
def account(tmp_path_factory):
    with running(tmp_path_factory.mktemp("monitor") / "data") as account:
        yield account


@pytest.fixture(scope="module")
def steps(account):
    return tasks(account, MonitorTasks)


def ask(account: Account, frame, **metadata) -> None:
    """Send rows to the endpoint, and wait until they are captured."""
    prefix = "abalone/captured/dev-abalone/AllTraffic/"

    def captures() -> int:
        return account.s3.list_objects_v2(Bucket=BUCKET, Prefix=prefix).get("KeyCount", 0)

    before = captures()
    body = frame.drop(columns="rings").to_csv(header=False, index=False)
    account.sagemaker_runtime.invoke_endpoint(EndpointName="dev-abalone", ContentType="text/csv", Body=body, **metadata)
    wait_for(lambda: captures() > before, 30)


def look(steps: MonitorTasks, name: str) -> dict:
    """Let the DAG look once, and repeat its last task as a cleared one would be."""
    run = SimpleNamespace(dag_id="abalone_monitor", run_id=name, clear_number=0)
    plan = steps.find_requests(run)
    run_job(steps.read_request(plan), "monitor")
    judged = steps.judge_requests(plan, run)
    assert steps.judge_requests(plan, run) == judged, "a look counts once"
    return judged


@pytest.mark.local_aws
def test_drifted_requests_open_one_incident_and_a_new_champion_closes_it(
    account, steps, linear_artifact, abalone, tmp_path
):
    run = SimpleNamespace(dag_id="abalone_monitor", run_id="r0", clear_number=0)
    with pytest.raises(AirflowSkipException, match="serves nothing"):
        steps.find_requests(run)
    first = register(account, linear_artifact, tmp_path, "a")
    serve(account, first)
    with pytest.raises(AirflowSkipException, match="no request was captured"):
        steps.find_requests(run)

    parts = abalone[["shucked_weight", "viscera_weight", "shell_weight"]].sum(axis=1)
    good = abalone[(parts <= 1.05 * abalone["whole_weight"]) & (abalone["height"] > 0)]
    rows = good.sample(1300, random_state=5)
    ask(account, rows[:400])
    quiet = look(steps, "r1")
    assert (quiet["rows"], quiet["open"], quiet["changes"], quiet["wakes"]) == (400, False, [], None)
    assert told(steps) == []

    # An instrument that reads too small: no limit of the contract notices.
    ask(account, rows[400:800].assign(**{DRIFTED: rows[DRIFTED] * 0.75}))
    ask(account, rows[800:900].assign(**{DRIFTED: rows[DRIFTED] * 0.1}), InferenceId="ui-1")
    drifted = look(steps, "r2")
    assert drifted["level"] > 1
    assert (drifted["rows"], drifted["open"], drifted["incident"]) == (400, True, 1)
    assert f"{DRIFTED} given the others is smaller" in drifted["changes"]
    [message] = told(steps)
    assert f"{DRIFTED} given the others is smaller" in message
    assert "label such rows" in message, "there are no data that no model was judged on"
    assert drifted["wakes"] is None

    ask(account, rows[900:950].assign(**{DRIFTED: rows[DRIFTED] * 0.75}))
    late = steps.find_requests(run)
    ask(account, rows[950:1000].assign(**{DRIFTED: rows[DRIFTED] * 0.75}))
    serve(account, first, "m-on-another-machine")
    on = look(steps, "r3")
    run_job(steps.read_request(late), "monitor")
    with pytest.raises(AirflowSkipException, match="a later look has judged these requests"):
        steps.judge_requests(late, run)  # its job had failed, and was repeated when another look had read the same
    assert watch_records.state(steps._s3, BUCKET, "abalone", on["model"])["rows"] == 900
    assert (on["rows"], on["incident"]) == (100, 1), "what the same model answered before its endpoint changed counts"
    assert told(steps) == [], "an incident that is open is told once"
    page = read(account, f"s3://{BUCKET}/abalone/monitor/page.html")
    assert f"{DRIFTED} given the others is smaller" in page
    assert "<script" not in page

    serve(account, register(account, linear_artifact, tmp_path, "b"), "m2")
    with pytest.raises(AirflowSkipException, match="no request was captured"):
        steps.find_requests(run)
    [message] = told(steps)
    assert "Incident 1 is closed: model v2 serves" in message
    with pytest.raises(AirflowSkipException, match="no request was captured"):
        steps.find_requests(run)
    assert told(steps) == []
    assert steps._incidents()[0]["closed_at"]


def labels(account: Account, name: str, text: str) -> None:
    account.s3.put_object(Bucket=BUCKET, Key=f"abalone/monitor/labels/{name}", Body=text.encode())


@pytest.mark.local_aws
def test_labels_find_the_answers_of_their_rows_and_a_bias_opens_an_incident(
    account, steps, linear_artifact, abalone, tmp_path
):
    labels(account, "before.csv", "inference_id,rings\nearly,7\n")
    time.sleep(1.1)  # S3 tells when an object was written in whole seconds
    serve(account, register(account, linear_artifact, tmp_path, "c"), "m3")
    run = SimpleNamespace(dag_id="abalone_monitor", run_id="l0", clear_number=0)
    with pytest.raises(AirflowSkipException, match="no request was captured"):
        steps.find_requests(run)
    account.s3.put_object(Bucket=BUCKET, Key="oyster/monitor/labels/a.csv", Body=b"inference_id,rings\na:1,7\n")
    parts = abalone[["shucked_weight", "viscera_weight", "shell_weight"]].sum(axis=1)
    good = abalone[(parts <= 1.05 * abalone["whole_weight"]) & (abalone["height"] > 0)]
    rows = good.sample(400, random_state=8)
    ask(account, rows[:300], InferenceId="a")
    ask(account, rows[300:301], InferenceId="one")
    ask(account, rows[301:400])
    quiet = look(steps, "l1")
    assert (quiet["rows"], quiet["labelled"], quiet["open"]) == (400, 0, False)

    # The rows live longer than the model says; half of the labels come in each of the forms, some of them by their inputs.
    lived = rows["rings"] + 2
    time.sleep(1.1)
    labels(
        account, "2026/a.csv", "inference_id,rings\n" + "".join(f"a:{at + 1},{lived.iloc[at]}\n" for at in range(200))
    )
    events = [
        {
            "groundTruthData": {"data": str(lived.iloc[at]), "encoding": "CSV"},
            "eventMetadata": {"eventId": name},
            "eventVersion": "0",
        }
        for at, name in [*((at, f"a:{at + 1}") for at in range(199, 300)), (300, "one:1")]
    ]
    labels(account, "2026/03/01/07/b.jsonl", "\n".join(map(json.dumps, events)))
    labels(account, "c.csv", rows[301:].assign(rings=lived[301:]).to_csv(index=False))
    labels(account, "waiting.csv", "inference_id,rings\nnobody,7\n")
    labels(account, "odd.csv", "a letter, not a table")
    by_inputs = len(rows[301:])
    only = look(steps, "l2")
    assert (only["rows"], only["labelled"]) == (0, 301 + by_inputs)
    assert (only["open"], only["wakes"]) == (True, None)
    assert "(error) is smaller" in only["changes"]
    found = watched_look(account, steps)
    said = found["labels"]
    assert (said["matched"], said["waiting"], said["repeated"], said["contradicting"]) == (301 + by_inputs, 1, 1, 0)
    assert [entry["key"] for entry in said["refused"]] == ["abalone/monitor/labels/odd.csv"]
    [message] = told(steps)
    assert "answers otherwise than on its validation rows, labels say: (error) is smaller" in message
    assert "upload the labelled rows, all inputs and the target, below new/" in message
    assert "bias -2" in message and "400 labelled rows" in message
    page = read(account, f"s3://{BUCKET}/abalone/monitor/page.html")
    assert "RMSE" in page and "400 labelled rows" in page and "(error) is smaller" in page

    with pytest.raises(AirflowSkipException, match="no request was captured"):
        steps.find_requests(run)
    labels(account, "2026/a-again.csv", f"inference_id,rings\na:1,{lived.iloc[0]}\na:2,1\n")
    again = look(steps, "l3")
    assert (again["labelled"], again["open"]) == (0, True)
    said = watched_look(account, steps)["labels"]
    assert (said["repeated"], said["contradicting"], said["waiting"]) == (1, 1, 1)
    ask(account, rows[:1], InferenceId="nobody")
    assert look(steps, "l4")["labelled"] == 1, "a label that waited finds the answer that came later"


@pytest.mark.local_aws
def test_a_label_file_that_changes_while_it_is_claimed_is_left_to_the_next_look(account, steps):
    found = {
        item["Key"]: item
        for item in account.s3.list_objects_v2(Bucket=BUCKET, Prefix="abalone/monitor/labels/")["Contents"]
    }
    stands = found["abalone/monitor/labels/c.csv"]
    real, changed, large = (
        LabelFile(key=stands["Key"], etag=etag, size=size, came=0)
        for etag, size in ((stands["ETag"].strip('"'), 1), ("0" * 32, 1), ("1" * 32, 2**40))
    )
    folder = f"s3://{BUCKET}/abalone/monitor/work/copies/labels/"
    assert steps._copied([changed, large, real], folder) == [large, real]
    assert read(account, f"{folder}000001") == read(account, f"s3://{BUCKET}/{stands['Key']}")


def watched_look(account: Account, steps: MonitorTasks) -> dict:
    """Return look.json of the newest look."""
    version = watch_records.watched(account.s3, BUCKET, "abalone")[0]
    state = watch_records.state(account.s3, BUCKET, "abalone", version)
    return watch_records.newest_look(account.s3, BUCKET, "abalone", state)


def test_an_incident_with_data_wakes_the_retraining_under_a_name_of_its_own():
    folder = REPOSITORY / "dags/models/abalone"
    steps = MonitorTasks(load_model_config(folder / "model.yaml"), folder)
    with pytest.raises(AirflowSkipException, match="no open incident has data"):
        steps.wake_retraining({"wakes": None})
    with pytest.raises(DagRunTriggerException) as asked:
        steps.wake_retraining({"wakes": "incident__000007"})
    assert (asked.value.trigger_dag_id, asked.value.dag_run_id) == ("abalone_retraining", "incident__000007")
    assert asked.value.skip_when_already_exists and not asked.value.wait_for_completion


def item(key: str, minutes: float, now: datetime, size: int = 1) -> dict:
    return {"Key": key, "LastModified": now + timedelta(minutes=minutes), "Size": size}


def test_captures_are_read_once_and_those_of_an_earlier_model_never():
    now = datetime(2026, 3, 1, tzinfo=UTC)
    items = [item("a", -1, now), item("b", 1, now), item("c", 2, now), item("d", 3, now, size=0)]
    state = monitoring.begun(None, "p/", now)
    assert monitoring.new_captures(items, state) == (["b", "c"], 0)
    assert monitoring.new_captures(items, {**state, "seen": ["b"]}) == (["c"], 0)


def test_the_listing_begins_a_day_before_the_last_look():
    moment = datetime(2026, 3, 1, 7, 30, tzinfo=UTC)
    assert monitoring.begun(None, "p/", moment)["from"] == "p/2026/02/28/07/"
    assert monitoring.next_first_key("p/", moment, ["p/2026/02/27/05/a.jsonl"], 0) == "p/2026/02/28/07/"


def test_what_a_look_leaves_is_read_by_the_next_ones_however_old_it_is(monkeypatch):
    monkeypatch.setattr(monitoring, "CAPTURES_OF_A_JOB", 3)
    now = datetime(2026, 3, 9, 7, 30, tzinfo=UTC)
    hours = ["2026/03/01/05", "2026/03/01/05", "2026/03/01/05", "2026/03/01/05", "2026/03/03/00", "2026/03/09/06"]
    items = [item(f"p/{hour}/{at}.jsonl", 0, now) for at, hour in enumerate([*hours, *hours[-1:] * 2])]
    state, read = monitoring.begun(None, "p/", datetime(2026, 3, 1, tzinfo=UTC)), []
    for day in range(4):
        listed = [entry for entry in items if entry["Key"] > state["from"]]
        captures, left = monitoring.new_captures(listed, state)
        if captures:
            start = monitoring.next_first_key("p/", now + timedelta(days=day), captures, left)
            state |= {"from": start, "seen": [key for key in (*state["seen"], *captures) if key > start]}
        read.append(captures)
    keys = [entry["Key"] for entry in items]
    assert read == [keys[:3], keys[3:6], keys[6:], []]


def test_a_model_serves_on_while_its_endpoint_changes_and_begins_anew_after_another_one():
    began, now = datetime(2026, 3, 1, tzinfo=UTC), datetime(2026, 3, 9, tzinfo=UTC)
    own = {**monitoring.begun(None, "p/", began), "seen": ["p/x"], "rows": 7}
    before, after = ({"deployed_at": (began + timedelta(days=days)).isoformat()} for days in (-3, 3))
    assert monitoring.serves_on(own, [before])
    assert not monitoring.serves_on(own, [before, after])
    again = monitoring.begun(own, "p/", now)
    assert (again["deployed_at"], again["from"], again["rows"]) == (now.isoformat(), "p/2026/03/08/00/", 7)


def test_an_incident_wakes_the_retraining_only_for_unjudged_data_and_not_again_within_the_cooldown():
    now = datetime(2026, 3, 10, tzinfo=UTC)
    earlier = [{"woke_at": (now - timedelta(days=3)).isoformat()}]
    assert not drift_incident.wakes_retraining(False, [], now, 7)
    assert drift_incident.wakes_retraining(True, [], now, 7)
    assert not drift_incident.wakes_retraining(True, earlier, now, 7)
    assert drift_incident.wakes_retraining(True, earlier, now, 3)


def test_a_change_is_told_in_the_unit_of_its_column():
    column = {"n": 100, "missing": 0, "edges": [1.0, 2.0, 3.0, 4.0], "counts": [20] * 5, "sum": 250.0}
    finding = Finding("weight", "level", "", 1, "monday", 1234, 0.2, 0.9, 80)
    said = drift_incident.sentence(finding, column, "g")
    assert (
        said
        == "weight is larger: a middle value of about 3.5 g in 1,234 rows since monday, 2.5 among the training rows, +40.0%"
    )
    rest = {**column, "of": "weight", "weights": {}}
    said = drift_incident.sentence(
        Finding("weight given the others", "level", "", 1, "monday", 5, 0.2, 0.9, 80), rest, "g"
    )
    assert said == "weight given the others is larger, by about 1 g in 5 rows since monday"
    text = {"n": 200, "missing": 20, "counts": {"M": 100, "F": 80}}
    share = Finding("sex", "share", "M", -1, "monday", 50, -0.25, 0.9, 80)
    assert drift_incident.sentence(share, text, "") == (
        "sex = M is less often: 25.0% in 50 rows since monday, 50.0% of the training rows"
    )


def test_a_look_is_too_late_when_a_judged_one_has_read_one_of_its_files():
    state = {"from": "c/2026/03/04/05/", "seen": ["c/2026/03/04/05/a"], "label_files": [["l/a.csv", "1", 9]]}

    def late(captures=(), labels=()):
        document = {"files": [{"key": key, "etag": etag} for key, etag in labels]}
        return monitoring.was_read(state, [f"c/2026/03/04/{name}" for name in captures], document)

    assert not late(["05/b", "06/a"], [("l/a.csv", "2"), ("l/b.csv", "1")])
    assert late(["05/b", "05/a"])
    assert late(["04/z"])
    assert late([], [("l/a.csv", "1")])
    assert not monitoring.was_read({"from": "c/", "seen": []}, ["c/a"], {})
