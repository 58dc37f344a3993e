"""Bill of materials, licences, and what `make audit` makes of its tools' answers."""

import contextlib
import io
import json
import re
import shutil
import subprocess
import sys
import zipfile
from email.message import Message
from pathlib import Path

import pytest
import yaml

from deploy import artifacts, audit, jars, sbom
from local_stack import bootstrap

LOCKS = sorted((artifacts.ROOT / "requirements").glob("*.txt"))
# The packages of this environment want old versions of others, which SageMaker's images overrule, and so does the lock
OVERRULED = "toolkits"
MADE = [path.stem for path in LOCKS if path.stem != OVERRULED and bootstrap.layout.python(path.stem).exists()]


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


@pytest.mark.parametrize("name", ["jobs", "toolkits", "survey"])
def test_what_has_no_wheel_is_built_with_locked_packages(name, tmp_path, monkeypatch):
    """Else the build would download the newest setuptools, whatever that is."""
    pins = re.findall(
        r"^([\w-]+)==\S+ \\\n((?:    --hash=sha256:[0-9a-f]{64}(?: \\)?\n)+)", bootstrap.BUILD.read_text(), re.MULTILINE
    )
    assert {"setuptools", "wheel"} <= {package for package, _ in pins}
    started = []
    monkeypatch.setattr(bootstrap.layout, "LOCAL", tmp_path)
    monkeypatch.setattr(bootstrap.layout, "VENVS", tmp_path / "venvs")
    (tmp_path / "venvs" / name).mkdir(parents=True)
    monkeypatch.setattr(bootstrap.subprocess, "run", lambda command, **options: started.append((command, options)))
    bootstrap._create(Path("uv"), "python3", name)
    [(command, options)] = [item for item in started if "install" in item[0]]
    assert options["env"]["UV_BUILD_CONSTRAINT"] == str(bootstrap.BUILD)
    assert ("--no-deps" in command) == (name != "survey")  # whose build of PyTorch may want what no lock names
    assert command[command.index("--config-settings-package") + 1] == "pyspark:--build-option=--compression=stored"
    docker = (artifacts.ROOT / "Dockerfile").read_text()
    assert docker.index("UV_BUILD_CONSTRAINT=/tmp/build.constraints") < docker.index("for name in local_aws jobs")


