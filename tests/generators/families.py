"""Small networks of the other binarized families, with seeded weights.

Each function returns a :class:`Network`: model, input, one line of description. Those that
start with "exact" agree bit for bit in every correct build; the rest have real scales.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from .graph import OPSETS, GraphBuilder
from .random_networks import Network
from .spell_activations import quant
from .writer import Writer

Shape = tuple[int, ...]


class _Net:
    """Layers that every family shares, in NCHW; draws its weights from the seed."""

    def __init__(self, seed: int, exact: bool = False) -> None:
        self.rng = np.random.default_rng([seed, 20])
        self.exact = exact
        builder = GraphBuilder(int(self.rng.choice(OPSETS)))
        self.writer = Writer(builder, self.rng)
        self.op = self.writer.op
        self.const = self.writer.const
        self.channels = self.writer.channels

    def signs(self, *shape: int) -> npt.NDArray[np.float64]:
        return np.where(self.rng.random(shape) < 0.5, 1.0, -1.0)

    def sign(self, x: str, shift: npt.ArrayLike = 0.0) -> str:
        """±1, with +1 at zero in one of two spellings, after adding a per-channel shift."""
        if np.any(shift):
            x = self.op("Add", x, self.channels(shift))
        if self.writer.flip():
            inner = self.op("Sign", x)
            return self.op("Sign", self.op("Add", inner, self.const(0.1)))
        above = self.op("GreaterOrEqual", x, self.const(0.0))
        return self.op("Where", above, self.const(1.0), self.const(-1.0))

    def conv(
        self, x: str, weight: npt.ArrayLike, stride: int = 1, pad: int = 1, group: int = 1
    ) -> str:
        size = list(np.shape(weight)[2:])
        return self.op(
            "Conv",
            x,
            self.const(weight),
            kernel_shape=size,
            strides=[stride] * 2,
            pads=[pad] * 4,
            group=group,
        )

    def bn(self, x: str, channels: int, spread: float) -> str:
        """BN that brings values of the given spread near 1; dyadic if the net is exact."""
        rng = self.rng
        if self.exact:
            gamma = rng.choice([-1.0, 1.0, 1.0], channels)
            scale = 2.0 ** np.rint(np.log2(spread))
            beta = rng.integers(-4, 5, channels) / 8 + 1 / 64
            mean, var, epsilon = np.zeros(channels), np.full(channels, scale**2 - 2**-10), 2**-10
        else:
            gamma = rng.choice([-1.0, 1.0, 1.0], channels) * rng.uniform(0.7, 1.3, channels)
            beta, mean = rng.normal(0, 0.4, channels), rng.normal(0, 0.2, channels) * spread
            var, epsilon = spread**2 * rng.uniform(0.7, 1.3, channels), 1e-5
        parameters = [self.const(a) for a in (gamma, beta, mean, var)]
        return self.op("BatchNormalization", x, *parameters, epsilon=float(epsilon))

    def pool(self, x: str) -> str:
        return self.op("MaxPool", x, kernel_shape=[2, 2], strides=[2, 2])

    def classifier(self, x: str, channels: int, classes: int = 10) -> str:
        x = self.op("Flatten", self.op("GlobalAveragePool", x), axis=1)
        weight = self.rng.normal(0, 0.3, (classes, channels))
        return self.op("Gemm", x, self.const(weight), self.const(np.zeros(classes)), transB=1)

    def finish(self, result: str, input_shape: Shape, output_shape: Shape, name: str) -> Network:
        x = self.rng.normal(0, 1, input_shape).astype(np.float32)
        if self.exact:
            x = (np.rint(x * 4) / 4).astype(np.float32)
        model = self.writer.builder.finish(result, input_shape, output_shape, self.writer.flip())
        return Network(model, {"input": x}, f"{'exact' if self.exact else 'inexact'}, {name}")


def xnor_net(seed: int, k_map: bool = False) -> Network:
    """XNOR-Net (Rastegari et al. 2016): BN, Sign, Conv with alpha = mean |W| per channel, ReLU.

    With ``k_map`` the output is multiplied by K, the box filter of the mean of |x|.
    """
    net = _Net(seed)
    x = net.conv("input", net.rng.normal(0, 0.3, (32, 3, 3, 3)))
    x = net.op("Relu", x)
    for channels, following in ((32, 33), (33, 64)):
        x = net.bn(x, channels, 1.0)
        weight = net.rng.normal(0, 0.1, (following, channels, 3, 3))
        alpha = np.abs(weight).mean(axis=(1, 2, 3), keepdims=True)
        y = net.conv(net.op("Sign", x), np.where(weight >= 0, 1, -1) * alpha)
        if k_map:
            mean = net.op(
                "Conv", net.op("Abs", x), net.const(np.full((1, channels, 1, 1), 1 / channels))
            )
            y = net.op("Mul", y, net.conv(mean, np.full((1, 1, 3, 3), 1 / 9)))
        x = net.op("Relu", y)
    return net.finish(net.classifier(x, 64), (1, 3, 9, 9), (1, 10), f"XNOR-Net, K map {k_map}")


def bireal_net(seed: int) -> Network:
    """Bi-Real net (Liu et al. 2018): a shortcut round every binary convolution and its BN."""
    net = _Net(seed)
    x = net.conv("input", net.rng.normal(0, 0.3, (32, 3, 3, 3)))
    channels = 32
    for following, stride in ((32, 1), (64, 2), (64, 1)):
        scale = net.rng.uniform(0.02, 0.08, (following, 1, 1, 1))
        weight = net.signs(following, channels, 3, 3) * scale
        y = net.bn(net.conv(net.sign(x), weight, stride), following, 1.0)
        if stride == 2:
            x = net.op("AveragePool", x, kernel_shape=[2, 2], strides=[2, 2])
            x = net.conv(x, net.rng.normal(0, 0.2, (following, channels, 1, 1)), pad=0)
            x = net.bn(x, following, 1.0)
        x = net.op("Add", x, y)
        channels = following
    return net.finish(net.classifier(x, 64), (2, 3, 12, 12), (2, 10), "Bi-Real net")


def react_net(seed: int) -> Network:
    """ReActNet (Liu et al. 2020): RSign, RPReLU, 3x3 and 1x1, channels doubled by Concat."""
    net = _Net(seed)
    x = net.conv("input", net.rng.normal(0, 0.4, (32, 3, 3, 3)))

    def binary(y: str, kernel: int) -> str:
        shift = -net.rng.normal(0, 0.3, 32)
        weight = net.signs(32, 32, kernel, kernel) * net.rng.uniform(0.03, 0.1, (32, 1, 1, 1))
        return net.bn(net.conv(net.sign(y, shift), weight, pad=kernel // 2), 32, 1.0)

    def rprelu(y: str) -> str:
        y = net.op("Sub", y, net.channels(net.rng.normal(0, 0.3, 32)))
        y = net.op("PRelu", y, net.channels(net.rng.uniform(0.1, 0.4, 32)))
        return net.op("Add", y, net.channels(net.rng.normal(0, 0.3, 32)))

    x = rprelu(net.op("Add", x, binary(x, 3)))
    halves = [rprelu(net.op("Add", x, binary(x, 1))) for _ in range(2)]
    x = net.op("Concat", *halves, axis=1)
    return net.finish(net.classifier(x, 64), (1, 3, 10, 10), (1, 10), "ReActNet")


def dorefa_net(seed: int, weight_bits: int = 1, bits: int = 2, qonnx: bool = False) -> Network:
    """DoReFa-Net (Zhou et al. 2016): k-bit activations and weights on uniform levels.

    Activation: ``Round(Clip(x, 0, 1) * (2^k - 1)) / (2^k - 1)``; with ``qonnx`` a Quant operator.
    """
    net = _Net(seed)
    levels, weight_levels = 2**bits - 1, 2**weight_bits - 1
    x = net.conv("input", net.rng.normal(0, 0.3, (32, 3, 3, 3)))
    channels = 32
    for following in (40, 64):
        x = net.bn(x, channels, 1.0)
        if qonnx:
            x = quant(net.writer, x, bits, signed=False, scale=1 / levels)
        else:
            x = net.op("Clip", x, net.const(0.0), net.const(1.0))
            x = net.op("Round", net.op("Mul", x, net.const(float(levels))))
            x = net.op("Div", x, net.const(float(levels)))
        codes = net.rng.integers(0, weight_levels + 1, (following, channels, 3, 3))
        x = net.conv(x, 2 * codes / weight_levels - 1)
        x = net.op("Mul", x, net.const(0.1))
        channels = following
    name = f"DoReFa W{weight_bits}A{bits}"
    return net.finish(net.classifier(x, 64), (1, 3, 8, 8), (1, 10), name)


def binary_mlp(seed: int) -> Network:
    """A BNN multilayer perceptron: Gemm or MatMul, BN, sign; the input binarized or float."""
    net = _Net(seed, exact=True)
    x, features, batch = "input", 65, 3
    if net.writer.flip():
        x = net.sign(x)
    for i, following in enumerate((100, 64, 10)):
        weight = net.signs(following, features)
        if net.writer.flip():
            zero = net.const(np.zeros(following))
            x = net.op("Gemm", x, net.const(weight), zero, transB=1)
        else:
            x = net.op("MatMul", x, net.const(weight.T))
        x = net.bn(x, following, 8.0)
        if i < 2:
            x = net.sign(x)
        features = following
    return net.finish(x, (batch, 65), (batch, 10), "binary MLP")


def conv_pool_chain(seed: int) -> Network:
    """BinaryNet's order: convolution, MaxPool, BN, sign, several times; dense at the end."""
    net = _Net(seed, exact=True)
    weight = net.rng.integers(-4, 5, (33, 3, 3, 3)) / 4
    x = net.sign(net.bn(net.conv("input", weight), 33, 4.0))
    for channels, following, pooled in ((33, 32, True), (32, 65, False), (65, 64, True)):
        x = net.conv(x, net.signs(following, channels, 3, 3))
        if pooled:
            x = net.pool(x)
        x = net.sign(net.bn(x, following, 16.0))
    x = net.op("Flatten", x, axis=1)
    x = net.op("Gemm", x, net.const(net.signs(10, 64 * 9)), transB=1)
    return net.finish(x, (2, 3, 12, 12), (2, 10), "conv, MaxPool, BN, sign chain")


