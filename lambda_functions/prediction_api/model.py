"""What the API knows of the model it stands for, as ``model.json`` in the archive says it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from retraining.contract.rules import Column, Contract


@dataclass(frozen=True)
class Model:
    """A model: name, description, contract, classes of its target, how a prediction is told, and what its columns mean."""

    name: str
    description: str
    contract: Contract
    classes: tuple[str, ...]
    present: Mapping[str, Any] | None
    descriptions: Mapping[str, str]

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> Model:
        """Build from ``described``'s document."""
        return cls(
            document["name"],
            document["description"],
            Contract.of(document["contract"]),
            tuple(document["classes"]),
            document["present"],
            {column["name"]: column.get("description", "") for column in document["contract"]["columns"]},
        )

    @property
    def features(self) -> tuple[Column, ...]:
        """The columns of a request, in the contract's order."""
        return tuple(map(self.contract.column, self.contract.feature_columns))


def described(config: Any) -> dict[str, Any]:
    """Return the document that ``Model.of`` reads, for the configuration of a model (``retraining.settings.model_config``)."""
    contract = config.contract.model_dump(mode="json")
    [target] = [column for column in contract["columns"] if column["name"] == contract["target"]]
    classes = target["allowed"] or (["0", "1"] if config.task == "binary" else [])
    return {
        "name": config.name,
        "description": config.description,
        "contract": contract,
        "classes": classes,
        "present": config.present.model_dump(mode="json") if config.present else None,
    }
