"""Small networks that the second opinion is tried on, one a kind of claim."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx

from abc_tvm.checks.opinion import Opinion
from abc_tvm.compilation import Compilation
from abc_tvm.relay_passes.context import Context
from abc_tvm.relay_passes.pipeline import Phase
from tests.relay_passes.harness import Net, two_layers


def judged(
    model: onnx.ModelProto, lowering: str = "bitserial", allow_int8: float | None = None
) -> tuple[Opinion, Context, Any]:
    """What the second opinion says of a network, what the passes found, and the encoded module."""
    whole = Compilation(model, "zen4", lowering=lowering, allow_int8=allow_int8)
    module = whole.until(Phase.ENCODED)
    return whole.context.opinion or Opinion(), whole.context, module


def clip(net: Net, x: str) -> str:
    return net.op("Clip", x, net.constant(0.0), net.constant(1.0))


def quantised(net: Net, x: str, steps: int) -> str:
    """Levels 0, 1/steps … 1."""
    whole = net.op("Round", net.op("Mul", clip(net, x), net.constant(float(steps))))
    return net.op("Div", whole, net.constant(float(steps)))


def levels() -> onnx.ModelProto:
    """Two bits before a grouped, padded convolution, and four before one that is strided."""
    net = Net((1, 8, 7, 7))
    x = net.conv(quantised(net, "input", 3), net.signs(6, 4, 3, 3), 1, group=2)
    x = net.bn(x, [0.1, -0.2, 0.3, 0.1, 0.2, -0.1], 0.4, 0.5, 2.0)
    return net.model(net.conv(quantised(net, x, 15), net.signs(4, 6, 3, 3), strides=[2, 2]))


def both_signs() -> onnx.ModelProto:
    """One comparison, read with both signs, by two convolutions."""
    net = Net((1, 4, 5, 5))
    x = net.conv("input", net.rng.normal(size=(6, 4, 3, 3)).astype(np.float32))
    above = net.op("GreaterOrEqual", x, net.constant(0.25))
    one, minus = net.constant(1.0), net.constant(-1.0)
    first = net.conv(net.op("Where", above, one, minus), net.signs(4, 6, 2, 2))
    second = net.conv(net.op("Where", above, minus, one), net.signs(4, 6, 2, 2))
    return net.model(net.op("Add", first, net.op("Relu", second)))


def both_signs_of_levels() -> onnx.ModelProto:
    """The same with four levels."""
    net = Net((1, 4, 5, 5))
    x = quantised(net, net.conv("input", net.signs(6, 4, 3, 3)), 3)
    turned = net.op("Sub", net.constant(1.0), x)
    first, second = (net.conv(v, net.signs(4, 6, 2, 2)) for v in (x, turned))
    return net.model(net.op("Add", first, net.op("Relu", second)))


def both_signs_pooled() -> onnx.ModelProto:
    """Two readers of one pooling, turned round by batch normalisation for the second."""
    net = Net((1, 4, 9, 9))
    x = net.conv(net.step("input"), net.signs(6, 4, 3, 3))
    x = net.op("MaxPool", x, kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])
    x = net.bn(x, [1, -2, 1, -0.5, 1, -1], 0.5)
    above = net.op("GreaterOrEqual", x, net.constant(0.0))
    one, minus = net.constant(1.0), net.constant(-1.0)
    first = net.conv(net.op("Where", above, one, minus), net.signs(4, 6, 2, 2))
    second = net.conv(net.op("Where", above, minus, one), net.signs(4, 6, 2, 2))
    return net.model(net.op("Add", first, net.op("Relu", second)))


def pooled_relu() -> onnx.ModelProto:
    """ReLU, pooling, Sign: a zero is a tie that half of all values meet."""
    net = Net((1, 4, 9, 9))
    x = net.conv("input", net.rng.normal(size=(6, 4, 3, 3)).astype(np.float32))
    x = net.op("MaxPool", net.op("Relu", x), kernel_shape=[2, 2], strides=[2, 2])
    return net.model(net.conv(net.op("Sign", x), net.signs(4, 6, 2, 2)))


def spread_out(net: Net) -> str:
    """A tensor of six channels, 8x8, that stands still nowhere."""
    x = net.conv("input", net.rng.normal(size=(6, 4, 3, 3)).astype(np.float32), 1)
    return net.bn(x, [0.7, 1.3, 0.9, 1.1, 0.6, 1.7], [0.31, -0.47, 0.23, 0.91, -0.77, 0.13])


def padded_by(value: float | None = None) -> onnx.ModelProto:
    """Pad before a Sign: what it writes is a tie, or is none but at ``value``."""
    net = Net((1, 4, 8, 8))
    extra = [] if value is None else [net.constant(value)]
    x = net.op("Pad", spread_out(net), net.constant([0, 0, 1, 1, 0, 0, 1, 1], np.int64), *extra)
    if value is not None:
        x = net.op("Sub", x, net.constant(value))
    return net.model(net.conv(net.op("Sign", x), net.signs(4, 6, 2, 2)))


def padded_by_levels(
    first: tuple[int, int], second: tuple[int, int], steps: int
) -> onnx.ModelProto:
    """Levels 1 to 2 behind batch normalisation of both signs, read padded by either end.

    ``first`` and ``second``: rows above and below.
    """
    net = Net((1, 4, 7, 7))
    x = net.conv(net.step("input", 0.25), net.signs(6, 4, 3, 3), 1)
    x = net.bn(x, [0.1, -0.2, 0.3, 0.1, -0.2, -0.1], 0.4, 0.5, 2.0)
    x = net.op("Add", quantised(net, x, steps), net.constant(1.0))
    ends = []
    for value, (top, bottom) in ((1.0, first), (2.0, second)):
        widths = net.ints(0, 0, top, 1, 0, 0, bottom, 1)
        padded = net.op("Pad", x, widths, net.constant(value))
        ends.append(net.conv(padded, net.signs(4, 6, 3, 3)))
    return net.model(net.op("Concat", *ends, axis=1))


def padded_levels(steps: int = 1) -> onnx.ModelProto:
    """Padding that differs by its sides."""
    return padded_by_levels((1, 2), (2, 1), steps)


def one_padding_of_two_levels() -> onnx.ModelProto:
    """Padding that differs by its level alone."""
    return padded_by_levels((1, 1), (1, 1), 1)


def moved_levels() -> onnx.ModelProto:
    """Two steps of different levels side by side, shuffled, with a border of a level, cut."""
    net = Net((1, 6, 6, 5))
    stem = net.conv("input", np.eye(6, dtype=np.float32).reshape(6, 6, 1, 1) * 0.7)
    signs = net.op("Sign", net.op("Add", stem, net.channels(np.arange(6) / 10 - 0.23)))
    bits = net.op("Cast", net.op("Greater", "input", net.constant(0.3)), to=1)
    x = net.op("Concat", signs, bits, signs, axis=1)
    wide = net.op("Reshape", x, net.ints(1, 3, 6, 6, 5))
    x = net.op("Reshape", net.op("Transpose", wide, perm=[0, 2, 1, 3, 4]), net.ints(1, 18, 6, 5))
    x = net.op("Pad", x, net.ints(0, 0, 1, 2, 0, 0, 0, 1), net.constant(1.0))
    x = net.op("Slice", x, net.ints(0), net.ints(6), net.ints(2))
    return net.model(net.conv(x, net.signs(5, 18, 3, 3)))


def thermometer() -> onnx.ModelProto:
    """Many thresholds of one tensor, side by side."""
    net = Net((1, 3, 5, 5))
    parts = [net.op("Cast", net.op("GreaterOrEqual", "input", net.constant(t / 4 + 0.1)), to=1)
             for t in range(-3, 4)]  # fmt: skip
    return net.model(net.conv(net.op("Concat", *parts, axis=1), net.signs(4, 21, 3, 3)))


def xnor() -> onnx.ModelProto:
    """A product of two signs, which is a step of no single tensor."""
    net = Net((1, 6, 6, 5))
    stem = net.conv("input", np.eye(6, dtype=np.float32).reshape(6, 6, 1, 1) * 0.7)
    x = net.op("Mul", net.step(stem, 0.2), net.step("input", -0.1))
    return net.model(net.conv(x, net.signs(4, 6, 3, 3)))


def put_together() -> onnx.ModelProto:
    """Channels that stand still nowhere, and the input's, which may anywhere, pooled."""
    net = Net((1, 4, 8, 8))
    x = net.op("Concat", spread_out(net), "input", axis=1)
    x = net.op("MaxPool", x, kernel_shape=[2, 2], strides=[2, 2])
    return net.model(net.conv(net.op("Sign", x), net.signs(4, 10, 2, 2)))


