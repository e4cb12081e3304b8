"""Random inputs: each dtype over what its tensors hold."""

import numpy as np
import pytest

from abc_tvm.engines.onnx_engine import random_inputs
from abc_tvm.runtime.container import Port


@pytest.mark.parametrize(
    ("dtype", "most"), [("uint8", 255), ("int8", 127), ("int32", 255), ("int64", 255), ("bool", 1)]
)
def test_integers_take_their_range(dtype: str, most: int) -> None:
    values = random_inputs((Port("x", ("n", 4096), dtype),), 2)["x"]
    assert values.dtype == dtype and values.shape == (2, 4096)
    assert (values.min(), values.max()) == (0, most)


def test_floats_are_standard_normal() -> None:
    values = random_inputs((Port("x", (4096,), "float32"),), 1)["x"]
    assert values.dtype == np.float32
    assert abs(float(values.mean())) < 0.1 and abs(float(values.std()) - 1) < 0.1
