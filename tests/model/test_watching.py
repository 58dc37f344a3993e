"""What the job of the monitor reads: captured requests, profiles that add up, and the profile that an artifact brings."""

import base64
import json

import numpy as np
import pandas as pd
import pytest
from abalone_artifacts import CONFIG, pack, write_job

from retraining.contract.rules import Contract
from retraining.inside import program
from retraining.inside.job_file import inputs_of
from retraining.inside.watching import captured as watched
from retraining.inside.watching.captured import Tally, frames
from retraining.inside.watching.profile import GIVEN, OTHER, PREDICTION, merged, profile, reference_profile
from retraining.inside.watching.scores import ERROR, LOSS
from retraining.judging.drift import counted
from retraining.serving import inference_ids, monitoring

CONTRACT = Contract.of(CONFIG.contract.model_dump(mode="json"))
COLUMNS = inputs_of(CONTRACT)
ROW = "M,0.455,0.365,0.095,0.514,0.2245,0.101,0.15"
OTHER_ROW = "F,0.53,0.42,0.135,0.677,0.2565,0.1415,0.21"


def captured(body: str, kind="text/csv", encoding="CSV", answer='{"predictions": [9.5]}', **metadata) -> str:
    sent = {"observedContentType": kind, "mode": "INPUT", "data": body, "encoding": encoding}
    received = {"observedContentType": "application/json", "mode": "OUTPUT", "data": answer, "encoding": "JSON"}
    data = {"endpointInput": sent, "endpointOutput": received}
    event = {"eventId": "1", "inferenceTime": "2026-03-01T00:00:00Z", **metadata}
    return json.dumps({"captureData": data, "eventMetadata": event, "eventVersion": "0"})


def read(tmp_path, *lines: str, left_out=inference_ids.NO_USE) -> tuple[pd.DataFrame, list, Tally]:
    path, tally = tmp_path / "a.jsonl", Tally()
    path.write_text("\n".join(lines) + "\n")
    parts = list(frames([path], COLUMNS, CONTRACT, left_out, tally))
    filled = [frame for frame, _ in parts if len(frame)]
    rows = pd.concat(filled, ignore_index=True) if filled else pd.DataFrame()
    return rows, [answer for _, answers in parts for answer in answers], tally


def test_requests_of_all_forms_are_read_as_the_endpoint_reads_them(tmp_path):
    named = json.dumps(
        {
            "instances": [
                dict(
                    zip([c.name for c in COLUMNS], ["M", 0.455, 0.365, 0.095, 0.514, 0.2245, 0.101, 0.15], strict=True)
                )
            ]
        }
    )
    hidden = base64.b64encode(f"{ROW}\n{OTHER_ROW}".encode()).decode()
    rows, answers, tally = read(
        tmp_path,
        captured(ROW),
        captured(f"  {ROW.replace(',', ' , ')}\r\n"),
        captured(named, "application/json", "JSON"),
        captured(hidden, encoding="BASE64", answer='{"predictions": [9.5, 10.5]}'),
        captured(f"{ROW}\n{OTHER_ROW}", answer="x"),
    )
    assert tally.requests == 5
    assert tally.unreadable == 0
    assert sorted(rows["shell_weight"]) == [0.15] * 5 + [0.21] * 2
    assert sorted(rows["sex"]) == ["F"] * 2 + ["M"] * 5
    assert answers == [9.5] * 4 + [10.5]


def test_what_is_no_use_of_the_model_does_not_count(tmp_path):
    rows, answers, tally = read(
        tmp_path,
        captured(ROW, inferenceId=f"{inference_ids.TRYING}0a"),
        captured(ROW, inferenceId=f"{inference_ids.VERIFICATION}0a"),
        captured(ROW, inferenceId="customer-7"),
    )
    assert (len(rows), len(answers), tally.left_out) == (1, 1, 2)


def test_requests_that_cannot_be_read_are_counted_and_keep_no_other_from_being_read(tmp_path):
    lines = [
        captured(ROW),
        captured("M,1"),
        captured(ROW.replace("0.455", "wide")),
        "{}",
        "no json",
        captured("", "image/png"),
    ]
    rows, _, tally = read(tmp_path, *lines)
    assert len(rows) == 1
    assert tally.unreadable == 5
    assert len(tally.examples) == 3


@pytest.mark.parametrize("kind", ["application/json", "text/csv"])
def test_requests_are_read_in_blocks_of_bounded_size_and_one_that_cannot_be_read_costs_no_other(
    tmp_path, monkeypatch, kind
):
    monkeypatch.setattr(watched, "CELLS", 20 * len(COLUMNS))
    cells = [[cell if at == 0 else float(cell) for at, cell in enumerate(row.split(","))] for row in (ROW, OTHER_ROW)]
    good = json.dumps(cells) if kind == "application/json" else f"{ROW}\n{OTHER_ROW}\n"
    wide = good.replace("0.455", '"wide"' if kind == "application/json" else "wide")
    path, tally = tmp_path / "a.jsonl", Tally()
    two = '{"predictions": [1, 2]}'
    path.write_text("".join(f"{captured(wide if n == 13 else good, kind, answer=two)}\n" for n in range(100)))
    parts = list(frames([path], COLUMNS, CONTRACT, (), tally))
    sizes = [(len(frame), len(answers)) for frame, answers in parts]
    assert sizes == [(20, 20), (18, 20), *[(20, 20)] * 8, (0, 0)]
    assert (tally.requests, tally.unreadable) == (100, 1)
    assert sum(frame["shell_weight"].sum() for frame, _ in parts) == pytest.approx(99 * (0.15 + 0.21))


