"""Whole networks on an emulated GPU: TVM's own CUDA runtime, and every thread of every kernel.

A failure prints its seed; ``random_layer(seed)`` and ``random_network(seed)`` make it again.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tvm

import abc_tvm
from abc_tvm import zoo
from tests.abc_tvm.small_networks import network
from tests.end_to_end.judge import Compiled, assert_equal, reference
from tests.generators import FAMILIES, random_layer, random_network

pytestmark = pytest.mark.usefixtures("cuda_emulation")

CHUNK = 2


def chunks(count: int) -> list[range]:
    return [range(start, start + CHUNK) for start in range(0, count, CHUNK)]


@pytest.mark.slow
@pytest.mark.parametrize("target", ["cuda-sm75", "cuda-sm80"])
@pytest.mark.sweep("seeds", short=chunks(4), full=chunks(200))
def test_layers(seeds: range, target: str) -> None:
    for seed in seeds:
        model, inputs, spec, spelling = random_layer(seed + 4000)
        found = Compiled(model, target=target).run(inputs)
        exact = all(layer.exact for layer in spec.chain)
        about = f"layer {seed + 4000} {spelling} {spec}"
        assert_equal(found, reference(model, inputs), exact, about)


@pytest.mark.slow
@pytest.mark.parametrize("lowering", ["bitserial", "auto"])
@pytest.mark.sweep("seeds", short=chunks(4), full=chunks(100))
def test_networks(seeds: range, lowering: str) -> None:
    for seed in seeds:
        network = random_network(seed + 4000)
        found = Compiled(network.model, lowering, "cuda-sm90").run(network.inputs)
        wanted = reference(network.model, network.inputs)
        assert_equal(found, wanted, network.exact, f"network {seed + 4000} {network.description}")


@pytest.mark.slow
@pytest.mark.parametrize("target", ["cuda-sm75", "cuda-sm90"])
@pytest.mark.sweep("seeds", short=chunks(4), full=chunks(100))
def test_layers_on_bytes(seeds: range, target: str) -> None:
    for seed in seeds:
        model, inputs, spec, spelling = random_layer(seed + 4000)
        found = Compiled(model, "int8", target)
        about = f"layer {seed + 4000} {spelling} {spec}"
        exact = all(layer.exact for layer in spec.chain)
        assert_equal(found.run(inputs), reference(model, inputs), exact, about)


@pytest.mark.slow
@pytest.mark.parametrize(("pairs", "lowering"), [((1, 1), "bitserial"), ((4, 4), "int8")])
def test_more_pairs_than_bytes_cost_run_on_those(
    pairs: tuple[int, int], lowering: str, tmp_path: Path
) -> None:
    """Of a network on a grid, with shortcuts: codes between layers, equal to the processor's."""
    model = zoo.build("resnet8", *pairs, image_size=8, batch=2, grid=True)
    outputs = []
    for target in ("native", "cuda-sm80"):
        path = tmp_path / f"{target}.so"
        artifact = abc_tvm.compile(model, target)
        artifact.save(path)
        session = abc_tvm.load(path, threads=1)
        (port,) = session.info.inputs
        x = np.random.default_rng(0).standard_normal((2, 3, 8, 8)).astype(np.float32)
        outputs.append(session.run({port.name: x})[session.info.outputs[0].name])
    kinds = {layer["lowering"] for layer in artifact.info.layers}
    assert lowering in kinds and kinds <= {lowering, "float"}
    np.testing.assert_allclose(outputs[1], outputs[0], rtol=0, atol=1e-5 * np.abs(outputs[0]).max())


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(FAMILIES))
def test_families(name: str) -> None:
    network = FAMILIES[name](0)
    compiled = Compiled(network.model, target="cuda-sm80")
    wanted = reference(network.model, network.inputs)
    assert_equal(compiled.run(network.inputs), wanted, network.exact, name)
    assert any(layer.lowering == "bitserial" for layer in compiled.layers)


