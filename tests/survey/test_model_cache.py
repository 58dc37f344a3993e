"""A model that lies in S3 is one flat folder: a key with more in it is not fetched."""

from pathlib import Path

from survey.model_cache import CARD, fetch


class Bucket:
    """S3 with a model, and beside it what somebody put there."""

    def list_objects_v2(self, **_):
        return {
            "Contents": [{"Key": f"m/{name}"} for name in (CARD, "model.pkl", "../escaped", "a/b", "../../x/escaped")]
        }

    def download_file(self, bucket, key, path):
        Path(path).write_text(key)


def test_a_key_that_leaves_the_folder_is_not_fetched(tmp_path):
    assert fetch(Bucket(), "b", "m/", tmp_path / "a" / "model")
    assert sorted(path.name for path in tmp_path.rglob("*") if path.is_file()) == sorted([CARD, "model.pkl"])
