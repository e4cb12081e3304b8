"""What padding adds, however it is written, and whether that is a level."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tvm
from onnx import helper, numpy_helper
from tvm import relax, topi

from abc_tvm.frontend import import_onnx
from abc_tvm.relay_passes.analysis.padding import (
    Padding,
    level_index,
    pad,
    padding_of,
    pads_levels,
    unpadded,
)
from abc_tvm.relay_passes.rewrite import bindings
from tests.relay_passes.relax_graph import image, step, tensor


def imported(shape: list[Any], pads: list[int], value: float = -1.0) -> Padding | None:
    """What is read of the importer's function."""
    dims = [
        n if isinstance(n, str) else n + a + b
        for n, a, b in zip(shape, pads[: len(shape)], pads[len(shape) :], strict=True)
    ]
    stored = {"p": np.array(pads), "v": np.float32(value)}
    graph = helper.make_graph(
        [helper.make_node("Pad", ["x", "p", "v"], ["y"])],
        "pad",
        [helper.make_tensor_value_info("x", 1, shape)],
        [helper.make_tensor_value_info("y", 1, dims)],
        [numpy_helper.from_array(array, name) for name, array in stored.items()],
    )
    opsets = [helper.make_opsetid("", 13)]
    module = import_onnx(helper.make_model(graph, opset_imports=opsets, ir_version=8))
    (_, call), *_ = bindings(module["main"])
    return padding_of(call, dict(module.functions_items()))


@pytest.mark.parametrize("batch", [2, "n"])
def test_the_importers_function(batch: Any) -> None:
    found = imported([batch, 3, 5, 4], [0, 0, 1, 2, 0, 0, 3, 0], 0.1)
    assert found == Padding(((0, 0), (0, 0), (1, 3), (2, 0)), float(np.float32(0.1)))
    assert found.moved((0, 2, 3, 1)).of_image() == [1, 2, 3, 0] and not found.empty


@pytest.mark.parametrize(
    ("shape", "pads"),
    [([5], [1, 2]), ([2, 3], [0, 1, 2, 0]), ([1, 2, 3, 4, 5], [0, 0, 0, 1, 0, 0, 0, 2, 0, 1])],
)
def test_of_every_rank(shape: list[int], pads: list[int]) -> None:
    rank = len(shape)
    found = imported(shape, pads)
    assert found is not None
    assert found.widths == tuple(zip(pads[:rank], pads[rank:], strict=True))
    assert found.of_image() is None


def test_channels_are_no_rows_nor_columns() -> None:
    found = imported([1, 3, 5, 4], [0, 1, 1, 0, 0, 0, 1, 0])
    assert found is not None and found.moved((0, 2, 3, 1)).of_image() is None


def function(compute: Any, *shape: int) -> tuple[relax.Call, dict[Any, Any]]:
    """A call of a function that the importer could have made of a tensor."""
    x, builder = tensor("x", *shape), relax.BlockBuilder()
    with builder.function("main", [x]):
        out = builder.emit_te(compute, x)
        builder.emit_func_output(out)
    module = builder.get()
    (_, call), *_ = bindings(module["main"])
    return call, dict(module.functions_items())


@pytest.mark.parametrize(
    "compute",
    [
        lambda x: topi.nn.mirror_pad(x, [0, 1], [0, 1], "REFLECT"),
        lambda x: topi.nn.replicate_pad(x, [0, 1], [0, 1]),
        lambda x: topi.nn.pad(topi.nn.pad(x, [0, 1], [0, 1], 1.0), [0, 1], [0, 1], 2.0),
        lambda x: topi.add(topi.nn.pad(x, [0, 1], [0, 1], 1.0), tvm.tirx.const(1.0)),
        lambda x: topi.nn.pad(x, [0, 1], [0, 1], float("inf")),
        lambda x: topi.nn.pad(x, [0, -1], [0, 1], 1.0),
        lambda x: topi.exp(x),
    ],
    ids=["reflect", "edge", "twice", "more", "infinity", "below zero", "another"],
)
def test_other_functions_are_none(compute: Any) -> None:
    assert padding_of(*function(compute, 3, 4)) is None


def test_the_same_function_by_hand() -> None:
    call, functions = function(lambda x: topi.nn.pad(x, [0, 1], [2, 0], 1.5), 3, 4)
    assert padding_of(call, functions) == Padding(((0, 2), (1, 0)), 1.5)
    assert padding_of(call) is None, "its function is not known"


def test_the_operator() -> None:
    x = image("x", 4)
    padding = Padding(((0, 0), (1, 2), (3, 0), (0, 0)), 0.5)
    call = relax.BlockBuilder().normalize(pad(x, padding))
    assert padding_of(call) == padding and padding.of_image() == [1, 3, 2, 0]
    assert padding_of(relax.op.nn.pad(x, [0] * 8, "constant", 1.0)).empty
    assert padding_of(relax.op.nn.pad(x, [0, 0, 1, 1, 0, 0, 0, 0], "reflect")) is None
    assert padding_of(relax.op.nn.pad(x, [0, 0, 1, 1, 0, 0, 0, 0], "constant", np.nan)) is None
    whole = tensor("x", 1, 2, 2, 1, dtype="int32")
    assert padding_of(relax.op.nn.pad(whole, [0, 0, 1, 1, 0, 0, 0, 0])) is None
    assert padding_of(relax.op.exp(x)) is None and padding_of(None) is None
    y = relax.Var("y", call.ty)
    assert unpadded(y, {y: call}) == (x, call) and unpadded(x, {y: call}) == (x, None)


def test_levels() -> None:
    levels = np.float32([-1, 0.1, 3])
    assert [level_index(v, levels) for v in (-1, 0.1, 3, 0.0, 2.9999)] == [0, 1, 2, None, None]
    assert level_index(-0.0, np.float32([0, 1])) == 0
    x = image("x", 4)
    steps = step(x, 4, (0.0,))
    for value, holds in ((0.0, True), (1.0, True), (-1.0, False)):
        rows = Padding(((0, 0), (1, 1), (1, 1), (0, 0)), value)
        assert pads_levels(pad(x, rows), steps) == holds
    channels = Padding(((0, 0), (1, 1), (1, 1), (0, 1)), 1.0)
    assert not pads_levels(pad(x, channels), steps)
