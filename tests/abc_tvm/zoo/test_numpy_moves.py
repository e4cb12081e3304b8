"""NumPy meanings of operators that move values, against onnxruntime, on one node."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnxruntime as ort
import pytest

from abc_tvm.zoo.builder import GraphBuilder
from abc_tvm.zoo.numpy_moves import MOVES

IMAGE = (2, 4, 3, 6)


def ints(*values: int) -> np.ndarray:
    return np.array(values, np.int64)


CASES: list[tuple[str, list[np.ndarray], dict[str, Any]]] = [
    ("Concat", [np.ones((2, 1, 3, 6), np.float32)], {"axis": 1}),
    ("Expand", [ints(5, 2, 4, 3, 6)], {}),
    ("Flatten", [], {}),
    ("Gather", [ints(2, 0)], {"axis": 1}),
    ("Gather", [np.array(1, np.int64)], {"axis": 2}),
    ("Pad", [ints(0, 0, 1, 2, 0, 0, 0, 1), np.float32(1)], {}),
    ("Pad", [ints(0, 0, 1, 2, 0, 0, 0, 1)], {"mode": "edge"}),
    ("Reshape", [ints(0, 2, 2, -1)], {}),
    ("Resize", [np.zeros(0, np.float32), np.float32([1, 1, 2, 3])],
     {"mode": "nearest", "nearest_mode": "floor", "coordinate_transformation_mode": "asymmetric"}),
    ("Slice", [ints(1, 0), ints(4, 6), ints(1, 3), ints(1, 2)], {}),
    ("Transpose", [], {"perm": [0, 2, 3, 1]}),
    ("Unsqueeze", [ints(1, 4)], {}),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "constants", "attributes"), CASES)
def test_meaning_is_onnxruntimes(
    kind: str, constants: list[np.ndarray], attributes: dict[str, Any]
) -> None:
    g = GraphBuilder(IMAGE)
    inputs = [g.input, *(g.constant(f"c{i}", value) for i, value in enumerate(constants))]
    output = g.op(kind, inputs, "output", **attributes)
    session = ort.InferenceSession(g.model(output, name=kind, batch=2).SerializeToString())
    (expected,) = session.run(None, {"input": g.input.value})
    np.testing.assert_array_equal(output.value, expected)


def test_squeeze_and_shape() -> None:
    g = GraphBuilder(IMAGE)
    wide = g.op("Unsqueeze", [g.input, g.constant("axes", ints(2))], "wide")
    narrow = g.op("Squeeze", [wide, g.constant("again", ints(2))], "narrow")
    np.testing.assert_array_equal(narrow.value, g.input.value)
    assert g.op("Shape", [g.input], "shape").value.tolist() == list(IMAGE)


def test_every_meaning_has_a_case() -> None:
    assert {case[0] for case in CASES} | {"Squeeze", "Shape"} == set(MOVES)