def summed_up() -> onnx.ModelProto:
    """Behind an operator that the passes do not know."""
    net = Net((1, 4, 8, 8))
    x = net.op("CumSum", "input", net.constant(2, np.int64))
    return net.model(net.conv(net.op("Sign", x), net.signs(4, 4, 2, 2)))


def without_the_largest() -> onnx.ModelProto:
    """Differences of values that may stand still anywhere, one of them the largest of several."""
    net = Net((1, 4, 8, 8))
    x = net.op("Sub", "input", net.op("ReduceMax", "input", axes=[1], keepdims=1))
    return net.model(net.conv(net.op("Sign", x), net.signs(4, 4, 2, 2)))


def transposed() -> onnx.ModelProto:
    """A dilated ConvTranspose, which stays one, with a bias before a step."""
    net = Net((1, 3, 4, 4))
    weight, bias = net.constant(net.signs(3, 6, 2, 2)), net.constant([-0.5, 0.25, 1, 2, -2, 0])
    x = net.op("ConvTranspose", "input", weight, bias, kernel_shape=[2, 2], dilations=[2, 2])
    return net.model(net.conv(net.step(x), net.signs(4, 6, 2, 2)))


def uneven_weights() -> onnx.ModelProto:
    """1e8 in one output channel, 0.45 in another."""
    net = Net((1, 4, 5, 5))
    weight = net.signs(6, 4, 2, 2)
    weight[0] *= np.float32(1e8)
    weight[1:] *= np.float32(0.45)
    return net.model(net.conv(net.step("input"), weight))