def grouped_net(seed: int) -> Network:
    """Grouped, depthwise and pointwise binary convolutions in a row."""
    net = _Net(seed, exact=True)
    x = net.sign("input", np.full(64, 1 / 64))
    for following, kernel, group in ((64, 3, 64), (66, 1, 1), (66, 3, 2), (66, 3, 66)):
        channels = 64 if group == 64 or kernel == 1 else 66
        weight = net.signs(following, channels // group, kernel, kernel)
        spread = float(np.sqrt(weight[0].size))
        x = net.bn(net.conv(x, weight, pad=kernel // 2, group=group), following, spread)
        x = net.sign(x)
    x = net.conv(x, net.signs(5, 66, 1, 1), pad=0)
    return net.finish(x, (1, 64, 7, 7), (1, 5, 7, 7), "grouped and depthwise")


FAMILIES: dict[str, Callable[[int], Network]] = {
    "xnor_net": xnor_net,
    "xnor_net_k_map": lambda seed: xnor_net(seed, k_map=True),
    "bireal_net": bireal_net,
    "react_net": react_net,
    "dorefa_w1a2": dorefa_net,
    "dorefa_w2a4": lambda seed: dorefa_net(seed, 2, 4),
    "dorefa_qonnx": lambda seed: dorefa_net(seed, 1, 3, qonnx=True),
    "binary_mlp": binary_mlp,
    "conv_pool_chain": conv_pool_chain,
    "grouped_net": grouped_net,
}
