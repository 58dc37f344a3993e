"""The section ``api`` of ``model.yaml``: an HTTP API in front of the endpoint, for applications."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from retraining.settings.strict import Strict

ORIGIN = re.compile(r"https?://[A-Za-z0-9.-]+(:[0-9]{1,5})?")


class Throttle(Strict):
    """What API Gateway lets through; it answers 429 beyond. The account has limits of its own, 10,000 and 5,000 unless AWS raised them."""

    per_second: Annotated[int, Field(ge=1, le=10_000)] = 10
    """Requests in a steady stream."""
    burst: Annotated[int, Field(ge=1, le=5_000)] = 20
    """Requests at one moment."""


class HttpApi(Strict):
    """An HTTP API in front of the endpoint: who is let in, from which pages, how often, and whether a site with a form comes with it."""

    access: Literal["iam", "key"]
    """`iam`: signed requests of who may call it by a policy; `key`: a header with a key of `make api-key`."""
    cors: tuple[str, ...] = ()
    """Origins of pages that may call it from a browser, such as https://shop.example; none by default."""
    throttle: Throttle = Throttle()
    site: bool = False
    """A site with a form, in S3 behind CloudFront; who opens it enters a key."""

    @field_validator("cors")
    @classmethod
    def _are_origins(cls, cors: tuple[str, ...]) -> tuple[str, ...]:
        for origin in cors:
            if not ORIGIN.fullmatch(origin):
                raise ValueError(
                    f"cors has {origin!r}, which is no origin: scheme and host without a path, such as https://shop.example"
                )
        return cors

    @model_validator(mode="after")
    def _site_can_sign_in(self) -> HttpApi:
        if self.site and self.access != "key":
            raise ValueError("site needs access: key, for a page in a browser cannot sign requests with IAM")
        return self
