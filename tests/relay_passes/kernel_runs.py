"""One kernel, compiled without a schedule and run: for the tests of what kernels compute.

Images here are NHWC; ``convolved`` is the judge of what a convolution gives.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from tvm import relax

from abc_tvm.compute.geometry import Window
from abc_tvm.reference.conv import conv2d
from abc_tvm.relay_passes.emit.frame import Lowered
from abc_tvm.relay_passes.ops import make
from abc_tvm.relay_passes.rewrite import operands
from abc_tvm.relay_passes.workload import build
from abc_tvm.schedules.plain import PLAIN
from abc_tvm.schedules.scheduler import Scheduler
from abc_tvm.targets import load
from tests.relay_passes.relax_graph import module
from tests.schedules.window_cases import call

Body = Callable[[Callable[..., relax.Var]], relax.Expr]


def plain(device: str = "zen4") -> Scheduler:
    """Loops as they are written; ``device`` decides alone what type codes have."""
    return Scheduler(PLAIN, load(device))


def outputs_of(lowered: Lowered, arrays: Sequence[np.ndarray]) -> list[np.ndarray]:
    """What a kernel computes of these tensor arguments, in the shapes that readers know."""
    image = (len(arrays[0]),)
    empty = [np.zeros(image + tuple(map(int, s[1:])), t) for s, t in lowered.results]
    found = call(lowered.func, [*arrays, *lowered.constants, *empty])[-len(empty) :]
    shapes = [image + tuple(map(int, shape[1:])) for shape in lowered.shapes]
    return [array.reshape(shape) for array, shape in zip(found, shapes, strict=True)]


def run(params: Sequence[relax.Var], arrays: Sequence[np.ndarray], body: Body) -> list[np.ndarray]:
    """The results of one kernel that computes ``body`` of ``params``."""
    return outputs_of(build(module(params, body)["main"], plain()), arrays)


@dataclass
class Eager:
    """An emitter that runs each call at once, as a kernel of its own.

    ``arrays`` has what variables hold.
    """

    arrays: dict[relax.Var, np.ndarray]
    emitted: list[relax.Call] = field(default_factory=list)

    def emit(self, hint: str, name: str, args: list[relax.Expr], **attrs: Any) -> relax.Var:
        call = make(name, args, **attrs)
        self.emitted.append(call)
        out = relax.Var(hint, relax.BlockBuilder().normalize(call).ty)
        self.arrays[out] = self.result(call)
        return out

    def result(self, call: relax.Call) -> np.ndarray:
        """What a call gives; its arguments are constants or variables that are known."""
        params = list(dict.fromkeys(operands(call)))
        arrays = [self.arrays[p] for p in params]
        (found,) = run(params, arrays, lambda bind: bind(call, "only"))
        return found


def convolved(x: np.ndarray, weight: np.ndarray, window: Window) -> np.ndarray:
    """float64 NHWC of ``x`` NHWC and ``weight`` OHWI; padding is 0."""
    found = conv2d(
        x.transpose(0, 3, 1, 2),
        weight.transpose(0, 3, 1, 2),
        window.stride,
        window.padding,
        window.dilation,
        window.groups,
    )
    return found.transpose(0, 2, 3, 1)


def pooled(x: np.ndarray, window: Window) -> np.ndarray:
    """The largest of each window of ``x`` NHWC; padding is below everything."""
    top, left, bottom, right = window.padding
    border = ((0, 0), (top, bottom), (left, right), (0, 0))
    image = np.pad(x.astype(np.float64), border, constant_values=-np.inf)
    (sh, sw), (dh, dw) = window.stride, window.dilation
    rows, columns = sh * np.arange(window.out_height), sw * np.arange(window.out_width)
    parts = [
        image[:, rows + i * dh][:, :, columns + j * dw]
        for i in range(window.kernel[0])
        for j in range(window.kernel[1])
    ]
    return np.asarray(np.max(parts, axis=0))
