"""The claims of one layer that left float: geometry, weights, and what it reads."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from tvm.relax import Var

from abc_tvm.checks.graphs.layouts import NCHW, SAME, Lying, flat_or_tokens, kernel_of
from abc_tvm.checks.graphs.not_checked import NotChecked
from abc_tvm.checks.graphs.onnx_graph import OnnxGraph
from abc_tvm.checks.graphs.onnx_layers import Joined, OnnxLayer
from abc_tvm.checks.graphs.relax_graph import ON_INT8, RelaxGraph, RelaxLayer, dimensions
from abc_tvm.checks.opinion.anchors import members
from abc_tvm.checks.opinion.codes import Disagrees, Reading, readings_of
from abc_tvm.checks.opinion.finite import Finite
from abc_tvm.checks.opinion.known_atoms import KnownAtoms
from abc_tvm.checks.opinion.moved import VIEW, Way, behind
from abc_tvm.checks.opinion.products import CodedProduct
from abc_tvm.checks.opinion.roots import Roots
from abc_tvm.checks.opinion.steps import Case, check_steps
from abc_tvm.checks.opinion.terms import Factor, Term, clusters
from abc_tvm.checks.opinion.weights import CodedWeight, coded_weight, proportion, same_weights

Fed = tuple[float, str, Lying, slice | None]
"""A factor, the graph's tensor that it is of, how that lies, and the channels of it."""


@dataclass(frozen=True)
class CodedLayer:
    """One layer on bits or bytes of the compiled module: how it reads, and its weights."""

    layer: RelaxLayer
    reading: Reading
    coded: CodedWeight
    others: tuple[Reading, ...] = ()

    @property
    def readings(self) -> tuple[Reading, ...]:
        """Of each step that its input is put together of."""
        return (self.reading, *self.others)

    @classmethod
    def of(cls, relax: RelaxGraph, layer: RelaxLayer) -> CodedLayer:
        """Read what the compiled module says of a layer.

        Raises:
            NotChecked: What lies before it is not known.
            Disagrees: Its constants contradict one another.
        """
        first, *others = readings_of(relax, layer)
        return cls(layer, first, coded_weight(layer), tuple(others))


