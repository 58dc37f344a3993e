import pytest

from retraining.image_uris import image_uri


def test_the_registry_depends_on_the_region():
    image = "sagemaker-scikit-learn:1.9-0-cpu-py3"
    assert image_uri(image, "us-east-1") == f"683313688378.dkr.ecr.us-east-1.amazonaws.com/{image}"
    assert image_uri(image, "cn-north-1").split("/")[0].endswith(".dkr.ecr.cn-north-1.amazonaws.com.cn")


def test_a_full_uri_wins():
    uri = "123456789012.dkr.ecr.eu-west-1.amazonaws.com/own:1"
    assert image_uri(uri, "us-east-1") == uri


@pytest.mark.parametrize(
    ("image", "region", "words"),
    [("nobody:1", "us-east-1", "known repositories"), ("sagemaker-xgboost:3.2-0", "mars-1", "no registry in region")],
)
def test_what_is_unknown_says_how_to_help_oneself(image, region, words):
    with pytest.raises(LookupError, match=words):
        image_uri(image, region)
