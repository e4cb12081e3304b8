"""The second opinion: the local claims of every layer that left float, proven or refuted.

Nothing here is shared with the passes: the ONNX graph is read as the frontend hands it to TVM's
importer, the compiled module as the pass ``encode`` leaves it, and both are computed in NumPy.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np
import onnx
import tvm
from tvm import relax

from abc_tvm.checks.graphs.integers import sums_of
from abc_tvm.checks.graphs.not_checked import NotChecked
from abc_tvm.checks.graphs.onnx_graph import OnnxGraph
from abc_tvm.checks.graphs.onnx_layers import OnnxLayer, joined, layer_of
from abc_tvm.checks.graphs.relax_graph import (
    FLOAT,
    ON_PRODUCT,
    RelaxGraph,
    RelaxLayer,
    array,
    dimensions,
    operator,
)
from abc_tvm.checks.opinion.anchors import make_anchors
from abc_tvm.checks.opinion.codes import Disagrees
from abc_tvm.checks.opinion.layer_claims import Claims, CodedLayer
from abc_tvm.checks.opinion.moved import behind
from abc_tvm.checks.opinion.products import (
    CodedProduct,
    coded_product,
    product_anchors,
    products_of,
)
from abc_tvm.checks.opinion.roots import Roots
from abc_tvm.checks.opinion.weights import whole_weights
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


def second_opinion(
    simple: onnx.ModelProto,
    module: tvm.IRModule,
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
        graph = RelaxGraph(module)
        names = [layer.name for layer in graph.layers if layer.kind != FLOAT]
        names += [one.name for one in graph.products if one.kind == ON_PRODUCT]
        return Opinion(unknown=dict.fromkeys(names, _fault(error)))


_FAULTS = (ArithmeticError, AttributeError, LookupError, MemoryError, TypeError, ValueError)
"""What a fault of the checker's own may be: no opinion, but no end of the compilation either."""


def _fault(error: Exception) -> str:
    text = " ".join(str(error).split())[:80]
    return f"the checker fails on it ({type(error).__name__}: {text})"


Item = CodedLayer | CodedProduct
_Read = TypeVar("_Read", CodedLayer, CodedProduct)

_Weights = tuple[np.ndarray, np.ndarray]
"""Integers ``[M, OC, taps]`` and their scales ``[M, OC]``."""


