"""Where windows lie: counted by onnxruntime's results, and what makes no windows is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from abc_tvm.errors import ModelError, UnsupportedError
from abc_tvm.frontend.operators.images.windows import Windows, known_image, windows
from abc_tvm.frontend.operators.rewriter import Rewriter
from tests.abc_tvm.frontend.operators.judged import run_onnxruntime


def model(size: Any, **attrs: Any) -> onnx.ModelProto:
    node = helper.make_node("MaxPool", ["x"], ["y"], name="node", **attrs)
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 1, *size])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["a", "b", *"cd"[: len(size)]])
    made = helper.make_model(
        helper.make_graph([node], "g", [x], [y]), opset_imports=[helper.make_opsetid("", 13)]
    )
    made.ir_version = 8
    return made


def of(size: Any, kernel: Any, pool: bool = True, **attrs: Any) -> Windows:
    made = model(size, kernel_shape=kernel, **attrs)
    ceil = bool(attrs.get("ceil_mode"))
    edit = Rewriter(made, "m")
    return windows(edit, made.graph.node[0], "x", kernel, ceil_mode=ceil, pool=pool)


@pytest.mark.parametrize(
    ("size", "kernel", "attrs"),
    [
        ((7, 6), (3, 2), {}),
        ((7, 6), (3, 2), {"strides": [2, 3], "pads": [1, 0, 1, 1]}),
        ((7, 6), (2, 2), {"strides": [2, 2], "ceil_mode": 1}),
        ((7, 6), (3, 3), {"strides": [2, 2], "pads": [1, 1, 1, 1], "ceil_mode": 1}),
        ((7, 6), (3, 2), {"dilations": [2, 3]}),
        ((7, 6), (3, 2), {"strides": [2, 2], "auto_pad": "SAME_UPPER"}),
        ((7, 6), (3, 2), {"strides": [2, 2], "auto_pad": "SAME_LOWER"}),
        ((7, 6), (3, 2), {"auto_pad": "VALID"}),
        ((5,), (2,), {}),
        ((1, 1), (1, 1), {}),
    ],
)
def test_as_onnxruntime_pools(size: Any, kernel: Any, attrs: dict[str, Any]) -> None:
    found = of(size, kernel, **attrs)
    x = np.arange(np.prod(size), dtype=np.float32).reshape(1, 1, *size)
    wanted = run_onnxruntime(model(size, kernel_shape=kernel, **attrs), {"x": x})["y"]
    assert found.count == wanted.shape[2:]
    # The largest element of rising ones is the last that a window sees.
    places = [
        [
            max(t for t in found.taps(axis, n) if 0 <= t < size[axis])
            for n in range(found.count[axis])
        ]
        for axis in range(len(size))
    ]
    np.testing.assert_array_equal(wanted[0, 0], x[0, 0][np.ix_(*places)])


def test_how_far_the_last_window_reaches() -> None:
    assert of((7,), (3,), strides=[3], ceil_mode=1).reach == (2,)
    assert of((7,), (3,), strides=[2], pads=[1, 1]).reach == (1,)
    assert of((8,), (2,), strides=[2]).reach == (0,)


@pytest.mark.parametrize(
    ("kernel", "attrs", "words"),
    [
        ((2,), {}, "needs 2 values in kernel_shape, strides and dilations"),
        ((2, 2), {"strides": [1]}, "needs 2 values"),
        ((2, 2), {"pads": [1, 1]}, "needs 2 values"),
        ((2, 0), {}, "has a kernel, stride or dilation below 1"),
        ((2, 2), {"pads": [0, -1, 0, 0]}, "has padding below 0"),
        ((9, 2), {}, "has a window of 9 on an axis of 7 with padding 0 and 0"),
    ],
)
def test_what_makes_no_windows(kernel: Any, attrs: dict[str, Any], words: str) -> None:
    with pytest.raises(ModelError, match=f"m: node 'node': operator MaxPool {words}"):
        of((7, 6), kernel, **attrs)


def test_dilations_that_two_runtimes_read_in_two_ways() -> None:
    attrs = {"dilations": [2, 1], "auto_pad": "SAME_UPPER"}
    with pytest.raises(UnsupportedError, match="auto_pad SAME_UPPER with dilations"):
        of((7, 6), (2, 2), **attrs)
    of((7, 6), (2, 2), pool=False, **attrs)
    of((7, 6), (1, 2), **attrs)


def test_an_open_image() -> None:
    edit = Rewriter(model((7, "W"), kernel_shape=[2, 2]), "m")
    assert not known_image(edit, "x") and not known_image(edit, "absent")
    assert known_image(Rewriter(model((7, 6), kernel_shape=[2, 2]), "m"), "x")
    with pytest.raises(UnsupportedError, match="needs the extents of 'x' fixed"):
        windows(edit, edit.graph.node[0], "x", (2, 2))
