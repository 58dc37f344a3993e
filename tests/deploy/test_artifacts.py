import io
import subprocess
import zipfile

from deploy import artifacts


def test_the_same_sources_give_the_same_bytes_and_key():
    assert artifacts.analyze_function() == artifacts.analyze_function()
    assert artifacts.glue_script().key.startswith("glue/merge_survey_data-")
    assert artifacts.glue_modules().key.startswith("glue/merge_modules-")


def test_a_changed_source_is_a_new_key(tmp_path):
    folder = tmp_path / "lambda_functions" / "analyze_results"
    folder.mkdir(parents=True)
    (folder / "handler.py").write_text("A = 1\n")
    before = artifacts.analyze_function(tmp_path).key
    (folder / "handler.py").write_text("A = 2\n")
    assert artifacts.analyze_function(tmp_path).key != before


def test_the_archive_holds_the_handler_and_no_caches(tmp_path):
    folder = tmp_path / "lambda_functions" / "analyze_results"
    (folder / "__pycache__").mkdir(parents=True)
    (folder / "__pycache__" / "x.py").write_text("")
    (folder / "handler.py").write_text("def handler(event, context): ...\n")
    names = zipfile.ZipFile(io.BytesIO(artifacts.analyze_function(tmp_path).body)).namelist()
    assert names == ["handler.py"]


def test_the_startup_script_is_a_shell_script_with_the_locked_sdk_in_it(tmp_path):
    script = artifacts.startup_script()
    assert b"\nsagemaker==" in script and b"--hash=sha256:" in script and b"@LOCK@" not in script
    path = tmp_path / "startup.sh"
    path.write_bytes(script)
    subprocess.run(["sh", "-n", path], check=True)


def test_the_startup_script_makes_nothing_on_a_scheduler(tmp_path):
    path = tmp_path / "startup.sh"
    path.write_bytes(artifacts.startup_script() + b'echo "$RETRAINING_SDK_PYTHON"\n')
    environment = {"PATH": "/usr/bin:/bin", "MWAA_AIRFLOW_COMPONENT": "scheduler"}
    done = subprocess.run(["sh", path], env=environment, capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("/usr/local/airflow/sagemaker-sdk/bin/python\n", "")


def test_a_startup_script_that_cannot_install_says_so_and_leaves_the_component_alone(tmp_path):
    """With a home that can be written, and a Python that fails."""
    body = artifacts.startup_script().replace(b"/usr/local/airflow", str(tmp_path).encode())
    (tmp_path / "startup.sh").write_bytes(body)
    (tmp_path / "python3").write_text("#!/bin/sh\nexit 1\n")
    (tmp_path / "python3").chmod(0o755)
    environment = {"PATH": f"{tmp_path}:/usr/bin:/bin", "MWAA_AIRFLOW_COMPONENT": "worker"}
    done = subprocess.run(["sh", tmp_path / "startup.sh"], env=environment, capture_output=True, text=True, check=True)
    assert "could not be installed" in done.stderr
    assert not (tmp_path / "sagemaker-sdk").exists()
