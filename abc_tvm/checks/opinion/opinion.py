"""The second opinion: the local claims of every layer that left float, proven or refuted.

See the package's text for the claims. Nothing here is shared with the passes: the ONNX graph is
read as the frontend hands it to TVM's importer, the compiled module as the pass ``encode`` leaves
it, and both are computed in NumPy.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import onnx

from abc_tvm.checks.graphs.integers import sums_of
from abc_tvm.checks.graphs.layouts import NCHW, SAME, Lying, flat, kernel_of
from abc_tvm.checks.graphs.not_checked import NotChecked
from abc_tvm.checks.graphs.onnx_graph import OnnxGraph
from abc_tvm.checks.graphs.onnx_layers import Joined, OnnxLayer, joined, layer_of, moved_from
from abc_tvm.checks.graphs.relax_graph import (
    FLOAT,
    ON_BYTES,
    RelaxGraph,
    RelaxLayer,
    array,
    dimensions,
    operator,
)
from abc_tvm.checks.opinion.anchors import make_anchors, members
from abc_tvm.checks.opinion.codes import Disagrees, Reading, reading_of
from abc_tvm.checks.opinion.steps import Atoms, Case, check_steps
from abc_tvm.checks.opinion.weights import (
    Coded,
    coded_weight,
    proportion,
    same_weights,
    whole_weights,
)
from abc_tvm.layer_names import layer_nodes


@dataclass(frozen=True)
class Opinion:
    """What the checker says of the layers that left float.

    ``checked``: names of layers whose claims hold; ``unknown``: name to why there is no opinion;
    ``wrong``: name to what does not hold.
    """

    checked: tuple[str, ...] = ()
    unknown: dict[str, str] = field(default_factory=dict)
    wrong: dict[str, str] = field(default_factory=dict)

    def facts(self) -> dict[str, Any]:
        """As JSON."""
        return {"checked": len(self.checked), "unknown": self.unknown, "wrong": self.wrong}


@dataclass(frozen=True)
class Part:
    """``factor`` times a tensor of the graph, or some of its channels, read with one weight."""

    factor: float
    tensor: str
    channels: slice | None


Term = tuple[np.ndarray, list[Part]]
"""A weight, and what it is multiplied with."""


@dataclass
class _Layer:
    """One layer of the compiled module while it is looked at."""

    layer: RelaxLayer
    reading: Reading
    coded: Coded


def second_opinion(
    simple: onnx.ModelProto,
    module: Any,
    allowed_error: float | None = None,
) -> Opinion:
    """Check every layer on bits or bytes of ``module``, as the pass ``encode`` leaves it.

    Args:
        simple: The model as the frontend hands it to the importer.
        module: The Relax module.
        allowed_error: What rounding to bytes may change a sum by; ``None``: nothing is rounded.
    """
    try:
        return _Checker(simple, module, allowed_error).run()
    except (NotChecked, *_FAULTS) as error:
        names = [layer.name for layer in RelaxGraph(module).layers if layer.kind != FLOAT]
        return Opinion(unknown=dict.fromkeys(names, _fault(error)))


_FAULTS = (ArithmeticError, AttributeError, LookupError, MemoryError, TypeError, ValueError)
"""What a fault of the checker's own may be: no opinion, but no end of the compilation either."""


def _fault(error: Exception) -> str:
    text = " ".join(str(error).split())[:80]
    return f"the checker fails on it ({type(error).__name__}: {text})"


_Weights = tuple[np.ndarray, np.ndarray]
"""Integers ``[M, OC, taps]`` and their scales ``[M, OC]``."""