@dataclass
class Claims:
    """Both graphs, and what of one is what of the other, to check one layer after the other by.

    ``layers`` and ``sums`` are the ONNX graph's: its layers, and those that became one; ``lost``
    are in neither. ``allowed_error`` is what rounding to bytes may change a sum by, ``batch`` how
    many images the model takes at once.
    """

    graph: OnnxGraph
    relax: RelaxGraph
    layers: dict[str, OnnxLayer]
    sums: dict[str, Joined]
    lost: list[OnnxLayer]
    roots: Roots
    batch: int
    allowed_error: float | None
    rng: np.random.Generator
    _terms: dict[str, list[Term]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.finite = Finite(self.graph, self.roots.atoms)

    def _owner(self, layer: RelaxLayer) -> str:
        """Name of the ONNX layer, or of the sum of layers, that a layer stands for."""
        if layer.name in self.layers:
            return layer.name
        base = layer.name.rpartition("+")[0]
        if base in self.sums:
            return base
        raise NotChecked("no layer of the graph has its name")

    def terms(self, layer: RelaxLayer) -> list[Term]:
        """Weights ``[OC, …]`` in ONNX's form, each with the tensors it is multiplied with."""
        try:
            owner = self._owner(layer)
        except NotChecked:
            return []
        channels = int(layer.call.attrs["in_channels"])
        if owner not in self.sums:
            one = self.layers[owner]
            grouped = int(layer.call.attrs["groups"]) > 1
            if one.dense or grouped or one.weight.shape[1] == channels:
                return [(one.weight, [Factor(1.0, one.data, None)])]
            # A Concat of bases whose weights are one weight several times.
            count = len(one.weight)
            alone = Joined(one.output, (one,), np.ones((1, count)), np.zeros(count), ())
            return clusters(self.graph, alone, channels)
        if owner not in self._terms:
            self._terms[owner] = clusters(self.graph, self.sums[owner], channels)
        return self._terms[owner]

    def check(self, item: CodedLayer) -> None:
        """Every claim of one layer.

        Raises:
            Disagrees: One does not hold.
            NotChecked: The checker cannot tell.
        """
        layer = item.layer
        owner = self.layers[self._owner(layer)]
        self._check_geometry(item, owner)
        terms = self.terms(layer)
        count = len(members(self.relax, owner.name, self.layers))
        if owner.name in self.sums and len(terms) != count:
            raise Disagrees("it joins layers whose weights are no multiples of one another")
        reasons: list[str] = []
        kernel = (int(layer.call.attrs["kernel"][0]), int(layer.call.attrs["kernel"][1]))
        for weight, parts in terms:
            for way in _ways(weight, kernel):
                wanted = kernel_of(weight, kernel, way)
                if wanted.shape != item.coded.weight.shape:
                    reasons.append("its weights have another shape")
                    continue
                ratio = proportion(item.coded.weight, wanted)
                error = self._rounding(item, wanted, ratio)
                apart = owner.name not in self.sums
                reason = "" if error else same_weights(item.coded.weight, wanted, ratio, apart)
                if reason:
                    reasons.append(reason)
                    continue
                # Of weights that are all zero, levels of any scale are right.
                if wanted.any() or item.coded.weight.any():
                    self._check_activation(item, owner, parts, way, ratio, error)
                return
        if any(one.weight.shape == owner.weight.shape for one in self.lost):
            raise NotChecked("it may have taken in layers that the checker cannot follow")
        raise Disagrees(reasons[0])

    def _check_geometry(self, item: CodedLayer, owner: OnnxLayer) -> None:
        attrs = item.layer.call.attrs
        code = dimensions(item.layer.data)
        wanted = owner.geometry((int(code[1] or 0), int(code[2] or 0)))
        for key, value in wanted.items():
            given = attrs[key]
            compiled = [int(v) for v in given] if hasattr(given, "__len__") else int(given)
            if compiled != value:
                raise Disagrees(f"{key} is {compiled} as compiled and {value} in the graph")

    def _rounding(self, item: CodedLayer, wanted: np.ndarray, ratio: float) -> float:
        """Of a layer that is rounded to bytes: how far its levels may be from the graph's."""
        if item.layer.kind != ON_INT8:
            return 0.0
        declared = float(item.layer.call.attrs["error"])
        if declared == 0:
            return 0.0
        if self.allowed_error is None or declared > self.allowed_error:
            raise Disagrees(f"it rounds sums by {declared:.2%}, which was not allowed")
        count = len(wanted)
        size = np.abs(wanted).reshape(count, -1).sum(1)
        moved = np.abs(item.coded.weight / ratio - wanted).reshape(count, -1).sum(1)
        most = float(np.abs(item.reading.every_level()).max()) * abs(ratio)
        share = float((moved / np.maximum(size, 1e-30)).max(initial=0))
        if share > declared * 1.01 + 1e-6:
            raise Disagrees(f"rounding moves its weights by {share:.2%}, more than {declared:.2%}")
        return max(declared * most, 1e-30)

    def _check_activation(
        self,
        item: CodedLayer,
        owner: OnnxLayer,
        parts: list[Factor],
        way: str,
        ratio: float,
        error: float,
    ) -> None:
        height, width, channels = (int(d or 0) for d in dimensions(item.layer.data)[1:4])
        channels = int(item.layer.call.attrs["in_channels"])
        lying: Lying = NCHW
        if owner.dense:
            lying = flat_or_tokens(height, width, channels, way == "flat_hwc")
        fed = tuple((p.scale, p.tensor, lying, p.channels) for p in parts)
        self.check_readings(item.readings, fed, 1 / ratio, error)

    def check_product(self, item: CodedProduct) -> None:
        """Every claim of a product on bits: what both of its factors are.

        Raises:
            Disagrees: One does not hold.
            NotChecked: The checker cannot tell.
        """
        for readings, tensor, lying, unit in item.factors:
            self.check_readings(readings, ((1.0, tensor, lying, None),), 1 / unit, 0.0)

    def check_readings(
        self, readings: Sequence[Reading], fed: Sequence[Fed], ratio: float, error: float
    ) -> None:
        """Whether what is read, over ``ratio``, is the sum of what is ``fed``, up to ``error``.

        Raises:
            Disagrees: It is not.
            NotChecked: The checker cannot tell.
        """
        names = [tensor for _, tensor, *_ in fed]
        found = [self._roots(reading, names, len(readings) > 1) for reading in readings]
        sizes = [_size(reading.root) for reading in readings]
        first = [(*roots[0], size) for roots, size in zip(found, sizes, strict=True)]
        for reading, roots, size in zip(readings, found, sizes, strict=True):
            sums = rounded = None
            if self.roots.direct(reading.root) is not None:
                sums = self.roots.sums.get(reading.root)
                form = self.sums.get(self._layer_name(reading.root))
                if form is not None and np.any(form.bias):
                    rounded = float(np.abs(form.bias).max())
            refused: Disagrees | None = None
            for root, root_lying in roots:
                case = Case(
                    self.graph,
                    reading,
                    root,
                    root_lying,
                    size,
                    self.batch,
                    tuple(fed),
                    ratio,
                    sums,
                    KnownAtoms(True) if sums is not None else self.roots.atoms(root),
                    rounded,
                    error,
                    tuple(other for other in first if other[0] != root),
                    self.finite.of(root) if sums is None else None,
                )
                if reading.counts is not None:
                    case = self._in_their_unit(case)
                try:
                    check_steps(case, self.rng)
                    refused = None
                    break
                except Disagrees as reason:
                    refused = refused or reason
            if refused is not None:
                raise refused

    def _roots(self, reading: Reading, names: list[str], several: bool) -> list[tuple[str, Lying]]:
        """The tensors of the graph that the root of a reading may be, and how each lies."""
        refused: NotChecked | None = None
        for var, there, back in behind(self.relax, reading.root):
            try:
                roots = self._roots_of(var, names, several)
            except NotChecked as reason:
                refused = refused or reason
                continue
            if var is reading.root:
                return roots
            return [(name, _viewed(one, there, back)) for name, one in roots]
        raise refused or NotChecked("the root of its activation is no tensor of the graph")

    def _roots_of(self, root: Var, names: list[str], several: bool) -> list[tuple[str, Lying]]:
        anchor = self.roots.direct(root)
        if anchor is None:
            return self.roots.find(root, names, several)
        if len(dimensions(root)) != 4 or root in self.relax.params:
            return [(anchor.tensor, SAME)]
        return [(anchor.tensor, Lying("anchor", anchor.convert, lambda x: x))]

    def _layer_name(self, var: Var) -> str:
        return next((layer.name for layer in self.relax.layers if layer.var.same_as(var)), "")

    def _in_their_unit(self, case: Case) -> Case:
        """Integer thresholds may count in a part of our unit: the one that fits most of them."""
        if case.sums is None or case.reading.counts is None:
            raise NotChecked("integer thresholds on a layer that has no integer sums")
        best = (-1.0, 1)
        limits, floats = case.reading.counts, case.reading.thresholds
        for part in (1, 2, 3, 4):
            scale = (case.sums.scale / part).astype(np.float32)
            inside = (np.abs(limits) <= case.sums.bound * part) & np.isfinite(floats)
            fits = (limits * scale >= floats) & ((limits - 1) * scale < floats)
            best = max(best, (float(fits[inside].mean()) if inside.any() else 0.0, -part))
        part = abs(best[1])
        if part == 1:
            return case
        form = case.sums
        wider = replace(
            form,
            scale=(form.scale / part).astype(np.float32),
            bound=form.bound * part,
            offset=form.offset * part,
            step=form.step * part,
        )
        return replace(case, sums=wider)


def _viewed(one: Lying, there: Way, back: Way) -> Lying:
    """How a root lies that is a view of a tensor which lies as ``one``."""
    return Lying(VIEW, lambda x: one.to_onnx(there(x)), lambda x: back(one.from_onnx(x)))


def _size(root: Var) -> tuple[int, int, int]:
    """Height, width and channels of a root in the compiled module."""
    _, height, width, channels = (int(d or 0) for d in dimensions(root))
    return height, width, channels


def _ways(weight: np.ndarray, kernel: tuple[int, int]) -> list[str]:
    if weight.ndim == 4 or kernel == (1, 1):
        return ["flat_chw"]
    return ["flat_chw", "flat_hwc"]
