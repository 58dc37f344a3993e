"""Makes one survey file: fit or load, draw, drift, duplicate, dirty; then measures it."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from retraining.contract.rows import csv_line, row_hash, row_reasons
from retraining.contract.rules import Contract, cells_of

from . import drift, quality, tables
from .copula import GaussianCopula
from .ctgan_model import CtganModel
from .dirt import choose, spoil
from .report import page

METHODS = ("ctgan", "copula", "replay")
LARGEST_DRAW = 100  # times the wanted rows are drawn at most in search of valid ones
SMALLEST_DRAW = 2_000
POOL = 5  # times the wanted rows to choose another mix from
Draw = Callable[[int], pd.DataFrame]
Say = Callable[[str], None]


@dataclass(frozen=True)
class Request:
    """What to make. ``contract`` is that section of model.yaml."""

    contract: Mapping[str, Any]
    method: str
    rows: int
    seed: int = 0
    """Of the draw; the same request with the same seed gives the same file."""
    fit_seed: int = 0
    """Of CTGAN's fit."""
    epochs: int = 300
    valid_only: bool = True
    drift: tuple[str, ...] = ()
    dirt: float = 0.0
    """Share of rows to break."""
    dirt_kinds: tuple[str, ...] = ()
    duplicates: float = 0.0
    """Share of rows that come a second time within the file."""
    known_rows: float = 0.0
    """Share of rows to add that the dataset has already."""

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> Request:
        """Build from JSON.

        Raises:
            ValueError: a member is unknown or out of range; the message names it.

        """
        known = {item.name for item in fields(cls)}
        if unknown := sorted(set(document) - known):
            raise ValueError(f"the request has unknown members: {', '.join(unknown)}")
        values = dict(document)
        for name in ("drift", "dirt_kinds"):
            values[name] = tuple(values.get(name, ()))
        request = cls(**values)
        if request.method not in METHODS:
            raise ValueError(f"method {request.method!r} is none of {', '.join(METHODS)}")
        for name, least in (("rows", 1), ("epochs", 1)):
            if getattr(request, name) < least:
                raise ValueError(f"{name} must be at least {least}, not {getattr(request, name)}")
        for name in ("dirt", "duplicates", "known_rows"):
            if not 0 <= getattr(request, name) <= 1:
                raise ValueError(f"{name} is a share from 0 to 1, not {getattr(request, name)}")
        contract = Contract.of(request.contract)
        for text in request.drift:
            drift.parse(text, contract)
        choose(contract, request.dirt_kinds)
        return request


@dataclass
class Survey:
    """A finished survey file: its lines, its typed rows before dirt, and what is known about it."""

    lines: list[str]
    frame: pd.DataFrame
    real: pd.DataFrame
    report: dict[str, Any] = field(default_factory=dict)


def make(
    request: Request, train: pd.DataFrame, draw: Draw, available: int | None = None, say: Say = lambda _: None
) -> Survey:
    """Make a survey file.

    Args:
        request: what to make.
        train: real rows of the train split, typed.
        draw: returns so many typed rows; for a finite stock, at most what there is.
        available: size of a finite stock, None when ``draw`` never runs dry.
        say: told what goes on.

    """
    contract = Contract.of(request.contract)
    rng = np.random.default_rng([request.seed, 1])
    parsed = [drift.parse(text, contract) for text in request.drift]
    mixes = [item for item in parsed if isinstance(item, drift.Mix)]
    notes: list[str] = []
    frame, drawn = _collect(request, contract, draw, request.rows * (POOL if mixes else 1), available)
    if mixes and len(frame):
        frame = drift.remix(frame, mixes, min(request.rows, len(frame)), rng)
    if len(frame) < request.rows:
        which = "valid rows" if request.valid_only else "rows"
        notes.append(f"Found {len(frame):,} of {request.rows:,} {which} among {drawn['rows']:,} drawn.")
        say(notes[-1])
    frame = drift.shift(frame, [item for item in parsed if isinstance(item, drift.Shift)], contract)
    cells = tables.cells(frame, contract)
    cells += [cells[place] for place in rng.choice(len(cells), round(request.duplicates * len(cells)), replace=False)]
    known = rng.choice(len(train), min(len(train), round(request.known_rows * len(frame))), replace=False)
    cells += tables.cells(train.iloc[known], contract)
    cells = [cells[place] for place in rng.permutation(len(cells))]
    lines, dirtied = spoil(cells, request.dirt, request.dirt_kinds, contract, rng)
    report = {
        "schema_version": 1,
        "method": request.method,
        "rows": len(lines),
        "real_rows": len(train),
        "request": {name: value for name, value in asdict(request).items() if name != "contract"},
        "notes": notes,
        "drawn": drawn,
        "dirt": dirtied,
        "violations": quality.violations(lines, contract),
        "quality": quality.compare(train, frame, contract, request.seed) if len(frame) > 1 else None,
    }
    return Survey(lines, frame, train, report)


