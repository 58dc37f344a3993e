import json
from datetime import UTC, datetime

from local_stack.verbs import ending
from local_stack.verbs.ending import Ending
from local_stack.verbs.service import Service

SERVICE = Service("abalone", "InService", datetime(2026, 3, 4, 5, 6, tzinfo=UTC), 2, "3", 2.19634, "report.html")


def test_a_run_ends_with_verdict_rows_reasons_service_report_and_the_next_step():
    end = Ending(
        "abalone",
        "approved: it is better",
        "promoted",
        {"rows_new": 3110, "rows_accepted": 3094, "rows_duplicate": 0, "rows_quarantined": 16},
        {"height: below": 2, "rule": 14},
        ["x.csv:7 height '0': below 0"],
        [],
        "version 1",
        str(SERVICE),
        "r/report.html",
    )
    assert end.lines() == [
        "approved: it is better",
        "  rows    3,110 new: 3,094 accepted, 0 duplicate, 16 bad (height: below 2, rule 14)",
        "  bad row x.csv:7 height '0': below 0",
        "  data    version 1",
        "  serves  endpoint abalone: model version 2 (dataset version 3, RMSE 2.1963), since 2026-03-04 05:06 UTC",
        "  report  r/report.html",
        """  next    make status; to take it back: make run DAG=abalone_rollback PARAMS='{"why": "..."}'""",
    ]


def test_what_is_not_known_is_left_out():
    assert Ending("a-b", "nothing to train", "nothing").lines()[1:] == [
        "  next    send a file with other content, or train again on the data that is there: "
        """make run DAG=a_b_retraining PARAMS='{"force_retrain": true}'"""
    ]
    assert str(Service("abalone", "none")) == "nothing serves yet: endpoint abalone does not exist"


def test_the_next_step_depends_on_what_happened():
    summary = {"promoted": False, "model_package": "arn", "decision": "rejected"}
    assert ending.kind_of(summary) == "rejected"
    assert ending.kind_of({**summary, "promoted": True}) == "promoted"
    assert ending.kind_of({**summary, "decision": "approval timed out", "model_package": None}) == "unanswered"
    assert ending.kind_of({**summary, "decision": "declined by a person"}) == "unanswered"
    assert (
        ending.kind_of({**summary, "decision": "approved, not deployed (dry run)", "model_package": None}) == "dry run"
    )


def test_refused_and_ignored_files_are_told_with_reason_and_remedy():
    files = [
        {"key": "a/new/x.csv", "outcome": "merged"},
        {"key": "a/new/y.csv", "outcome": "refused", "reason": "no header", "remedy": "add one"},
        {"key": "a/new/_z", "outcome": "ignored", "reason": "begins with _", "remedy": None},
    ]
    assert ending.left_out(files) == ["y.csv refused: no header; add one", "_z ignored: begins with _"]


class Bucket:
    """S3 with one quarantine of two objects."""

    def __init__(self, records):
        lines = "\n".join(map(json.dumps, records)).encode()
        self.bodies = {"q/batch=1/_SUCCESS": b"", "q/batch=1/part-0.json": b"", "q/batch=1/part-1.json": lines}

    def get_paginator(self, _):
        return self

    def paginate(self, Bucket, Prefix):
        return [
            {
                "Contents": [
                    {"Key": key, "Size": len(body)} for key, body in self.bodies.items() if key.startswith(Prefix)
                ]
            }
        ]

    def get_object(self, Bucket, Key):
        body = self.bodies[Key]
        return {"Body": type("Body", (), {"iter_lines": lambda self: iter(body.splitlines())})()}


def test_the_first_bad_rows_are_shown_with_file_line_column_value_and_reason():
    row = {"file": "a/new/x.csv", "line": 7, "column": "height", "value": "0", "reason": "height: below 0"}
    whole = {"file": "a/new/y.csv", "line": None, "column": None, "value": None, "reason": "file refused: empty"}
    assert ending.first_bad_rows(Bucket([row, whole, row, row]), "b", "q/batch=1/") == [
        "x.csv:7 height '0': below 0",
        "y.csv: file refused: empty",
        "x.csv:7 height '0': below 0",
    ]


def test_a_look_of_the_monitor_says_what_it_found_and_where_the_page_lies():
    judged = {
        "model": "v2",
        "rows": 400,
        "level": 3e-5,
        "open": False,
        "incident": None,
        "changes": [],
        "page": "s3://b/p",
    }
    quiet = ending.watched(judged)
    assert quiet.startswith("no incident: 400 rows that model v2 was asked about, evidence 3e-05")
    found = ending.watched({**judged, "open": True, "incident": 3, "changes": ["length is larger"]})
    assert found.startswith("incident 3 is open: length is larger (400 rows")
    assert "s3://b/p" in found
