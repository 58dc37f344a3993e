"""What the ``pip`` of a job says: which requirements its environment fulfils."""

import importlib.metadata
import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

from local_aws.shared import running


@pytest.fixture(scope="module")
def pip() -> ModuleType:
    path = Path(running.__file__).with_name("installer") / "pip" / "__main__.py"
    spec = importlib.util.spec_from_file_location("pip_of_jobs", path)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def version(monkeypatch: pytest.MonkeyPatch) -> None:
    def known(name: str) -> str:
        if name != "oyster":
            raise importlib.metadata.PackageNotFoundError(name)
        return "2.4.10"

    monkeypatch.setattr(importlib.metadata, "version", known)


@pytest.mark.usefixtures("version")
@pytest.mark.parametrize(
    "requirement",
    ["oyster", "oyster>=2", "oyster >= 2.0, < 3", "oyster==2.4.*", "oyster~=2.4", "oyster~=2.4.1", "oyster[all]!=1", "oyster<=2.4.10.0",
     "oyster (>2.4.9)", "absent; python_version < '3'"],
)  # fmt: skip
def test_a_requirement_is_met(pip: ModuleType, requirement: str) -> None:
    assert pip.unmet(requirement) == ""


@pytest.mark.usefixtures("version")
@pytest.mark.parametrize(
    "requirement",
    ["absent", "oyster<2", "oyster==2.4", "oyster==2.5.*", "oyster~=2.5", "oyster~=2.3.0", "oyster!=2.4.10", "oyster>2.4.10",
     "oyster===2.4", "git+https://example.com/oyster", "./oyster",
     "oyster @ https://example.com/o.whl", "-e .", "absent; python_version >= '3'"],
)  # fmt: skip
def test_a_requirement_is_not_met(pip: ModuleType, requirement: str) -> None:
    assert pip.unmet(requirement)


def test_files_of_requirements_lead_to_others(pip: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "base.txt").write_text("one==1 # the first\n\n-c constraints.txt\n")
    text = "-r base.txt\ntwo \\\n  >=2 --hash=sha256:00\n--index-url https://example.com\n-e ./three\n"
    (tmp_path / "requirements.txt").write_text(text)
    words = ["-q", "-r", str(tmp_path / "requirements.txt"), "--index-url", "https://example.com", "four"]
    assert [" ".join(one.split()) for one in pip.requirements(words)] == ["one==1", "two >=2", "-e ./three", "four"]


def test_it_lists_and_refuses_what_it_does_not_know(pip: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    assert pip.main(["freeze"]) == 0
    assert f"pytest=={importlib.metadata.version('pytest')}" in capsys.readouterr().out
    assert pip.main(["uninstall", "--yes", "no-such-package"]) == 0
    assert "Skipping no-such-package as it is not installed" in capsys.readouterr().err
    assert pip.main(["uninstall", "--yes", "pytest"]) == 1
    assert pip.main(["download", "pytest"]) == 1
    assert pip.main(["install", "-r", f"{sys.prefix}/none.txt"]) == 1
    assert "Could not open requirements file" in capsys.readouterr().err
