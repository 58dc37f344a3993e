"""Bill of materials, licences, and what `make audit` makes of its tools' answers."""

import json
import re
import sys
from email.message import Message
from pathlib import Path

import pytest

from deploy import artifacts, audit, sbom

LOCKS = sorted((artifacts.ROOT / "requirements").glob("*.txt"))


def test_every_lock_pins_exactly_and_with_hashes_and_names_no_registry():
    for path in LOCKS:
        text = path.read_text()
        pins = re.findall(r"^[\w.\[\],-]+==\S+", text, re.MULTILINE)
        assert pins, path.name
        assert text.count("--hash") >= len(pins), f"{path.name} has pins without hashes"
        loose = [line for line in text.splitlines() if re.match(r"^[a-zA-Z]", line) and "==" not in line]
        assert loose == [], path.name
        assert "--index-url" not in text
        assert "://" not in text, path.name


def installed_packages(folder: Path, **versions: str) -> Path:
    for name, licence in versions.items():
        info = folder / "one" / "lib" / "python3.11" / "site-packages" / f"{name}-1.0.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n{licence}\n")
    return folder


def test_the_bill_lists_what_is_installed_with_its_licence(tmp_path):
    folder = installed_packages(
        tmp_path,
        Some_Thing="License-Expression: MIT",
        other="Classifier: License :: OSI Approved :: Apache Software License",
    )
    components = sbom.installed(folder, ["one"])
    assert [(item.name, item.licence) for item in components] == [
        ("other", "Apache Software License"),
        ("some-thing", "MIT"),
    ]
    document = sbom.bill(components, "project", "1")
    assert document["components"][1]["purl"] == "pkg:pypi/some-thing@1.0"
    assert document == json.loads(json.dumps(sbom.bill(components, "project", "1")))
    assert "| some-thing | 1.0 | MIT | one |" in sbom.licence_page(components)


def test_a_whole_licence_text_is_not_taken_for_a_name():
    long, short = Message(), Message()
    long["License"], short["License"] = "Permission is hereby granted " * 9, "BSD"
    assert (sbom.licence(long, []), sbom.licence(short, [])) == ("not stated", "BSD")


def test_a_missing_environment_says_what_to_do(tmp_path):
    with pytest.raises(FileNotFoundError, match="run make setup-dev"):
        sbom.installed(tmp_path, ["nowhere"])


def test_the_licence_page_is_that_of_the_locked_versions():
    page = (artifacts.ROOT / "docs" / "licences.md").read_text()
    listed = set(re.findall(r"^\| ([\w.-]+) \| ([^ |]+) \|", page, re.MULTILINE))
    for name in sbom.RUNTIME:
        lock = (artifacts.ROOT / "requirements" / f"{name}.txt").read_text()
        for package, version in re.findall(r"^([\w.-]+)(?:\[[\w,]+\])?==([^ ;\\]+) \\$", lock, re.MULTILINE):
            normal = re.sub(r"[-_.]+", "-", package).lower()
            assert (normal, version) in listed, f"{package}=={version} of {name}.txt: run make sbom"


def test_an_advisory_source_that_does_not_answer_is_not_called_safe(capsys):
    assert audit.judge("jobs.txt", 1, "requests.exceptions.ConnectionError: no route") == audit.NOT_REACHED
    assert "nothing is known about vulnerabilities" in capsys.readouterr().err
    assert audit.judge("jobs.txt", 1, "Found 1 known vulnerability in 1 package") == audit.FOUND
    assert audit.judge("jobs.txt", 0, "No known vulnerabilities found") == 0


def test_a_tool_that_finds_something_fails_the_audit(tmp_path, monkeypatch):
    for name, code in (("bandit", 1), ("pip-audit", 0)):
        (tmp_path / name).write_text(f"#!{sys.executable}\nraise SystemExit({code})\n")
        (tmp_path / name).chmod(0o755)
    assert audit.main(["--tools", str(tmp_path)]) == audit.FOUND
    (tmp_path / "bandit").write_text(f"#!{sys.executable}\n")
    assert audit.main(["--tools", str(tmp_path)]) == 0
    (tmp_path / "pip-audit").write_text(f"#!{sys.executable}\nraise SystemExit('ServiceError: x')\n")
    assert audit.main(["--tools", str(tmp_path)]) == audit.NOT_REACHED
