"""Depthwise and other narrow groups on bytes, against onnxruntime: no dot product is needed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

import abc_tvm
from abc_tvm import targets
from abc_tvm.checks.verify.network import verify
from abc_tvm.compilation import Compilation
from abc_tvm.relay_passes.pipeline import Phase
from tests import qemu
from tests.relay_passes.harness import Net, assert_same_bits, calls, onnxruntime_output


def levels(net: Net, x: str, steps: int) -> str:
    """-1 and 1 for one step; else 0, 1 … ``steps``."""
    if steps == 1:
        return net.step(x, 0.125)
    whole = net.op("Add", net.op("Round", x), net.constant(1.0))
    return net.op("Clip", whole, net.constant(0.0), net.constant(float(steps)))


def pad(net: Net, x: str, value: float, channels: int) -> str:
    """A row above, two columns on the right, one level in them."""
    del channels
    return net.op("Pad", x, net.ints(0, 0, 1, 0, 0, 0, 0, 2), net.constant(value))


def pool(net: Net, x: str, steps: int, channels: int) -> str:
    del steps, channels
    return net.op("MaxPool", x, kernel_shape=[2, 2], strides=[1, 1])


def shuffle(net: Net, x: str, steps: int, channels: int) -> str:
    """Channels the other way round."""
    del steps
    return net.op("Gather", x, net.ints(*range(channels - 1, -1, -1)), axis=1)


def padded(net: Net, x: str, steps: int, channels: int) -> str:
    return pad(net, x, 1.0 if steps == 1 else float(steps), channels)


def shuffled_and_padded(net: Net, x: str, steps: int, channels: int) -> str:
    return pad(net, shuffle(net, x, steps, channels), -1.0 if steps == 1 else 0.0, channels)


def narrow(
    groups: int,
    inputs: int = 1,
    outputs: int = 1,
    *,
    steps: int = 1,
    largest: int = 1,
    kernel: tuple[int, int] = (3, 3),
    own: int = 1,
    before: Any = None,
    alone: bool = False,
    batch: int = 1,
    open_batch: bool = False,
    **attributes: list[int],
) -> onnx.ModelProto:
    """A layer of ``groups`` and, unless it is ``alone``, a batch normalisation of both signs, a
    step and a layer of all channels behind it; ``largest`` weight (1: signs); ``own`` padding."""
    channels, outs = groups * inputs, groups * outputs
    net = Net((batch, channels, 6, 7))
    x = levels(net, "input", steps)
    x = x if before is None else before(net, x, steps, channels)
    weight = net.signs(outs, inputs, *kernel)
    if largest > 1:
        whole = net.rng.integers(-largest, largest + 1, weight.shape)
        weight = whole.astype(np.float32) / 4
    x = net.conv(x, weight, own, group=groups, **attributes)
    if not alone:
        gammas = [(-1.0) ** (c // 5) * 0.5 for c in range(outs)]
        x = net.bn(x, gammas, 0.0625, 0.5, 1.0 - 1e-5)
        x = net.conv(levels(net, x, steps), net.signs(5, outs, 1, 1))
    return net.model(x, open_batch)


CASES: dict[str, onnx.ModelProto] = {
    **{f"{c} channels": narrow(c) for c in (2, 31, 32, 33, 63, 64, 65, 256)},
    "two outputs": narrow(33, 1, 2),
    "three outputs": narrow(33, 1, 3, steps=3),
    "31 outputs": narrow(3, 1, 31),
    "two inputs": narrow(17, 2),
    "three inputs, two outputs": narrow(17, 3, 2, steps=3),
    "three levels of weights": narrow(33, steps=2, largest=2),
    "four levels": narrow(33, steps=3),
    "16 levels, words": narrow(33, steps=15, largest=7),
    "128 levels": narrow(33, steps=127),
    "256 levels, wide sums": narrow(33, steps=255, largest=50),
    "no padding": narrow(33, own=0),
    "stride": narrow(33, strides=[2, 2]),
    "stride, dilation, two outputs": narrow(33, 1, 2, strides=[2, 1], dilations=[1, 2]),
    "a row": narrow(33, kernel=(1, 5), own=0),
    "many taps": narrow(20, kernel=(9, 8), own=4),
    "pooled": narrow(33, before=pool, steps=3),
    "padded by a level": narrow(33, before=padded, own=0),
    "padded by a level and by zeros": narrow(10, 2, 2, before=padded, steps=3),
    "moved": narrow(33, before=shuffle, steps=3),
    "moved and padded": narrow(33, before=shuffled_and_padded),
    "floats behind it": narrow(33, alone=True),
    "floats behind two outputs": narrow(33, 1, 2, alone=True, steps=3),
    "batch": narrow(33, batch=3),
    "open batch": narrow(33, batch=2, open_batch=True, steps=3),
    "open batch, two outputs": narrow(33, 1, 2, batch=2, open_batch=True),
}

SHORT = ["33 channels", "three outputs", "16 levels, words", "moved and padded", "open batch"]


@pytest.mark.sweep("name", short=SHORT, full=list(CASES))
def test_one_layer(name: str) -> None:
    context = assert_same_bits(CASES[name], "int8")
    layer, *_ = context.layers.values()
    assert layer.lowering == "int8", layer


@pytest.mark.sweep("name", short=SHORT[:2], full=list(CASES))
def test_codes_lie_in_one_group(name: str) -> None:
    """And the second opinion reads them there."""
    whole = Compilation(CASES[name], "zen4", lowering="int8")
    anchor, *_ = calls(whole.until(Phase.ENCODED), "abc.int8_conv2d")
    assert int(anchor.attrs["groups"]) > 1 and int(anchor.args[0].ty.shape[3]) == 1
    opinion = whole.context.opinion
    assert opinion is not None and not opinion.wrong and not opinion.unknown, opinion
    assert opinion.checked


def two_readers() -> onnx.ModelProto:
    """A step that a depthwise layer and one of all channels read, with a residual, and a chain."""
    net = Net((2, 33, 6, 6))
    x = net.step("input", 0.125)
    deep = net.conv(x, net.signs(33, 1, 3, 3), 1, group=33)
    wide = net.conv(x, net.signs(33, 33, 1, 1))
    both = net.op("Add", deep, wide)
    y = net.conv(net.step(both, 0.5), net.signs(66, 1, 3, 3), 1, group=33)
    z = net.conv(net.step(y, -0.5), net.signs(66, 1, 3, 3), 1, group=66)
    return net.model(net.op("Add", z, y))


def test_several_in_a_row() -> None:
    context = assert_same_bits(two_readers(), "int8")
    taken = [row.lowering for row in context.layers.values()]
    assert taken.count("int8") == (4 if has_dots() else 3)


def test_verify_passes() -> None:
    for model in (two_readers(), CASES["three outputs"], CASES["moved and padded"]):
        found = verify(model, lowering="int8")
        assert found.passed and found.checked_bits > 0 and found.flipped_bits == 0


@pytest.mark.parametrize("target", ["rpi4", "native", "rpi-armv7"])
def test_in_c(target: str, tmp_path: Path) -> None:
    """On emulated Raspberry Pis without dot products, too."""
    architecture = {"rpi4": "aarch64", "rpi-armv7": "arm"}.get(target)
    compiler = "gcc" if architecture is None else qemu.cross_compiler(architecture)
    emulator = [] if architecture is None else qemu.emulator(architecture)
    net = Net((1, 33, 6, 6))
    x = net.conv(net.step("input", 0.125), net.signs(66, 1, 3, 3), 1, group=33)
    x = net.conv(levels(net, x, 3), net.signs(66, 1, 3, 3), 1, group=66, strides=[2, 2])
    model = net.model(x)
    assert [r.lowering for r in abc_tvm.inspect(model, target=target, lowering="int8")] == [
        "int8",
        "int8",
    ]
    abc_tvm.compile_c(model, target, name="net", lowering="int8").save(tmp_path)
    sources = ["net_example.c", "net.c", "libnet.a", "-lm", "-o", "example"]
    qemu.run([compiler, "-std=c99", "-O2", *sources], tmp_path)
    data = (np.random.default_rng(0).integers(-8, 9, (1, 33, 6, 6)) / 4).astype(np.float32)
    data.tofile(tmp_path / "in.bin")
    qemu.run([*emulator, "./example", "in.bin", "out.bin"], tmp_path)
    wanted = onnxruntime_output(model, data)
    found = np.fromfile(tmp_path / "out.bin", np.float32).reshape(wanted.shape)
    np.testing.assert_array_equal(found, wanted)


def has_dots() -> bool:
    """Whether this machine has dot products of bytes."""
    return targets.load("native").cost.dot is not None
