"""What infra/data_platform.yaml created for a model."""

from typing import Annotated

from pydantic import Field

from retraining.settings.strict import Strict


class Platform(Strict):
    """Names and ARNs of the model's AWS resources, and how patiently to watch them."""

    account: str
    region: str
    bucket: str
    queue_url: str
    glue_database: str
    glue_crawler: str
    glue_job: str
    analyze_function: str
    topic_arn: str
    train_role_arn: str
    evaluate_role_arn: str
    serve_role_arn: str
    survey_role_arn: str
    experiment_role_arn: str
    poll_seconds: Annotated[float, Field(gt=0)] = 15
    settle_seconds: Annotated[float, Field(ge=0)] = 60
