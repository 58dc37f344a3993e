"""A model that was watched: 24 looks, from the 17th on with smaller shells and more of a rare category; one incident closed, one open."""

import json
import random
from datetime import UTC, datetime, timedelta
from typing import Any

from page_site import BUCKET, HOSTILE

from retraining.judging import drift_incident
from retraining.judging.drift import Detectors, counted
from retraining.serving import monitoring

VERSION, LOOKS, DRIFTED_FROM, ROWS = "v1", 24, 16, 120
EARLIER = "v0"
FIRST = datetime(2026, 2, 1, 4, 50, tzinfo=UTC)
SHELL, SEX, ANSWER = "shell_weight", "sex", "(prediction)"
BINS = 100
REFERENCE: dict[str, dict[str, Any]] = {
    SHELL: {
        "n": 2500,
        "missing": 0,
        "counts": [25] * BINS,
        "edges": [0.005 * at for at in range(1, BINS)],
        "sum": 600.0,
    },
    ANSWER: {
        "n": 500,
        "missing": 0,
        "counts": [5] * BINS,
        "edges": [3 + 0.2 * at for at in range(1, BINS)],
        "sum": 5000.0,
    },
    SEX: {"n": 2500, "missing": 25, "counts": {"M": 900, "F": 800, "I": 750, HOSTILE: 25}},
}


def fill_watch(s3: Any) -> None:
    """Write what the model's monitor would have written."""
    chance, detectors = random.Random(4), Detectors(7300.0, 0.01)
    history, rows, incident = [], {}, None
    for at in range(LOOKS):
        moment = (FIRST + timedelta(days=at)).isoformat()
        rows = _rows(chance, drifted=at >= DRIFTED_FROM)
        seen = list(counted(REFERENCE, rows))
        detectors.see(seen, 1.0, moment)
        ranks = {item.column: round(item.total / item.rows, 4) for item in seen if item.kind == "level"}
        history.append({"at": moment, "rows": ROWS, "level": detectors.level, "ranks": ranks})
        if incident is None and detectors.level >= 1:
            incident = drift_incident.incident(2, VERSION, moment, detectors.findings(), REFERENCE, {SHELL: "g"})
    assert incident is not None
    closed = {**incident, "number": 1, "model_version": EARLIER, "opened_at": "2026-01-05T04:50:00+00:00"}
    closed |= {"closed_at": "2026-01-09T04:50:00+00:00", "why_closed": f"model {VERSION} serves"}
    tally = {"rows": ROWS, "requests": 90, "left_out": 3, "unreadable": 1}
    state = monitoring.begun(None, "abalone/captured/", FIRST - timedelta(days=1))
    earlier = {**state, "deployed_at": "2026-01-01T00:00:00+00:00"}
    state |= {"looked_at": history[-1]["at"], "look": "c" * 16, "history": history, "rows": LOOKS * ROWS}
    state |= {"detectors": detectors.state}
    for key, document in (
        (f"{monitoring.STATE}{EARLIER}.json", earlier),
        (f"{monitoring.STATE}{VERSION}.json", state),
        (f"{monitoring.look_output('c' * 16)}look.json", {"reference": REFERENCE, "rows": rows, "tally": tally}),
        (f"{monitoring.INCIDENTS}000001.json", closed),
        (f"{monitoring.INCIDENTS}000002.json", incident),
    ):
        s3.put_object(Bucket=BUCKET, Key=f"abalone/{key}", Body=json.dumps(document).encode())


def _rows(chance: random.Random, *, drifted: bool) -> dict[str, dict[str, Any]]:
    def numbers(name: str, change: float) -> dict[str, Any]:
        counts = [0] * BINS
        for _ in range(ROWS):
            counts[int(BINS * chance.random() * change)] += 1
        return {**REFERENCE[name], "n": ROWS, "counts": counts}

    sexes = [chance.choice("MFI") for _ in range(ROWS)]
    new = ROWS // 4 if drifted else 0
    counts = {value: sexes[new:].count(value) for value in "MFI"} | {HOSTILE: new}
    return {
        SHELL: numbers(SHELL, 0.75 if drifted else 1.0),
        ANSWER: numbers(ANSWER, 0.9 if drifted else 1.0),
        SEX: {"n": ROWS, "missing": 0, "counts": counts},
    }
