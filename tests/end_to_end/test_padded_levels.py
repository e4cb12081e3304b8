"""Levels that are padded by a level, as Larq, bitorch and BoolNet do, against onnxruntime."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

import abc_tvm
from abc_tvm import targets
from abc_tvm.checks.verify.network import verify
from abc_tvm.compilation import Compilation
from abc_tvm.relay_passes.lowerings import table
from abc_tvm.relay_passes.pipeline import Phase
from abc_tvm.tuning.network import tasks_of
from tests import qemu
from tests.end_to_end.judge import Compiled, assert_equal
from tests.relay_passes.harness import Net, assert_same_bits, calls, onnxruntime_output
from tests.relay_passes.lowerings.toy import TOY

LOWERINGS = ("bitserial", "int8", "float")
SIDES = (1, 2, 3, 0)
"""Top, left, bottom, right."""


def pad(net: Net, x: str, value: float, sides: tuple[int, ...] = (1, 1, 1, 1)) -> str:
    """Rows and columns of ``value``, in the opset's own spelling."""
    top, left, bottom, right = sides
    widths = [0, 0, top, left, 0, 0, bottom, right]
    if net.opset < 11:
        return net.op("Pad", x, pads=widths, value=value)
    fill = net.constant(value)
    if net.opset < 18:
        return net.op("Pad", x, net.ints(*widths), fill)
    some = net.ints(top, left, bottom, right)
    return net.op("Pad", x, some, fill, net.ints(2, -1))


def levels(net: Net, x: str, steps: int) -> str:
    """0, 1 … ``steps``: one plane, two in binary code, or as many as there are thresholds."""
    whole = net.op("Add", net.op("Round", x), net.constant(1.0))
    return net.op("Clip", whole, net.constant(0.0), net.constant(float(steps)))


