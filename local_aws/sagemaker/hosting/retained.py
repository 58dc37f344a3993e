"""What a variant keeps in an update, and what changes of it without another configuration."""

from __future__ import annotations

from typing import Any

Document = dict[str, Any]

#: Members of a variant that change without another configuration, and where they stand in a configuration.
CHANGEABLE = {"DesiredWeight": "InitialVariantWeight", "DesiredInstanceCount": "InitialInstanceCount"}


def retained(config: Document, active: Document, excluded: set[str]) -> Document:
    """Return a configuration with what its variants have of the one in service: weights, counts, and the capture of data."""
    before = {variant["VariantName"]: variant for variant in active["ProductionVariants"]}
    variants = []
    for variant in config["ProductionVariants"]:
        old = before.get(variant["VariantName"], {})
        kept = {name: old[name] for member, name in CHANGEABLE.items() if member not in excluded and name in old}
        variants.append(variant | kept)
    result = config | {"ProductionVariants": variants}
    if "DataCaptureConfig" not in excluded:
        result.pop("DataCaptureConfig", None)
        if "DataCaptureConfig" in active:
            result["DataCaptureConfig"] = active["DataCaptureConfig"]
    return result
