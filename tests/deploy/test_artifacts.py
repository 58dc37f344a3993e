import io
import zipfile

from deploy import artifacts


def test_the_same_sources_give_the_same_bytes_and_key():
    assert artifacts.analyze_function() == artifacts.analyze_function()
    assert artifacts.glue_script().key.startswith("glue/merge_survey_data-")


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
