"""No test of the stack's verbs stops or starts what runs from this repository's own folder."""

from pathlib import Path

import pytest

from local_stack import layout


@pytest.fixture(autouse=True)
def run_folder(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Keep the pids of a test's processes in a folder of its own."""
    folder = tmp_path_factory.mktemp("run")
    monkeypatch.setattr(layout, "RUN", folder)
    return folder
