import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from retraining.aws.naming import canonical_json, digest, file_digest, job_name, slug

SAGEMAKER_NAME = re.compile(r"^[a-zA-Z0-9](-*[a-zA-Z0-9]){0,62}$")
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)


@given(st.dictionaries(st.text(), JSON))
def test_equal_documents_have_equal_digests_whatever_their_order(document):
    turned = dict(reversed(list(document.items())))
    assert digest(turned) == digest(document)
    assert canonical_json(turned) == canonical_json(document)


def test_another_value_has_another_digest():
    assert digest({"a": 1}) != digest({"a": 2})


def test_a_number_that_json_cannot_carry_is_refused():
    with pytest.raises(ValueError, match="JSON"):
        digest({"a": float("nan")})


def test_files_have_one_digest_whatever_their_order():
    assert file_digest({"a": b"1", "b": b"2"}) == file_digest({"b": b"2", "a": b"1"})
    assert file_digest({"a": b"1", "b": b"2"}) != file_digest({"a": b"2", "b": b"1"})


@given(
    st.from_regex(r"[a-z][a-z0-9-]{0,20}[a-z0-9]", fullmatch=True),
    st.sampled_from(["train", "evaluate", "config"]),
    st.integers(1, 30),
)
def test_a_job_name_is_one_that_sagemaker_takes(model, step, attempt):
    assert SAGEMAKER_NAME.match(job_name(model, step, digest("x"), attempt))


def test_a_name_that_is_too_long_says_what_to_do():
    with pytest.raises(ValueError, match="shorten the model's name"):
        job_name("m" * 60, "train", digest("x"))


def test_a_run_id_becomes_a_legal_name():
    assert slug("manual__2026-01-01T00:00:00+00:00") == "manual-2026-01-01T00-00-00-00-00"
