"""The order of float32 numbers by their bit patterns, in which each has two neighbours."""

from __future__ import annotations

import numpy as np


def to_key(x: np.ndarray) -> np.ndarray:
    """Order-preserving int64 of float32 bit patterns (-0.0 is just below +0.0)."""
    bits = np.asarray(x, np.float32).view(np.int32).astype(np.int64)
    return np.where(bits >= 0, bits, -(bits & 0x7FFFFFFF) - 1)


def from_key(key: np.ndarray) -> np.ndarray:
    """Inverse of :func:`to_key`."""
    bits = np.where(key >= 0, key, (-(key + 1)) | 0x80000000)
    return bits.astype(np.uint32).view(np.float32)
