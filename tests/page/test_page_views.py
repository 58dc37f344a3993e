from datetime import UTC, datetime, timedelta

import pytest
from local_account import Account
from page_site import BATCH, BUCKET, HOSTILE, REFUSED_BATCH, REFUSED_KEY, RUN, Site

from retraining.aws import documents
from retraining.page import history_view
from retraining.page.concurrency import shared
from retraining.page.known_models import known_model


def test_now_says_what_serves_and_who_is_looking(site: Site) -> None:
    now = site.get("/models/abalone/now", "viewer")
    assert now["endpoint"] == {"name": "dev-abalone", "status": None, "since": None}
    assert now["champion"] is None and now["data"]["version"] == 1 and now["data"]["refused"] == 1
    assert now["person"] == {"name": "viewer", "may_act": False}
    assert site.get("/models/abalone/now", "user")["person"]["may_act"]
    assert now["about"]["target"] == "rings" and now["about"]["columns"][0]["allowed"] == ["M", "F", "I"]


def test_history_has_each_judged_run(site: Site) -> None:
    (run,) = site.get("/models/abalone/history")["runs"]
    assert (run["run_key"], run["decision"], run["challenger"], run["metric"]) == (RUN, "promoted", 2.1, "RMSE")
    assert site.ask("GET", "/models/abalone/runs/v9-0123456789ab/report").status_code == 404
    assert site.ask("GET", "/models/abalone/runs/..%2Fsummary/report").status_code in (404, 422)


@pytest.mark.parametrize(("days", "reads"), [(2, 1), (0, 2)], ids=["settled", "fresh"])
def test_the_summary_of_a_run_of_long_ago_is_read_once(site: Site, monkeypatch, days: int, reads: int) -> None:
    made = (datetime.now(UTC) - timedelta(days=days)).isoformat(timespec="seconds")
    asked = []

    def get_json(s3: object, uri: str) -> dict:
        asked.append(uri)
        return {**documents.get_json(s3, uri), "created_at": made}

    monkeypatch.setattr(history_view, "get_json", get_json)
    history_view._summaries.forget()
    assert site.get("/models/abalone/history") == site.get("/models/abalone/history")
    assert len(asked) == reads
    monkeypatch.setattr(history_view._summaries, "seconds", 0)
    site.get("/models/abalone/history")
    assert len(asked) == reads + 1


def test_who_has_just_changed_something_does_not_get_what_others_saw_before(
    site: Site, account: Account, monkeypatch
) -> None:
    monkeypatch.setattr(shared, "BELIEVED_SECONDS", 3600.0)
    fresh = {"X-Retraining-Changed": "0"}
    before = site.ask("GET", "/models/abalone/data", headers=fresh).json()["waiting_files"]
    account.s3.put_object(Bucket=BUCKET, Key="abalone/new/changed.csv", Body=b"1,2")
    try:
        assert site.get("/models/abalone/data")["waiting_files"] == before
        assert site.ask("GET", "/models/abalone/data", headers=fresh).json()["waiting_files"] == before + 1
        assert site.get("/models/abalone/data", "viewer")["waiting_files"] == before + 1
    finally:
        account.s3.delete_object(Bucket=BUCKET, Key="abalone/new/changed.csv")


def test_one_look_at_log_and_landing_zone_serves_all_views_of_a_moment(
    site: Site, account: Account, monkeypatch
) -> None:
    monkeypatch.setattr(shared, "BELIEVED_SECONDS", 3600.0)
    fresh = {"X-Retraining-Changed": "0"}
    assert site.ask("GET", "/models/abalone/now", headers=fresh).status_code == 200
    account.s3.put_object(Bucket=BUCKET, Key="abalone/new/changed.csv", Body=b"1,2")
    try:
        before = site.get("/models/abalone/now")["data"]["waiting"]
        assert site.get("/models/abalone/data")["waiting_files"] == before
        assert site.ask("GET", "/models/abalone/now", headers=fresh).json()["data"]["waiting"] == before + 1
        assert site.get("/models/abalone/data", "viewer")["waiting_files"] == before + 1
    finally:
        account.s3.delete_object(Bucket=BUCKET, Key="abalone/new/changed.csv")


