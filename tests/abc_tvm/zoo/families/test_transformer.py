"""A tiny binary transformer: products of tokens, and of signs with signs."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, helper

from abc_tvm import zoo
from tests.abc_tvm.zoo.families.judge import check, kinds, small
from tests.end_to_end.judge import reference


def test_every_binarized_layer_leaves_float() -> None:
    check("transformer", layers=16)


def test_the_spelling() -> None:
    nodes = kinds("transformer")
    assert nodes["MatMul"] == 1 + 16 and nodes["LayerNormalization"] == 5
    assert nodes["GreaterOrEqual"] == nodes["Cast"] == 2 and "Softmax" not in nodes


def test_attention_chooses_some_and_not_all() -> None:
    model = onnx.ModelProto()
    model.CopyFrom(small("transformer"))
    dims = [1, 4, 12, 12]
    chosen = [node.output[0] for node in model.graph.node if node.op_type == "Cast"]
    for name in chosen:
        model.graph.output.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, dims))
    x = {"input": np.random.default_rng(5).standard_normal((1, 12, 128)).astype(np.float32)}
    for share in reference(model, x)[1:]:
        assert share.shape == (1, 4, 12, 12) and 0.2 < share.mean() < 0.9


def test_the_float_twin_has_an_ordinary_attention() -> None:
    model = zoo.build_float("transformer", image_size=12, width=0.5)
    found = [node.op_type for node in model.graph.node]
    assert found.count("Softmax") == 2 and "GreaterOrEqual" not in found