def _collect(
    request: Request, contract: Contract, draw: Draw, wanted: int, available: int | None
) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Draw until there are ``wanted`` rows, valid ones if only those are asked for; return them and what was drawn."""
    limit = available if available is not None else max(SMALLEST_DRAW, LARGEST_DRAW * wanted)
    kept, good, seen = [], 0, []
    drawn = 0
    while good < wanted and drawn < limit:
        yield_so_far = max(good / drawn, 0.05) if drawn else 1.0
        size = min(
            limit - drawn, int((wanted - good) / yield_so_far * 1.1) + 10 if request.valid_only else wanted - good
        )
        part = draw(size)
        drawn += size
        rows = tables.cells(part, contract)
        seen += [csv_line(row) for row in rows]
        if request.valid_only:
            part = part[[not row_reasons(contract, row) for row in rows]]
        kept.append(part)
        good += len(part)
    frame = pd.concat(kept, ignore_index=True).iloc[:wanted] if kept else pd.DataFrame(columns=list(contract.names))
    return frame, quality.violations(seen, contract)


def sampler(
    request: Request, train: pd.DataFrame, model_folder: Path | None, held_back: pd.DataFrame | None, say: Say
) -> tuple[Draw, int | None]:
    """Return what draws rows by the request's method, and the size of its stock if that is finite.

    Args:
        request: the method and its options.
        train: real rows of the train split.
        model_folder: where a fitted CTGAN is kept; it is loaded from there or, when there is none, fitted and saved.
        held_back: for ``replay``: real rows that the dataset does not have yet.
        say: told what goes on.

    """
    contract = Contract.of(request.contract)
    rng = np.random.default_rng([request.seed, 0])
    if request.method == "copula":
        model = GaussianCopula(contract).fit(train)
        return (lambda rows: model.sample(rows, rng)), None
    if request.method == "ctgan":
        gan = _ctgan(request, train, contract, model_folder, say)
        return (lambda rows: gan.sample(rows, rng)), None
    if held_back is None:
        raise ValueError("method replay needs the real rows that are held back")
    order = iter(rng.permutation(len(held_back)))

    def next_rows(rows: int) -> pd.DataFrame:
        chosen = [place for place, _ in zip(order, range(rows), strict=False)]
        return held_back.iloc[chosen].reset_index(drop=True)

    return next_rows, len(held_back)


def _ctgan(request: Request, train: pd.DataFrame, contract: Contract, folder: Path | None, say: Say) -> CtganModel:
    if folder and CtganModel.saved_in(folder):
        say("reusing the fitted CTGAN")
        return CtganModel.load(folder, contract)
    model = CtganModel.fit(train, contract, request.epochs, request.fit_seed, say)
    if folder:
        model.save(folder, {"method": "ctgan", "rows": len(train), "epochs": request.epochs, "seed": request.fit_seed})
    return model


def not_yet_known(held_back: Sequence[Path], known: Path | None, contract: Contract) -> pd.DataFrame:
    """Return the valid rows of CSV files with a header whose identity is not among the known training rows.

    Args:
        held_back: CSV files with a header and the contract's columns.
        known: folder with all training CSV objects of the dataset, of every split; None for an empty dataset.
        contract: says what is valid and what makes a row's identity.

    """
    seen: set[str] = set()
    if known is not None and any(found for ending in tables.ENDINGS for found in known.rglob(ending)):
        seen = tables.hashes(tables.cells(tables.read_training_rows(known, contract), contract), contract)
    rows = []
    for path in held_back:
        with path.open(newline="", encoding="utf-8") as file:
            header, *body = cells_of(file)
        order = [header.index(name) for name in contract.names]
        rows += [[row[place] for place in order] for row in body]
    fresh: dict[str, list[str]] = {}
    for row in rows:
        if not row_reasons(contract, row):
            fresh.setdefault(row_hash(contract, row), row)
    return tables.typed([row for name, row in fresh.items() if name not in seen], contract)


def write(survey: Survey, folder: Path, contract: Contract) -> None:
    """Write survey.csv (header-less), report.json and report.html into ``folder``."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "survey.csv").write_text("".join(f"{text}\n" for text in survey.lines), encoding="utf-8")
    document = json.dumps(survey.report, indent=1, ensure_ascii=False)
    (folder / "report.json").write_text(document, encoding="utf-8")
    (folder / "report.html").write_text(page(survey.report, survey.real, survey.frame, contract), encoding="utf-8")
