"""Small networks of the families: compiled, and judged by onnxruntime."""

from __future__ import annotations

import json
from collections import Counter
from functools import cache
from typing import Any

import numpy as np
import onnx

import abc_tvm
from abc_tvm import zoo
from abc_tvm.zoo.builder import LOW
from tests.end_to_end.judge import Compiled, reference

SMALL: dict[str, Any] = {"image_size": 32, "width": 0.25, "classes": 7}
"""One image of 32 x 32, a quarter of the channels, seven classes."""
OTHERS: dict[str, dict[str, Any]] = {
    "dorefa-alexnet": {"image_size": 96},  # the dense layer then reads 2 x 2 pixels
    "binaryalexnet": {"image_size": 96},
    "irnet20": {"image_size": 16, "width": 1},
    "unet": {"image_size": 16, "width": 0.5},
    "tcresnet8": {"width": 1},
    "transformer": {"image_size": 12, "width": 0.5},
}
"""What differs for one."""
NO_ROW = "has no row"


@cache
def small(name: str) -> onnx.ModelProto:
    """A small network of the family, for one image."""
    return zoo.build(name, batch=1, **{**SMALL, **OTHERS.get(name, {})})


def kinds(name: str) -> Counter[str]:
    """How many nodes of each operator it has."""
    return Counter(node.op_type for node in small(name).graph.node)


def binarized(model: onnx.ModelProto) -> list[str]:
    """The layers of a step function and few-valued weights, as the metadata names them."""
    return list(json.loads({p.key: p.value for p in model.metadata_props}[LOW]))


def check(name: str, layers: int) -> None:
    """Every binarized layer leaves float, for any batch; the result is onnxruntime's."""
    model = small(name)
    names = binarized(model)
    assert len(set(names)) == len(names) == layers
    made = Compiled(model, "bitserial")  # wherever it is possible, whatever it costs here
    rows = {row.name: row for row in made.layers}
    left = {n: NO_ROW for n in names if n not in rows}
    left |= {n: rows[n].reason for n in names if n in rows and rows[n].lowering == "float"}
    assert left == {}
    opinion = made.context.opinion
    assert opinion is not None and not opinion.unknown and not opinion.wrong
    of_any_batch = zoo.build(name, batch="batch", **{**SMALL, **OTHERS.get(name, {})})
    wanted_rows = [(row.name, row.lowering) for row in made.layers]
    open_rows = abc_tvm.inspect(of_any_batch, lowering="bitserial")
    assert [(row.name, row.lowering) for row in open_rows if row.name in rows] == wanted_rows
    dims = [d.dim_value for d in model.graph.input[0].type.tensor_type.shape.dim]
    x = {"input": np.random.default_rng(1).standard_normal(dims).astype(np.float32)}
    (found,), (wanted,) = made.run(x), reference(model, x)
    assert wanted.std() > 0.02  # no Softmax that is all 0 and 1, no output that is constant
    # Sums of float layers in other orders, through up to 30 layers: 1e-5 of the largest.
    np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-5 * np.abs(wanted).max())
