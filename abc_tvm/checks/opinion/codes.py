"""How one layer of the compiled module reads its activation: thresholds, index, codes, levels."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from tvm import relax

from abc_tvm.checks.graphs.not_checked import NotChecked
from abc_tvm.checks.graphs.relax_graph import (
    ON_INT8,
    RelaxGraph,
    RelaxLayer,
    array,
    dimensions,
    operator,
)
from abc_tvm.checks.graphs.relax_ops import four_pads, ints
from abc_tvm.checks.graphs.windows import max_pool
from abc_tvm.checks.opinion.moved import MOVES, MovedPart, copies_of, moved_parts

FEW_THRESHOLDS = 16
"""Thresholds up to which comparing with each is quicker than searching."""


class Disagrees(Exception):
    """A local claim that does not hold; the message says which."""


@dataclass(frozen=True)
class Reading:
    """A step function of ``root``, pooled and padded or not, as this layer reads it.

    ``thresholds`` float32 ``[N, C]``; ``counts`` int ``[N, C]`` where sums are compared as
    integers; ``rising`` bool ``[C]``; ``pool`` the call of a pooling of codes, ``pad`` that of
    their padding, ``move`` the move of them, or ``None``. ``copies``: how often the channels of the
    root stand behind one another; ``C`` counts them all.
    """

    root: relax.Var
    thresholds: np.ndarray
    counts: np.ndarray | None
    rising: np.ndarray
    pool: relax.Call | None
    encode: relax.Call
    layer: RelaxLayer
    pad: relax.Call | None = None
    move: MovedPart | None = None
    copies: int = 1

    @property
    def limits(self) -> np.ndarray:
        """Thresholds by the root's own channels, float32 ``[N * copies, C / copies]``."""
        return self._by_root(self.thresholds)

    @property
    def rising_of_root(self) -> np.ndarray:
        """bool ``[C / copies]``: those of the first copy."""
        return self.rising[: len(self.rising) // self.copies]

    def _by_root(self, rows: np.ndarray) -> np.ndarray:
        return rows.reshape(len(rows) * self.copies, -1)

    @property
    def on_int8(self) -> bool:
        return self.layer.kind == ON_INT8

    @property
    def steps(self) -> int:
        return len(self.thresholds)

    def index(self, x: np.ndarray, sums: np.ndarray | None = None) -> np.ndarray:
        """Index of the level of the root's ``x``; ``sums``: the integers that it stands for."""
        if self.copies > 1:
            x = np.tile(x, self.copies)
        compared, limits = x, self.thresholds
        if self.counts is not None:
            if sums is None:
                raise NotChecked("integer thresholds on a tensor that is no integer sum")
            compared, limits = sums, self.counts
        if self.steps <= FEW_THRESHOLDS:
            q = np.zeros(x.shape, np.int16)
            for limit in limits:
                q += compared >= limit
        else:
            q = np.empty(x.shape, np.int16)
            for c in range(x.shape[-1]):
                q[..., c] = np.searchsorted(limits[:, c], compared[..., c], side="right")
        return np.where(self.rising, q, np.int16(self.steps) - q)

    def levels(self, index: np.ndarray) -> np.ndarray:
        """What the convolution multiplies with, float64, of the (pooled) index."""
        return self._int8_levels(index) if self.on_int8 else self._bit_levels(index)

    def read(self, x: np.ndarray, sums: np.ndarray | None = None) -> np.ndarray:
        """Levels that the layer reads where the root is ``x [B, H, W, C]``; NaN: of another."""
        inside = self._inside(x, sums)
        if self.move is not None:
            inside = self.move.place(inside, self.fill_level())
        return inside if self.pad is None else self._with_border(inside, self.padded_level())

    def padded_level(self) -> np.ndarray:
        """The level that is added to every channel, float64 ``[C]``."""
        if self.pad is None:
            raise NotChecked("there is no padding here")
        attrs, layer = self.pad.attrs, self.layer.call.attrs
        channels = int(layer["in_channels"])
        if self.on_int8:
            return np.full(channels, int(attrs["code"]) - float(layer["zero"]))
        groups, weights = int(layer["groups"]), [float(w) for w in layer["weights"]]
        packed = array(self.pad.args[1])
        if packed.dtype != np.uint32 or packed.shape[:2] != (len(weights), groups):
            raise Disagrees(f"it pads by {packed.dtype} {packed.shape}")
        bits = np.unpackbits(packed.view(np.uint8), axis=-1, bitorder="little")
        inside = channels // groups
        if bits[..., inside:].any():
            raise Disagrees("it pads bits of channels that are none")
        set_bits = bits[..., :inside].reshape(len(weights), channels)
        return np.asarray(float(layer["base"]) + np.array(weights) @ set_bits)

    def fill_level(self) -> np.ndarray:
        """The level that stands where nothing was moved to, float64 ``[C]``."""
        if self.move is None:
            raise NotChecked("there is no move here")
        channels = int(self.layer.call.attrs["in_channels"])
        given, attrs = self.move.call.attrs["fill"], self.layer.call.attrs
        if self.on_int8:
            return np.full(channels, int(given) - float(attrs["zero"]))
        weights = [float(w) for w in attrs["weights"]]
        if len(given) != len(weights):
            raise Disagrees(f"it fills {len(given)} planes of {len(weights)}")
        level = float(attrs["base"]) + sum(w * int(b) for w, b in zip(weights, given, strict=True))
        return np.full(channels, level)

    def _with_border(self, x: np.ndarray, value: np.ndarray) -> np.ndarray:
        """``x`` in the midst of ``value [C]``."""
        if self.pad is None:
            return x
        top, left, bottom, right = four_pads(self.pad.attrs["padding"])
        height, width = x.shape[1:3]
        shape = (len(x), top + height + bottom, left + width + right, x.shape[3])
        wide = np.broadcast_to(value.astype(x.dtype), shape).copy()
        wide[:, top : top + height, left : left + width] = x
        return wide

    def _inside(self, x: np.ndarray, sums: np.ndarray | None = None) -> np.ndarray:
        """Levels before anything is added to them."""
        index = self.index(x, sums)
        if self.pool is None:
            return self.levels(index)
        if not self.on_int8:
            if str(self.encode.attrs["code"]) != "thermometer":
                raise Disagrees("bits are pooled that are no thermometer code")
            return self.levels(_pooled(self.pool, index))
        codes = self._coded(index, self.encode.attrs["codes"])
        pooled = _pooled(self.pool, codes)
        further = [int(c) for c in self.pool.attrs["codes"]]
        if not further:
            return pooled - float(self.layer.call.attrs["zero"])
        table = np.array(further, np.float64)
        turned = np.where(_turned(self.pool), len(further) - 1 - pooled, pooled)
        return table[turned] - float(self.layer.call.attrs["zero"])

    def seen(self, x: np.ndarray) -> np.ndarray:
        """The element of ``x`` that decides, for every element that the convolution reads.

        0 where it reads padding.
        """
        if self.pool is not None:
            x = np.where(self.rising, _pooled(self.pool, x), -_pooled(self.pool, -x))
        if self.copies > 1:
            x = np.tile(x, self.copies)
        if self.move is not None:
            channels = int(self.layer.call.attrs["in_channels"])
            x = np.nan_to_num(self.move.place(x, np.zeros(channels))).astype(x.dtype)
        return self._with_border(x, np.zeros(x.shape[3]))

    def every_level(self) -> np.ndarray:
        """All levels, in the order of the index."""
        channels = self.thresholds.shape[1]
        index = np.repeat(np.arange(self.steps + 1)[:, None], channels, 1)
        if self.pool is not None and self.on_int8:
            further = [int(c) for c in self.pool.attrs["codes"]]
            codes = further or self.encode.attrs["codes"]
            return np.array([int(c) for c in codes]) - float(self.layer.call.attrs["zero"])
        if self.pool is not None:
            index = np.where(_turned(self.pool), self.steps - index, index)
        return self.levels(index)[:, 0]

    def _bit_levels(self, index: np.ndarray) -> np.ndarray:
        attrs = self.layer.call.attrs
        weights = [float(w) for w in attrs["weights"]]
        made = (self.encode if self.pool is None else self.pool).attrs
        if self.pool is not None:
            index = np.where(_turned(self.pool), self.steps - index, index)
        if int(made["planes"]) != len(weights):
            raise Disagrees(f"it weighs {len(weights)} planes of {made['planes']}")
        binary = str(made["code"]) == "binary"
        if not binary and len(weights) != self.steps:
            raise Disagrees(f"{self.steps} thresholds in {len(weights)} planes of a thermometer")
        every = np.arange(self.steps + 1)
        level = np.full(every.shape, float(attrs["base"]))
        for p, weight in enumerate(weights):
            level += weight * ((every >> p & 1) if binary else (every > p))
        return level[index]

    def _int8_levels(self, index: np.ndarray) -> np.ndarray:
        codes = self._coded(index, self.encode.attrs["codes"])
        return codes - float(self.layer.call.attrs["zero"])

    def _coded(self, index: np.ndarray, codes: Iterable[int]) -> np.ndarray:
        table = np.array([int(c) for c in codes])
        limits = np.iinfo(str(self.encode.attrs["dtype"]))
        if len(table) != self.steps + 1:
            raise Disagrees(f"{len(table)} codes of {self.steps + 1} levels")
        if table.min() < limits.min or table.max() > limits.max:
            raise Disagrees("codes that do not fit their bytes")
        return table[index]


def _turned(pool: relax.Call) -> np.ndarray:
    """The channels whose codes a pooling turns round before it takes the largest."""
    return array(pool.args[1]).astype(bool)


def _pooled(pool: relax.Call, x: np.ndarray) -> np.ndarray:
    a = pool.attrs
    size, strides, dilation = (ints(a[k]) for k in ("kernel", "strides", "dilation"))
    return max_pool(x, size, strides, dilation, four_pads(a["padding"]), False, 1)


def reading_of(graph: RelaxGraph, layer: RelaxLayer) -> Reading:
    """What lies before a layer on bits or bytes; the first of several."""
    return readings_of(graph, layer)[0]


def readings_of(graph: RelaxGraph, layer: RelaxLayer) -> tuple[Reading, ...]:
    """What lies before a layer on bits or bytes: one, or those that are put together for it."""
    code = graph.value.get(layer.data)
    pad = None
    if code is not None and operator(code) in ("abc.pad_bitserial", "abc.pad_int8"):
        pad, code = code, graph.value.get(code.args[0])
    if code is None or operator(code) not in MOVES:
        return (_reading(graph, layer, code, pad, None),)
    if int(code.attrs["layout_groups"]) != lying_groups(layer):
        raise Disagrees("what was moved is laid out for other groups than its")
    return tuple(
        _reading(graph, layer, graph.value.get(leaf), pad, part)
        for leaf, part in moved_parts(graph, code)
    )


def lying_groups(layer: RelaxLayer) -> int:
    """In how many groups lies what a layer reads: its own, or one for narrow ones on bytes.

    In one group channels stand by their numbers, whatever groups the layer sums over.
    """
    groups = int(layer.call.attrs["groups"])
    if layer.kind == ON_INT8 and dimensions(layer.data)[3] == 1:
        return 1
    return groups


def _reading(
    graph: RelaxGraph,
    layer: RelaxLayer,
    code: relax.Call | None,
    pad: relax.Call | None,
    move: MovedPart | None,
) -> Reading:
    pool = None
    if code is not None and operator(code) in ("abc.pool_bitserial", "abc.pool_int8"):
        pool, code = code, graph.value.get(code.args[0])
    if code is None or operator(code) not in ("abc.encode_bitserial", "abc.encode_int8"):
        raise NotChecked(f"its input comes from {operator(code) or 'somewhere else'}")
    counted = bool(code.attrs["count"])
    limits = array(code.args[1])
    try:
        root, copies = copies_of(graph, code.args[0])
    except NotChecked as reason:
        raise Disagrees(str(reason)) from None
    reading = Reading(
        root,
        array(code.args[3]) if counted else limits,
        limits.astype(np.int64) if counted else None,
        array(code.args[2]) > 0,
        pool,
        code,
        layer,
        pad,
        move,
        copies,
    )
    _refuse_disorder(reading)
    return reading


def _refuse_disorder(reading: Reading) -> None:
    groups = lying_groups(reading.layer) if reading.move is None else 1
    if int(reading.encode.attrs["layout_groups"]) != groups:
        raise Disagrees(f"codes are laid out for other groups than its {groups}")
    limits = reading.thresholds if reading.counts is None else reading.counts
    # Thresholds that are never, or always, passed have no order as integers.
    apart = reading.thresholds[1:] != reading.thresholds[:-1]
    if np.any(np.isnan(reading.thresholds)) or np.any((limits[1:] < limits[:-1]) & apart):
        raise Disagrees("thresholds that do not rise")
    if reading.move is not None and reading.move.filled():
        given = reading.fill_level()[:1]
        if not np.any(given == reading.every_level()):
            raise Disagrees("it fills with what is no level of its step")
    if reading.pad is not None:
        given = reading.padded_level()[:, None]
        if not np.all((given == reading.every_level()).any(axis=1)):
            raise Disagrees("it pads by what is no level of its step")
