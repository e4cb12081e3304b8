"""Claims 2 to 4: what a layer reads is what the graph feeds to it, at every probe.

The root's value is chosen; the graph's own nodes compute from it what the convolution reads, and
so do the thresholds, codes and pools of the compiled module. Where the two differ, it is a finding
unless the contract allows it:

1. E4: at a tie that no atom meets, the compiled step may take the higher side.
2. E3: behind operators whose last place depends on the runtime, and behind a sum of layers that
   was computed in another order, a threshold may lie within rounding.
3. A sum ``scale * D`` that float32 cannot hold exactly may lie within rounding, too.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
import onnx

from abc_tvm.checks.graphs.integers import IntegerSums
from abc_tvm.checks.graphs.layouts import Lying
from abc_tvm.checks.graphs.not_checked import NotChecked
from abc_tvm.checks.graphs.onnx_graph import OnnxGraph
from abc_tvm.checks.graphs.onnx_ops import ELEMENTWISE, ROUNDED
from abc_tvm.checks.graphs.relax_ops import ints
from abc_tvm.checks.opinion.codes import Disagrees, Reading
from abc_tvm.checks.opinion.finite import of_values
from abc_tvm.checks.opinion.known_atoms import KnownAtoms
from abc_tvm.checks.opinion.moved import VIEW
from abc_tvm.checks.opinion.probes import Probes, float_probes, images, integer_probes
from abc_tvm.checks.opinion.whole import range_of, rounded

LEVEL = 2.0**-20
"""Relative to the largest level."""

BESIDE_ONE = frozenset({"Celu", "Elu", "Exp", "Selu", "Sigmoid", "Softplus"})
"""Of ``exp(x)`` about 0: the error is that of a number about 1, however small ``x`` is."""

NEAR_ONE = 2.0**-3

MOST_COMPARED = 2**18

OF_ANY_SIZE = ("Pad", "Transpose", "Shape", "Expand")
"""Operators that do to an image of one pixel what they do to a larger one."""


@dataclass(frozen=True)
class Case:
    """One layer's activation.

    ``size``: height, width and channels of the root in the compiled module. ``parts``: factor,
    tensor, how it lies, and the channels of it that are read (``None``: all). ``others``: further
    tensors that decide what the layer reads, but none of what comes from this root, with how they
    lie and their sizes. ``finite``: all values that the root takes, where these are few.
    ``narrow``: stored tensors to be read in the place of the graph's own, which broadcast to them.
    """

    graph: OnnxGraph
    reading: Reading
    root: str
    lying: Lying
    size: tuple[int, int, int]
    batch: int
    parts: tuple[tuple[float, str, Lying, slice | None], ...]
    ratio: float
    sums: IntegerSums | None
    atoms: KnownAtoms
    rounded: float | None
    error: float = 0.0
    others: tuple[tuple[str, Lying, tuple[int, int, int]], ...] = ()
    finite: np.ndarray | None = None
    narrow: Mapping[str, np.ndarray] = field(default_factory=dict)

    def wanted(self, x: np.ndarray) -> np.ndarray:
        """float64 ``[B, H, W, C]``: what the graph's convolution reads."""
        names = list(dict.fromkeys(part[1] for part in self.parts))
        given = {**self.narrow, self.root: self.lying.to_onnx(x)}
        for other, lying, size in self.others:
            given.setdefault(other, lying.to_onnx(np.zeros((len(x), *size), x.dtype)))
        values = self.graph.evaluate(names, given, images=len(x) // self.batch)
        total = np.zeros(())
        for factor, name, lying, channels in self.parts:
            value = lying.from_onnx(np.asarray(values[name]))
            total = total + factor * value[..., channels or slice(None)].astype(np.float64)
        return np.asarray(total)


def check_steps(case: Case, rng: np.random.Generator) -> int:
    """Compare at every probe; returns how many elements were compared.

    Raises:
        Disagrees: They differ in a way that the contract does not allow.
        NotChecked: The graph has something here that the checker cannot compute.
    """
    graph, reading = case.graph, case.reading
    between = [
        graph.nodes[i]
        for i in graph.needed(
            [p[1] for p in case.parts], [case.root, *(other[0] for other in case.others)]
        )
    ]
    kinds = [node.op_type for node in between]
    if case.sums is not None:
        probes = integer_probes(reading, case.sums, rng)
    else:
        constants = _constants(graph, between)
        probes = float_probes(reading, constants, rng, np.dtype(np.float32))
        limits = range_of(graph, case.root)
        if limits is not None:
            probes = rounded(probes, limits)
        if case.finite is not None:
            probes = of_values(case.finite, probes.values.shape[1])
    case = replace(case, narrow=graph.narrow(between))
    try:
        return _compare(case, *_images(case, probes, kinds, rng), frozenset(kinds))
    except _OtherSize:  # something of the size of the whole image is read on the way
        return _compare(case, *_images(case, probes, kinds, rng, whole=True), frozenset(kinds))


class _OtherSize(NotChecked):
    """What the graph reads and what the layer reads have other sizes."""


def _constants(graph: OnnxGraph, nodes: list[onnx.NodeProto]) -> list[float]:
    """Scalars of the chain, where its own atoms are."""
    scalars: set[float] = set()
    for node in nodes:
        for name in node.input:
            array = graph.constant(name) if name else None
            if array is not None and array.size == 1 and array.dtype.kind == "f":
                scalars.add(float(array.reshape(())))
    return sorted(v for v in scalars if np.isfinite(v))[:16]


def _images(
    case: Case,
    probes: Probes,
    kinds: list[str],
    rng: np.random.Generator,
    whole: bool = False,
) -> tuple[np.ndarray, np.ndarray | None]:
    height, width, channels = case.size
    pools = [k for k in kinds if k not in ELEMENTWISE and k not in OF_ANY_SIZE]
    spacing = 1
    if whole or case.reading.move is not None or case.lying.name == VIEW:
        pass  # what is moved or reshaped is a whole image
    elif not pools or (height == 1 and width == 1):
        height = width = 1
    elif case.reading.pool is not None:
        attrs = case.reading.pool.attrs
        spans = [
            (k - 1) * d + 1
            for k, d in zip(ints(attrs["kernel"]), ints(attrs["dilation"]), strict=True)
        ]
        spacing = max(spans)
        if pools == ["MaxPool"]:
            strides = ints(attrs["strides"])
            height = _reduced(height, spans[0], strides[0])
            width = _reduced(width, spans[1], strides[1])
    pixels = height * width
    dense = 0 if pixels == 1 else max(1, min(4, MOST_COMPARED // (pixels * channels)))
    if height * width * channels * 4 > MOST_COMPARED:
        probes = _fewer(probes, height, width, spacing, channels, rng)
    x, sums = images(probes, height, width, spacing, rng, dense)
    missing = -len(x) % case.batch
    if missing:
        x = np.concatenate([x, x[np.arange(missing) % len(x)]])
        sums = (
            None if sums is None else np.concatenate([sums, sums[np.arange(missing) % len(sums)]])
        )
    return x, sums


def _reduced(size: int, span: int, stride: int) -> int:
    """A smaller extent at whose borders windows lie as they do at the borders of the whole one."""
    least = 2 * span + 2
    return size if size <= least + stride else least + (size - least) % stride


def _fewer(
    probes: Probes, height: int, width: int, spacing: int, channels: int, rng: np.random.Generator
) -> Probes:
    places = -(-height // spacing) * -(-width // spacing)
    most = max(places, MOST_COMPARED // (height * width * channels) * places)
    if len(probes.values) <= most:
        return probes
    keep = np.sort(rng.permutation(len(probes.values))[:most])
    sums = None if probes.sums is None else probes.sums[keep]
    return Probes(probes.values[keep], probes.neutral, sums, probes.neutral_sums)


def _compare(case: Case, x: np.ndarray, sums: np.ndarray | None, kinds: frozenset[str]) -> int:
    wanted = case.wanted(x)
    read = case.reading.read(x, sums) / case.ratio
    if wanted.shape != read.shape:
        raise _OtherSize(f"the graph reads {wanted.shape[1:]}, the layer {read.shape[1:]}")
    size = float(np.abs(case.reading.every_level()).max()) / abs(case.ratio)
    tolerance = LEVEL * size + case.error
    bad = ~(np.abs(wanted - read) <= tolerance) & ~np.isnan(read)
    if not bad.any():
        return read.size
    seen = case.reading.seen(x)
    bad &= ~_tie(case, x, wanted, read, seen, tolerance)
    slack = 0.0
    if ROUNDED & kinds or case.rounded is not None:
        slack = 2.0**-19
    elif case.sums is not None:
        slack = 2.0**-22 if _inexact(case.sums, sums) else 0.0
    if slack and bad.any():
        least = max(case.rounded or 0.0, NEAR_ONE if BESIDE_ONE & kinds else 0.0)
        shift = slack * np.maximum(np.abs(x), np.float32(least))
        around = [case.wanted((x + s * shift).astype(x.dtype)) for s in (-1, 1)]
        low = np.minimum(np.minimum(*around), wanted) - tolerance
        high = np.maximum(np.maximum(*around), wanted) + tolerance
        bad &= ~((read >= low) & (read <= high) & (low + 3 * tolerance < high))
    if bad.any():
        at = np.unravel_index(int(np.argmax(bad)), bad.shape)
        raise Disagrees(
            f"in channel {at[-1]} the graph feeds it {wanted[at]:.9g} where {case.root!r} is "
            f"{float(seen[at]):.9g}, and it reads {read[at]:.9g} ({int(bad.sum())} of "
            f"{bad.size} values tried)"
        )
    return read.size


def _inexact(form: IntegerSums, sums: np.ndarray | None) -> bool:
    """Whether a product of scale and sum is rounded."""
    if sums is None:
        return False
    exact = sums.astype(np.float64) * form.scale.astype(np.float64)
    return bool(np.any(exact != exact.astype(np.float32)))


def _tie(
    case: Case,
    x: np.ndarray,
    wanted: np.ndarray,
    read: np.ndarray,
    seen: np.ndarray,
    tolerance: float,
) -> np.ndarray:
    """Where a tie that no atom meets went to the higher side."""
    shift = np.float32(2.0**-16) * np.maximum(1, np.abs(x))
    before, after = (case.wanted((x + s * shift).astype(x.dtype)) for s in (-1, 1))
    low, high = np.minimum(before, after), np.maximum(before, after)
    middle = np.abs(wanted - (low + high) / 2) <= 1e-4 * (high - low)
    side = np.abs(read - high) <= tolerance
    return np.asarray(middle & (high > low) & side & ~case.atoms.at(seen))