@pytest.mark.slow
@pytest.mark.parametrize("pairs", [(1, 1), (2, 3)])
def test_lenet_of_the_zoo_is_the_processors(pairs: tuple[int, int], tmp_path: Path) -> None:
    """Whole artifacts, several batches of one that leaves the batch open."""
    model = zoo.build("lenet", *pairs)
    sessions = []
    for target in ("native", "cuda-sm80"):
        path = tmp_path / f"{target}.so"
        abc_tvm.compile(model, target, lowering="bitserial").save(path)
        sessions.append(abc_tvm.load(path, threads=1))
    processor, gpu = sessions
    port = gpu.info.inputs[0]
    for batch in (1, 3):
        shape = tuple(batch if isinstance(n, str) else n for n in port.shape)
        x = np.random.default_rng(batch).standard_normal(shape).astype(np.float32)
        (wanted,) = processor.run({port.name: x}).values()
        (found,) = gpu.run({port.name: x}).values()
        np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-5 * np.abs(wanted).max())


@pytest.mark.slow
@pytest.mark.parametrize("batch", [2, None])
def test_a_residual_network_is_the_processors(batch: int | None, tmp_path: Path) -> None:
    """Kernels with two results, floats for the shortcut and bits; a fixed and an open batch."""
    model = zoo.build("resnet8", 1, 2, image_size=8)
    sessions = []
    for target in ("native", "cuda-sm80"):
        path = tmp_path / f"{target}.so"
        abc_tvm.compile(model, target, batch=batch, lowering="bitserial").save(path)
        sessions.append(abc_tvm.load(path, threads=1))
    (port,) = sessions[0].info.inputs
    for seed in range(2):
        x = np.random.default_rng(seed).standard_normal((2, 3, 8, 8)).astype(np.float32)
        (wanted,), (found,) = (session.run({port.name: x}).values() for session in sessions)
        np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-5 * np.abs(wanted).max())


@pytest.mark.slow
@pytest.mark.shared
@pytest.mark.parametrize("name", ["mnist_tfc_w1a1_qonnx", "mnist_tfc_w1a2_qonnx"])
def test_real_networks_are_the_processors(name: str, shared_dir: Path) -> None:
    """Dense layers of other people's networks; what follows the last one is float arithmetic."""
    path = shared_dir / "models" / f"{name}.onnx"
    processor, gpu = Compiled(str(path)), Compiled(str(path), target="cuda-sm80")
    shape = [int(d) for d in input_shape(str(path))]
    x = np.random.default_rng(0).integers(0, 256, shape).astype(np.float32) / 256
    inputs = {gpu.inputs[0]: x}
    for a, b in zip(gpu.run(inputs), processor.run(inputs), strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=4e-7 * np.abs(b).max())


def input_shape(path: str) -> list[int]:
    import onnx

    dims = onnx.load(path).graph.input[0].type.tensor_type.shape.dim
    return [d.dim_value or 1 for d in dims]


def test_a_tensor_of_the_device_stays_there(tmp_path: Path) -> None:
    abc_tvm.compile(network(), "cuda-sm80", lowering="bitserial").save(tmp_path / "m.so")
    session = abc_tvm.load(tmp_path / "m.so")
    x = np.random.default_rng(0).standard_normal((2, 8, 6, 6)).astype(np.float32)
    wanted = session.run(x)["output"]
    assert isinstance(wanted, np.ndarray)
    placed = tvm.runtime.tensor(x, tvm.cuda())
    found = session.run({"input": placed})["output"]
    assert found.__dlpack_device__() == placed.__dlpack_device__()
    np.testing.assert_array_equal(found.numpy(), wanted)
    back = session.run({"input": tvm.runtime.tensor(x)})["output"]
    assert back.__dlpack_device__()[0] == 1, "given on the processor, given back there"
    np.testing.assert_array_equal(back.numpy(), wanted)
