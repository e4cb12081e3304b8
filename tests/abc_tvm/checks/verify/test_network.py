"""Verification: it passes what is right, and fails what is not."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from abc_tvm import zoo
from abc_tvm.checks.verify import network as module
from abc_tvm.checks.verify.network import verify
from abc_tvm.targets import load
from tests.abc_tvm.small_networks import network


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
