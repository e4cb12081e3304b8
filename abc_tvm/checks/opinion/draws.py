"""Random values of tensors that both graphs have, on images as small as they may be."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import prod

import numpy as np
from tvm.relax import Var

from abc_tvm.checks.graphs.integers import IntegerSums
from abc_tvm.checks.graphs.relax_graph import PRODUCTS, RelaxGraph, dimensions, operator


@dataclass(frozen=True)
class Draws:
    """Draws values for variables of the compiled module.

    ``sums`` are the integer forms of layers' variables, which are given reachable sums alone;
    ``shrink`` divides heights and widths; ``batch`` stands for an open extent.
    """

    graph: RelaxGraph
    sums: Mapping[Var, IntegerSums]
    batch: int
    shrink: int

    def shape(self, var: Var) -> tuple[int, ...]:
        """Of the values of a variable."""
        extents = [self.batch if d is None else d for d in dimensions(var)]
        for axis in image_axes(self.graph, var):
            extents[axis] = max(1, extents[axis] // self.shrink)
        return tuple(extents)

    def elements(self, var: Var) -> int:
        """How many values a variable has."""
        return prod(self.shape(var))

    def values(self, var: Var, rng: np.random.Generator) -> np.ndarray:
        """Integers of -128 to 255, truths, reachable sums, or normal floats of deviation 4."""
        shape = self.shape(var)
        dtype = np.dtype(str(var.ty.dtype).rsplit(".", 1)[-1])
        if dtype.kind in "iu":
            limits = np.iinfo(dtype)
            low, high = max(-128, limits.min), min(255, limits.max)
            return rng.integers(low, high + 1, shape).astype(dtype)
        if dtype.kind == "b":
            return rng.random(shape) < 0.5
        if var in self.sums:
            form = self.sums[var]
            drawn = np.rint(rng.normal(0, 0.25, (int(np.prod(shape[:-1])), shape[-1])) * form.bound)
            whole = form.reachable(drawn.astype(np.int64))
            return form.value(whole).reshape(shape)
        return (rng.standard_normal(shape, np.float32) * np.float32(4)).astype(dtype)


def image_axes(graph: RelaxGraph, var: Var) -> tuple[int, ...]:
    """Where a tensor has its height and width; empty if it is no image."""
    if len(dimensions(var)) != 4:
        return ()
    if var in graph.params:
        turned = (value for _, value in graph.order if operator(value) == "permute_dims")
        return (2, 3) if any(value.args[0].same_as(var) for value in turned) else (1, 2)
    value = graph.value[var]
    if operator(value) in PRODUCTS:
        return ()
    if operator(value) == "call_tir":
        return (2, 3)
    attrs = value.attrs
    layout = str(getattr(attrs, "data_layout", getattr(attrs, "layout", "NHWC")))
    return (2, 3) if layout == "NCHW" else (1, 2)


def common_factor(graph: RelaxGraph, variables: Iterable[Var]) -> int:
    """Of the heights and widths of images: all may be smaller by as much."""
    sizes = [dimensions(v)[axis] or 0 for v in variables for axis in image_axes(graph, v)]
    return int(np.gcd.reduce([s for s in sizes if s > 1] or [1]))