def layer(
    channels: int,
    value: float = 1.0,
    sides: tuple[int, ...] = (1, 1, 1, 1),
    *,
    steps: int = 0,
    groups: int = 1,
    opset: int = 13,
    batch: int = 1,
    own: int = 0,
    open_batch: bool = False,
    **attributes: list[int],
) -> onnx.ModelProto:
    """One convolution of padded levels; ``own`` zero padding beside that."""
    net = Net((batch, channels, 5, 6), opset=opset)
    x = net.step("input") if steps == 0 else levels(net, "input", steps)
    x = pad(net, x, value, sides)
    weight = net.signs(6 * groups, channels // groups, 3, 3)
    return net.model(net.conv(x, weight, own, group=groups, **attributes), open_batch)


CASES = {
    **{f"{c} channels": layer(c) for c in (1, 31, 32, 33, 64)},
    "minus one": layer(33, -1.0),
    "sides": layer(8, -1.0, SIDES),
    "one side": layer(8, 1.0, (0, 0, 0, 2)),
    "groups": layer(66, -1.0, groups=2),
    "depthwise": layer(6, 1.0, groups=6),
    "stride": layer(9, 1.0, SIDES, strides=[2, 2]),
    "dilation": layer(9, -1.0, SIDES, dilations=[2, 1]),
    "zeros as well": layer(9, 1.0, SIDES, own=1),
    "wider than the kernel": layer(5, -1.0, (4, 4, 4, 4)),
    "batch": layer(33, 1.0, SIDES, batch=2),
    "open batch": layer(33, -1.0, SIDES, batch=2, open_batch=True),
    "binary, one": layer(33, 1.0, SIDES, steps=3),
    "binary, last": layer(33, 3.0, steps=3, groups=3),
    "binary, two": layer(33, 2.0, steps=3),
    "three planes": layer(40, 5.0, SIDES, steps=7),
    "thermometer": layer(33, 1.0, SIDES, steps=2),
    "thermometer, last": layer(64, 2.0, steps=2),
}


FULL = [(name, lowering) for name in CASES for lowering in LOWERINGS]
SHORT = [(n, lo) for n, lo in FULL if lo != "float" and n in ("33 channels", "sides", "open batch")]


@pytest.mark.sweep("case", short=[*SHORT, ("binary, two", "bitserial")], full=FULL)
def test_one_layer(case: tuple[str, str]) -> None:
    name, lowering = case
    context = assert_same_bits(CASES[name], lowering)
    (row,) = context.layers.values()
    assert row.lowering == lowering or (lowering == "int8" and not has_dots()), row


@pytest.mark.parametrize("opset", [9, 11, 18, 19])
def test_opsets(opset: int) -> None:
    """Widths and value are attributes, then inputs; then there are axes."""
    net = Net((1, 8, 5, 6), opset=opset)
    x = pad(net, net.op("Sign", net.op("Sub", "input", net.constant(0.125))), -1.0, SIDES)
    context = assert_same_bits(net.model(net.conv(x, net.signs(6, 8, 3, 3))))
    assert [row.lowering for row in context.layers.values()] == ["bitserial"]


def block(pool: str = "", batch: int = 1) -> onnx.ModelProto:
    """As bitorch and Larq have them: float stem, binary convolutions of padded levels with batch
    normalisation of both signs between them, a residual, a second reader of what is padded."""
    net = Net((batch, 3, 9, 9))
    stem = (net.rng.integers(-2, 3, (33, 3, 3, 3)) / 2).astype(np.float32)
    x = net.conv("input", stem, 1)
    skip = x
    for value, gamma in ((-1.0, 1), (1.0, -1)):
        y = pad(net, net.step(x, 0.125), value)
        y = net.conv(y, net.signs(33, 33, 3, 3))
        if pool == "before":
            y = net.op("MaxPool", y, kernel_shape=[3, 3], strides=[1, 1], pads=[1, 1, 1, 1])
        gammas = [gamma * (-1) ** (c // 5) * 0.5 for c in range(33)]
        x = net.bn(y, gammas, 0.0625, 0.5, 1.0 - 1e-5)
    x = net.op("Add", x, skip) if not pool else x
    y = net.step(x, 0.375)
    if pool == "behind":
        y = net.op("MaxPool", y, kernel_shape=[2, 2], strides=[2, 2])
    y = pad(net, y, -1.0, SIDES)
    one = net.conv(y, net.signs(8, 33, 3, 3), strides=[2, 2])
    two = net.conv(y, net.signs(8, 33, 3, 3) * 3 + net.signs(8, 33, 3, 3), strides=[2, 2])
    return net.model(net.op("Add", one, two))


@pytest.mark.parametrize("pool", ["", "before", "behind"])
@pytest.mark.parametrize("lowering", ["bitserial", "int8"])
def test_a_network(pool: str, lowering: str) -> None:
    context = assert_same_bits(block(pool), lowering)
    taken = [row.lowering for row in context.layers.values()]
    assert taken.count("float") == 1 or not has_dots()


def test_a_network_in_float() -> None:
    assert_same_bits(block(), "float")


@pytest.mark.parametrize("lowering", ["bitserial", "int8"])
def test_verify_passes(lowering: str) -> None:
    found = verify(block("before", batch=2), lowering=lowering)
    assert found.passed and found.checked_bits > 0 and found.flipped_bits == 0


def test_levels_that_are_rounded_to_bytes() -> None:
    """What pads is rounded as the level is that it was."""
    net = Net((1, 16, 6, 6))
    above = [net.op("Cast", net.op("GreaterOrEqual", "input", net.constant(t)), to=1)
             for t in (-0.5, 0.25)]  # fmt: skip
    parts = [net.op("Mul", a, net.constant(s)) for a, s in zip(above, (0.737, 0.411), strict=True)]
    x = pad(net, net.op("Add", *parts), 0.737)
    model = net.model(net.conv(x, net.signs(8, 16, 3, 3)))
    whole = Compilation(model, "zen4", lowering="int8", allow_int8=0.1)
    module = whole.until(Phase.ENCODED)
    (anchor,), (padding,) = calls(module, "abc.int8_conv2d"), calls(module, "abc.pad_int8")
    assert float(anchor.attrs["error"]) > 0
    assert int(padding.attrs["code"]) == int(anchor.attrs["codes"][1])
    assert whole.context.opinion is not None and len(whole.context.opinion.checked) == 1


@pytest.mark.parametrize("target", ["rpi4", "native"])
def test_in_c(target: str, tmp_path: Path) -> None:
    """The whole network on a Raspberry Pi, emulated, gives onnxruntime's very numbers."""
    compiler = "gcc" if target == "native" else qemu.cross_compiler("aarch64")
    emulator = [] if target == "native" else qemu.emulator("aarch64")
    model = block("before")
    abc_tvm.compile_c(model, target, name="net", lowering="bitserial").save(tmp_path)
    sources = ["net_example.c", "net.c", "libnet.a", "-lm", "-o", "example"]
    qemu.run([compiler, "-std=c99", "-O2", *sources], tmp_path)
    x = (np.random.default_rng(0).integers(-8, 9, (1, 3, 9, 9)) / 4).astype(np.float32)
    x.tofile(tmp_path / "in.bin")
    qemu.run([*emulator, "./example", "in.bin", "out.bin"], tmp_path)
    wanted = onnxruntime_output(model, x)
    found = np.fromfile(tmp_path / "out.bin", np.float32).reshape(wanted.shape)
    np.testing.assert_array_equal(found, wanted)


def test_records_tell_it_from_zero_padding() -> None:
    """A layer that is padded by a level is another layer for the chooser, and another kernel."""
    ours, zeros = layer(32, 1.0), layer(32, 1.0, (0, 0, 0, 0), own=1)
    keys = []
    for model in (ours, zeros):
        whole = Compilation(model, "zen4", lowering="bitserial")
        whole.until(Phase.ENCODED)
        (rivals,) = whole.context.rivals.values()
        tasks = tasks_of(model, whole.device, lowering="bitserial")
        keys.append({rivals.key, *(task.key for task in tasks if task.macs)})
    assert not keys[0] & keys[1] and all(len(found) == 2 for found in keys)


def has_dots() -> bool:
    """Whether this machine has dot products of bytes."""
    return targets.load("native").cost.dot is not None


@pytest.mark.slow
@pytest.mark.usefixtures("cuda_emulation")
@pytest.mark.parametrize("lowering", ["bitserial", "int8"])
def test_on_a_gpu(lowering: str) -> None:
    """Kernels of padding are like those of pooling: one thread an element. In emulation."""
    for name in ("sides", "binary, two", "open batch"):
        model = CASES[name]
        dims = model.graph.input[0].type.tensor_type.shape.dim
        shape = [d.dim_value or 2 for d in dims]
        x = (np.random.default_rng(1).integers(-8, 9, shape) / 4).astype(np.float32)
        found = Compiled(model, lowering, "cuda-sm80")
        assert [row.lowering for row in found.layers] == [lowering]
        assert_equal(found.run({"input": x}), [onnxruntime_output(model, x)], True, name)


def test_a_lowering_from_outside_stays_in_float() -> None:
    """One that says nothing of padding: never is it left out."""
    with table.register(TOY):
        context = assert_same_bits(layer(8, -1.0, SIDES), "toy")
    (row,) = context.layers.values()
    assert row.lowering == "float" and "cannot pad with a level" in row.reason
