"""CTGAN (Xu et al., Modeling Tabular Data using Conditional GAN, NeurIPS 2019) by the ``ctgan`` package, its fit kept on disk."""

from __future__ import annotations

import json
import os
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from retraining.contract.rules import Contract

from .tables import grid_steps, snap

MODEL_FILE = "ctgan.pt"
CARD_FILE = "card.json"


class CtganModel:
    """A fitted CTGAN.

    Args:
        contract: names and types of the columns.
        model: a fitted ``ctgan.CTGAN``.
        steps: resolution of each numeric column.

    """

    def __init__(self, contract: Contract, model: Any, steps: dict[str, float]) -> None:
        self._contract = contract
        self._model = model
        self._steps = steps

    @classmethod
    def fit(
        cls, frame: pd.DataFrame, contract: Contract, epochs: int, seed: int, say: Callable[[str], None]
    ) -> CtganModel:
        """Fit to typed rows with a progress bar; on a GPU when PyTorch sees one."""
        import torch
        from ctgan import CTGAN

        torch.set_num_threads(1)  # the networks are small: more threads only wait for each other
        started = time.monotonic()
        model = CTGAN(epochs=epochs, verbose=True)
        model.set_random_state(seed)
        say(
            f"fitting CTGAN to {len(frame):,} rows, {epochs} epochs, on {'GPU' if torch.cuda.is_available() else 'CPU'}"
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of the libraries below it, about their own versions
            model.fit(frame.copy(), list(contract.categorical))
        say(f"fitted in {time.monotonic() - started:.0f} s")
        return cls(contract, model, grid_steps(frame, contract))

    @classmethod
    def load(cls, folder: Path, contract: Contract) -> CtganModel:
        """Read what ``save`` wrote. The file is a pickle: read only folders that only you and your jobs can write."""
        import torch
        from ctgan import CTGAN

        torch.set_num_threads(1)
        card = json.loads((folder / CARD_FILE).read_text(encoding="utf-8"))
        return cls(contract, CTGAN.load(str(folder / MODEL_FILE)), card["steps"])

    @staticmethod
    def saved_in(folder: Path) -> bool:
        """Whether a fitted model lies in ``folder``; the card is written last, so a half-written model does not count."""
        return (folder / MODEL_FILE).exists() and (folder / CARD_FILE).exists()

    def save(self, folder: Path, card: dict[str, Any]) -> None:
        """Write the model and, last and at once, its card."""
        folder.mkdir(parents=True, exist_ok=True)
        model = folder / f"{MODEL_FILE}.{os.getpid()}"
        self._model.save(str(model))
        model.replace(folder / MODEL_FILE)
        text = folder / f"{CARD_FILE}.{os.getpid()}"
        text.write_text(json.dumps({**card, "steps": self._steps}, indent=1, sort_keys=True), encoding="utf-8")
        text.replace(folder / CARD_FILE)

    def sample(self, rows: int, rng: np.random.Generator) -> pd.DataFrame:
        """Draw ``rows`` new rows with the contract's columns."""
        self._model.set_random_state(int(rng.integers(2**31)))
        frame = self._model.sample(rows)
        return snap(frame.reset_index(drop=True), self._contract, self._steps)
