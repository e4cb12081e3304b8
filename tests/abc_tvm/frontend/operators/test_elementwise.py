"""Element-wise operators at their edges, and of every type."""

from __future__ import annotations

import numpy as np
import onnxruntime as ort
import pytest
from onnx import TensorProto
from onnx.reference import ReferenceEvaluator

from abc_tvm import frontend
from abc_tvm.errors import UnsupportedError
from tests.abc_tvm.frontend.operators.judge import agrees, model_of

EDGES = np.array([-np.inf, -2.5, -0.5, -0.0, 0.0, 0.3, 1.0, 7.5, np.inf, np.nan], np.float32)


@pytest.mark.parametrize("kind", [np.float32, np.float16, np.float64, np.int8, np.uint8, np.int64])
@pytest.mark.parametrize("opset", [9, 13])
def test_cast_to_bool_is_not_zero(kind: type, opset: int) -> None:
    with np.errstate(all="ignore"):
        x = EDGES.astype(kind) if kind(0.5) else np.array([0, 1, 2, 127], kind)
    model = model_of("Cast", {"x": x}, opset=opset, to=TensorProto.BOOL)
    agrees(model, {"x": x}, [x.astype(bool)])


@pytest.mark.parametrize("signs", [(0, 0), (0, 1), (1, 0), (1, 1)])
def test_is_inf_asks_for_the_sign(signs: tuple[int, int]) -> None:
    low, high = signs
    model = model_of("IsInf", {"x": EDGES}, detect_negative=low, detect_positive=high)
    agrees(model, {"x": EDGES})


@pytest.mark.parametrize("kind", [np.float32, np.float64, np.float16])
@pytest.mark.parametrize(
    ("op_type", "attrs"),
    [
        ("Celu", {"alpha": 0.7}),
        ("Cosh", {}),
        ("Sinh", {}),
        ("Elu", {"alpha": 0.7}),
        ("HardSigmoid", {"alpha": 0.3, "beta": 0.4}),
        ("HardSwish", {}),
        ("Selu", {}),
        ("ThresholdedRelu", {"alpha": 0.5}),
    ],
)
def test_activations_keep_their_type(op_type: str, attrs: dict[str, float], kind: type) -> None:
    if op_type in ("Celu",) and kind is not np.float32:
        pytest.skip("ONNX has Celu of float32 only, before opset 28")
    x = np.concatenate([EDGES[1:8], np.linspace(-6, 6, 57)]).astype(kind)
    model, wide = (model_of(op_type, {"x": a}, **attrs) for a in (x, x.astype(np.float64)))
    if kind is not np.float16:
        agrees(model, {"x": x}, rtol={np.float32: 1e-5, np.float64: 1e-6}[kind])
        return
    # The reference rounds to float16 inside; here it is one rounding of a float32 value, which may
    # be a unit in the last place away where that value lies next to a middle.
    (wanted,) = ReferenceEvaluator(wide).run(None, {"x": x.astype(np.float64)})
    agrees(model, {"x": x}, [wanted.astype(np.float16)], rtol=2**-10)


@pytest.mark.parametrize("kind", [np.int8, np.int32, np.uint8, np.uint32])
@pytest.mark.parametrize("direction", ["LEFT", "RIGHT"])
def test_a_shift_by_the_width_leaves_the_sign(kind: type, direction: str) -> None:
    if kind(1).dtype.kind == "i":
        pytest.importorskip("onnx", minversion="1.23")
    bits = np.dtype(kind).itemsize * 8
    x = np.array([1, 2, 100, np.iinfo(kind).max, np.iinfo(kind).min], kind)
    by = np.array([0, 1, bits - 1, bits, bits + 3], kind)
    opset = 28 if np.dtype(kind).kind == "i" else 13
    agrees(
        model_of("BitShift", {"x": x, "by": by}, opset=opset, direction=direction),
        {"x": x, "by": by},
    )


@pytest.mark.parametrize("size", [1, 3, 64])
def test_bools_are_equal(size: int, rng: np.random.Generator) -> None:
    x, z = (rng.random((2, size)) < 0.5 for _ in range(2))
    agrees(model_of("Equal", {"x": x, "z": z}), {"x": x, "z": z})
    agrees(model_of("Equal", {"x": x}, {"t": np.asarray(True)}), {"x": x})


def test_dropout_in_inference_is_the_input_and_a_true_mask() -> None:
    model = model_of("Dropout", {"x": EDGES}, outputs=2)
    agrees(model, {"x": EDGES}, [EDGES, np.ones(EDGES.shape, bool)])
    stored = {"ratio": np.float32(0.5), "training": np.asarray(True)}
    training = model_of("Dropout", {"x": EDGES}, {n: np.asarray(v) for n, v in stored.items()})
    with pytest.raises(UnsupportedError, match="in training mode"):
        frontend.simple_onnx(training)


@pytest.mark.parametrize("op_type", ["Add", "Mul", "Div", "MatMul", "Softmax", "Tanh"])
def test_half_precision_is_onnxruntimes(op_type: str, rng: np.random.Generator) -> None:
    x = (4 * rng.standard_normal((32, 32))).astype(np.float16)
    given = {"x": x} if op_type in ("Softmax", "Tanh") else {"x": x, "z": x[::-1].copy()}
    model = model_of(op_type, given)
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    wanted = ort.InferenceSession(model.SerializeToString(), options).run(None, given)
    # Both compute in float32 and round once. Two float32 exponentials are some 2^-22 apart: where a
    # middle of two float16 lies between them, each rounds to its own side.
    last = op_type in ("Softmax", "Tanh")
    agrees(model, given, wanted, rtol=2**-10 if last else 0)


def test_types_that_nobody_holds_are_refused_by_name() -> None:
    model = model_of("Cast", {"x": EDGES}, to=TensorProto.BFLOAT16)
    with pytest.raises(UnsupportedError, match="is of type bfloat16, which is not supported"):
        frontend.simple_onnx(model)
