import json
from pathlib import Path

import pytest

from retraining.settings.machines.image_uris import image_uri

TABLE = json.loads(
    (Path(__file__).parents[2] / "plugins" / "retraining" / "settings" / "machines" / "image_table.json").read_text()
)


def test_the_registry_depends_on_the_region():
    image = "sagemaker-scikit-learn:1.9-0-cpu-py3"
    assert image_uri(image, "us-east-1") == f"683313688378.dkr.ecr.us-east-1.amazonaws.com/{image}"
    assert image_uri(image, "cn-north-1").split("/")[0].endswith(".dkr.ecr.cn-north-1.amazonaws.com.cn")


@pytest.mark.parametrize(
    "image",
    [
        "sagemaker-xgboost:3.2-0",
        "sagemaker-xgboost:1.5-1-arm64",
        "sagemaker-scikit-learn:1.4-2-py312-cpu-py3",
        "tensorflow-training:2.19-cpu-py312",
        "tensorflow-training:2.19.0-gpu-py312",
        "tensorflow-inference:2.19-cpu",
        "pytorch-training:2.10-gpu-py313",
        "pytorch-inference:2.6-cpu-py312",
    ],
)
def test_tags_of_all_forms_are_known(image):
    assert image_uri(image, "eu-west-1").endswith(f".dkr.ecr.eu-west-1.amazonaws.com/{image}")


def test_a_version_is_only_where_it_was_published():
    assert (
        image_uri("pytorch-training:2.10-cpu-py313", "us-iso-east-1").split("/")[0].endswith("us-iso-east-1.c2s.ic.gov")
    )
    with pytest.raises(LookupError, match="no registry in region 'us-iso-east-1'"):
        image_uri("pytorch-training:2.6-cpu-py312", "us-iso-east-1")


@pytest.mark.parametrize(
    "uri",
    [
        "123456789012.dkr.ecr.eu-west-1.amazonaws.com/own:1",
        "683313688378.dkr.ecr.us-east-1.amazonaws.com/sagemaker-scikit-learn:99-cpu-py3",
        "123456789012.dkr.ecr-fips.us-gov-west-1.amazonaws.com/own:1",
        f"683313688378.dkr.ecr.us-east-1.amazonaws.com/sagemaker-scikit-learn@sha256:{'0' * 64}",
    ],
)
def test_a_full_uri_wins(uri):
    assert image_uri(uri, "us-east-1") == uri


@pytest.mark.parametrize(
    ("image", "region", "words"),
    [
        ("nobody:1", "us-east-1", "known repositories"),
        ("sagemaker-xgboost:3.2-0", "mars-1", "no registry in region"),
        ("sagemaker-scikit-learn:2.0-0-cpu-py3", "us-east-1", r"known are the versions 0\.20\.0, .*1\.9-0; .*full URI"),
        ("sagemaker-scikit-learn", "us-east-1", r"known are the versions .*1\.9-0; "),
        (
            "tensorflow-training:2.19-cpu-py311",
            "us-east-1",
            r"known are 2\.19-cpu-py312, 2\.19-gpu-py312; .*full URI in model\.yaml, which always wins",
        ),
        ("sagemaker-scikit-learn:1.4-2-py312-gpu-py3", "us-east-1", r"known are 1\.4-2-py312-cpu-py3; "),
    ],
)
def test_what_is_unknown_says_how_to_help_oneself(image, region, words):
    with pytest.raises(LookupError, match=words):
        image_uri(image, region)


def test_no_tag_is_in_two_groups():
    for repository, groups in TABLE["repositories"].items():
        versions = [version for group in groups for version in group["versions"]]
        assert len(versions) == len(set(versions)), repository
