"""What a layer reads: a step function, perhaps with max-pooling behind it or in front of it.

1. ``step(x)``.
2. ``max_pool2d(step(x))``: the index of the step is pooled.
3. ``step(max_pool2d(inner(x)))``, where the step keeps or reverses the index of the inner one: that
   index is pooled, and turned round in some channels.
4. The same where the step does more: the two are activations of two kinds, and nothing but the
   step itself can be coded.
5. ``abc.move`` of any of these, whose steps have the same levels: their codes are moved.
6. ``pad`` of any of these by a level of the step: the index of that level is added to them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from tvm import relax

from abc_tvm.compute.geometry import pair
from abc_tvm.relay_passes.analysis.padding import level_index, padding_of, unpadded
from abc_tvm.relay_passes.analysis.steps.step_function import StepFunction, steps_of
from abc_tvm.relay_passes.ops import LEVELS
from abc_tvm.relay_passes.rewrite import op_name, shape_of


@dataclass(frozen=True)
class LayerReading:
    """``step`` has the levels that the layer reads; ``coded`` is the step whose index is written.

    ``pool``: the max-pooling of that index (cases 2 and 3); ``turned`` bool ``[C]``: the channels
    in which the step reverses it (case 3 alone). ``mixed``: case 4. ``pad``: the padding of what
    is read (case 6). ``move``: the move of what ``parts`` read, of which this has the first one's
    step (case 5).
    """

    step: relax.Call
    coded: relax.Call
    pool: relax.Call | None = None
    turned: np.ndarray | None = None
    mixed: bool = False
    pad: relax.Call | None = None
    move: relax.Call | None = None
    parts: tuple[LayerReading, ...] = ()

    def fill_index(self) -> int:
        """The index of the level that stands where nothing is moved to; 0 where all is."""
        if self.move is None:
            raise TypeError("there is no move here")
        index = level_index(float(self.move.attrs["fill"]), steps_of(self.step).levels)
        return 0 if index is None else index

    def padded_rows(self) -> list[int]:
        """Rows and columns that the padding adds: top, left, bottom, right."""
        padding = padding_of(self.pad)
        sides = None if padding is None else padding.of_image()
        if sides is None:
            raise TypeError("there is no padding here")
        return sides

    def padded_index(self) -> int:
        """The index of the level that is added."""
        padding = padding_of(self.pad)
        levels = steps_of(self.step).levels
        index = None if padding is None else level_index(padding.value, levels)
        if index is None:
            raise TypeError("there is no padding by a level here")
        return index

    def pool_attributes(self) -> dict[str, Any]:
        """The window of the pooling, as operators on bits or codes have it."""
        if self.pool is None:
            raise TypeError("there is no pooling here")
        channels = int(shape_of(self.pool.args[0])[3])
        attrs = self.pool.attrs
        return {
            "kernel": list(pair(attrs.pool_size)),
            "strides": list(pair(attrs.strides)),
            "padding": padding_of_pool(self.pool),
            "dilation": list(pair(attrs.dilation)),
            "groups": 1,
            "in_channels": channels,
            "out_channels": channels,
        }

    def turned_channels(self) -> np.ndarray:
        """int8 ``[C]`` of the pooling: 1 where the index is reversed."""
        if self.pool is None:
            raise TypeError("there is no pooling here")
        if self.turned is None:
            return np.zeros(int(shape_of(self.pool.args[0])[3]), np.int8)
        return self.turned.astype(np.int8)


def reading_of(data: relax.Expr, defined: Mapping[relax.Expr, relax.Expr]) -> LayerReading:
    """The reading of a layer whose input is ``data``; ``defined`` has what variables are."""
    inner, pad = unpadded(data, defined)
    if pad is not None:
        return replace(reading_of(inner, defined), pad=pad)  # case 6
    call = defined[data]
    if op_name(call) == "abc.move":
        parts = tuple(reading_of(leaf, defined) for leaf in call.args[:-4])
        mixed = any(part.mixed for part in parts)
        return LayerReading(parts[0].step, parts[0].coded, mixed=mixed, move=call, parts=parts)
    if op_name(call) == "nn.max_pool2d":
        step = defined[call.args[0]]
        return LayerReading(step, step, call)
    pool = defined.get(call.args[0])
    if pool is None or op_name(pool) != "nn.max_pool2d":
        return LayerReading(call, call)
    inner = defined.get(pool.args[0])
    if op_name(inner) not in LEVELS:
        return LayerReading(call, call)
    turned = _turned(steps_of(call), steps_of(inner))
    if turned is None:
        return LayerReading(call, call, mixed=True)
    return LayerReading(call, inner, pool, turned)


def padding_of_pool(pool: relax.Call) -> list[int]:
    """Padding, with the rows and columns that ``ceil_mode`` adds.

    As in the type that TVM infers, no window is added that begins behind the image.
    """
    pad = [int(p) for p in pool.attrs.padding]
    if len(pad) == 2:
        pad = [*pad, *pad]
    if pool.attrs.ceil_mode:
        size, stride = pair(pool.attrs.pool_size), pair(pool.attrs.strides)
        dilation = pair(pool.attrs.dilation)
        dims = shape_of(pool.args[0])
        for axis in (0, 1):
            span = (size[axis] - 1) * dilation[axis] + 1
            before = int(dims[1 + axis]) + pad[axis]
            windows, rest = divmod(before + pad[axis + 2] - span, stride[axis])
            if rest and (windows + 1) * stride[axis] < before:
                pad[axis + 2] += stride[axis] - rest
    return pad


def _turned(outer: StepFunction, inner: StepFunction) -> np.ndarray | None:
    """Channels in which ``outer`` reverses the index of ``inner``; ``None`` if it does more."""
    n = len(inner.levels) - 1
    if len(outer.levels) - 1 != n or not inner.rising:
        return None
    channels = len(outer.sense)
    index = StepFunction(outer.thresholds, outer.sense, np.arange(n + 1, dtype=np.float32))
    values = index(np.repeat(inner.levels[:, None], channels, 1))
    forward = np.all(values == np.arange(n + 1)[:, None], axis=0)
    backward = np.all(values == np.arange(n, -1, -1)[:, None], axis=0)
    if not np.all(forward | backward):
        return None
    return np.asarray(backward & ~forward)