def spelled(bases: int = 2, steps: int = 2) -> onnx.ModelProto:
    """ABC-Net's sum of convolutions, written out, then batch normalisation and a binary layer."""
    net = Net((1, 4, 6, 6))
    weights = [net.constant(net.signs(6, 4, 3, 3)) for _ in range(bases)]
    total = ""
    for n in range(steps):
        data = net.step("input", 0.4 * n - 0.2)
        for m in range(bases):
            x = net.op("Conv", data, weights[m], kernel_shape=[3, 3])
            x = net.op("Mul", x, net.constant(np.float32((0.7 - 0.3 * m) * (0.9 - 0.25 * n))))
            total = net.op("Add", total, x) if total else x
    total = net.op("Add", total, net.channels([0.1, -0.2, 0.3, 0, 0.5, 0.25]))
    x = net.bn(total, [1, -1, 0.5, 2, -0.5, 1], 0.3, 1.0, 4.0)
    return net.model(net.conv(net.step(x), net.signs(4, 6, 2, 2)))


def flattened() -> onnx.ModelProto:
    """A pooled binary image, flattened, before a dense layer, and one more."""
    net = Net((1, 4, 6, 6))
    x = net.conv(net.step("input", 0.25), net.signs(8, 4, 3, 3), 1)
    x = net.op("MaxPool", x, kernel_shape=[2, 2], strides=[2, 2])
    x = net.step(net.bn(x, [1, -1, 0.5, 2, -0.5, 1, 1, 3], 0.3, 1.0, 4.0))
    x = net.op("Flatten", x)
    x = net.op("Gemm", x, net.constant(net.signs(5, 72)), transB=1)
    x = net.op("Sign", net.op("Add", x, net.constant(0.5)))
    return net.model(net.op("MatMul", x, net.constant(net.signs(5, 3))))


def rounded() -> onnx.ModelProto:
    """Levels and scales that are no multiples of one number."""
    net = Net((1, 64, 6, 6))
    step, half = net.step("input", 0.5), net.step("input", -0.5)
    x = net.op("Add", net.op("Mul", step, net.constant(0.7312)), half)
    weight = net.signs(8, 64, 3, 3) * np.float32(0.3171) + net.signs(8, 64, 3, 3)
    return net.model(net.conv(x, weight, 1))


def shuffled() -> onnx.ModelProto:
    """Weights of scales of their own in every channel, and 2-bit weights."""
    net = Net((1, 4, 6, 6))
    scales = np.linspace(0.25, 1.5, 8, dtype=np.float32).reshape(-1, 1, 1, 1)
    x = net.conv(net.step("input"), net.signs(8, 4, 3, 3) * scales, 1)
    x = net.op("Add", x, net.channels(np.linspace(-2, 2, 8)))
    weight = net.rng.integers(-3, 4, (5, 8, 3, 3)).astype(np.float32) * np.float32(0.125)
    return net.model(net.conv(net.step(x), weight))


NETWORKS: dict[str, Callable[[], onnx.ModelProto]] = {
    "two layers": two_layers,
    "two layers, padded": lambda: two_layers(pad=1),
    "two layers, pooled": lambda: two_layers(pool=True, alpha=0.3),
    "levels": levels,
    "both signs": both_signs,
    "both signs of levels": both_signs_of_levels,
    "both signs, pooled": both_signs_pooled,
    "pooled relu": pooled_relu,
    "uneven weights": uneven_weights,
    "spelled": spelled,
    "flattened": flattened,
    "shuffled": shuffled,
    "rounded": rounded,
    "padded by zero": padded_by,
    "padded by a half": lambda: padded_by(0.5),
    "padded levels": padded_levels,
    "padding of two levels": one_padding_of_two_levels,
    "padded levels of two bits": lambda: padded_levels(3),
    "put together": put_together,
    "summed up": summed_up,
    "without the largest": without_the_largest,
}
