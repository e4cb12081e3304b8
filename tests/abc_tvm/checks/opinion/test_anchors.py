"""Tensors that both graphs have: inputs, layers by name, sums, operators that neither computes."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

from abc_tvm import stages
from abc_tvm.checks.graphs.onnx_graph import OnnxGraph
from abc_tvm.checks.graphs.onnx_layers import OnnxLayer, joined, layer_of
from abc_tvm.checks.graphs.relax_graph import RelaxGraph
from abc_tvm.checks.opinion.anchors import OPAQUE, CommonTensor, make_anchors, members
from abc_tvm.layer_names import layer_nodes
from tests.abc_tvm.checks.opinion import networks
from tests.abc_tvm.checks.opinion.networks import judged
from tests.relay_passes.harness import Net, two_layers


def both(model: onnx.ModelProto) -> tuple[OnnxGraph, RelaxGraph, dict[str, OnnxLayer]]:
    """A network's two graphs, and the layers of the first."""
    simple = stages.import_model(model).simple
    graph = OnnxGraph(simple)
    layers = {name: layer_of(graph, name, node) for name, node in layer_nodes(simple)}
    known = {name: one for name, one in layers.items() if one is not None}
    return graph, RelaxGraph(judged(model)[2]), known


def anchors(model: onnx.ModelProto) -> dict[str, CommonTensor]:
    """By the tensor of the ONNX graph."""
    graph, relax, layers = both(model)
    sums = joined(graph, layers, {layer.name for layer in relax.layers}, 1)
    return {anchor.tensor: anchor for anchor in make_anchors(graph, relax, layers, sums)}


def test_inputs_and_layers() -> None:
    graph, _, layers = both(two_layers())
    found = anchors(two_layers())
    assert set(found) == {*graph.inputs, *(one.output for one in layers.values())}
    for layer in layers.values():
        value = np.zeros((2, 3, 4, len(layer.weight)), np.float32)
        assert found[layer.output].convert(value).shape == (2, len(layer.weight), 3, 4)
    x = np.ones((2, 4, 6, 6), np.float32)
    assert found["input"].convert(x) is x


def test_a_sum_of_layers_is_one_anchor() -> None:
    model = networks.spelled()
    graph, relax, layers = both(model)
    present = {layer.name for layer in relax.layers}
    ((name, form),) = joined(graph, layers, present, 1).items()
    found = anchors(model)[form.tensor]
    assert len(form.layers) == 4
    assert len(found.variables) == len(members(relax, name, layers))
    assert not any(layer.output in anchors(model) for layer in form.layers if layer.name != name)


def test_members_of_a_sum() -> None:
    _, relax, layers = both(two_layers())
    one, two = relax.layers
    assert members(relax, one.name, layers) == [one]
    assert members(relax, "none", layers) == []
    assert two not in members(relax, one.name, layers)


def test_an_operator_that_neither_side_computes() -> None:
    net = Net((1, 3, 4, 4))
    x = net.op("Softmax", "input", axis=1)
    model = net.model(net.conv(net.step(x), net.signs(4, 3, 2, 2)))
    assert OPAQUE["Softmax"] == "nn.softmax"
    made = next(n for n in stages.import_model(model).simple.graph.node if n.op_type == "Softmax")
    assert made.output[0] in anchors(model)


def test_a_bias_that_the_compiled_module_adds_later() -> None:
    model = networks.transposed()
    (node,) = (n for n in model.graph.node if n.op_type == "ConvTranspose")
    found = anchors(model)[node.output[0]]
    value = found.convert(np.zeros((1, 6, 5, 5), np.float32))
    assert value[0, :, 2, 3].tolist() == [-0.5, 0.25, 1, 2, -2, 0]


def test_another_number_of_operators_is_no_anchor() -> None:
    graph, relax, layers = both(networks.transposed())
    nodes = [n for n in graph.nodes if n.op_type == "ConvTranspose"]
    graph.nodes.append(nodes[0])
    found = {one.tensor for one in make_anchors(graph, relax, layers, {})}
    assert nodes[0].output[0] not in found


@pytest.mark.parametrize("name", ["two layers", "levels", "flattened"])
def test_variables_are_of_one_anchor(name: str) -> None:
    found = list(anchors(networks.NETWORKS[name]()).values())
    variables = [v for anchor in found for v in anchor.variables]
    assert len(set(variables)) == len(variables) > 1
