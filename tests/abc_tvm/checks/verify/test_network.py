"""Verification: it passes what is right, and fails what is not."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from abc_tvm import zoo
from abc_tvm.checks.verify import network as module
from abc_tvm.checks.verify.compare import relative_error
from abc_tvm.checks.verify.network import verify
from abc_tvm.relay_passes.lowerings.codec import ByteCodec, Codec
from abc_tvm.targets import load
from tests.abc_tvm.small_networks import network

LEVELS = np.array([-1.0, 0.0, 2.0])


def bits(channels: int = 70, groups: int = 2) -> Codec:
    """Thermometer bits of the levels -1, 0 and 2."""
    patterns = np.array([[0, 0], [1, 0], [1, 1]], np.uint8)
    return Codec(channels, groups, -1.0, np.array([1.0, 2.0]), patterns)


def test_bits_are_unpacked(rng: np.random.Generator) -> None:
    """Two groups of 35 channels: two words each, channel c at bit c of its group."""
    code, index = bits(), rng.integers(0, 3, (2, 3, 4, 70))
    packed = np.zeros((2, 3, 4, 2, 2, 2), np.uint32)
    for channel in range(70):
        group, place = divmod(channel, 35)
        for plane in range(2):
            bit = (index[..., channel] > plane).astype(np.uint32)
            packed[:, :, :, plane, group, place // 32] |= bit << np.uint32(place % 32)
    np.testing.assert_array_equal(code.index(packed), index)
    np.testing.assert_array_equal(code.levels(code.patterns), LEVELS)


def test_binary_planes_are_unpacked(rng: np.random.Generator) -> None:
    index = rng.integers(0, 4, (1, 1, 1, 32))
    patterns = np.array([[0, 0], [1, 0], [0, 1], [1, 1]], np.uint8)
    code = Codec(32, 1, 0.0, np.array([1.0, 2.0]), patterns)
    packed = np.zeros((1, 1, 1, 2, 1, 1), np.uint32)
    for channel, value in enumerate(index.reshape(-1)):
        for plane in range(2):
            packed[0, 0, 0, plane, 0, 0] |= np.uint32(value >> plane & 1) << np.uint32(channel)
    np.testing.assert_array_equal(code.index(packed), index)


@pytest.mark.parametrize("dtype", ["uint8", "int8"])
def test_codes_are_unpacked(dtype: str, rng: np.random.Generator) -> None:
    """Codes -1, 0 and 2 of the same levels, shifted by the code of zero."""
    plain, zero = bits(), 1 if dtype == "uint8" else 0
    codes = tuple(n + zero for n in (-1, 0, 2))
    code = ByteCodec(70, 2, plain.base, plain.weights, plain.patterns, codes)
    index = rng.integers(0, 3, (2, 3, 4, 70))
    packed = np.zeros((2, 3, 4, 2, 64), dtype)
    packed[..., :35] = np.array(codes, dtype)[index].reshape(2, 3, 4, 2, 35)
    np.testing.assert_array_equal(code.index(packed), index)


def test_rounding_to_bytes_is_counted_and_has_a_criterion_of_its_own() -> None:
    if load("native").cost.dot is None:
        pytest.skip("this machine has no dot products of bytes (AVX-512 VNNI)")
    model = zoo.build("lenet", M=3, N=3)
    exact = verify(model, lowering="bitserial")
    assert exact.json()["error_bound"] == 0 and exact.passed
    rounded = verify(model, lowering="int8", allow_int8=True)
    facts = rounded.json()
    assert rounded.passed and facts["int8_layers"] == len(rounded.layers) > 0
    assert 0 < facts["error_bound"] < 0.02
    assert 0 < rounded.forced_error < 0.05, "rounding that changes nothing is no rounding"


class Wrong:
    """A loaded network whose outputs are changed."""

    def __init__(self, session: Any, change: Any) -> None:
        self.session, self.change = session, change

    def run(self, arrays: Any) -> dict[str, np.ndarray]:
        found = self.session.run(arrays)
        return {name: np.asarray(self.change(array)) for name, array in found.items()}


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda y: y[:, ::-1] + 1, "output 'output': "),
        (lambda y: y * np.float32(1.001), "output 'output': "),
        (lambda y: y[:, :3], "is float32 [4, 3, 6, 6], onnxruntime's is float32 [4, 4, 6, 6]"),
        (lambda y: y.astype(np.float64), "is float64 [4, 4, 6, 6], onnxruntime's is float32"),
        (lambda y: np.where(np.arange(y.size).reshape(y.shape) == 7, np.nan, y), "output"),
    ],
)
def test_wrong_outputs_fail(change: Any, says: str, monkeypatch: pytest.MonkeyPatch) -> None:
    good = module._load
    monkeypatch.setattr(module, "_load", lambda artifact: Wrong(good(artifact), change))
    outcome = verify(network(), lowering="bitserial")
    assert not outcome.passed
    assert any(says in fault for fault in outcome.faults), outcome.faults


def test_a_float_network_is_compared_end_to_end() -> None:
    outcome = verify(network(binary=False))
    facts = outcome.json()
    assert outcome.passed and outcome.images == 4
    assert (outcome.checked_bits, outcome.layers) == (0, ())
    assert facts["binarized_layers"] == 0 and facts["note"].startswith("nothing is binarized")
    assert verify(network(), lowering="bitserial").json()["note"] == ""


def test_flips_by_rounding_pass() -> None:
    """Bases spelled out, real scales: bits flip, and every one is at its threshold."""
    outcome = verify(zoo.build("resnet8", 3, 3, seed=SEED), lowering="bitserial", seed=SEED)
    assert outcome.passed and outcome.unchecked_layers == ()
    assert outcome.unexplained_bits == 0


SEED = 1


def test_several_outputs_of_many_types() -> None:
    """Outputs inside and at the end, integers, booleans; operators that stay functions (Pad)."""
    rng = np.random.default_rng(1)
    node = helper.make_node
    nodes = [
        node("Sign", ["x"], ["a"], "sign"),
        node("Conv", ["a", "w"], ["c"], "conv", pads=[1, 1, 1, 1]),
        node("MaxPool", ["x"], ["p"], "pool", kernel_shape=[1, 1], strides=[2, 2]),
        node("Pad", ["p", "widths"], ["padded"], "option_a"),
        node("MaxPool", ["c"], ["d"], "down", kernel_shape=[1, 1], strides=[2, 2]),
        node("Add", ["d", "padded"], ["y"], "join"),
        node("GlobalAveragePool", ["y"], ["g"], "mean"),
        node("ArgMax", ["g"], ["class"], "class", axis=1),
        node("Greater", ["y", "zero"], ["above"], "above"),
        node("Pad", ["c", "edges"], ["wide"], "reflect", mode="reflect"),
    ]
    weights = {
        "w": rng.choice([-1, 1], (48, 32, 3, 3)).astype(np.float32),
        "widths": np.int64([0, 8, 0, 0, 0, 8, 0, 0]),
        "edges": np.int64([0, 0, 1, 2, 0, 0, 2, 1]),
        "zero": np.float32(0),
    }
    kinds = {
        "y": (TensorProto.FLOAT, [2, 48, 3, 3]),
        "c": (TensorProto.FLOAT, [2, 48, 6, 6]),
        "class": (TensorProto.INT64, [2, 1, 1, 1]),
        "above": (TensorProto.BOOL, [2, 48, 3, 3]),
        "wide": (TensorProto.FLOAT, [2, 48, 9, 9]),
    }
    graph = helper.make_graph(
        nodes,
        "many",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [2, 32, 6, 6])],
        [helper.make_tensor_value_info(n, kind, dims) for n, (kind, dims) in kinds.items()],
        [numpy_helper.from_array(array, name) for name, array in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)])
    model.ir_version = 8
    onnx.checker.check_model(model, full_check=True)
    outcome = verify(model, lowering="bitserial")
    assert outcome.passed, outcome.faults
    assert outcome.binarized_layers == 1 and outcome.checked_bits > 0


def test_relative_error_of_odd_values() -> None:
    nan, inf = np.float32(np.nan), np.float32(np.inf)
    assert relative_error(np.array([nan, inf, 1]), np.array([nan, inf, 1])) == 0
    assert relative_error(np.array([nan, 1.0]), np.array([1.0, 1.0])) == np.inf
    assert relative_error(np.array([True, False]), np.array([True, True])) > 0