class _Checker:
    def __init__(self, simple: onnx.ModelProto, module: Any, allowed_error: float | None) -> None:
        self.graph, self.relax = OnnxGraph(simple), RelaxGraph(module)
        self.allowed = allowed_error
        self.batch = self._batch()
        self.rng = np.random.default_rng(2026)
        self.unknown: dict[str, str] = {}
        self.wrong: dict[str, str] = {}
        self.terms: dict[str, list[Term]] = {}
        self.layers = self._onnx_layers(simple)

    def _batch(self) -> int:
        """Images that the model takes at once, where that is fixed."""
        extents = {dimensions(p)[0] for p in self.relax.params if dimensions(p)}
        return next(iter(extents)) or 1 if len(extents) == 1 else 1

    def _onnx_layers(self, simple: onnx.ModelProto) -> dict[str, OnnxLayer]:
        found = {}
        for name, node in layer_nodes(simple):
            layer = layer_of(self.graph, name, node)
            if layer is not None:
                found[name] = layer
        return found

    def run(self) -> Opinion:
        names = [layer.name for layer in self.relax.layers]
        binary = [layer for layer in self.relax.layers if layer.kind != FLOAT]
        if not binary:
            return Opinion()
        if len(set(names)) < len(names):
            return Opinion(unknown={layer.name: "layers share a name" for layer in binary})
        present = set(names) | self._nameless()
        self.sums = joined(self.graph, self.layers, present, self.batch)
        followed = {one.name for form in self.sums.values() for one in form.layers}
        self.lost = [one for name, one in self.layers.items() if name not in present | followed]
        found = [item for item in map(self._read, binary) if item is not None]
        self.anchors = make_anchors(self.graph, self.relax, self.layers, self.sums, self.batch)
        self._integer_forms(found)
        self._prepare(found)
        checked = [item.layer.name for item in found if self._holds(item)]
        again = [item for item in found if item.layer.name in self.unknown]
        if again and self.shrunk:
            self._prepare(again, whole=True)
            for item in again:
                del self.unknown[item.layer.name]
                if self._holds(item):
                    checked.append(item.layer.name)
        return Opinion(tuple(checked), self.unknown, self.wrong)

    def _nameless(self) -> set[str]:
        """Layers of the graph whose weights are computed, where as many in float have no name.

        The importer computes them, too, and no stored weights tell which is which.
        """
        names = {layer.name for layer in self.relax.layers}
        absent = {
            name
            for name, layer in self.layers.items()
            if name not in names and not self.graph.stores(layer.node.input[1])
        }
        nameless = sum(r.kind == FLOAT and r.name not in self.layers for r in self.relax.layers)
        nameless += sum(operator(value) == "matmul" for _, value in self.relax.order)
        return absent if nameless >= len(absent) else set()

    def _read(self, layer: RelaxLayer) -> _Layer | None:
        try:
            return _Layer(layer, reading_of(self.relax, layer), coded_weight(layer))
        except NotChecked as reason:
            self.unknown[layer.name] = str(reason)
        except Disagrees as reason:
            self.wrong[layer.name] = str(reason)
        except _FAULTS as error:
            self.unknown[layer.name] = _fault(error)
        return None

    def _integer_form(self, layer: RelaxLayer, weights: _Weights, levels: np.ndarray) -> None:
        padded = any(int(p) for p in layer.call.attrs["padding"])
        form = sums_of(*weights, levels, padded)
        if form is not None:
            self.anchors.sums[layer.var] = form

    def _integer_forms(self, found: Iterable[_Layer]) -> None:
        """What sums the layers can reach: those in float, too, that read a step."""
        for item in found:
            try:
                levels = item.reading.every_level()
            except Disagrees:
                continue
            self._integer_form(item.layer, (item.coded.planes, item.coded.alpha), levels)
        for layer in self.relax.layers:
            step = self._step_behind(layer) if layer.kind == FLOAT else None
            weights = None if step is None else whole_weights(layer)
            if step is not None and weights is not None:
                self._integer_form(layer, weights, array(step.args[3]).ravel())

    def _step_behind(self, layer: RelaxLayer) -> Any:
        """The step that a float layer reads, if it reads one."""
        source: Any = self.relax.value.get(layer.data)
        if operator(source) == "nn.max_pool2d":
            source = self.relax.value.get(source.args[0])
        return source if operator(source) in ("abc.step", "abc.count_step") else None

    def _prepare(self, found: Iterable[_Layer], whole: bool = False) -> None:
        """Both graphs from random anchors, where a root is no anchor itself."""
        roots, tensors = [], []
        for item in found:
            if self.anchors.direct(item.reading.root) is None:
                roots.append(item.reading.root)
                tensors += [part.tensor for _, parts in self._terms(item.layer) for part in parts]
        self.shrunk = bool(roots) and not whole
        if roots:
            self.anchors.compute(roots, list(dict.fromkeys(tensors)), self.rng, whole)

    def _holds(self, item: _Layer) -> bool:
        name = item.layer.name
        try:
            self._check(item)
        except NotChecked as reason:
            self.unknown[name] = str(reason)
        except Disagrees as reason:
            self.wrong[name] = str(reason)
        except _FAULTS as error:
            self.unknown[name] = _fault(error)
        return name not in self.unknown and name not in self.wrong

    # ---- one layer ---------------------------------------------------------------------

    def _owner(self, layer: RelaxLayer) -> str:
        """Name of the ONNX layer, or of the sum of layers, that a layer stands for."""
        if layer.name in self.layers:
            return layer.name
        base = layer.name.rpartition("+")[0]
        if base in self.sums:
            return base
        raise NotChecked("no layer of the graph has its name")

    def _terms(self, layer: RelaxLayer) -> list[Term]:
        """Weights ``[OC, …]`` in ONNX's form, each with the tensors it is multiplied with."""
        try:
            owner = self._owner(layer)
        except NotChecked:
            return []
        if owner not in self.sums:
            one = self.layers[owner]
            return [(one.weight, [Part(1.0, one.data, None)])]
        if owner not in self.terms:
            channels = int(layer.call.attrs["in_channels"])
            self.terms[owner] = _clusters(self.graph, self.sums[owner], channels)
        return self.terms[owner]

    def _check(self, item: _Layer) -> None:
        layer = item.layer
        owner = self.layers[self._owner(layer)]
        self._check_geometry(item, owner)
        terms = self._terms(layer)
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

    def _check_geometry(self, item: _Layer, owner: OnnxLayer) -> None:
        attrs = item.layer.call.attrs
        code = dimensions(item.layer.data)
        wanted = owner.geometry((int(code[1] or 0), int(code[2] or 0)))
        for key, value in wanted.items():
            given = attrs[key]
            found = [int(v) for v in given] if hasattr(given, "__len__") else int(given)
            if found != value:
                raise Disagrees(f"{key} is {found} as compiled and {value} in the graph")

    def _rounding(self, item: _Layer, wanted: np.ndarray, ratio: float) -> float:
        """Of a layer that is rounded to bytes: how far its levels may be from the graph's."""
        if item.layer.kind != ON_BYTES:
            return 0.0
        declared = float(item.layer.call.attrs["error"])
        if declared == 0:
            return 0.0
        if self.allowed is None or declared > self.allowed:
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
        item: _Layer,
        owner: OnnxLayer,
        parts: list[Part],
        way: str,
        ratio: float,
        error: float,
    ) -> None:
        reading = item.reading
        names = [part.tensor for part in parts]
        height, width, channels = (int(d or 0) for d in dimensions(item.layer.data)[1:4])
        channels = int(item.layer.call.attrs["in_channels"])
        lying: Lying = NCHW
        if owner.dense:
            lying = flat(height, width, channels, way == "flat_hwc")
        size = dimensions(reading.root)
        root_size = (int(size[1] or 0), int(size[2] or 0), int(size[3] or 0))
        anchor = self.anchors.direct(reading.root)
        sums = rounded = None
        if anchor is not None:
            if len(size) != 4 or reading.root in self.relax.params:
                root_lying = SAME
            else:
                root_lying = Lying("anchor", anchor.convert, lambda x: x)
            roots = [(anchor.tensor, root_lying)]
            sums = self.anchors.sums.get(reading.root)
            form = self.sums.get(self._layer_name(reading.root))
            if form is not None and np.any(form.bias):
                rounded = float(np.abs(form.bias).max())
        else:
            roots = self.anchors.find(reading.root, names)
        refused: Disagrees | None = None
        for root, root_lying in roots:
            case = Case(
                self.graph,
                reading,
                root,
                root_lying,
                root_size,
                self.batch,
                tuple((p.factor, p.tensor, lying, p.channels) for p in parts),
                1 / ratio,
                sums,
                Atoms(True) if sums is not None else self.anchors.atoms(root),
                rounded,
                error,
            )
            if reading.counts is not None:
                case = self._in_their_unit(case)
            try:
                check_steps(case, self.rng)
                return
            except Disagrees as reason:
                refused = refused or reason
        if refused is not None:
            raise refused

    def _layer_name(self, var: Any) -> str:
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


