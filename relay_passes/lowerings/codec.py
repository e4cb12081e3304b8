"""Activations as kernels read them, decoded: which bits or codes stand for which level."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

LEVEL_ERROR = 1e-5
"""Relative to the largest level: two float32 ways to sum the same few terms."""


@dataclass(frozen=True)
class Codec:
    """Packed activation bits uint32 ``[B, H, W, P, groups, words]`` of ``channels``.

    ``level = base + sum_p weights[p] * bit_p``, and ``patterns`` uint8 ``[K, P]`` are the
    combinations of bits that stand for a level.
    """

    channels: int
    groups: int
    base: float
    weights: np.ndarray
    patterns: np.ndarray

    def levels(self, bits: np.ndarray) -> np.ndarray:
        """float64 ``[...]`` of bits uint8 ``[..., P]``."""
        return np.asarray(self.base + bits @ self.weights)

    def index(self, packed: np.ndarray) -> np.ndarray:
        """Which of ``patterns`` stands at each place, int64 ``[B, H, W, C]``."""
        bits = self.unpack(packed).astype(np.int64)
        planes = len(self.weights)
        if len(self.patterns) == 2**planes:
            return bits @ (1 << np.arange(planes))
        return np.asarray(bits.sum(-1))

    def unpack(self, packed: np.ndarray) -> np.ndarray:
        """Bits uint8 ``[B, H, W, C, P]`` of those that the kernels read."""
        group = self.channels // self.groups
        flat = np.unpackbits(packed.view(np.uint8), axis=-1, bitorder="little")
        bits = np.moveaxis(flat[..., :group], 3, -1)
        return bits.reshape(*bits.shape[:3], self.channels, len(self.weights))


@dataclass(frozen=True)
class ByteCodec(Codec):
    """Levels coded as bytes ``[B, H, W, groups, S]``; ``codes`` are those of the levels in order.

    As bits, a code is its index in thermometer form.
    """

    codes: tuple[int, ...] = ()

    def index(self, packed: np.ndarray) -> np.ndarray:
        """Which level stands at each place, int64 ``[B, H, W, C]``."""
        codes = packed[..., : self.channels // self.groups]
        codes = codes.reshape(*codes.shape[:3], self.channels)
        return np.asarray(np.searchsorted(np.array(self.codes), codes))


def level_scale(coded: np.ndarray, plain: np.ndarray, tolerance: float = LEVEL_ERROR) -> float:
    """Levels of the float form over those of the code.

    Recognition may move a factor from the levels into alpha. The convolution is the same, so
    ``coded``, the weights that the packed ones stand for, tell that factor beside the float layer's
    ``plain`` ones, both OHWI; 1 where they are no multiple.
    """
    weight = plain.astype(np.float64)
    scale = float((coded * weight).sum() / max((weight * weight).sum(), 1e-300))
    same = np.abs(coded - scale * weight).max() <= tolerance * np.abs(coded).max()
    return scale if same and scale != 0 else 1.0


def patterns(code: str, planes: int) -> np.ndarray:
    """uint8 ``[K, P]``: the combinations of bits that stand for a level."""
    if code == "binary":
        index = np.arange(2**planes)[:, None]
        return (index >> np.arange(planes) & 1).astype(np.uint8)
    return np.tri(planes + 1, planes, -1, dtype=np.uint8)
