"""Looks at the same held-out rows are counted once for each run."""

import pytest

from retraining.judging.looks import note_look, rows_digest


@pytest.mark.local_aws
def test_each_run_counts_once_and_other_rows_count_apart(account, bucket):
    def look(rows: str, run: str) -> int:
        return note_look(account.s3, bucket, "looking/", rows, run, "retraining")

    assert look("aaaa", "v1-1") == 1
    assert look("aaaa", "v1-1") == 1  # a retry
    assert look("aaaa", "v1-2") == 2  # other hyperparameters
    assert look("bbbb", "v2-1") == 1  # new rows
    assert look("aaaa", "v1-3") == 3


def test_the_digest_of_rows_is_the_one_in_the_name_of_their_manifest():
    assert rows_digest("s3://bucket/abalone/dataset/manifests/000007-test-0a1b2c.json") == "0a1b2c"