def _ways(weight: np.ndarray, kernel: tuple[int, int]) -> list[str]:
    if weight.ndim == 4 or kernel == (1, 1):
        return ["flat_chw"]
    return ["flat_chw", "flat_hwc"]


def _clusters(graph: OnnxGraph, form: Joined, channels: int) -> list[Term]:
    """Weights that are multiples of one another, with the tensors that they read."""
    read: dict[tuple[str, int], dict[str, np.ndarray]] = {}
    stored: dict[str, np.ndarray] = {}
    same: dict[Any, str] = {}  # one transposition may be written twice
    for coefficient, layer in zip(form.coefficients, form.layers, strict=True):
        weight, pieces = layer.weight, 1
        if not layer.dense and weight.shape[1] > channels and weight.shape[1] % channels == 0:
            pieces = weight.shape[1] // channels
        data = same.setdefault(moved_from(graph, layer.data), layer.data)
        for i in range(pieces):
            name = f"{layer.stored} {i}"
            stored[name] = weight[:, i * channels : (i + 1) * channels] if pieces > 1 else weight
            scales = read.setdefault((data, i if pieces > 1 else -1), {})
            scales[name] = scales.get(name, 0) + coefficient
    found: list[tuple[dict[str, np.ndarray], list[Part]]] = []
    for (tensor, i), scales in read.items():
        at = None if i < 0 else slice(i * channels, (i + 1) * channels)
        for reference, parts in found:
            factor = _multiple(scales, reference, stored)
            if factor is not None:
                parts.append(Part(factor, tensor, at))
                break
        else:
            found.append((scales, [Part(1.0, tensor, at)]))
    return [(_total(scales, stored), parts) for scales, parts in found]


def _multiple(
    scales: dict[str, np.ndarray], reference: dict[str, np.ndarray], stored: dict[str, np.ndarray]
) -> float | None:
    """``r`` where one sum of weights is ``r`` times another, up to rounding."""
    if scales.keys() == reference.keys():
        a, b = (np.stack([s[name] for name in reference]).T for s in (scales, reference))
    else:
        a, b = _total(scales, stored), _total(reference, stored)
    if a.shape != b.shape:
        return None
    factor = proportion(a, b)
    near = np.abs(a - factor * b).max(initial=0) <= 2.0**-19 * np.abs(a).max(initial=0)
    return factor if near else None


def _total(scales: dict[str, np.ndarray], stored: dict[str, np.ndarray]) -> np.ndarray:
    """float32 sum of weights, each times its scales ``[OC]``."""
    total: Any = None
    for name, scale in scales.items():
        weight = stored[name]
        column = scale.astype(np.float32).reshape((-1,) + (1,) * (weight.ndim - 1))
        total = weight * column if total is None else total + weight * column
    return np.asarray(total)