def test_profiles_of_parts_add_up_to_that_of_the_whole(abalone):
    frame = abalone.astype({"rings": float, "sex": object})
    reference = reference_profile(frame[:3000])
    parts = [profile(frame[start : start + 300], reference) for start in range(3000, 4177, 300)]
    whole = profile(frame[3000:], reference)
    added = {}
    for part in parts:
        added = merged(added, part)
    for name, column in whole.items():
        assert added[name]["counts"] == column["counts"]
        assert (added[name]["n"], added[name]["missing"]) == (1177, 0)
        if "sum" in column:
            assert added[name]["sum"] == pytest.approx(column["sum"])
    counts = np.array(reference["shell_weight"]["counts"])
    assert counts.sum() == 3000
    assert counts.max() < 3 * 3000 / 100, "the bins hold about equally many rows"


def test_what_the_other_measurements_leave_of_one_shows_a_change_that_hides_in_its_own_spread(abalone):
    frame = abalone.drop(columns=["rings", "sex"]).astype(float)
    reference = reference_profile(frame[:3000])
    assert reference[f"length{GIVEN}"]["of"] == "length"
    new = frame[3000:3200]
    read_too_large = new.assign(length=new["length"] * 1.05)

    def level(rows, name):
        [seen] = [
            item for item in counted(reference, profile(rows, reference)) if (item.column, item.kind) == (name, "level")
        ]
        return seen.total / seen.rows

    assert abs(level(new, f"length{GIVEN}")) < 0.05
    assert level(read_too_large, f"length{GIVEN}") > 4 * level(read_too_large, "length") > 0


def test_columns_that_tell_nothing_of_each_other_have_no_remainder():
    generator = np.random.default_rng(0)
    frame = pd.DataFrame({name: generator.normal(size=500) for name in "abc"})
    assert set(reference_profile(frame)) == {"a", "b", "c"}
    assert set(reference_profile(frame.assign(b=frame["a"]))) == {"a", "b", "c"}, "a copy leaves nothing"


def test_values_beyond_the_reference_and_missing_ones_are_counted():
    reference = reference_profile(pd.DataFrame({"x": [1.0, 2.0, 3.0], "t": pd.Series(["a", "b", "a"], dtype=object)}))
    seen = profile(
        pd.DataFrame({"x": [-9.0, 99.0, np.nan], "t": pd.Series(["z", np.nan, "a"], dtype=object)}), reference
    )
    assert (seen["x"]["counts"][0], seen["x"]["counts"][-1], seen["x"]["missing"]) == (1, 1, 1)
    assert (seen["t"]["counts"], seen["t"]["missing"]) == ({"a": 1, "b": 0, OTHER: 1}, 1)


def test_a_look_writes_the_models_own_profile_beside_that_of_the_requests(linear_artifact, abalone, tmp_path):
    inputs = tmp_path / "input"
    pack(linear_artifact, inputs / "model")
    (inputs / "captured" / "00").mkdir(parents=True)
    lines = [captured(",".join(map(str, row[1:]))) for row in abalone[3000:3300].itertuples(index=False)]
    (inputs / "captured" / "00" / "a.jsonl").write_text("\n".join(lines) + "\n")
    write_job(inputs / "job", monitoring.job_document(CONFIG, ["a"]))
    assert program.main(tmp_path, ["--inputs", str(inputs), "--output", str(tmp_path / "output")], {}) == 0
    look = json.loads((tmp_path / "output" / "look.json").read_text())
    alone = {column.name for column in COLUMNS} | {PREDICTION, LOSS, ERROR}
    assert {name for name, column in look["reference"].items() if "of" not in column} == alone
    assert f"shell_weight{GIVEN}" in look["reference"]
    assert look["reference"]["length"]["n"] == 1600, "the training rows"
    assert {look["reference"][name]["n"] for name in (PREDICTION, LOSS, ERROR)} == {600}, "the validation rows"
    assert "labels" not in look and LOSS not in look["rows"], "none came"
    assert look["tally"]["rows"] == look["rows"]["length"]["n"] == look["rows"][PREDICTION]["n"] == 300


def test_a_model_without_a_profile_cannot_be_watched(tmp_path):
    folder = tmp_path / "artifact"
    folder.mkdir()
    (folder / "model_card.json").write_text("{}")
    pack(folder, tmp_path / "input" / "model")
    write_job(tmp_path / "input" / "job", monitoring.job_document(CONFIG, []))
    with pytest.raises(ValueError, match="the model has no profile"):
        program.main(tmp_path, ["--inputs", str(tmp_path / "input"), "--output", str(tmp_path)], {})
