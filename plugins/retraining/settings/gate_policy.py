"""What a challenger must satisfy: the ``gate`` section of ``model.yaml``."""

from typing import Annotated

from pydantic import Field

from retraining.settings.strict import Strict

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class GatePolicy(Strict):
    """What a challenger must satisfy; errors are in the unit of the target."""

    rmse_threshold: Positive
    """Highest RMSE on the test rows, whatever the champion does."""
    max_abs_bias: Positive
    """Highest absolute mean of prediction - truth."""
    max_group_rmse: Positive
    """Highest RMSE within a group."""
    min_group_rows: int = Field(default=30, ge=1)
    """Groups with fewer rows are reported, not judged."""
    confidence: float = Field(default=0.95, gt=0.5, lt=1.0)
    """Confidence of the one-sided bound; 1 - confidence of equal challengers are promoted by chance."""
    min_test_rows: int = Field(default=100, ge=2)
    """Fewer rows decide nothing."""
    noninferiority_margin: Positive | None = None
    """Promote a challenger that is at most this much worse (a refresh on newer data); None asks for a better one."""
