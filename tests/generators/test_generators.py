"""The generators themselves: all spellings of a layer agree, with each other and with NumPy."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime as ort
import pytest

from . import (
    FAMILIES,
    QONNX_SPELLINGS,
    SPELLINGS,
    is_qonnx,
    layer_input,
    random_layer,
    random_network,
    random_spec,
    realize_spec,
    spell,
    spellings_for,
)
from .layer_values import Array32

RELATIVE_TOLERANCE = 1e-5


def run_onnxruntime(
    model: onnx.ModelProto, inputs: dict[str, Array32], optimize: bool = False
) -> Array32:
    options = ort.SessionOptions()
    level = ort.GraphOptimizationLevel
    options.graph_optimization_level = level.ORT_ENABLE_ALL if optimize else level.ORT_DISABLE_ALL
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    session = ort.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    return np.asarray(session.run(["output"], inputs)[0])


@pytest.mark.parametrize("seed", range(60))
def test_spellings_agree(seed: int) -> None:
    spec = random_spec(seed)
    expected = realize_spec(spec)[-1].output
    for spelling in spellings_for(spec, qonnx=False):
        actual = run_onnxruntime(spell(spec, spelling, seed), {"input": layer_input(spec)})
        if spec.exact:
            np.testing.assert_array_equal(actual, expected, err_msg=f"{spelling}: {spec}")
        else:
            error = np.abs(actual - expected).max() / (1 + np.abs(expected).max())
            assert error < RELATIVE_TOLERANCE, f"{spelling}: {spec}"


@pytest.mark.parametrize("seed", range(8))
def test_qonnx_spellings_agree(seed: int) -> None:
    pytest.importorskip("qonnx")
    from qonnx.core.modelwrapper import ModelWrapper
    from qonnx.core.onnx_exec import execute_onnx
    from qonnx.transformation.infer_shapes import InferShapes

    spec = random_spec(seed)
    for spelling in sorted(QONNX_SPELLINGS & set(spellings_for(spec))):
        model = spell(spec, spelling, seed)
        assert is_qonnx(model)
        for value in (*model.graph.input, *model.graph.output):
            value.type.tensor_type.shape.dim[0].dim_value = spec.batch
        wrapped = ModelWrapper(model).transform(InferShapes())
        actual = execute_onnx(wrapped, {"input": layer_input(spec)})["output"]
        np.testing.assert_allclose(
            actual, realize_spec(spec)[-1].output, rtol=0 if spec.exact else 1e-4, atol=1e-4
        )


@pytest.mark.parametrize("seed", range(12))
def test_random_networks_run(seed: int) -> None:
    network = random_network(seed)
    plain = run_onnxruntime(network.model, network.inputs)
    optimized = run_onnxruntime(network.model, network.inputs, optimize=True)
    assert np.isfinite(plain).all()
    if network.exact:
        np.testing.assert_array_equal(plain, optimized, err_msg=network.description)
    else:
        assert np.abs(plain - optimized).max() <= 1e-4 * (1 + np.abs(plain).max())


@pytest.mark.parametrize("name", sorted(FAMILIES))
def test_families_run(name: str) -> None:
    for seed in range(2):
        network = FAMILIES[name](seed)
        if is_qonnx(network.model):
            continue
        plain = run_onnxruntime(network.model, network.inputs)
        assert np.isfinite(plain).all() and plain.std() > 0
        if network.exact:
            optimized = run_onnxruntime(network.model, network.inputs, optimize=True)
            np.testing.assert_array_equal(plain, optimized)


def test_same_seed_same_model() -> None:
    first, second = random_layer(7), random_layer(7)
    assert first[0] == second[0] and first[2:] == second[2:]
    np.testing.assert_array_equal(first[1]["input"], second[1]["input"])
    assert random_network(3).model == random_network(3).model


def test_draws_cover_the_corners() -> None:
    specs = [layer for seed in range(150) for layer in random_spec(seed).chain]
    first_values = [realize_spec(random_spec(seed)) for seed in range(40)]
    norms = [layer.bn for values in first_values for layer in values if layer.bn is not None]
    assert any((bn.gamma == 0).any() for bn in norms)
    assert any((bn.gamma < 0).any() for bn in norms)
    assert any(layer.margin == 0 for values in first_values for layer in values), "no ties"
    for wanted in (31, 32, 33, 63, 64, 65):
        assert any(layer.in_channels == wanted for layer in specs)
    assert any(layer.groups > 1 for layer in specs)
    assert any(layer.residual and layer.then for layer in specs)
    assert any(layer.pool and layer.bn for layer in specs)
    assert any(len(set(layer.pads)) > 1 for layer in specs)
    assert {layer.exact for layer in specs} == {True, False}
    assert {random_layer(seed)[3] for seed in range(100)} == set(SPELLINGS)
