"""What binarized layers read is told, decoded, and shown as further outputs."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
import tvm
from onnx import TensorProto, helper, numpy_helper
from tvm import relax

from abc_tvm import stages
from abc_tvm.checks.verify.bits import BitInput, bit_inputs, is_coded, tapped
from abc_tvm.compilation import Compilation
from abc_tvm.relay_passes.pipeline import Phase
from abc_tvm.relay_passes.rewrite import bindings, hint
from tests.abc_tvm.small_networks import network


@pytest.fixture(scope="module")
def small() -> Compilation:
    """Two layers on bits, 8 and 16 channels, of two images."""
    return Compilation(network(dims=(2, 8, 6, 6)), lowering="bitserial")


def items_of(whole: Compilation) -> list[BitInput]:
    canonical = whole.until(Phase.COLLAPSED)
    return bit_inputs(whole.until(Phase.ENCODED), canonical)


def test_every_layer_has_its_bits(small: Compilation) -> None:
    items = items_of(small)
    assert [(i.layer, i.bits.channels) for i in items] == [("block/conv1", 8), ("block/conv2", 16)]
    for item in items:
        np.testing.assert_array_equal(item.bits.levels(item.bits.patterns), [-1, 0, 1])
    coded = [hint(var) for var, value in bindings(small.until(Phase.ENCODED)["main"])
             if is_coded(value)]  # fmt: skip
    assert coded == ["block/conv1", "block/conv2"]


def test_a_float_network_has_none() -> None:
    whole = Compilation(network(dims=(2, 8, 6, 6)), "zen4", lowering="float")
    assert items_of(whole) == []
    assert not any(is_coded(value) for _, value in bindings(whole.until(Phase.ENCODED)["main"]))


def test_layers_that_read_the_same_bits_are_one_input(rng: np.random.Generator) -> None:
    node = helper.make_node
    nodes = [
        node("Sign", ["x"], ["s"]),
        node("Conv", ["s", "w1"], ["a"], "left"),
        node("Conv", ["s", "w2"], ["b"], "right"),
        node("Concat", ["a", "b"], ["y"], axis=1),
    ]
    weights = [
        numpy_helper.from_array(rng.choice([-1, 1], (8, 32, 1, 1)).astype(np.float32), name)
        for name in ("w1", "w2")
    ]
    ports = [
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, channels, 4, 4])]
        for name, channels in (("x", 32), ("y", 16))
    ]
    model = helper.make_model(
        helper.make_graph(nodes, "twins", *ports, weights),
        opset_imports=[helper.make_opsetid("", 13)],
    )
    model.ir_version = 8
    onnx.checker.check_model(model)
    whole = Compilation(model, "zen4", lowering="bitserial")
    items = items_of(whole)
    coded = [v for _, v in bindings(whole.until(Phase.ENCODED)["main"]) if is_coded(v)]
    assert len(coded) == 2 and len(items) == 1
    assert items[0].layer in ("left", "right")


def test_outputs_come_first_then_the_bits(small: Compilation) -> None:
    """Built and run: the bits of the first layer are the signs of what onnxruntime reads."""
    items = items_of(small)
    encoded = small.until(Phase.ENCODED)
    module = tapped(encoded, [item.var for item in items])
    assert relax.analysis.check_well_formed(module)
    assert module["main"].attrs["input_names"] == encoded["main"].attrs["input_names"]
    lowered = small.finish(module, Phase.ENCODED)
    machine = relax.VirtualMachine(stages.build(lowered, small.device), tvm.cpu())
    x = np.random.default_rng(5).standard_normal((2, 8, 6, 6)).astype(np.float32)
    y, first, second = (t.numpy() for t in machine["main"](tvm.runtime.tensor(x)))
    assert y.shape == (2, 4, 6, 6) and y.dtype == np.float32
    constants = {t.name: numpy_helper.to_array(t) for t in network().graph.initializer}
    signs = np.sign(x * constants["scale"] + constants["shift"])
    wanted = np.moveaxis(signs, 1, 3) + 1
    np.testing.assert_array_equal(items[0].bits.index(first), wanted)
    index = items[1].bits.index(second)
    assert index.shape == (2, 6, 6, 16) and set(np.unique(index)) <= {0, 1, 2}


def test_nothing_tapped_leaves_the_outputs(small: Compilation) -> None:
    module = tapped(small.until(Phase.ENCODED), [])
    (only,) = module["main"].ret_ty.fields
    assert [int(d) for d in only.shape] == [2, 4, 6, 6]
