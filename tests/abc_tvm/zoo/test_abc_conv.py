"""The ABC convolution against the formula that it spells out."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import numpy_helper

from abc_tvm import inspect, zoo
from abc_tvm.reference.bases import (
    activation_bases,
    basis_shifts,
    on_grid,
    solve_alpha,
    weight_bases,
)
from abc_tvm.zoo import abc_conv
from abc_tvm.zoo.builder import GraphBuilder
from abc_tvm.zoo.layers import window
from abc_tvm.zoo.numpy_ops import MEANINGS

COUNTS = range(1, 9)


@pytest.mark.parametrize("count", COUNTS)
def test_normal_equations_give_the_tall_systems_solution(count: int) -> None:
    weight = np.random.default_rng(count).standard_normal((6, 5, 3, 3))
    bases = weight_bases(weight, count)
    expected = solve_alpha(weight, bases)
    np.testing.assert_allclose(abc_conv.least_squares(bases, weight), expected, rtol=1e-9)


def test_coinciding_bases_share_their_coefficient() -> None:
    weight = np.array([0.5, -0.5])
    alpha = abc_conv.least_squares(np.array([[1, -1], [1, -1]]), weight)
    np.testing.assert_allclose(alpha, [0.25, 0.25])


@pytest.mark.parametrize("count", COUNTS)
def test_beta_is_positive_and_distinct(count: int) -> None:
    g = GraphBuilder((2, 3, 4, 4))
    bits = abc_conv.binarize(g, g.input, count, "bin")
    assert bits.beta.dtype == np.float32
    assert bits.beta.min() > 0
    assert len(set(bits.beta.tolist())) == count
    fresh = np.random.default_rng(7).standard_normal(10000)
    steps = activation_bases(fresh, 0.5 - basis_shifts(count))
    assert np.corrcoef(bits.beta @ steps, fresh)[0, 1] > 0.75  # one step: √(2/π) ≈ 0.80


@pytest.mark.parametrize("count", COUNTS)
def test_planes_are_the_papers_steps(count: int) -> None:
    g = GraphBuilder((2, 3, 4, 4))
    bits = abc_conv.binarize(g, g.input, count, "bin")
    stored = {
        t.name: numpy_helper.to_array(t)
        for t in g.model(g.op("Neg", [bits.planes[0]], "end"), name="bin").graph.initializer
    }
    v = np.array([stored[f"bin.A{n}.v"] for n in range(count)])
    if count == 1:
        assert v.tolist() == [0.5]
    else:
        # v is float32 below 2: half a unit in the last place.
        np.testing.assert_allclose(0.5 - v, np.linspace(-1, 1, count), rtol=0, atol=2.0**-24)
    expected = activation_bases(g.input.value, v)
    np.testing.assert_array_equal([plane.value for plane in bits.planes], expected)


@pytest.mark.parametrize(("M", "N"), [(1, 1), (1, 4), (4, 1), (3, 5)])
def test_sum_of_binary_convolutions_is_one_real_convolution(M: int, N: int) -> None:
    g = GraphBuilder((2, 5, 6, 6))
    bits = abc_conv.binarize(g, g.input, N, "bin")
    output = abc_conv.conv(g, bits, 4, M, "conv", 3, stride=2, pad=1)
    model = g.model(output, name="conv")
    stored = {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}
    alpha = [np.float64(stored[f"conv.alpha{m}"]) for m in range(M)]
    weight = sum(alpha[m] * stored[f"conv.B{m}.int8"] for m in range(M))
    real = sum(np.float64(bits.beta[n]) * bits.planes[n].value for n in range(N))
    expected = MEANINGS["Conv"]([real, weight], window(3, 2, 1))
    np.testing.assert_allclose(output.value, expected, rtol=1e-4, atol=1e-5)
    assert sum(node.op_type == "Conv" for node in model.graph.node) == M * N


@pytest.mark.parametrize(("M", "N"), [(1, 1), (3, 2)])
def test_dense_layer_is_spelled_with_matmul(M: int, N: int) -> None:
    g = GraphBuilder((4, 33))
    output = abc_conv.dense(g, abc_conv.binarize(g, g.input, N, "bin"), 7, M, "fc")
    model = g.model(output, name="fc")
    assert output.value.shape == (4, 7)
    assert sum(node.op_type == "MatMul" for node in model.graph.node) == M * N


@pytest.mark.parametrize("count", [1, 3, 5, 8])
def test_scales_on_a_grid_are_what_a_byte_holds(count: int) -> None:
    """Multiples of a power of two, 127 in all at most, and none moved by more than half a unit."""
    fitted = np.random.default_rng(count).uniform(-1, 1, count)
    near = on_grid(fitted)
    unit = 2.0 ** np.ceil(np.log2(np.abs(fitted).sum() / (127 - count / 2)))
    whole = near / unit
    np.testing.assert_array_equal(whole, np.rint(whole))
    assert 64 - count <= np.abs(whole).sum() <= 127
    assert np.all(np.abs(near - fitted) <= unit / 2)
    np.testing.assert_array_equal(on_grid(np.zeros(3)), np.zeros(3))


def test_a_network_on_a_grid_is_exact_on_bytes() -> None:
    report = inspect(zoo.build("lenet", M=5, N=5, grid=True), "icelake-server", lowering="int8")
    kinds = [(row.lowering, row.error_bound) for row in report if row.M]
    assert kinds == [("int8", 0.0)] * 2
