"""Products of two computed tensors: on bits each factor is read as layers read their input.

What a factor's integers stand for, times its unit, must be what the graph feeds to that side of the
product, channel by channel of what is summed over.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

import numpy as np
import onnx
from tvm import relax
from tvm.ir import make_node

from abc_tvm.checks.graphs.layouts import Lying
from abc_tvm.checks.graphs.not_checked import NotChecked
from abc_tvm.checks.graphs.onnx_graph import OnnxGraph
from abc_tvm.checks.graphs.relax_graph import (
    ON_BITSERIAL,
    RelaxGraph,
    RelaxLayer,
    dimensions,
)
from abc_tvm.checks.opinion.anchors import CommonTensor
from abc_tvm.checks.opinion.codes import Disagrees, Reading, readings_of
from abc_tvm.layer_names import layer_nodes


@dataclass(frozen=True)
class CodedProduct:
    """A product on bits: for each factor its readings, the graph's tensor, how that lies, and what
    one of its integers stands for."""

    layer: RelaxLayer
    factors: tuple[tuple[tuple[Reading, ...], str, Lying, float], ...]

    @property
    def readings(self) -> tuple[Reading, ...]:
        """Of all steps that its factors are put together of."""
        return tuple(reading for readings, *_ in self.factors for reading in readings)


def products_of(graph: OnnxGraph, simple: onnx.ModelProto) -> dict[str, onnx.NodeProto]:
    """The graph's products of two computed tensors, by name."""
    return {
        name: node
        for name, node in layer_nodes(simple)
        if node.op_type == "MatMul" and all(graph.constant(n) is None for n in node.input)
    }


def product_anchors(
    relax_graph: RelaxGraph, nodes: dict[str, onnx.NodeProto]
) -> list[CommonTensor]:
    """What products of both graphs have computed: a tensor of one shape in both."""
    return [
        CommonTensor((one.var,), nodes[one.name].output[0], lambda x: x)
        for one in relax_graph.products
        if one.name in nodes
    ]


def coded_product(
    relax_graph: RelaxGraph, layer: RelaxLayer, nodes: dict[str, onnx.NodeProto]
) -> CodedProduct:
    """Read what the compiled module says of a product on bits.

    Raises:
        NotChecked: What lies before it is not known.
        Disagrees: Its constants contradict one another.
    """
    if layer.name not in nodes:
        raise NotChecked("no product of the graph has its name")
    attrs, node = layer.call.attrs, nodes[layer.name]
    channels = int(attrs["in_channels"])
    _check_shapes(layer, channels)
    factors = []
    for place, suffix in enumerate(("", "_y")):
        facts = make_node(
            "ir.DictAttrs",
            in_channels=channels,
            groups=int(attrs["groups"]),
            base=float(attrs[f"base{suffix}"]),
            weights=[float(w) for w in attrs[f"weights{suffix}"]],
        )
        call = relax.Call(layer.call.op, [layer.call.args[place]], facts)
        side = RelaxLayer(layer.name, layer.var, call, ON_BITSERIAL)
        readings = readings_of(relax_graph, side)
        lying = _RIGHT if suffix else _LEFT
        factors.append((readings, node.input[place], lying, float(attrs[f"unit{suffix}"])))
    return CodedProduct(layer, tuple(factors))


def _check_shapes(layer: RelaxLayer, channels: int) -> None:
    """Raises :class:`Disagrees` where packed rows have not as many words as channels."""
    for data in layer.call.args:
        words = dimensions(data)[-1]
        if words != -(-channels // 32):
            raise Disagrees(f"it sums over {channels} channels in {words} words")


def _rows(x: np.ndarray) -> np.ndarray:
    return x.reshape(len(x), prod(x.shape[1:-2]), *x.shape[-2:])


_LEFT = Lying("left", lambda x: x, _rows)
"""The graph's ``[B, H, T, K]`` or ``[B, T, K]``."""

_RIGHT = Lying("right", lambda x: x.swapaxes(-1, -2), lambda x: _rows(x).swapaxes(-1, -2))
"""The graph's ``[B, H, K, S]`` or ``[B, K, S]``."""
