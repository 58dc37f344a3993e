"""The base of all configuration and document models."""

from pydantic import BaseModel, ConfigDict


class Strict(BaseModel):
    """Base of all configuration models: immutable, and an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")