def test_a_file_is_followed_by_its_own_key_without_a_look_at_the_others(site: Site, account: Account) -> None:
    files, key = "/models/abalone/files", "abalone/new/followed.csv"
    there = [key, f"{key}.csv", "abalone/other/followed.csv", "oyster/new/followed.csv", "abalone/new/empty.csv"]
    for name in there:
        account.s3.put_object(Bucket=BUCKET, Key=name, Body=b"" if "empty" in name else b"1,2")
    asked: list[dict] = []
    s3 = known_model("abalone").s3

    def note(params: dict, **_: object) -> None:
        asked.append(params["query_string"])

    s3.meta.events.register("before-call.s3.ListObjectsV2", note)
    try:
        assert site.get(files, key=key) == {"state": "waiting"}
        listed = [query["prefix"] for query in asked if "dataset" not in query["prefix"]]
        assert listed == [key]
        for name in (key[:-1], *there[2:], "abalone/dataset/log/000001.json"):
            assert site.get(files, key=name) == {"state": "unknown"}, name
        assert site.get(files, key="abalone/new/good.csv")["state"] == "merged"
        assert site.get(files, key=REFUSED_KEY)["state"] == "refused"
    finally:
        s3.meta.events.unregister("before-call.s3.ListObjectsV2", note)
        for name in there:
            account.s3.delete_object(Bucket=BUCKET, Key=name)


def test_data_says_who_is_looking(site: Site) -> None:
    assert site.get("/models/abalone/data", "viewer")["person"] == {"name": "viewer", "may_act": False}
    assert site.get("/models/abalone/data", "user")["person"]["may_act"]


def test_the_log_that_requests_before_have_read_is_not_fetched_again(site: Site, account: Account) -> None:
    site.get("/models/abalone/data")
    asked: list[str] = []
    s3 = known_model("abalone").s3
    s3.meta.events.register("before-call.s3.GetObject", note := lambda params, **_: asked.append(params["url_path"]))
    try:
        site.get("/models/abalone/data")
    finally:
        s3.meta.events.unregister("before-call.s3.GetObject", note)
    assert asked == []


def test_data_has_versions_refusals_and_files_that_wait(site: Site, account: Account) -> None:
    account.s3.put_object(Bucket=BUCKET, Key="abalone/new/waiting.csv", Body=b"1,2")
    data = site.get("/models/abalone/data")
    assert [version["version"] for version in data["versions"]] == [1]
    assert data["refused"][0]["key"] == REFUSED_KEY and data["refused"][0]["reason"] == HOSTILE
    assert "abalone/new/waiting.csv" in [file["key"] for file in data["waiting"]]
    assert data["judgements"][0]["batch"] == REFUSED_BATCH
    (file,) = site.get("/models/abalone/versions/1")["files"]
    assert (file["outcome"], file["rows"], file["accepted"], file["quarantined"]) == ("merged", 12, 8, 4)
    assert site.ask("GET", "/models/abalone/versions/2").status_code == 404


def test_a_version_says_what_its_columns_hold(site: Site) -> None:
    held = site.get("/models/abalone/versions/1/profile", "viewer")
    assert (held["version"], held["before"]) == (1, None)
    sex, length = held["columns"]
    assert sex["now"] == {"rows": 6, "missing": 1} and sex["ranges"] == []
    assert (length["unit"], length["now"]["mean"]) == ("mm / 200", 0.5) and 0.45 < length["now"]["median"] <= 0.5
    assert site.ask("GET", "/models/abalone/versions/2/profile").status_code == 404


def test_quarantine_is_read_page_by_page_over_all_its_files(site: Site) -> None:
    path, seen, cursor = f"/models/abalone/batches/{BATCH}/rejected", [], ""
    for _ in range(5):
        page = site.get(path, limit=1, **({"cursor": cursor} if cursor else {}))
        seen += [row["line"] for row in page["rows"]]
        cursor = page["cursor"]
        if cursor is None:
            break
    assert seen == [1, 2, 3, 4] and cursor is None


