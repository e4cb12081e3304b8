"""Random values have the shape, type and range of their variable, on images made smaller."""

from __future__ import annotations

import numpy as np
import pytest
import tvm
from tvm import relax

from abc_tvm.checks.graphs.integers import IntegerSums
from abc_tvm.checks.graphs.relax_graph import RelaxGraph
from abc_tvm.checks.opinion.draws import Draws, common_factor, image_axes

op = relax.op


def graph(turned: bool = False, dtype: str = "float32") -> RelaxGraph:
    """An image ``[n, 12, 18, 4]``, or ``[n, 4, 12, 18]``, and a convolution of it."""
    n = tvm.tirx.Var("n", "int64")
    shape = (n, 4, 12, 18) if turned else (n, 12, 18, 4)
    x = relax.Var("x", relax.TensorType(shape, dtype))
    builder = relax.BlockBuilder()
    with builder.function("main", [x]):
        with builder.dataflow():
            image = builder.emit(op.permute_dims(x, [0, 2, 3, 1])) if turned else x
            whole = builder.emit(op.astype(image, "float32"))
            weight = relax.const(np.ones((2, 1, 1, 4), np.float32))
            conv = op.nn.conv2d(whole, weight, data_layout="NHWC", kernel_layout="OHWI")
            out = builder.emit_output(builder.emit(conv))
        builder.emit_func_output(out)
    return RelaxGraph(builder.get())


@pytest.mark.parametrize("turned", [False, True])
def test_images_are_made_smaller(turned: bool) -> None:
    one = graph(turned)
    (x,) = one.params
    assert image_axes(one, x) == ((2, 3) if turned else (1, 2))
    assert common_factor(one, [x]) == 6
    draws = Draws(one, {}, 3, 6)
    assert draws.shape(x) == ((3, 4, 2, 3) if turned else (3, 2, 3, 4))
    assert draws.elements(x) == 72
    assert Draws(one, {}, 3, 100).shape(x)[2] >= 1


def test_what_is_no_image_is_not() -> None:
    one = graph()
    flat = relax.Var("flat", relax.TensorType((2, 6), "float32"))
    assert image_axes(one, flat) == ()
    assert common_factor(one, [flat]) == common_factor(one, []) == 1
    assert Draws(one, {}, 1, 6).shape(flat) == (2, 6)


@pytest.mark.parametrize(
    ("dtype", "low", "high"), [("uint8", 0, 255), ("int8", -128, 127), ("int64", -128, 255)]
)
def test_integers(dtype: str, low: int, high: int, rng: np.random.Generator) -> None:
    one = graph(dtype=dtype)
    values = Draws(one, {}, 2, 1).values(one.params[0], rng)
    assert values.dtype == dtype
    assert (values.min(), values.max()) == (low, high)


def test_truths_and_floats(rng: np.random.Generator) -> None:
    one = graph(dtype="bool")
    assert set(np.unique(Draws(one, {}, 1, 1).values(one.params[0], rng))) == {False, True}
    one = graph()
    values = Draws(one, {}, 1, 1).values(one.params[0], rng)
    assert values.dtype == np.float32 and 3 < values.std() < 5
    assert len(np.unique(values)) > 0.99 * values.size


def test_a_layers_sums_are_reachable(rng: np.random.Generator) -> None:
    one = graph()
    (layer,) = one.layers
    form = IntegerSums(np.float32([0.5, 2]), np.array([9, 5]), np.array([1, 1]), 2)
    values = Draws(one, {layer.var: form}, 1, 1).values(layer.var, rng)
    assert values.shape == (1, 12, 18, 2)
    assert set(np.unique(values[..., 0] / 0.5) % 2) == {1.0}
    assert np.abs(values[..., 1]).max() <= 10
