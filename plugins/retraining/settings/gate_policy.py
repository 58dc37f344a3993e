"""What a challenger must satisfy: the ``gate`` section of ``model.yaml``."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from retraining.settings.metrics import GUARDS
from retraining.settings.strict import Strict

PRESETS: dict[str, dict[str, Any]] = {
    "newest_sound": {},
    "prove_better": {"required_odds": 19.0, "min_test_rows": 100},
}
"""Values of a preset; what ``model.yaml`` says beside it wins."""
FORMER = {
    "rmse_threshold": "guards: {rmse: ...}",
    "max_abs_bias": "guards: {bias: ...}",
    "max_group_rmse": "worst_group: {rmse: ...}",
    "confidence": "required_odds (confidence 0.95 is required_odds 19)",
    "noninferiority_margin": "required_odds (below 1 a refresh need not be shown to be better)",
}
Limit = Annotated[float, Field(allow_inf_nan=False)]


class GatePolicy(Strict):
    """What a challenger must satisfy; errors are in the unit of the target."""

    preset: Literal["newest_sound", "prove_better"] = "newest_sound"
    """``newest_sound`` promotes unless the test rows speak against the challenger; ``prove_better`` asks for 19 to 1."""
    guards: Annotated[dict[str, Limit], Field(min_length=1)]
    """Limits on all test rows by metric: the highest error or the lowest score, whatever the champion does."""
    worst_group: dict[str, Limit] = Field(default_factory=dict)
    """Limits by metric that each group must keep."""
    min_group_rows: int = Field(default=30, ge=1)
    """Groups with fewer rows are reported, not judged."""
    required_odds: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.5
    """Odds that the challenger is the better model from which on it is promoted: 19 is a test at 95 %, 1 the better mean, 0 always."""
    half_life_days: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = 60.0
    """Age of a file at which its test rows count half in the comparison; null lets all count alike."""
    min_growth: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.0
    """Share by which the training rows must have grown since the champion's; below it 9 to 1 is asked for."""
    min_test_rows: int = Field(default=20, ge=2)
    """Fewer rows decide nothing."""
    champion_broken: Literal["report", "replace"] = "report"
    """What follows when the champion breaks a guard itself: tell it, or let a challenger that breaks it less replace it."""

    @model_validator(mode="before")
    @classmethod
    def _named_as_today(cls, values: Any) -> Any:
        if not isinstance(values, dict):
            return values
        for old, new in FORMER.items():
            if old in values:
                raise ValueError(f"{old} is no key any more: use {new}")
        return {**PRESETS.get(str(values.get("preset")), {}), **values}

    @field_validator("guards", "worst_group")
    @classmethod
    def _known(cls, limits: dict[str, float]) -> dict[str, float]:
        for name, limit in limits.items():
            if name not in GUARDS:
                raise ValueError(f"{name!r} is no metric that can be guarded; there are {', '.join(GUARDS)}")
            if GUARDS[name][0] == "min" and limit <= 0:
                raise ValueError(f"{name}: the highest value allowed must be above 0, it is {limit:g}")
        return limits
