"""The data contract: what a row must look like to be merged, and where it then goes, as declared in ``model.yaml``.

The same structure travels as JSON to the merge; ``retraining.contract`` says what it means for a row. This module checks that the
contract itself makes sense.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, SerializerFunctionWrapHandler, model_serializer, model_validator

from retraining.contract.rules import Contract as Rules
from retraining.contract.splitting.by_time import TIMES
from retraining.settings.strict import Strict


class Column(Strict):
    """One column, in file order. ``min``/``max`` are inclusive unless ``exclusive_*`` says otherwise; ``unit`` is for readers.

    ``aliases`` are other headings that name the column; headings are compared without case, blanks, ``_ - .`` and invisible characters.
    """

    name: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")]
    type: Literal["string", "double", "int", "boolean", "date", "timestamp"]
    description: str = ""
    unit: str = ""
    nullable: bool = False
    allowed: tuple[str, ...] | None = None
    min: float | None = None
    max: float | None = None
    exclusive_min: bool = False
    exclusive_max: bool = False
    aliases: tuple[Annotated[str, Field(min_length=1)], ...] = ()

    @model_validator(mode="after")
    def _possible(self) -> Column:
        if self.type not in ("double", "int") and (self.min is not None or self.max is not None):
            hint = ", use 'allowed'" if self.type == "string" else ""
            raise ValueError(f"column {self.name!r} is a {self.type}: 'min' and 'max' apply to numbers{hint}")
        if self.type != "string" and self.allowed is not None:
            kind = "number: 'allowed' applies to strings, use 'min' and 'max'"
            if self.type not in ("double", "int"):
                kind = f"{self.type}: 'allowed' applies to strings"
            raise ValueError(f"column {self.name!r} is a {kind}")
        if self.allowed is not None and not self.allowed:
            raise ValueError(f"column {self.name!r} allows no value at all")
        if twice := sorted({text for text in self.allowed or () if (self.allowed or ()).count(text) > 1}):
            raise ValueError(f"column {self.name!r} allows {twice[0]!r} twice")
        if self.min is not None and self.max is not None:
            exclusive = self.exclusive_min or self.exclusive_max
            if self.min > self.max or (exclusive and self.min == self.max):
                raise ValueError(f"column {self.name!r} has an impossible range: min {self.min:g}, max {self.max:g}")
        return self


class Rule(Strict):
    """A rule across columns: the sum of ``sum`` is at most ``tolerance`` times ``at_most``."""

    name: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")]
    sum: Annotated[tuple[str, ...], Field(min_length=1)]
    at_most: str
    tolerance: Annotated[float, Field(gt=0)] = 1.0


class BadRows(Strict):
    """The budget of bad rows of a file: one with a larger share of them is refused as a whole."""

    max_share: Annotated[float, Field(ge=0, le=1)] = 0.05


class Csv(Strict):
    """How files are written where they differ from comma-separated lines with a decimal point."""

    delimiter: Literal[",", ";", "\t", "|"] | None = None
    """Between cells, also in a file without header; a header proves its own."""
    decimal: Literal[".", ","] = "."
    thousands: Literal["", ".", ",", " ", "'", "_", "\u00a0", "\u202f"] = ""
    """Between groups of three digits."""
    multiline: bool = False
    """Whether a quoted cell may hold line ends."""

    @model_validator(mode="after")
    def _apart(self) -> Csv:
        if self.decimal == self.thousands:
            raise ValueError(f"csv: {self.decimal!r} cannot be both the decimal and the thousands separator")
        return self


class Contract(Strict):
    """Columns in file order, the target, rules across columns, the identity of a row, how files are written, the budget of bad rows."""

    columns: Annotated[tuple[Column, ...], Field(min_length=2)]
    target: str
    rules: tuple[Rule, ...] = ()
    identity: tuple[str, ...] = ()
    bad_rows: BadRows = BadRows()
    ignore: tuple[str, ...] = ()
    """Headings of columns that are passed over; an empty one stands for a column without a name. A column of the contract is stored all the
    same, but not fed to the model."""
    duplicates: Literal["drop", "keep"] = "drop"
    """Whether equal rows of one file are one or all of them. A row that another file delivered is always dropped."""
    key: tuple[str, ...] = ()
    """Columns that name a thing, such as an id: of several rows of one thing the newest counts. Each merge then reads all files again."""
    overwrite: Literal["add", "replace"] = "add"
    """Whether a file that is uploaded again under its key, changed, adds rows or takes the place of those it had."""
    split_by: tuple[str, ...] = ()
    """Columns whose values stay together in one split, such as an animal or a site; by default each row goes by itself."""
    header: Literal["optional", "required"] = "optional"
    csv: Csv = Csv()
    missing: tuple[str, ...] = ()
    """Words that stand for a missing value, beside an empty cell; case matters."""

    @model_validator(mode="after")
    def _consistent(self) -> Contract:
        names = [column.name for column in self.columns]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"column {twice[0]!r} is declared twice")
        numeric = {column.name for column in self.columns if column.type in ("double", "int")}
        self._check_target()
        for rule in self.rules:
            for name in (*rule.sum, rule.at_most):
                if name not in numeric:
                    raise ValueError(f"rule {rule.name!r} uses {name!r}, which is not a numeric column of the contract")
        for key, listed in (("identity", self.identity), ("key", self.key), ("split_by", self.split_by)):
            for name in listed:
                if name not in names:
                    raise ValueError(f"{key} names {name!r}, which is not a column of the contract")
        Rules.of(self.model_dump())
        if not self.identity:
            object.__setattr__(self, "identity", self.key or tuple(names))
        return self

    def _check_target(self) -> None:
        target = next((column for column in self.columns if column.name == self.target), None)
        if target is None:
            raise ValueError(f"target {self.target!r} is not a column of the contract")
        if target.type not in ("double", "int", "string"):
            raise ValueError(
                f"target {self.target!r} is a {target.type}: a target is a number, or a string whose classes 'allowed' lists"
            )
        if target.type == "string" and len(target.allowed or ()) < 2:
            raise ValueError(
                f"target {self.target!r} is a string: list its classes, two or more, such as allowed: [low, high]; a number to "
                "predict is a double or an int"
            )
        if target.nullable:
            raise ValueError(
                f"target {self.target!r} is nullable: a row without a target can neither train nor be scored"
            )

    @property
    def training_columns(self) -> tuple[str, ...]:
        """Columns of the training CSV: the target first, the others in contract order without those that are ignored."""
        others = (column.name for column in self.columns if column.name not in (self.target, *self.ignore))
        return (self.target, *others)

    @property
    def feature_columns(self) -> tuple[str, ...]:
        """Columns of an inference request: the contract's order without the target."""
        return self.training_columns[1:]


