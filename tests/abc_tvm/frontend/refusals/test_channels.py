"""Weights that contradict their node are named, with both numbers."""

from __future__ import annotations

from typing import Any

import pytest
from onnx import helper

from abc_tvm.errors import ModelError
from abc_tvm.frontend.inferred import Dims
from abc_tvm.frontend.refusals.channels import check_channels

Shape = tuple[int | None, ...]
IMAGE: Shape = (None, 4, 8, 8)


def check(
    op_type: str, *shapes: tuple[int | None, ...] | None, domain: str = "", **attrs: Any
) -> None:
    """One node on inputs of these shapes; ``None`` is an unknown rank."""
    names = [f"i{n}" for n in range(len(shapes))]
    node = helper.make_node(op_type, names, ["y"], name="node", domain=domain, **attrs)
    model = helper.make_model(helper.make_graph([node], "g", [], []))
    known = {n: s for n, s in zip(names, shapes, strict=True) if s is not None}
    check_channels(model, Dims(known), "m.onnx")


@pytest.mark.parametrize(
    ("op_type", "shapes", "attrs"),
    [
        ("Conv", (IMAGE, (6, 4, 3, 3), (6,)), {"kernel_shape": [3, 3], "pads": [-1, 0, 0, 0]}),
        ("Conv", (IMAGE, (6, 2, 3, 3)), {"group": 2}),
        ("Conv", (None, (6, 2, 3, 3)), {}),
        ("Conv", (IMAGE, None), {}),
        ("Conv", ((1, None, 8), (6, 4, 3)), {"strides": [2]}),
        ("ConvTranspose", (IMAGE, (4, 3, 2, 2), (6,)), {"group": 2}),
        ("BatchNormalization", (IMAGE, *[(4,)] * 4), {}),
        ("InstanceNormalization", (None, (3,), (3,)), {}),
        ("PRelu", (IMAGE, (4, 1, 1)), {}),
        ("PRelu", (IMAGE, ()), {}),
    ],
)
def test_what_fits(op_type: str, shapes: Any, attrs: dict[str, Any]) -> None:
    check(op_type, *shapes, **attrs)


@pytest.mark.parametrize(
    ("op_type", "shapes", "attrs", "words"),
    [
        ("Conv", (IMAGE, (6, 3, 3, 3)), {}, "4 channels, and weights [6, 3, 3, 3] in 1 group(s)"),
        ("Conv", (IMAGE, (5, 2, 3, 3)), {"group": 2}, "5 channels cannot be split into 2 groups"),
        ("Conv", (IMAGE, (6, 4, 3, 3)), {"group": 0}, "group is 0"),
        ("Conv", (IMAGE, (6, 4)), {}, "the weights have 2 dimensions"),
        ("Conv", (IMAGE, (6, 4, 3)), {}, "the input has 4 dimensions, and the weights 3"),
        ("Conv", (IMAGE, (0, 4, 3, 3)), {}, "the weights [0, 4, 3, 3] are empty"),
        ("Conv", (IMAGE, (6, 4, 3, 3)), {"kernel_shape": [3, 2]}, "kernel_shape is [3, 2]"),
        ("Conv", (IMAGE, (6, 4, 3, 3)), {"strides": [1]}, "strides has 1 numbers for 2 axes"),
        ("Conv", (IMAGE, (6, 4, 3, 3)), {"dilations": [0, 1]}, "dilations is [0, 1]"),
        ("Conv", (IMAGE, (6, 4, 3, 3)), {"pads": [1, 1]}, "pads has 2 numbers for 2 axes"),
        ("Conv", (IMAGE, (6, 4, 3, 3), (5,)), {}, "the bias is [5] for 6 channels"),
        ("Conv", (IMAGE, (6, 4, 3, 3), (1, 6)), {}, "the bias is [1, 6] for 6 channels"),
        ("ConvTranspose", (IMAGE, (3, 6, 2, 2)), {}, "has 4 channels"),
        ("ConvTranspose", (IMAGE, (4, 3, 2, 2), (3,)), {"group": 2}, "the bias is [3] for 6"),
        ("BatchNormalization", (IMAGE, (4,), (3,), (4,), (4,)), {}, "'i2' is [3] for 4 channels"),
        ("PRelu", (IMAGE, (4,)), {}, "the slope has the shape [4], and the input [None, 4, 8, 8]"),
        ("PRelu", ((4,), (1, 4)), {}, "the slope has the shape [1, 4]"),
    ],
)  # fmt: skip
def test_what_does_not(op_type: str, shapes: Any, attrs: dict[str, Any], words: str) -> None:
    with pytest.raises(ModelError) as caught:
        check(op_type, *shapes, **attrs)
    text = str(caught.value)
    assert text.startswith(f"m.onnx: node 'node': operator {op_type}: ") and words in text
    assert text.endswith("; export the model again") and "\n" not in text


def test_operators_of_others_are_not_looked_at() -> None:
    check("Conv", IMAGE, (6, 3, 3, 3), domain="mine")
    with pytest.raises(ModelError):
        check("Conv", IMAGE, (6, 3, 3, 3), domain="ai.onnx")
