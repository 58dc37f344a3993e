"""The Drift view: looks, columns and incidents as the monitor left them, and what it has not written yet."""

from collections.abc import Iterator

import pytest
from local_account import Account
from page_site import BUCKET, HOSTILE, Site
from watched_model import ANSWER, DRIFTED_FROM, EARLIER, LOOKS, ROWS, SEX, SHELL, VERSION

WATCH = "abalone/monitor/"


@pytest.fixture
def without(account: Account) -> Iterator:
    """Return a function that takes objects away; they are put back at the end."""
    taken = {}

    def take(prefix: str) -> None:
        for item in account.s3.list_objects_v2(Bucket=BUCKET, Prefix=WATCH + prefix).get("Contents", []):
            taken[item["Key"]] = account.s3.get_object(Bucket=BUCKET, Key=item["Key"])["Body"].read()
            account.s3.delete_object(Bucket=BUCKET, Key=item["Key"])

    yield take
    for key, body in sorted(taken.items()):
        account.s3.put_object(Bucket=BUCKET, Key=key, Body=body)


def test_drift_has_each_look_each_column_and_the_incidents(site: Site) -> None:
    drift = site.get("/models/abalone/drift", "viewer")
    assert (drift["version"], drift["versions"], drift["serving"]) == (VERSION, [VERSION, EARLIER], None)
    assert len(drift["looks"]) == LOOKS and drift["watched"]["rows"] == LOOKS * ROWS
    assert all(look["level"] < 1 for look in drift["looks"][:DRIFTED_FROM]) and drift["looks"][-1]["level"] >= 1
    assert drift["watched"]["newest"] == {"rows": ROWS, "left_out": 3, "unreadable": 1}
    columns = {column["name"]: column for column in drift["columns"]}
    assert columns[SHELL]["change"] == "shell_weight is smaller" and columns[SHELL]["rank"] < 45
    assert columns[SHELL]["unit"] == "g / 200"
    assert columns[SEX]["rank"] is None and columns[SEX]["change"] == f"sex = {HOSTILE} is more often"
    assert [(item["number"], bool(item["closed_at"])) for item in drift["incidents"]] == [(2, False), (1, True)]
    assert "label such rows" in drift["incidents"][0]["what_to_do"]


def test_a_column_has_its_course_and_its_ranges_beside_the_training_rows(site: Site) -> None:
    shell = site.get(f"/models/abalone/drift/{VERSION}/column", name=SHELL)
    early, late = ([look["rank"] for look in shell["course"]][part] for part in (slice(0, 16), slice(16, None)))
    assert abs(sum(early) / len(early) - 50) < 3 and max(late) < 45
    assert shell["course"][0]["error"] == pytest.approx(100 * 2 * (1 / 12 / ROWS) ** 0.5)
    assert [part["before"] for part in shell["ranges"]] == pytest.approx([0.05] * 20)
    assert sum(part["now"] for part in shell["ranges"]) == pytest.approx(1)
    assert [part["label"] for part in shell["ranges"]][::19] == ["up to 0.025", "above 0.475"]
    sex = site.get(f"/models/abalone/drift/{VERSION}/column", name=SEX)
    assert sex["course"] == [] and sex["missing"] == [0.01, 0.0]
    assert [part["label"] for part in sex["ranges"]] == ["M", "F", "I", HOSTILE]
    assert (sex["ranges"][-1]["before"], sex["ranges"][-1]["now"]) == pytest.approx((25 / 2475, 0.25))


def test_a_look_whose_counts_have_expired_keeps_its_course(site: Site, without) -> None:
    without("work/")
    drift = site.get("/models/abalone/drift")
    assert drift["watched"]["newest"] is None and drift["columns"][0]["change"]
    answer = site.get(f"/models/abalone/drift/{VERSION}/column", name=ANSWER)
    assert len(answer["course"]) == LOOKS and answer["ranges"] == [] and answer["missing"] is None


def test_what_was_never_watched_is_said(site: Site, without) -> None:
    assert site.get("/models/abalone/drift", version=EARLIER)["looks"] == []
    assert site.ask("GET", "/models/abalone/drift", params={"version": "v9"}).status_code == 404
    assert site.ask("GET", f"/models/abalone/drift/{VERSION}/column", params={"name": "x"}).status_code == 404
    for version in ("..", "1", "v1/../v2", "v1.json", HOSTILE):
        assert site.ask("GET", "/models/abalone/drift", params={"version": version}).status_code == 422
    without("")
    drift = site.get("/models/abalone/drift")
    assert (drift["watched"], drift["looks"], drift["incidents"]) == (None, [], [])
    assert drift["dag"] == "abalone_monitor"
    assert site.get("/models/abalone/now")["incident"] is None


def test_now_has_the_incident_while_it_is_open(site: Site, without) -> None:
    incident = site.get("/models/abalone/now")["incident"]
    assert incident["number"] == 2 and incident["changes"][0]["words"] == f"sex = {HOSTILE} is more often"
    without("incidents/000002")
    assert site.get("/models/abalone/now")["incident"] is None, "the newest one is closed"
