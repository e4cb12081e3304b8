"""Products of two step functions on bits: the kernel, what is recognised, and what is not."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx
import pytest
import tvm
from tvm import te

from abc_tvm import targets
from abc_tvm.relay_passes.analysis.steps.step_function import NotAStep
from abc_tvm.relay_passes.lowerings.bit_products import WholeFactor, product, refusal
from tests.relay_passes.harness import DEVICE, Net, assert_same_bits

SIGNS, BITS, TERNARY, FOUR = [-1, 1], [0, 1], [-1, 0, 1], [0, 1, 2, 3]
ODD, SHIFTED = [-3, -1, 1, 3], [1, 2]
PAIRS = [
    (SIGNS, SIGNS), (BITS, SIGNS), (SIGNS, BITS), (BITS, BITS), (TERNARY, SIGNS),
    (FOUR, TERNARY), (ODD, ODD), (SHIFTED, SHIFTED), (SHIFTED, SIGNS),
]  # fmt: skip


def packed(index: np.ndarray, factor: WholeFactor) -> np.ndarray:
    """uint32 ``[B, H, T, P, 1, words]`` of indices of levels ``[B, H, T, K]``."""
    planes = []
    for p in range(factor.code.planes):
        binary = factor.code.kind == "binary"
        planes.append(index >> p & 1 if binary else index > p)
    bits = np.stack(planes, 3).astype(np.uint8)
    wide = np.pad(bits, [(0, 0)] * 4 + [(0, -bits.shape[-1] % 32)])
    return np.packbits(wide, -1, bitorder="little").view(np.uint32)[..., None, :]


@pytest.mark.parametrize("channels", [1, 31, 32, 33, 64, 65, 2112])
@pytest.mark.parametrize("pair", PAIRS, ids=str)
def test_the_kernel_is_its_meaning(pair: tuple[list[int], list[int]], channels: int) -> None:
    rng = np.random.default_rng(channels)
    levels = [np.array(values, np.float32) * np.float32(0.5) for values in pair]
    sizes = [(2, 3, 4, channels), (2, 3, 5, channels)]
    index = [rng.integers(0, len(v), n) for v, n in zip(levels, sizes, strict=True)]
    factors = [WholeFactor.of(one) for one in levels]
    bits = [packed(i, f) for i, f in zip(index, factors, strict=True)]
    x, y = (te.placeholder(b.shape, "uint32", name=n) for b, n in zip(bits, "xy", strict=True))
    left, right = ((f.base, f.weights) for f in factors)
    scale = factors[0].step * factors[1].step
    out = product(x, y, left, right, channels, scale, 4)
    built = tvm.compile(te.create_prim_func([x, y, out]), "llvm")
    found = tvm.runtime.tensor(np.zeros((2, 3, 4, 5), np.float32))
    built(*map(tvm.runtime.tensor, bits), found)
    a, b = (one[i].astype(np.float64) for one, i in zip(levels, index, strict=True))
    np.testing.assert_array_equal(found.numpy(), a @ b.swapaxes(2, 3))


def heads(net: Net, count: int = 3) -> str:
    """Signs of the input, as heads of tokens ``[B, H, T, D]``."""
    split = net.op("Reshape", net.step("input"), net.ints(0, 0, count, -1))
    return net.op("Transpose", split, perm=[0, 2, 1, 3])


def scores(net: Net) -> str:
    x = heads(net)
    return net.op("MatMul", x, net.op("Transpose", x, perm=[0, 1, 3, 2]))


def weighted(net: Net) -> str:
    chosen = net.op("Greater", scores(net), net.constant(2.0))
    ones = net.op("Where", chosen, net.constant(0.25), net.constant(0.0))
    return net.op("MatMul", ones, heads(net))


def tokens(net: Net) -> str:
    x, y = net.step("input"), net.step("input", 0.5)
    return net.op("MatMul", x, net.op("Transpose", y, perm=[0, 2, 1]))


def more_levels(net: Net) -> str:
    x = net.op("Round", net.op("Clip", "input", net.constant(-1.0), net.constant(2.0)))
    return net.op("MatMul", net.op("Mul", x, net.constant(0.25)), net.op(
        "Transpose", net.step("input"), perm=[0, 2, 1]))  # fmt: skip


def signs_of_scores(net: Net) -> str:
    """Zeros of an integer sum are ties of the next step all the time."""
    return net.op("MatMul", net.op("Sign", scores(net)), heads(net))


CASES: dict[str, tuple[Callable[[Net], str], int]] = {
    "scores": (scores, 1), "scores and values": (weighted, 2), "tokens": (tokens, 1),
    "more levels": (more_levels, 1), "signs of scores": (signs_of_scores, 2),
}  # fmt: skip


def model(build: Callable[[Net], str], opened: bool = False) -> onnx.ModelProto:
    net = Net((2, 8, 96))
    return net.model(build(net), opened)


@pytest.mark.parametrize("opened", [False, True], ids=["fixed", "open batch"])
@pytest.mark.parametrize("name", CASES)
def test_networks_have_the_bits_of_onnxruntime(name: str, opened: bool) -> None:
    build, count = CASES[name]
    rows = assert_same_bits(model(build, opened)).layers.values()
    assert [(row.op, row.lowering) for row in rows] == [("MatMul", "bitserial")] * count


def floats(net: Net) -> str:
    return net.op("MatMul", "input", net.op("Transpose", net.step("input"), perm=[0, 2, 1]))


def right_floats(net: Net) -> str:
    return net.op("MatMul", net.step("input"), net.op("Transpose", "input", perm=[0, 2, 1]))


def repeated(net: Net) -> str:
    one = net.op("Slice", net.step("input"), net.ints(0), net.ints(1), net.ints(0))
    return net.op("MatMul", net.step("input"), net.op("Transpose", one, perm=[0, 2, 1]))


def across_images(net: Net) -> str:
    rows = net.op("Reshape", net.step("input"), net.ints(2, -1))
    return net.op("MatMul", rows, net.op("Transpose", rows, perm=[1, 0]))


REFUSED: dict[str, tuple[Callable[[Net], str], str]] = {
    "left": (floats, "the left one is no step function on bits: its input is a float tensor"),
    "right": (right_floats, "the right one is no step function on bits"),
    "repeated": (repeated, "one is repeated"),
    "images": (across_images, "they are no matrices of one batch"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_stays_in_float_says_why(name: str) -> None:
    build, why = REFUSED[name]
    (row,) = assert_same_bits(model(build)).layers.values()
    assert row.lowering == "float" and why in row.reason


def test_costs_and_limits() -> None:
    device, signs = targets.load(DEVICE), np.array([-1, 1], np.float32)
    assert refusal(signs, signs, 64, device) == ""
    many = np.arange(256, dtype=np.float32)
    assert refusal(signs, signs, 1, device) == ""
    assert "force with lowering=bitserial" in refusal(many, many, 8, device)
    assert refusal(many, many, 8, device, forced=True) == ""
    assert "32 bits" in refusal(many, many, 2**15, device, forced=True)
    with pytest.raises(NotAStep, match="no multiples of one step"):
        WholeFactor.of(np.array([1, np.pi, 17.7], np.float32))
