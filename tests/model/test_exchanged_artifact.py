"""A job compares the archive that reached it with the digest in job.json before it unpacks it: an artifact runs code when it is loaded."""

import hashlib
import pickle
from pathlib import Path

import pytest
from abalone_artifacts import CONFIG, MODEL, evaluation_job, pack, write_job

from retraining.inside import program
from retraining.inside.artifact_process import ArtifactProcess, ExchangedError
from retraining.serving import batch, smoke_job

INFERENCE = """
import pickle
from pathlib import Path
def model_fn(folder): return pickle.loads((Path(folder) / "model.pickle").read_bytes())
def input_fn(body, content_type): return body
def predict_fn(data, model): return data
def output_fn(prediction, accept): return '{"predictions": [9.0]}', accept
"""
SMOKE = {"content_type": "text/csv", "body": "3", "prediction": 9.0}
OTHER = "0" * 64


class Canary:
    """Unpickled, it writes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


@pytest.fixture
def canary(tmp_path) -> Path:
    return tmp_path / "it-was-loaded"


@pytest.fixture
def foreign(tmp_path, canary) -> Path:
    """Return the folder of an archive whose loading writes the canary."""
    folder = tmp_path / "foreign"
    (folder / "code").mkdir(parents=True)
    (folder / "code" / "inference.py").write_text(INFERENCE)
    (folder / "model.pickle").write_bytes(pickle.dumps(Canary(canary)))
    return pack(folder, tmp_path / "packed")


def job(tmp_path: Path, document: dict, **inputs: Path) -> None:
    """Run the program of a job."""
    write_job(tmp_path / "input" / "job", document)
    for name, source in inputs.items():
        (tmp_path / "input" / name).symlink_to(source, target_is_directory=True)
    program.main(MODEL, ["--inputs", str(tmp_path / "input"), "--output", str(tmp_path / "output")], {})


def test_the_canary_speaks_when_the_archive_is_the_one_that_was_pinned(foreign, canary):
    known = hashlib.sha256((foreign / "model.tar.gz").read_bytes()).hexdigest()
    with ArtifactProcess(foreign, "model", known) as process:
        process.ask(body="3", content_type="text/csv")
        assert process.answers("predictions", 1) == [9.0]
    assert canary.exists()


def test_an_exchanged_challenger_is_not_loaded(tmp_path, foreign, canary, channels):
    document = evaluation_job(artifacts={"challenger": OTHER})
    with pytest.raises(
        ExchangedError, match=rf"the artifact of the challenger was exchanged .* was {OTHER} and is [0-9a-f]{{64}}"
    ):
        job(tmp_path, document, test=channels / "test", challenger=foreign)
    assert not canary.exists()


def test_an_exchanged_champion_ends_the_evaluation_instead_of_being_left_out(
    tmp_path, foreign, canary, channels, default_artifact
):
    challenger = pack(default_artifact, tmp_path / "challenger")
    known = hashlib.sha256((challenger / "model.tar.gz").read_bytes()).hexdigest()
    document = evaluation_job(artifacts={"challenger": known, "champion": OTHER})
    with pytest.raises(ExchangedError, match="the artifact of the champion was exchanged"):
        job(tmp_path, document, test=channels / "test", challenger=challenger, champion=foreign)
    assert not canary.exists()


def test_an_exchanged_model_scores_no_file(tmp_path, foreign, canary):
    scorer = batch.Scorer(version="v7", package_arn="", model_data="s3://b/m", image="i", sha256=OTHER)
    with pytest.raises(ExchangedError, match="the artifact of the model was exchanged"):
        job(tmp_path, batch.job_document(CONFIG, scorer, []), model=foreign)
    assert not canary.exists()


def test_an_exchanged_model_answers_no_smoke_request(tmp_path, foreign, canary):
    with pytest.raises(ExchangedError, match="the artifact of the model was exchanged"):
        job(tmp_path, smoke_job.job_document(CONFIG, SMOKE, OTHER), model=foreign)
    assert not canary.exists()
