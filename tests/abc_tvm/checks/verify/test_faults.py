"""Faults planted in the import and in the kernels: ``verify`` fails each, and says where."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from tvm import relax

from abc_tvm import frontend
from abc_tvm.checks.verify.network import Verification, verify
from abc_tvm.relay_passes import pipeline
from abc_tvm.relay_passes.rewrite import array_of, const, emit, hint, op_name, rebuild

Weights = dict[str, np.ndarray]
LOWERINGS = ("bitserial", "auto", "float")


def build(
    nodes: list[onnx.NodeProto], weights: Weights, shape: list[Any], outputs: dict[str, list[Any]]
) -> onnx.ModelProto:
    kind = TensorProto.FLOAT
    graph = helper.make_graph(
        nodes,
        "faulty",
        [helper.make_tensor_value_info("x", kind, shape)],
        [helper.make_tensor_value_info(name, kind, dims) for name, dims in outputs.items()],
        [numpy_helper.from_array(array, name) for name, array in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)])
    model.ir_version = 8
    onnx.checker.check_model(model, full_check=True)
    return model


def network(channels: int = 32, size: int = 8, batch: Any = "N") -> onnx.ModelProto:
    """Float stem, pooling, two branches of bits, resized, concatenated; dense classifier."""
    rng = np.random.default_rng(5)
    real = lambda *dims: rng.standard_normal(dims).astype(np.float32)  # noqa: E731
    signs = lambda *dims: rng.choice([-1, 1], dims).astype(np.float32)  # noqa: E731
    c, half = channels, size // 2
    weights = {
        "stem_w": real(c, 3, 3, 3),
        "stem_b": real(c),
        **{f"bn_{k}": np.abs(real(c)) + 0.5 if k in "sv" else real(c) for k in "sbmv"},
        "b1_w": signs(c, c, 3, 3),
        "b2_w": signs(c, c, 1, 1),
        "shift": 3 * real(1, c, 1, 1),
        "scales": np.float32([1, 1, 2, 2]),
        "b3_w": signs(c, 2 * c, 3, 3),
        "b4_w": signs(10, c),
        "b4_b": real(10),
    }
    bn = ["bn_s", "bn_b", "bn_m", "bn_v"]
    pads = [1, 1, 1, 1]
    window = {"kernel_shape": [3, 3], "strides": [2, 2], "pads": pads}
    node = helper.make_node
    nodes = [
        node("Conv", ["x", "stem_w", "stem_b"], ["s"], "stem", pads=pads),
        node("BatchNormalization", ["s", *bn], ["n"], "bn"),
        node("MaxPool", ["n"], ["p"], "pool", **window),
        node("Sign", ["p"], ["a"], "sign_a"),
        node("Conv", ["a", "b1_w"], ["b1_y"], "b1", pads=pads),
        node("Conv", ["a", "b2_w"], ["b2_y"], "b2"),
        node("Resize", ["b2_y", "", "scales"], ["r"], "resize", mode="nearest",
             coordinate_transformation_mode="half_pixel", nearest_mode="round_prefer_floor"),
        node("AveragePool", ["r"], ["q"], "average", kernel_shape=[2, 2], strides=[2, 2]),
        node("Concat", ["b1_y", "q"], ["j"], "concat", axis=1),
        node("Add", ["j", "shift2"], ["k"], "add"),
        node("Sign", ["k"], ["t"], "sign_t"),
        node("Conv", ["t", "b3_w"], ["b3_y"], "b3", pads=pads, strides=[2, 2]),
        node("Add", ["b3_y", "shift"], ["u"], "add_u"),
        node("Sign", ["u"], ["v"], "sign_v"),
        node("GlobalAveragePool", ["v"], ["g"], "mean"),
        node("Flatten", ["g"], ["f"], "flatten"),
        node("Gemm", ["f", "b4_w", "b4_b"], ["y"], "b4", transB=1),
    ]  # fmt: skip
    weights["shift2"] = 3 * real(1, 2 * c, 1, 1)
    outputs = {"y": [batch, 10], "j": [batch, 2 * c, half, half]}
    return build(nodes, weights, [batch, 3, size, size], outputs)


def small() -> onnx.ModelProto:
    """Two dense layers of bits on one feature vector: a hundred bits in all."""
    rng = np.random.default_rng(2)
    weights: Weights = {
        "scale": rng.uniform(0.5, 2, 40).astype(np.float32),
        "shift": rng.standard_normal(40).astype(np.float32),
        "d1_w": rng.choice([-1, 1], (40, 48)).astype(np.float32),
        "d1_b": (2 * rng.standard_normal(48)).astype(np.float32),
        "d2_w": rng.choice([-1, 1], (48, 4)).astype(np.float32),
    }
    nodes = [
        helper.make_node("Mul", ["x", "scale"], ["m"], "mul"),
        helper.make_node("Add", ["m", "shift"], ["n"], "add"),
        helper.make_node("Sign", ["n"], ["a"], "sign1"),
        helper.make_node("MatMul", ["a", "d1_w"], ["h"], "d1"),
        helper.make_node("Add", ["h", "d1_b"], ["i"], "bias"),
        helper.make_node("Sign", ["i"], ["b"], "sign2"),
        helper.make_node("MatMul", ["b", "d2_w"], ["y"], "d2"),
    ]
    return build(nodes, weights, [1, 40], {"y": [1, 4]})


def node_of(model: onnx.ModelProto, name: str) -> onnx.NodeProto:
    return next(n for n in model.graph.node if n.name == name)


def attribute(name: str, key: str, value: Any) -> Callable[[onnx.ModelProto], None]:
    """Set an attribute of a node, as an importer that reads it wrongly would."""

    def change(model: onnx.ModelProto) -> None:
        node = node_of(model, name)
        kept = [a for a in node.attribute if a.name != key]
        del node.attribute[:]
        node.attribute.extend([*kept, helper.make_attribute(key, value)])

    return change


def weights_of(name: str, change: Callable[[np.ndarray], np.ndarray]) -> Any:
    def apply(model: onnx.ModelProto) -> None:
        tensor = next(t for t in model.graph.initializer if t.name == name)
        array = np.ascontiguousarray(change(numpy_helper.to_array(tensor).copy()))
        tensor.CopyFrom(numpy_helper.from_array(array, name))

    return apply


def swap_inputs(model: onnx.ModelProto) -> None:
    node = node_of(model, "concat")
    node.input[:] = node.input[::-1]


def average_pool(model: onnx.ModelProto) -> None:
    node_of(model, "pool").op_type = "AveragePool"


def other_constant(model: onnx.ModelProto) -> None:
    node_of(model, "add").op_type = "Sub"


IMPORT_FAULTS: dict[str, Any] = {
    "resize asymmetric and ceil": attribute("resize", "nearest_mode", "ceil"),
    "resize linear": attribute("resize", "mode", "linear"),
    "pool by the mean": average_pool,
    "pool padding": attribute("pool", "pads", [0, 0, 2, 2]),
    "weights transposed": weights_of("b1_w", lambda w: w.transpose(0, 1, 3, 2)),
    "weights mirrored": weights_of("stem_w", lambda w: w[..., ::-1]),
    "padding at the wrong side": attribute("b1", "pads", [2, 1, 0, 1]),
    "bias dropped": weights_of("stem_b", np.zeros_like),
    "bias of the classifier dropped": weights_of("b4_b", np.zeros_like),
    "concat swapped": swap_inputs,
    "sign of a shift": other_constant,
    "variance read as deviation": weights_of("bn_v", np.square),
    "epsilon": attribute("bn", "epsilon", 0.5),
}


def with_import_fault(patch: pytest.MonkeyPatch, change: Callable[[onnx.ModelProto], None]) -> None:
    """The compiler reads another network than the one that is in the file."""
    right = frontend.simple_onnx

    def wrong(source: onnx.ModelProto, **named: Any) -> Any:
        copy = onnx.ModelProto()
        copy.CopyFrom(source)
        change(copy)
        return right(copy, **named)

    patch.setattr(frontend, "simple_onnx", wrong)


def passes(outcome: Verification) -> bool:
    assert outcome.passed is not bool(outcome.faults)
    return outcome.passed


@pytest.mark.sweep(
    "make, lowering",
    short=[(network, "bitserial"), (small, "auto")],
    full=[(m, w) for m in (network, lambda: network(batch=1), small) for w in LOWERINGS],
)
def test_without_a_fault_it_passes(make: Any, lowering: str) -> None:
    outcome = verify(make(), lowering=lowering)
    assert passes(outcome), outcome.faults
    assert outcome.unchecked_layers == () and outcome.unexplained_bits == 0
    if lowering == "bitserial":
        assert outcome.binarized_layers >= 2
        names = {row.name.replace("b2", "b1") for row in outcome.layers}  # they share their bits
        assert names in ({"b1", "b3", "b4"}, {"d1", "d2"})


@pytest.mark.sweep(
    "fault",
    short=["resize linear", "weights transposed", "bias dropped", "concat swapped"],
    full=list(IMPORT_FAULTS),
)
def test_import_faults_fail(fault: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with_import_fault(monkeypatch, IMPORT_FAULTS[fault])
    outcome = verify(network(), lowering="bitserial")
    assert not passes(outcome), (fault, outcome.json())


# ---- kernels -----------------------------------------------------------------------------

Edit = Callable[[Any, str], Any]


def with_kernel_fault(patch: pytest.MonkeyPatch, edit: Edit) -> list[str]:
    """Edit calls after the pass ``encode``; returns the names that were edited, once it ran."""
    right, done = pipeline.passes, []

    def wrong(*arguments: Any, **named: Any) -> Any:
        order = right(*arguments, **named)
        at = [name for name, _ in order].index("encode") + 1
        return [*order[:at], ("fault", fault), *order[at:]]

    def fault(module: Any) -> Any:
        def visit(builder: Any, var: Any, value: Any) -> Any:
            new = edit(value, hint(var))
            if new is None:
                return None
            done.append(hint(var))
            return emit(builder, new, hint(var))

        return rebuild(module, visit)

    patch.setattr(pipeline, "passes", wrong)
    return done


def with_argument(call: Any, place: int, array: np.ndarray) -> Any:
    args = list(call.args)
    args[place] = const(array)
    return relax.Call(call.op, args, call.attrs)


def one_weight_bit(layer: str) -> Edit:
    def edit(call: Any, name: str) -> Any:
        if op_name(call) != "abc.bitserial_conv2d" or name != layer:
            return None
        planes = array_of(call.args[1]).copy()
        planes[0, 1, planes.shape[2] // 2, planes.shape[3] // 2, 2] *= -1
        return with_argument(call, 1, planes)

    return edit


def last_channel(layer: str) -> Edit:
    def edit(call: Any, name: str) -> Any:
        if op_name(call) != "abc.bitserial_conv2d" or name != layer:
            return None
        planes = array_of(call.args[1]).copy()
        planes[..., -1] = planes[..., -2]
        return with_argument(call, 1, planes)

    return edit


def threshold(amount: float, channel: int | None = None) -> Edit:
    """Thresholds on integers (an ``encode`` of a count) one off, in all channels or in one."""

    def edit(call: Any, _: str) -> Any:
        if op_name(call) != "abc.encode_bitserial" or not int(call.attrs["count"]):
            return None
        array = array_of(call.args[1]).copy()
        array[:, slice(None) if channel is None else channel] += type(array.flat[0])(amount)
        return with_argument(call, 1, array)

    return edit


def scale(layer: str) -> Edit:
    def edit(call: Any, name: str) -> Any:
        if op_name(call) != "abc.bitserial_conv2d" or name != layer:
            return None
        return with_argument(call, 2, array_of(call.args[2]) * np.float32(1.001))

    return edit


KERNEL_FAULTS: dict[str, tuple[Any, Edit]] = {
    "a weight bit, few": (small, one_weight_bit("d1")),
    "a weight bit, few, last layer": (small, one_weight_bit("d2")),
    "the tail, few": (small, last_channel("d1")),
    "a threshold, few": (small, threshold(2)),
    "a threshold of one channel, few": (small, threshold(2, 3)),
    "a weight bit": (network, one_weight_bit("b1")),
    "a weight bit before a sign": (network, one_weight_bit("b3")),
    "the tail": (network, last_channel("b3")),
    "a scale": (network, scale("b1")),
}


@pytest.mark.sweep(
    "fault",
    short=["a weight bit, few", "the tail, few", "a threshold of one channel, few", "a scale"],
    full=list(KERNEL_FAULTS),
)
def test_kernel_faults_fail(fault: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model, edit = KERNEL_FAULTS[fault]
    edited = with_kernel_fault(monkeypatch, edit)
    outcome = verify(model(), lowering="bitserial")
    assert edited, "nothing was changed"
    assert not passes(outcome), (fault, outcome.json())
