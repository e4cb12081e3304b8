"""Single layers as networks, of shapes that no rule was fitted to: for ``benchmarks/tuning.py``."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from abc_tvm.reference import weight_bases


@dataclass(frozen=True)
class Shape:
    """A convolution on ``size`` (height, width) or, at 1x1, a dense layer.

    ``M`` and ``N`` are its planes; 0 for a float layer.
    """

    name: str
    size: tuple[int, int]
    channels: tuple[int, int]
    kernel: int = 1
    stride: int = 1
    groups: int = 1
    M: int = 1
    N: int = 1


def both(name: str, *args: object, **more: int) -> list[Shape]:
    """The layer on bits (M = N = 1) and in float."""
    return [
        Shape(name, *args, **more),  # type: ignore[arg-type]
        Shape(f"{name}, float", *args, **more, M=0, N=0),  # type: ignore[arg-type]
    ]


HELD_OUT = [
    *both("5x5 stride 2", (17, 23), (96, 80), kernel=5, stride=2),
    *both("odd channels", (31, 31), (33, 65), kernel=3),
    *both("1x1", (14, 14), (256, 1024)),
    *both("groups=4", (28, 28), (128, 128), kernel=3, groups=4),
    Shape("M=2 N=4", (19, 19), (160, 96), kernel=3, M=2, N=4),
    Shape("M=4 N=2", (10, 40), (64, 192), kernel=3, M=4, N=2),
    Shape("M=N=5", (15, 15), (64, 64), kernel=3, M=5, N=5),
    *both("dense", (1, 1), (1000, 4096)),
    *both("small image", (5, 5), (96, 96), kernel=3),
    *both("wide image", (6, 90), (48, 48), kernel=3),
]


def network(shape: Shape, seed: int = 0) -> onnx.ModelProto:
    """The layer between a sum of sign functions (or nothing) and a scale and shift."""
    rng = np.random.default_rng(seed)
    (height, width), (cin, cout) = shape.size, shape.channels
    weights = (cout, cin // shape.groups, shape.kernel, shape.kernel)
    constants: dict[str, np.ndarray] = {
        "scale": rng.uniform(0.5, 2, (1, cout, 1, 1)).astype(np.float32),
        "shift": rng.normal(size=(1, cout, 1, 1)).astype(np.float32),
        "w": rng.normal(size=weights).astype(np.float32),
    }
    nodes = []
    data = "input"
    if shape.M:
        bases = weight_bases(constants["w"], shape.M)
        constants["w"] = np.tensordot(0.7 ** np.arange(shape.M), bases, 1).astype(np.float32)
        terms = []
        for n in range(shape.N):
            constants[f"t{n}"] = np.array((n + 0.5) / shape.N - 0.5, np.float32)
            constants[f"b{n}"] = np.array(0.8**n, np.float32)
            nodes += [
                helper.make_node("Sub", ["input", f"t{n}"], [f"x{n}"]),
                helper.make_node("Sign", [f"x{n}"], [f"s{n}"]),
                helper.make_node("Mul", [f"s{n}", f"b{n}"], [f"a{n}"]),
            ]
            terms.append(f"a{n}")
        data = terms[0]
        if shape.N > 1:
            nodes.append(helper.make_node("Sum", terms, ["levels"]))
            data = "levels"
    pad = shape.kernel // 2
    out = [(extent + 2 * pad - shape.kernel) // shape.stride + 1 for extent in shape.size]
    nodes += [
        helper.make_node(
            "Conv", [data, "w"], ["conv"], name="layer", strides=[shape.stride] * 2,
            pads=[pad] * 4, group=shape.groups, kernel_shape=[shape.kernel] * 2,
        ),
        helper.make_node("Mul", ["conv", "scale"], ["scaled"]),
        helper.make_node("Add", ["scaled", "shift"], ["output"]),
    ]  # fmt: skip
    ends = [
        helper.make_tensor_value_info("input", TensorProto.FLOAT, [1, cin, height, width]),
        helper.make_tensor_value_info("output", TensorProto.FLOAT, [1, cout, *out]),
    ]
    tensors = [numpy_helper.from_array(array, name) for name, array in constants.items()]
    graph = helper.make_graph(nodes, "layer", ends[:1], ends[1:], tensors)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 8
    return model