class Split(Strict):
    """Percent of rows per split: by hash of the row's identity, or ``by: time`` of a ``column``, the newest rows for the test."""

    by: Literal["hash", "time"] = "hash"
    column: str | None = None
    """Of a split by time: a date, a timestamp or an int that is never missing."""
    train: Annotated[int, Field(gt=0, lt=100)] = 85
    validation: Annotated[int, Field(gt=0, lt=100)] = 5
    test: Annotated[int, Field(gt=0, lt=100)] = 10

    @model_validator(mode="after")
    def _complete(self) -> Split:
        total = self.train + self.validation + self.test
        if total != 100:
            raise ValueError(f"train, validation and test add up to {total}, not to 100")
        if (self.by == "time") != (self.column is not None):
            missing = "by: time needs a column, such as column: measured_on"
            raise ValueError(missing if self.column is None else f"column {self.column!r} is read by: time only")
        return self

    @model_serializer(mode="wrap")
    def _in_short(self, dumped: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Write a split by hash as its shares alone."""
        unsaid = ("by", "column") if self.by == "hash" else ()
        return {key: value for key, value in dumped(self).items() if key not in unsaid}

    def check(self, contract: Contract) -> None:
        """Check that the rows of a contract can be split so.

        Raises:
            ValueError: the column is no time of every row, or groups are to stay together.

        """
        if self.by == "hash":
            return
        column = next((column for column in contract.columns if column.name == self.column), None)
        if column is None:
            raise ValueError(f"column {self.column!r} is not a column of the contract")
        if column.type not in TIMES or column.name == contract.target:
            what = "the target" if column.name == contract.target else f"a {column.type}"
            raise ValueError(f"column {self.column!r} is {what}: rows go by a date, a timestamp or an int")
        if column.nullable:
            raise ValueError(
                f"column {self.column!r} is nullable: a row without a time has no place in a split by time"
            )
        if contract.split_by:
            raise ValueError("by: time cannot keep the groups of contract.split_by together: leave one of them out")