def test_quarantine_is_filtered_and_its_cells_are_cut(site: Site) -> None:
    path = f"/models/abalone/batches/{BATCH}/rejected"
    assert [row["line"] for row in site.get(path, reason=HOSTILE)["rows"]] == [4]
    assert [row["line"] for row in site.get(path, column="sex")["rows"]] == [1, 2, 3]
    assert site.get(path, file="abalone/new/other.csv")["rows"] == []
    (row,) = site.get(path, column="rings")["rows"]
    assert row["value"] == HOSTILE and len(row["raw"]) == 401 and row["raw"].endswith("…")
    assert site.get(f"/models/abalone/batches/{BATCH}/reasons")["reasons"] == {"sex: missing": 3, HOSTILE: 1}


def test_odd_pages_and_batches_are_refused(site: Site) -> None:
    path = f"/models/abalone/batches/{BATCH}/rejected"
    for query in ({"limit": -1}, {"limit": 10**9}, {"limit": "many"}, {"cursor": "x"}, {"cursor": "-1-2"}):
        assert site.ask("GET", path, params=query).status_code == 422
    assert site.get(path, cursor="7-0") == {"rows": [], "cursor": None, "looked_at": 0}
    assert site.get(path, cursor="1-99999999")["rows"] == []
    for batch in ("..", "a" * 15, "A" * 16, "a" * 16 + "%2Fx"):
        assert site.ask("GET", f"/models/abalone/batches/{batch}/reasons").status_code in (404, 422)
    assert site.ask("GET", f"/models/abalone/batches/{'c' * 16}/reasons").status_code == 404


def test_a_release_is_recorded_with_the_person_who_made_it(site: Site, account: Account) -> None:
    wanted = {"what": REFUSED_KEY, "why": "the file is right", "accept": True}
    assert site.ask("POST", "/models/abalone/releases", json={**wanted, "why": ""}).status_code == 422
    answer = site.ask("POST", "/models/abalone/releases", "op", json=wanted)
    assert answer.json() == {"released": [REFUSED_KEY]}
    body = account.s3.get_object(Bucket=BUCKET, Key="abalone/dataset/released/000001.json")["Body"].read().decode()
    assert '"who": "op"' in body and '"accept": true' in body
    assert site.get("/models/abalone/data")["refused"] == []
    assert site.ask("POST", "/models/abalone/releases", "op", json=wanted).status_code == 404


def test_settings_that_a_dag_left_stand_in_for_the_dag_folder(site: Site, account: Account, monkeypatch) -> None:
    from pathlib import Path

    from retraining.page import known_models
    from retraining.settings.model_config import load_model_config
    from retraining.telling.page_settings import leave_settings

    config = load_model_config(Path(__file__).parents[2] / "dags" / "models" / "abalone" / "model.yaml")
    monkeypatch.setattr(known_models, "_models_folder", lambda: Path("/nowhere"))
    assert "start its retraining DAG once" in site.ask("GET", "/models/abalone/now").json()["detail"]
    leave_settings(account.s3, BUCKET, config)
    described = config.description
    for moment in (1, 2):
        monkeypatch.setattr(known_models, "LEFT_SECONDS", moment * 10**8)  # the same moment for all of the test
        for _ in range(2):
            about = site.get("/models/abalone/now")["about"]
            assert (about["name"], about["description"]) == ("abalone", described)
            leave_settings(account.s3, BUCKET, config.model_copy(update={"description": f"Left {moment}"}))
        described = f"Left {moment}"
    account.s3.delete_object(Bucket=BUCKET, Key="abalone/serving/settings/model.json")


def test_a_broken_model_file_is_named(site: Site, tmp_path, monkeypatch) -> None:
    from retraining.page import known_models

    (tmp_path / "abalone").mkdir()
    (tmp_path / "abalone" / "model.yaml").write_text("name: abalone\nnonsense: 1\n")
    monkeypatch.setattr(known_models, "_models_folder", lambda: tmp_path)
    answer = site.ask("GET", "/models/abalone/now")
    assert answer.status_code == 404 and "nonsense" in answer.json()["detail"]
