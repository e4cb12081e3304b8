"""Functions of Relax written down by hand, for tests of what is asked of a graph."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import tvm
from tvm import relax

from abc_tvm.relay_passes.ops import make
from abc_tvm.relay_passes.rewrite import const

SIZE = 5
"""Height and width of every image."""


def tensor(name: str, *shape: int, dtype: str = "float32") -> relax.Var:
    return relax.Var(name, relax.TensorType(list(shape), dtype))


def image(name: str, channels: int, size: int = SIZE) -> relax.Var:
    """An NHWC image of float32."""
    return tensor(name, 1, size, size, channels)


def module(
    params: Sequence[relax.Var],
    body: Callable[[Callable[..., relax.Var]], relax.Expr],
) -> tvm.IRModule:
    """A module whose ``main`` binds what ``body`` gives to ``bind(expression, name)``."""
    builder = relax.BlockBuilder()
    with builder.function("main", list(params)):
        with builder.dataflow():
            result = builder.emit_output(body(lambda expr, name="": builder.emit(expr, name)))
        builder.emit_func_output(result)
    return builder.get()


def signs(*shape: int, seed: int = 0) -> np.ndarray:
    """Random ±1, int8."""
    return np.where(np.random.default_rng(seed).random(shape) < 0.5, -1, 1).astype(np.int8)


def step(
    x: relax.Expr, channels: int, at: Sequence[float] = (0.0,), **arrays: np.ndarray
) -> relax.Call:
    """``abc.step`` at the same thresholds in every channel, with levels 0, 1 ...

    ``arrays`` take the place of some of its own.
    """
    count = len(at)
    t = np.repeat(np.float32(at)[:, None], channels, 1)
    parts = {
        "thresholds": t,
        "sense": np.ones(channels, np.int8),
        "levels": np.arange(count + 1, dtype=np.float32),
    }
    return make("step", [x, *(const(array) for array in (parts | arrays).values())])


def convolution(
    x: relax.Expr, weight: np.ndarray, layout: str = "NHWC", **options: object
) -> relax.Call:
    """``nn.conv2d``; weights OHWI, or OIHW for ``NCHW``."""
    kernel = "OHWI" if layout == "NHWC" else "OIHW"
    return relax.op.nn.conv2d(x, const(weight), data_layout=layout, kernel_layout=kernel, **options)


WINDOW = {"strides": [1, 1], "padding": [0, 0, 0, 0], "dilation": [1, 1], "groups": 1}


def binary(x: relax.Expr, planes: np.ndarray, alpha: np.ndarray, **changed: object) -> relax.Call:
    """``abc.bconv2d`` of planes ``[M, OC, KH, KW, IC]`` and scales ``[M, OC]``."""
    weight = np.einsum("mohwi,mo->ohwi", planes.astype(np.float32), alpha).astype(np.float32)
    arrays = (planes, alpha.astype(np.float32), weight)
    return make("bconv2d", [x, *map(const, arrays)], **{**WINDOW, **changed})
