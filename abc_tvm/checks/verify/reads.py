"""What the layers of one run have read, in the tensors of the ONNX graph."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import onnx

from abc_tvm.checks.verify.reference import continued, inputs_of, with_outputs
from abc_tvm.checks.verify.taps import Meaning, Point, Points, indices, meaning
from abc_tvm.engines.onnx_engine import OnnxEngine

Arrays = Mapping[str, np.ndarray]


@dataclass(frozen=True)
class Round:
    """One run on one input.

    ``wanted`` are onnxruntime's outputs and the tensors at the points; ``levels`` the outputs and
    the points of the instrumented kernels, empty where nothing has levels.
    """

    arrays: Arrays
    outputs: Arrays
    wanted: dict[str, np.ndarray]
    names: list[str]
    levels: list[np.ndarray]


@dataclass(frozen=True)
class Read:
    """What a point's layer has read: index and levels, and what they mean in ONNX tensors."""

    point: Point
    index: np.ndarray
    levels: np.ndarray
    given: Mapping[str, np.ndarray]
    meaning: Meaning


def read_points(
    one: Round, points: Points, standard: onnx.ModelProto, *, rounded: bool
) -> tuple[list[Read], set[str]]:
    """What every point's layer has read, and the layers of which the graph has no levels.

    Where layers are ``rounded`` to bytes the two networks drift apart, so that what one reads deep
    inside tells nothing of the other. So onnxruntime goes on from the levels that are known, until
    no more are.
    """
    compiled = list(_compiled(one, points))
    loose, wanted, known = list(points.loose), one.wanted, -1
    while True:
        if loose:  # the first input
            taken = {name for point in points.points for name in point.tensors}
            points.loose = [name for name in loose if name not in taken]
            points.assign(compiled, wanted)
        reads: list[Read] = []
        unseen: set[str] = set()
        for point, index, levels in compiled:
            means = meaning(index, levels, point.tensors, wanted) if point.tensors else None
            if means is not None:
                arrays = {n: means.array(n, wanted[n]) for n in point.tensors}
                reads.append(Read(point, index, levels, arrays, means))
            elif point.item is not None:
                unseen.add(point.layer)
        if not rounded:
            return reads, unseen
        sure = {n: a for r in reads if r.meaning.holds(wanted) for n, a in r.given.items()}
        if len(sure) <= known:
            return reads, unseen
        known = len(sure)
        model = with_outputs(continued(standard, sure), points.tensors)
        engine = OnnxEngine(model, optimise=False)
        wanted = {**one.wanted, **engine.run(inputs_of(one.arrays, sure))}


def _compiled(one: Round, points: Points) -> Iterator[tuple[Point, np.ndarray, np.ndarray]]:
    """Points with their index and levels."""
    for point, array in zip(points.points, one.levels[len(one.names) :], strict=True):
        if point.item is not None:
            bits = point.item.bits
            yield point, bits.index(array), bits.levels(bits.patterns)
        else:
            pair = indices(array)
            if pair is not None:
                yield (point, *pair)
