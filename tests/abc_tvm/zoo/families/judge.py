"""Small networks of the families: compiled, and judged by onnxruntime."""

from __future__ import annotations

import json
from collections import Counter
from functools import cache

import numpy as np
import onnx

from abc_tvm import zoo
from abc_tvm.zoo.builder import LOW
from tests.end_to_end.judge import Compiled, reference

SIZE, WIDTH, CLASSES = 32, 0.25, 7


@cache
def small(name: str) -> onnx.ModelProto:
    """One image of 32 x 32, a quarter of the channels, seven classes."""
    return zoo.build(name, image_size=SIZE, width=WIDTH, classes=CLASSES, batch=1)


def kinds(name: str) -> Counter[str]:
    """How many nodes of each operator it has."""
    return Counter(node.op_type for node in small(name).graph.node)


def binarized(model: onnx.ModelProto) -> list[str]:
    """The layers of a step function and few-valued weights, as the metadata names them."""
    return list(json.loads({p.key: p.value for p in model.metadata_props}[LOW]))


def check(name: str, layers: int) -> None:
    """Every binarized layer leaves float; the result is onnxruntime's."""
    model = small(name)
    names = binarized(model)
    assert len(names) == layers
    made = Compiled(model, "bitserial")  # wherever it is possible, whatever it costs here
    rows = {row.name: row for row in made.layers}
    left = {n: rows[n.replace(".", "_")].reason for n in names
            if rows[n.replace(".", "_")].lowering == "float"}  # fmt: skip
    assert left == {}
    dims = [d.dim_value for d in model.graph.input[0].type.tensor_type.shape.dim]
    x = {"input": np.random.default_rng(1).standard_normal(dims).astype(np.float32)}
    (found,), (wanted,) = made.run(x), reference(model, x)
    # Sums of float layers in other orders, through up to 30 layers: 1e-5 of the largest.
    np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-5 * np.abs(wanted).max())
