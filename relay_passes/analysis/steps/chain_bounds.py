"""A chain of element-wise operators as one function of bounds, channel by channel.

It maps an interval of its input to an interval that surely holds all its results (see
:mod:`.pointwise`). It is the same at every pixel of every image, or refused.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from tvm import relax

from abc_tvm.relay_passes.analysis import pointwise
from abc_tvm.relay_passes.analysis.pointwise import Bounds
from abc_tvm.relay_passes.analysis.steps.step_function import NotAStep
from abc_tvm.relay_passes.rewrite import Binding, array_of, dtype_of, op_name, shape_of

Constants = Mapping[object, np.ndarray]
"""By whatever key the chain knows; the last axis of each is the channels, or 1."""


@dataclass(frozen=True)
class Chain:
    """A chain whose channels may be taken apart: ``run(bounds, constants)`` gives its bounds.

    Bounds are float32 ``[P, C]``, of the input and of the result.
    """

    run: Callable[[Bounds, Constants], Bounds]
    constants: Constants

    def __call__(self, x: Bounds) -> Bounds:
        return self.run(x, self.constants)

    def at(self, channels: np.ndarray) -> Chain:
        """The same chain on some channels alone."""
        narrow = {key: v[..., channels] if _is_wide(v) else v for key, v in self.constants.items()}
        return Chain(self.run, narrow)

    def distinct(self, channels: int) -> tuple[np.ndarray, np.ndarray]:
        """Channels that differ, and which of them each of all channels equals."""
        wide = [v.reshape(-1, channels).T for v in self.constants.values() if _is_wide(v)]
        rows = [np.ascontiguousarray(v).view(np.uint8).reshape(channels, -1) for v in wide]
        if not rows:
            return np.zeros(1, np.int64), np.zeros(channels, np.int64)
        _, first, same = np.unique(
            np.concatenate(rows, 1), axis=0, return_index=True, return_inverse=True
        )
        return first, same.reshape(-1)


def _is_wide(array: np.ndarray) -> bool:
    return array.ndim > 0 and array.shape[-1] > 1


def chain_between(
    root: relax.Var, chain: Sequence[Binding], data: relax.Var, turned: bool = False
) -> Chain:
    """``data`` as a function of ``root``, by the element-wise bindings between them.

    The last axis are the channels, or, ``turned``, the second one.

    Raises:
        NotAStep: A binding is not the same at every pixel of every image.
    """
    constants: dict[object, np.ndarray] = {}
    inner = {root, *(var for var, _ in chain)}
    rank, boolean = len(shape_of(root)), dtype_of(root) == "bool"
    operators = []
    for var, call in chain:
        name = str(op_name(call))
        for arg in call.args:
            if arg not in inner and arg not in constants:
                array = array_of(arg)
                if turned:
                    array = np.moveaxis(
                        array.reshape((1,) * (rank - array.ndim) + array.shape), 1, -1
                    )
                constants[arg] = _same_everywhere(array)
        row = pointwise.TABLE[name]
        operators.append((var, list(call.args), row.bounds, pointwise.attributes(name, call)))

    def run(x: Bounds, constants: Constants) -> Bounds:
        shape = (1, 1, *x[0].shape)
        values: dict[object, Bounds] = {name: (v, v) for name, v in constants.items()}
        low, high = (v.reshape(shape) for v in x)
        values[root] = (low != 0, high != 0) if boolean else (low, high)
        with np.errstate(all="ignore"):
            for var, args, bounds, attributes in operators:
                values[var] = bounds(*(values[arg] for arg in args), **attributes)
        low, high = (np.broadcast_to(v, shape).reshape(x[0].shape) for v in values[data])
        return low, high

    return Chain(run, constants)


def _same_everywhere(array: np.ndarray) -> np.ndarray:
    # As it broadcasts: from its last axis.
    *images, height, width, _ = (1, 1, 1, 1, *array.shape)
    if height > 1 or width > 1:
        raise NotAStep("the activation differs from pixel to pixel")
    if any(size > 1 for size in images):
        raise NotAStep("the activation differs from image to image")
    return array
