"""Packing of constants in the order of the slots: planes, float weights, flags of channels."""

from __future__ import annotations

import numpy as np

from abc_tvm.compute.geometry import WORD, Window, words
from abc_tvm.compute.lanes import Blocking


def pack_planes(planes: np.ndarray, window: Window, blocking: Blocking) -> np.ndarray:
    """int8 ±1 ``[M, OC, KH, KW, IC/g]`` to uint32 ``[G*O, KH, KW, words, M, L]``.

    Channel ``c`` of a group is bit ``c % 32`` of word ``c // 32``; bits past the last channel and
    lanes past the last output channel are 0.
    """
    m, _, kh, kw, ic = planes.shape
    bits = np.zeros((*planes.shape[:4], words(ic) * WORD), bool)
    bits[..., :ic] = planes > 0
    packed = np.packbits(bits, axis=-1, bitorder="little").view("<u4")
    lanes = np.zeros((m, kh, kw, words(ic), blocking.slots), np.uint32)
    lanes[..., blocking.slot_of_channel()] = np.moveaxis(packed, 1, -1)
    split = lanes.reshape(m, kh, kw, words(ic), blocking.groups * blocking.blocks, blocking.lanes)
    return np.ascontiguousarray(split.transpose(4, 1, 2, 3, 0, 5))


def pack_weights(weight: np.ndarray, blocking: Blocking) -> np.ndarray:
    """float32 OHWI to ``[G*O, KH, KW, IC/g, L]``; lanes past the last channel are 0."""
    _oc, kh, kw, ic = weight.shape
    lanes = np.zeros((kh, kw, ic, blocking.slots), np.float32)
    lanes[..., blocking.slot_of_channel()] = np.moveaxis(weight, 0, -1)
    split = lanes.reshape(kh, kw, ic, blocking.groups * blocking.blocks, blocking.lanes)
    return np.ascontiguousarray(split.transpose(3, 0, 1, 2, 4))


def pack_channels(flags: np.ndarray, blocking: Blocking) -> np.ndarray:
    """bool ``[C]`` to uint32 ``[G, O]``, one bit a channel in the order of the slots."""
    bits = blocking.spread(flags.astype(np.uint8))
    packed = np.packbits(bits.reshape(-1, WORD), axis=-1, bitorder="little").view("<u4")
    return packed.reshape(blocking.groups, blocking.blocks).astype(np.uint32)