@pytest.mark.parametrize("name", MADE)
def test_a_lock_names_all_that_its_packages_want(name):
    """They are installed without being asked what they want."""
    done = subprocess.run(
        [bootstrap.layout.VENVS / "uv" / "bin" / "uv", "pip", "check", "--python", bootstrap.layout.python(name)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_the_installer_itself_is_installed_by_its_hash(tmp_path, monkeypatch):
    [pin] = re.findall(
        r"^uv==\S+ \\\n((?:    --hash=sha256:[0-9a-f]{64}(?: \\)?\n)+)", bootstrap.UV.read_text(), re.MULTILINE
    )
    assert pin.count("--hash") > 5  # of several platforms
    started = []
    monkeypatch.setattr(bootstrap.layout, "LOCAL", tmp_path)
    monkeypatch.setattr(bootstrap.layout, "VENVS", tmp_path / "venvs")
    monkeypatch.setattr(bootstrap.subprocess, "run", lambda command, **options: started.append(command))
    bootstrap._uv("python3")
    assert started[-1][-3:] == ["--require-hashes", "--requirement", bootstrap.UV]
    for path in ("Dockerfile", "survey/Dockerfile"):
        text = (artifacts.ROOT / path).read_text()
        assert re.findall(r"pip install .*", text)[0].endswith(
            "--require-hashes --requirement /tmp/uv.constraints \\"
        ), path
        assert "uv==" not in text


def test_answers_are_compared_between_the_same_numeric_libraries():
    """`make conformance` compares predictions digit by digit: those of SageMaker's packages with those of a job of local_aws."""
    pins = [
        dict(
            re.findall(r"^([\w-]+)==(\S+)", (artifacts.ROOT / "requirements" / f"{name}.txt").read_text(), re.MULTILINE)
        )
        for name in ("jobs", "toolkits")
    ]
    for package in ("numpy", "scipy", "scikit-learn", "joblib"):
        assert pins[0][package] == pins[1][package], package


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


LISTED = re.findall(
    r"^\| ([\w.-]+) \| ([^ |]+) \| (.+) \| ([\w, ]+) \|$",
    (artifacts.ROOT / "docs" / "licences.md").read_text(),
    re.MULTILINE,
)


@pytest.mark.parametrize("name", [*sbom.RUNTIME, *sbom.OPTIONAL])
def test_the_licence_page_is_that_of_the_locked_versions(name):
    listed = {(package, version) for package, version, _, environments in LISTED if name in environments.split(", ")}
    lock = (artifacts.ROOT / "requirements" / f"{name}.txt").read_text()
    pins = re.findall(r"^([\w.-]+)(?:\[[\w,]+\])?==([^ ;\\\s]+)(?: \\)?$", lock, re.MULTILINE)
    assert len(pins) > 10
    for package, version in pins:
        normal = re.sub(r"[-_.]+", "-", package).lower()
        assert (normal, version) in listed, f"{package}=={version} of {name}.txt: install {name} and run make sbom"


def test_the_licence_page_says_which_packages_are_not_open_source():
    assert [row[0] for row in LISTED if row[2] in ("BUSL-1.1", "BSL-1.1")] == ["ctgan", "rdt"]
    head = (artifacts.ROOT / "docs" / "licences.md").read_text().split("| package |")[0]
    assert "CTGAN and RDT, in the environment `survey` only" in head


def test_the_page_does_not_depend_on_which_optional_environments_are_installed(tmp_path, capsys):
    for name, packages in {**{key: ["common"] for key in sbom.RUNTIME}, "survey": ["common", "rare"]}.items():
        for package in packages:
            info = tmp_path / name / "lib" / "python3.11" / "site-packages" / f"{package}-1.0+cpu.dist-info"
            info.mkdir(parents=True)
            (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0+cpu\nLicense: MIT\n")
    page = tmp_path / "licences.md"
    arguments = ["--environments", str(tmp_path), "--output", str(tmp_path / "sbom.json"), "--licences", str(page)]
    sbom.main(arguments)
    everything = page.read_text()
    assert "| rare | 1.0 | MIT | survey |" in everything
    assert "| common | 1.0 | MIT | airflow, jobs, local_aws, survey |" in everything
    shutil.rmtree(tmp_path / "survey")
    sbom.main(arguments)
    assert page.read_text() == everything
    assert "not installed here, licences as they were: sagemaker, survey, tensorflow" in capsys.readouterr().out


BANDIT = """#!{python}
print('{{"results": [{results}]}}')
"""
PIP_AUDIT = """#!{python}
import sys
pins = open(sys.argv[sys.argv.index("--requirement") + 1]).read()
{body}
"""
KNOWS = "if 'requests==2.19.0' in pins: sys.exit('requests 2.19.0 CVE-2018-18074')"


@pytest.fixture
def tools(tmp_path, monkeypatch):
    monkeypatch.setattr(audit, "vulnerabilities", lambda jars: {})

    def make(results="", body=KNOWS):
        for name, text in (
            ("bandit", BANDIT.format(python=sys.executable, results=results)),
            ("pip-audit", PIP_AUDIT.format(python=sys.executable, body=body)),
        ):
            (tmp_path / name).write_text(text)
            (tmp_path / name).chmod(0o755)
        return ["--tools", str(tmp_path)]

    return make


def test_nothing_found_is_0_when_the_source_knows_a_famous_vulnerability(tools, capsys):
    assert audit.main(tools()) == 0
    assert "no known vulnerability" in capsys.readouterr().out


@pytest.mark.parametrize(
    "body",
    [
        "print('No known vulnerabilities found')",
        "print('requests Dependency not found on PyPI and could not be audited: requests (2.19.0)')",
        "sys.exit('ServiceError: no route')",
    ],
)
def test_a_source_that_does_not_know_a_famous_vulnerability_proves_nothing(tools, body, capsys):
    assert audit.main(tools(body=body)) == audit.NOT_REACHED
    assert "nothing is known about vulnerabilities" in capsys.readouterr().out


def test_a_vulnerable_lock_fails_the_audit(tools):
    assert audit.main(tools(body="sys.exit('requests 2.19.0 and others')")) == audit.FOUND


def test_a_finding_in_the_sources_fails_the_audit_unless_it_is_accepted(tools):
    finding = '{"filename": "%s", "test_id": "B608", "line_number": 1, "issue_text": "x"}'
    assert audit.main(tools(finding % "deploy/x.py")) == audit.FOUND
    assert audit.main(tools(finding % "glue_scripts/merge/by_spark/parsing.py")) == 0


def test_what_the_audit_accepts_exists_and_has_a_reason():
    gone = [path for path, _ in audit.ACCEPTED if not (artifacts.ROOT / path).is_file()]
    assert gone == []
    assert all(len(reason.split()) >= 3 for reason in audit.ACCEPTED.values())


def test_the_audit_asks_about_every_lock_and_every_folder_of_sources(tools, capsys):
    audit.main(tools())
    asked = re.findall(r"pip-audit (\S+\.txt)", capsys.readouterr().out)
    assert asked == [path.name for path in LOCKS]
    folders = {path.parent.name for path in artifacts.ROOT.glob("*/__init__.py")} | {"dags", "plugins", "glue_scripts"}
    assert folders - {"tests", "benchmarks", "docs"} <= set(audit.SOURCES)


# -- the jars that Spark brings along -----------------------------------------------------------------------------------


def jar_of(folder: Path, name: str, *stated: tuple[str, str, str]) -> Path:
    path = folder / "jobs" / "lib" / "python3.11" / "site-packages" / "pyspark" / "jars" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w") as archive:
        for group, artifact, version in stated:
            text = f"#made\nversion={version}\ngroupId={group}\nartifactId={artifact}\n"
            archive.writestr(f"META-INF/maven/{group}/{artifact}/pom.properties", text)
    return path


def test_a_jar_is_what_it_says_what_is_inside_it_included(tmp_path):
    jar_of(tmp_path, "spark-network-shaded-1.0.jar", ("org.x", "spark-network", "1.0"), ("io.netty", "netty", "4.1"))
    jar_of(tmp_path, "lz4-java-1.8.0.jar")
    jar_of(tmp_path, "silent-2.0.1-tests.jar")
    assert [jar.purl for jar in jars.jars_of(tmp_path)] == [
        "pkg:generic/silent@2.0.1",
        "pkg:maven/io.netty/netty@4.1",
        "pkg:maven/org.lz4/lz4-java@1.8.0",
        "pkg:maven/org.x/spark-network@1.0",
    ]
    document = sbom.bill([], "project", "1", jars.jars_of(tmp_path))
    assert document["components"][2]["purl"] == "pkg:maven/org.lz4/lz4-java@1.8.0"


def test_a_vulnerable_jar_fails_the_audit_and_a_silent_source_proves_nothing(tools, monkeypatch, capsys):
    bad = jars.Jar("org.lz4", "lz4-java", "1.8.0")
    monkeypatch.setattr(audit, "vulnerabilities", lambda found: {bad: ["GHSA-x"]})
    assert audit.main(tools()) == audit.FOUND
    assert "jar pkg:maven/org.lz4/lz4-java@1.8.0: GHSA-x" in capsys.readouterr().out
    monkeypatch.setattr(audit, "vulnerabilities", lambda found: None)
    assert audit.main(tools()) == audit.NOT_REACHED


@pytest.mark.parametrize(
    ("results", "found"),
    [
        ([{"vulns": [{"id": "CVE-2021-44228"}]}, {"vulns": [{"id": "GHSA-x"}]}], {"lz4-java": ["GHSA-x"]}),
        ([{"vulns": [{"id": "CVE-2021-44228"}]}, {}], {}),
        ([{}, {}], None),
    ],
)
def test_the_source_has_to_know_a_famous_jar(monkeypatch, results, found):
    answer = io.BytesIO(json.dumps({"results": results}).encode())
    monkeypatch.setattr(jars.urllib.request, "urlopen", lambda request, timeout: contextlib.closing(answer))
    known = jars.vulnerabilities([jars.Jar("org.lz4", "lz4-java", "1.8.0"), jars.Jar("", "silent", "1")])
    assert (known if known is None else {jar.name: ids for jar, ids in known.items()}) == found


def test_every_image_that_is_built_from_or_run_can_be_held_fast_by_its_digest():
    """Tags move: whoever deploys may name NAME@sha256:DIGEST, and every place follows."""
    defaults = dict(
        re.findall(
            r"\$\{(PYTHON_IMAGE|POSTGRES_IMAGE):-([^}]*)\}", (artifacts.ROOT / "docker-compose.yaml").read_text()
        )
    )
    for path in ("Dockerfile", "survey/Dockerfile"):
        lines = (artifacts.ROOT / path).read_text().splitlines()
        assert f"ARG PYTHON_IMAGE={defaults['PYTHON_IMAGE']}" in lines
        stages = {line.split(" AS ")[1] for line in lines if line.startswith("FROM ") and " AS " in line}
        assert {line.split()[1] for line in lines if line.startswith("FROM ")} - stages == {"${PYTHON_IMAGE}"}
    compose = yaml.safe_load((artifacts.ROOT / "docker-compose.yaml").read_text())["services"].values()
    built = [service["build"] for service in compose if "build" in service]
    assert built and all("PYTHON_IMAGE" in build["args"] for build in built)
    assert {service["image"] for service in compose if "build" not in service} == {
        f"${{POSTGRES_IMAGE:-{defaults['POSTGRES_IMAGE']}}}"
    }
