"""The identity of many rows at once: the same hash as `Contract.row_hash` gives a row."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from retraining.contract.rules import HASH_DIGITS, KEY_DIGITS, SEPARATOR

_P1, _P2, _P3 = (np.uint64(prime) for prime in (0x9E3779B185EBCA87, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9))
_P4, _P5 = (np.uint64(prime) for prime in (0x85EBCA77C2B2AE63, 0x27D4EB2F165667C5))


def mixed(values: np.ndarray) -> np.ndarray:
    """Return the canonical forms of doubles as numbers: see `retraining.contract.values.mixed`.

    Args:
        values: float64, no -0.0.

    """

    def turned(lane: np.ndarray, by: int) -> np.ndarray:
        return (lane << np.uint64(by)) | (lane >> np.uint64(64 - by))

    with np.errstate(over="ignore"):
        lane = turned(values.view(np.uint64) * _P2, 31) * _P1
        found = turned((np.uint64(42 + 8) + _P5) ^ lane, 27) * _P1 + _P4
        found = (found ^ found >> np.uint64(33)) * _P2
        found = (found ^ found >> np.uint64(29)) * _P3
    return (found ^ found >> np.uint64(32)).view(np.int64)


def form(values: pa.Array) -> pa.Array:
    """Return the canonical forms of texts, doubles or whole numbers; missing ones stay so."""
    if pa.types.is_floating(values.type):
        forms = mixed(np.asarray(values.fill_null(0.0)))
        return pa.array(forms, mask=np.asarray(values.is_null())).cast(pa.string())
    return values.cast(pa.string())


def digests_of(forms: Sequence[pa.Array]) -> np.ndarray:
    """Return the hash of the canonical forms of each row.

    Returns:
        Bytes, rows by 16.

    """
    joined = pc.binary_join_element_wise(*forms, SEPARATOR, null_handling="replace", null_replacement="")
    size = HASH_DIGITS // 2
    found = b"".join([hashlib.sha256(text).digest()[:size] for text in joined.cast(pa.binary()).to_pylist()])
    return np.frombuffer(found, np.uint8).reshape(-1, size)


def keys_of(digests: np.ndarray) -> np.ndarray:
    """Return the first bits of hashes as numbers."""
    return (digests[:, :8].copy().view(">u8").ravel() >> np.uint64(64 - 4 * KEY_DIGITS)).astype(np.int64)
