"""On a GPU of this machine: the random sweep and real networks, bit for bit as on the processor.

    pytest -m gpu --full -n 1

Where a value is a float, its arithmetic is that of the processor up to the order of sums.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tvm

import abc_tvm
from abc_tvm import zoo
from tests.end_to_end.judge import Compiled, assert_equal, reference
from tests.generators import random_layer, random_network

pytestmark = pytest.mark.gpu

CHUNK = 10


def chunks(count: int) -> list[range]:
    return [range(start, start + CHUNK) for start in range(0, count, CHUNK)]


@pytest.mark.sweep("seeds", short=chunks(20), full=chunks(500))
def test_layers(seeds: range) -> None:
    for seed in seeds:
        model, inputs, spec, spelling = random_layer(seed)
        exact = all(layer.exact for layer in spec.chain)
        found = Compiled(model, target="cuda").run(inputs)
        assert_equal(found, reference(model, inputs), exact, f"layer {seed} {spelling} {spec}")


@pytest.mark.sweep("seeds", short=chunks(10), full=chunks(200))
def test_networks(seeds: range) -> None:
    for seed in seeds:
        network = random_network(seed)
        found = Compiled(network.model, "auto", "cuda").run(network.inputs)
        wanted = reference(network.model, network.inputs)
        assert_equal(found, wanted, network.exact, f"network {seed} {network.description}")


@pytest.mark.shared
def test_real_networks_are_the_processors(shared_dir: Path) -> None:
    rng = np.random.default_rng(0)
    for path in sorted((shared_dir / "models").glob("*.onnx")):
        processor, gpu = Compiled(str(path)), Compiled(str(path), target="cuda")
        (port,) = abc_tvm.compile(path).info.inputs
        shape = tuple(n if isinstance(n, int) else 2 for n in port.shape)
        inputs = {port.name: rng.integers(0, 256, shape).astype(port.dtype) / np.float32(256)}
        for a, b in zip(gpu.run(inputs), processor.run(inputs), strict=True):
            np.testing.assert_allclose(a, b, rtol=0, atol=1e-6 * np.abs(b).max(), err_msg=path.name)


@pytest.mark.parametrize("batch", [1, 8, 512])
def test_resnet_keeps_its_tensors_on_the_device(batch: int, tmp_path: Path) -> None:
    """torch tensors go in and come out on the GPU; an image does not depend on its batch."""
    torch = pytest.importorskip("torch")
    if not torch.cuda.is_available():
        pytest.skip("the installed torch does not use the GPU")
    path = tmp_path / "m.so"
    abc_tvm.compile(zoo.build("resnet18", 1, 1, image_size=64), "cuda").save(path)
    session = abc_tvm.load(path)
    (port,), (result,) = session.info.inputs, session.info.outputs
    x = torch.randn(batch, 3, 64, 64, device="cuda")
    y = torch.from_dlpack(session.run({port.name: x})[result.name])
    assert y.is_cuda and len(y) == batch
    alone = session.run({port.name: x[-1:].cpu().numpy()})[result.name]
    np.testing.assert_array_equal(y[-1:].cpu().numpy(), alone)


def test_graphs_are_made_and_right(tmp_path: Path) -> None:
    """Batches in turns, results that are kept, two sessions on one pool."""
    path = tmp_path / "m.so"
    abc_tvm.compile(zoo.build("resnet8", 1, 2), "cuda").save(path)
    plain = abc_tvm.load(path, cuda_graphs=False)
    sessions = [abc_tvm.load(path) for _ in range(2)]
    (port,) = plain.info.inputs
    rng, kept = np.random.default_rng(0), []
    for _ in range(4):
        for batch in (1, 3):
            for session in sessions:
                x = rng.standard_normal((batch, *port.shape[1:])).astype(np.float32)  # type: ignore[arg-type]
                given = tvm.runtime.tensor(x, tvm.cuda())
                kept.append((x, *session.run({port.name: given}).values()))
    for x, y in kept:
        np.testing.assert_array_equal(y.numpy(), *plain.run(x).values())
    for session in sessions:
        for batch in (1, 3):
            assert session._staging.of(((batch, *port.shape[1:]),)).graph is not None  # type: ignore[arg-type]
