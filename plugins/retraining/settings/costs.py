"""What a wrong label costs: the ``costs`` of a binary task, and the probability from which on the second class is said."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from retraining.settings.strict import Strict

Cost = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class Costs(Strict):
    """What one wrong label of each kind costs, in any unit; only their relation counts."""

    false_positive: Cost = 1.0
    """Said the second class, was the first."""
    false_negative: Cost = 1.0
    """Said the first class, was the second."""

    @property
    def threshold(self) -> float:
        """The probability of the second class from which on saying it costs less in the mean (Elkan 2001, equation 2)."""
        return self.false_positive / (self.false_positive + self.false_negative)
