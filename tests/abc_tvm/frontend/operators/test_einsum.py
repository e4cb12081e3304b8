"""Einsum as weighted sums and products of matrices, against onnxruntime."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from abc_tvm.frontend.operators import rewrite_operators
from tests.end_to_end.judge import reference


def model(
    equation: str, shapes: list[tuple[int, ...]], stored: int | None, opset: int = 13
) -> onnx.ModelProto:
    """One Einsum; operand ``stored`` is an initializer."""
    rng = np.random.default_rng(0)
    values = [helper.make_tensor_value_info(f"x{i}", TensorProto.FLOAT, s)
              for i, s in enumerate(shapes) if i != stored]  # fmt: skip
    kept = [numpy_helper.from_array(rng.standard_normal(s).astype(np.float32), f"x{i}")
            for i, s in enumerate(shapes) if i == stored]  # fmt: skip
    node = helper.make_node("Einsum", [f"x{i}" for i in range(len(shapes))], ["y"],
                            equation=equation)  # fmt: skip
    whole = np.einsum(equation, *(np.zeros(s) for s in shapes))
    out = helper.make_tensor_value_info("y", TensorProto.FLOAT, whole.shape)
    graph = helper.make_graph([node], "g", values, [out], kept)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def kinds(made: onnx.ModelProto) -> list[str]:
    return [node.op_type for node in made.graph.node]


SUM, PRODUCT = ["Mul", "ReduceSum"], "MatMul"
CASES = [
    ("nbchw,n->bchw", [(3, 2, 4, 5, 6), (3,)], 1, SUM),
    ("n,n...->...", [(3,), (3, 2, 4)], 0, SUM),
    ("bchwn, n -> bchw", [(2, 4, 5, 6, 3), (3,)], 1, SUM),
    ("bnc,n->bc", [(2, 3, 4), (3,)], 1, SUM),
    ("bhqd,bhkd->bhqk", [(2, 3, 4, 5), (2, 3, 6, 5)], None, ["Transpose", PRODUCT]),
    ("bhqk,bhkd->bqhd", [(2, 3, 4, 6), (2, 3, 6, 5)], None, [PRODUCT, "Transpose"]),
    ("ij,jk", [(2, 3), (3, 4)], None, [PRODUCT]),
    ("...ij,...jk->...ik", [(2, 7, 3), (2, 3, 4)], None, [PRODUCT]),
    ("ji,kj->ki", [(3, 2), (4, 3)], None, ["Transpose", "Transpose", PRODUCT, "Transpose"]),
    ("nbc,n->cb", [(3, 2, 4), (3,)], 1, ["Einsum"]),
    ("nbc,n->nbc", [(3, 2, 4), (3,)], 1, ["Einsum"]),
    ("nbc,n->bc", [(1, 2, 4), (3,)], 1, ["Einsum"]),
    ("nbc,n->bc", [(3, 2, 4), (3,)], None, ["Einsum"]),
    ("ij,ij->i", [(2, 3), (2, 3)], None, ["Einsum"]),
    ("ii,ij->j", [(3, 3), (3, 4)], None, ["Einsum"]),
    ("bij,jk->bik", [(2, 3, 4), (4, 5)], None, [PRODUCT]),
    ("bij,bjk,kl->bil", [(2, 3, 4), (2, 4, 5), (5, 6)], None, ["Einsum"]),
]


@pytest.mark.parametrize(("equation", "shapes", "stored", "wanted"), CASES,
                         ids=[f"{c[0]}-{c[2]}-{i}" for i, c in enumerate(CASES)])  # fmt: skip
def test_what_it_becomes(
    equation: str, shapes: list[tuple[int, ...]], stored: int | None, wanted: list[str]
) -> None:
    given = model(equation, shapes, stored)
    made = onnx.ModelProto()
    made.CopyFrom(given)
    rewrite_operators(made)
    assert kinds(made) == wanted
    if equation == "nbc,n->bc" and shapes[0][0] == 1:
        return  # ONNX has no meaning for it that onnxruntime shares
    rng = np.random.default_rng(1)
    arrays = {v.name: rng.standard_normal([d.dim_value for d in v.type.tensor_type.shape.dim])
              .astype(np.float32) for v in given.graph.input}  # fmt: skip
    for a, b in zip(reference(made, arrays), reference(given, arrays), strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=2.0**-20 * np.abs(b).max())


@pytest.mark.parametrize("opset", [12, 13, 18])
def test_reductions_are_spelled_as_the_opset_does(opset: int) -> None:
    made = model("nbc,n->bc", [(3, 2, 4), (3,)], 1, opset)
    rewrite_operators(made)
    assert kinds(made) == SUM
    onnx.checker.check_model(made, full_check=True)
