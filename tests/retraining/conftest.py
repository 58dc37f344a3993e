from collections.abc import Iterator
from pathlib import Path

import pytest
from local_account import Account

from retraining.jobs.plan import RunPlan
from retraining.settings.access import AwsAccess
from retraining.settings.model_config import ModelConfig, load_model_config
from retraining.settings.platform import Platform

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def config() -> ModelConfig:
    return load_model_config(ROOT / "dags" / "models" / "abalone" / "model.yaml")


@pytest.fixture(scope="session")
def platform() -> Platform:
    return Platform(
        account="123456789012",
        region="eu-west-1",
        bucket="data-bucket",
        queue_url="https://sqs.eu-west-1.amazonaws.com/123456789012/retraining-dev-abalone-new-data",
        glue_database="retraining_abalone",
        glue_crawler="retraining-dev-abalone-landing",
        glue_job="retraining-dev-abalone-merge",
        analyze_function="retraining-dev-abalone-analyze-results",
        topic_arn="arn:aws:sns:eu-west-1:123456789012:retraining-dev-abalone-outcomes",
        train_role_arn="arn:aws:iam::123456789012:role/train",
        evaluate_role_arn="arn:aws:iam::123456789012:role/evaluate",
        serve_role_arn="arn:aws:iam::123456789012:role/serve",
        survey_role_arn="arn:aws:iam::123456789012:role/survey",
        experiment_role_arn="arn:aws:iam::123456789012:role/experiment",
    )


@pytest.fixture
def plan() -> RunPlan:
    return RunPlan(
        model="abalone",
        run_key="v2-0123456789ab",
        work_digest="w" * 16,
        version=2,
        batch="b" * 16,
        files=1,
        code_digest="c" * 16,
        candidates=("svr-hgb",),
    )


@pytest.fixture(scope="session")
def account(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Account]:
    """A real local_aws for the tests of this folder."""
    with Account(tmp_path_factory.mktemp("local_aws") / "data") as account:
        yield account


@pytest.fixture(scope="session")
def bucket(account: Account) -> str:
    account.s3.create_bucket(Bucket="dataset-bucket")
    return "dataset-bucket"


@pytest.fixture(scope="session")
def access(account: Account) -> Iterator[AwsAccess]:
    """Access to that local_aws, with credentials in the environment as the library expects them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ACCESS_KEY_ID", "test")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "test")
        yield AwsAccess(region="us-east-1", endpoint_url=account.url)
