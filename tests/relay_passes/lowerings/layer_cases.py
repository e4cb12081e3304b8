"""Small layers with what NumPy says that they give, for the tests of lowerings.

A layer is encoded as the pass "encode" does it, and each kernel is run by itself.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from tvm import relax, tirx

from abc_tvm.compute.geometry import Window
from abc_tvm.relay_passes.analysis.steps.readings import LayerReading
from abc_tvm.relay_passes.analysis.steps.step_function import steps_of
from abc_tvm.relay_passes.lowerings.candidate import Candidate
from abc_tvm.relay_passes.lowerings.lowering import Lowering
from abc_tvm.relay_passes.rewrite import array_of
from abc_tvm.targets import load
from tests.relay_passes.kernel_runs import Eager, convolved, pooled
from tests.relay_passes.relax_graph import SIZE, binary, signs, step

Pool = Literal["", "behind", "in front"]


@dataclass
class LayerCase:
    """``read`` are the levels that the layer reads, ``wanted`` its result; both NHWC."""

    candidate: Candidate
    reading: LayerReading
    inputs: dict[relax.Var, np.ndarray]
    read: np.ndarray
    wanted: np.ndarray

    @property
    def weight(self) -> np.ndarray:
        """float32 OHWI of the layer in float."""
        return array_of(self.candidate.call.args[3])

    def encoded(self, lowering: Lowering) -> tuple[relax.Call, Eager]:
        """The anchor of the layer, with the arrays of all that it reads."""
        emitter = Eager(dict(self.inputs))
        anchor = lowering.encode(self.candidate, self.reading, emitter, 0.0)
        if isinstance(anchor, str):
            raise TypeError(anchor)
        return anchor, emitter

    def result(self, lowering: Lowering) -> np.ndarray:
        anchor, emitter = self.encoded(lowering)
        return emitter.result(anchor)


def layer_case(
    channels: int,
    outs: int,
    *,
    at: tuple[float, ...] = (-0.5, 0.5),
    levels: tuple[float, ...] | None = None,
    alpha: Any = (1.0,),
    turned: bool = False,
    pool: Pool = "",
    pool_padding: tuple[int, int] = (1, 1),
    device: str = "zen4",
    **window: Any,
) -> LayerCase:
    """A layer of 3x2 on two random images of quarters, ties included; its batch is open.

    ``alpha`` is ``[M]`` or ``[M, outs]``; ``turned``: every other channel counts thresholds from
    the other end; ``pool``: a max-pooling 2x3 behind the step, or in front of a second step.
    """
    rng = np.random.default_rng(channels + 100 * outs)
    x = relax.Var("x", relax.TensorType([tirx.Var("n", "int64"), SIZE, SIZE, channels], "float32"))
    data = (rng.integers(-8, 9, (2, SIZE, SIZE, channels)) / 4).astype(np.float32)
    sense = np.where(np.arange(channels) % 2 == int(turned), 1, 1 - 2 * int(turned)).astype(np.int8)
    grid = np.float32(range(len(at) + 1) if levels is None else levels)
    inner = step(x, channels, at, sense=np.ones_like(sense) if pool == "in front" else sense,
                 **({} if pool == "in front" else {"levels": grid}))  # fmt: skip
    read = steps_of(inner)(data)
    reading, source = LayerReading(inner, inner), relax.Var("levels", x.ty)
    if pool:
        options = {"strides": (2, 1), "padding": pool_padding, "layout": "NHWC"}
        maximum = relax.op.nn.max_pool2d(source, (2, 3), **options)
        maximum = relax.BlockBuilder().normalize(maximum)
        around = (*pool_padding, *pool_padding)
        read = pooled(
            read, Window(2, SIZE, SIZE, channels, channels, (2, 3), (2, 1), around)
        ).astype(np.float32)
        reading, source = replace(reading, pool=maximum), relax.Var("pooled", maximum.ty)
    if pool == "in front":
        halves = np.arange(len(at)) + 0.5
        outer = step(source, channels, halves, sense=sense, levels=grid)
        read = steps_of(outer)(read)
        reading = LayerReading(outer, inner, reading.pool, sense < 0)
    groups = window.get("groups", 1)
    scales = np.broadcast_to(np.float32(alpha).reshape(len(alpha), -1), (len(alpha), outs))
    planes = signs(len(alpha), outs, 3, 2, channels // groups, seed=outs)
    call = binary(source, planes, np.array(scales), **window)
    candidate = Candidate(call, steps_of(reading.step), load(device))
    wanted = convolved(read, array_of(call.args[3]), candidate.window)
    return LayerCase(candidate, reading, {x: data}, read, wanted)


LAYERS: dict[str, dict[str, Any]] = {
    "one channel": {"channels": 1, "outs": 1},
    "31 channels, padded": {"channels": 31, "outs": 33, "padding": [1, 0, 2, 1]},
    "32 channels, one threshold": {"channels": 32, "outs": 32, "at": (0.25,), "levels": (-1, 1)},
    "33 channels, turned": {"channels": 33, "outs": 31, "turned": True, "strides": [2, 1]},
    "levels with a base, padded": {
        "channels": 5, "outs": 7, "levels": (-1.5, 0.5, 1), "padding": [1, 1, 1, 1], "turned": True,
    },
    "even levels": {
        "channels": 6, "outs": 5, "at": (-1, 0, 1), "turned": True, "padding": [0, 1, 2, 0],
    },
    "groups": {"channels": 66, "outs": 4, "groups": 2, "turned": True, "padding": [1, 1, 1, 1]},
    "scales of channels": {
        "channels": 9, "outs": 3, "padding": [1, 0, 1, 0], "dilation": [1, 2],
        "alpha": [[1, 0.25, 3], [0.5, 0.125, 1.5]],
    },
    "pooling behind": {"channels": 33, "outs": 4, "pool": "behind", "turned": True},
    "pooling in front": {"channels": 33, "outs": 4, "pool": "in front"},
    "pooling in front, turned": {
        "channels": 66, "outs": 4, "groups": 2, "pool": "in front", "turned": True,
        "levels": (-1, 0.5, 2), "padding": [0, 1, 0, 1],
    },
    "pooling in front of even levels, turned": {
        "channels": 31, "outs": 4, "at": (-1, 0, 1), "pool": "in front", "turned": True,
    },
}  # fmt: skip
"""All of whole numbers and halves, so that every sum is exact."""
