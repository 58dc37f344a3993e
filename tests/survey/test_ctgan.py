"""CTGAN for real: a short fit in its own environment, kept and used again."""

import json
import os
import subprocess

import pytest

from local_stack import layout

ROOT = layout.ROOT
PYTHON = layout.python("survey")

pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(not PYTHON.exists(), reason="the environment 'survey' does not exist: make setup-survey"),
]


def test_a_fit_is_kept_and_the_second_call_reuses_it(document, contract, real_cells, tmp_path):
    (tmp_path / "train").mkdir()
    rows = [",".join([row[-1], *row[:-1]]) for row in real_cells[:600]]
    (tmp_path / "train" / "rows.csv").write_text("\n".join(rows))
    request = {
        "contract": document["contract"],
        "method": "ctgan",
        "rows": 30,
        "epochs": 2,
        "seed": 3,
        "valid_only": False,
    }
    (tmp_path / "request.json").write_text(json.dumps(request))
    given = ["--request", tmp_path, "--train", tmp_path / "train", "--model", tmp_path / "model"]
    # One process for both calls: starting PyTorch takes longer than the rest.
    script = (
        "import sys; from survey.generator.__main__ import main\n"
        "for name in 'first', 'second': assert main([*sys.argv[2:], sys.argv[1] + name]) == 0"
    )
    command = [PYTHON, "-c", script, f"{tmp_path}/", *given, "--output"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "plugins")}  # the rules of the contract
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    fitted, reused = done.stdout.split("rows in", 1)
    assert "fitting CTGAN to 600 rows, 2 epochs" in fitted
    assert "2/2" in done.stderr  # the progress bar
    assert "reusing the fitted CTGAN" in reused
    assert "fitting" not in reused
    lines = [(tmp_path / output / "survey.csv").read_text().splitlines() for output in ("first", "second")]
    assert len(lines[0]) == 30
    assert lines[0] == lines[1]