class _Checker:
    def __init__(
        self, simple: onnx.ModelProto, module: tvm.IRModule, allowed_error: float | None
    ) -> None:
        self.graph, self.relax = OnnxGraph(simple), RelaxGraph(module)
        self.allowed = allowed_error
        self.batch = self._batch()
        self.rng = np.random.default_rng(2026)
        self.unknown: dict[str, str] = {}
        self.wrong: dict[str, str] = {}
        self.layers = self._onnx_layers(simple)
        self.nodes = products_of(self.graph, simple)

    def _batch(self) -> int:
        """Images that the model takes at once, where that is fixed."""
        extents = {dimensions(p)[0] for p in self.relax.params if dimensions(p)}
        return next(iter(extents)) or 1 if len(extents) == 1 else 1

    def _onnx_layers(self, simple: onnx.ModelProto) -> dict[str, OnnxLayer]:
        layers = {}
        for name, node in layer_nodes(simple):
            layer = layer_of(self.graph, name, node)
            if layer is not None:
                layers[name] = layer
        return layers

    def run(self) -> Opinion:
        names = [layer.name for layer in self.relax.layers]
        binary = [layer for layer in self.relax.layers if layer.kind != FLOAT]
        on_bits = [one for one in self.relax.products if one.kind == ON_PRODUCT]
        if not binary and not on_bits:
            return Opinion()
        names += [one.name for one in self.relax.products]
        if len(set(names)) < len(names):
            return Opinion(unknown={one.name: "layers share a name" for one in binary + on_bits})
        present = set(names) | self._nameless()
        sums = joined(self.graph, self.layers, present, self.batch)
        followed = {one.name for form in sums.values() for one in form.layers}
        lost = [one for name, one in self.layers.items() if name not in present | followed]
        coded = [item for item in map(self._read, binary) if item is not None]
        products = [item for item in map(self._read_product, on_bits) if item is not None]
        anchors = make_anchors(self.graph, self.relax, self.layers, sums)
        anchors += product_anchors(self.relax, self.nodes)
        self.roots = Roots(self.graph, self.relax, anchors, {}, self.batch)
        self.claims = Claims(
            self.graph,
            self.relax,
            self.layers,
            sums,
            lost,
            self.roots,
            self.batch,
            self.allowed,
            self.rng,
        )
        self._integer_forms(coded)
        every: list[Item] = [*coded, *products]
        self._prepare(every)
        checked = [item.layer.name for item in every if self._holds(item)]
        again = [item for item in every if item.layer.name in self.unknown]
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

    def _read(self, layer: RelaxLayer) -> CodedLayer | None:
        return self._told(layer, lambda: CodedLayer.of(self.relax, layer))

    def _read_product(self, layer: RelaxLayer) -> CodedProduct | None:
        return self._told(layer, lambda: coded_product(self.relax, layer, self.nodes))

    def _told(self, layer: RelaxLayer, read: Callable[[], _Read]) -> _Read | None:
        """What ``read`` gives; ``None`` where it tells why there is nothing."""
        try:
            return read()
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
            self.roots.sums[layer.var] = form

    def _integer_forms(self, coded: Iterable[CodedLayer]) -> None:
        """What sums the layers can reach: those in float, too, that read a step."""
        for item in coded:
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

    def _step_behind(self, layer: RelaxLayer) -> relax.Call | None:
        """The step that a float layer reads, if it reads one."""
        source = self.relax.value.get(layer.data)
        padded = None
        if source is not None and operator(source) == "nn.pad":
            padded, source = source, self.relax.value.get(source.args[0])
        if source is not None and operator(source) == "abc.move":
            source = self.relax.value.get(source.args[0])
        if source is not None and operator(source) == "nn.max_pool2d":
            source = self.relax.value.get(source.args[0])
        if source is None or operator(source) not in ("abc.step", "abc.count_step"):
            return None
        if padded is not None:
            levels = array(source.args[3])
            plain = str(padded.attrs.pad_mode) == "constant"
            if not plain or np.float32(padded.attrs.pad_value) not in levels:
                return None
        return source

    def _prepare(self, coded: Iterable[Item], whole: bool = False) -> None:
        """Both graphs from random anchors, where a root is no anchor itself."""
        roots, tensors = [], []
        for item in coded:
            behind_it = [
                var for reading in item.readings for var, *_ in behind(self.relax, reading.root)
            ]
            unknown = [var for var in behind_it if self.roots.direct(var) is None]
            if unknown:
                roots += unknown
                tensors += self._fed(item)
        self.shrunk = bool(roots) and not whole
        if roots:
            self.roots.compute(roots, list(dict.fromkeys(tensors)), self.rng, whole)

    def _fed(self, item: Item) -> list[str]:
        """Tensors of the graph that a layer reads."""
        if isinstance(item, CodedProduct):
            return [tensor for _, tensor, *_ in item.factors]
        terms = self.claims.terms(item.layer)
        return [factor.tensor for _, factors in terms for factor in factors]

    def _holds(self, item: Item) -> bool:
        name = item.layer.name
        try:
            if isinstance(item, CodedProduct):
                self.claims.check_product(item)
            else:
                self.claims.check(item)
        except NotChecked as reason:
            self.unknown[name] = str(reason)
        except Disagrees as reason:
            self.wrong[name] = str(reason)
        except _FAULTS as error:
            self.unknown[name] = _fault(error)
        return name not in self.unknown and name not in self.wrong
