"""From torch to the compiler, by every exporter: recognised completely, and right."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

torch = pytest.importorskip("torch", reason="needs the extra [torch]")

from torch import nn  # noqa: E402

import abc_tvm  # noqa: E402
from abc_tvm.checks.verify.network import verify  # noqa: E402
from abc_tvm.errors import ModelError, UserError  # noqa: E402
from abc_tvm.nn import ABCConv2d, ABCLinear, binarize, export_onnx, summary  # noqa: E402
from tests.abc_tvm.nn.exporters import EXPORTERS  # noqa: E402
from tests.abc_tvm.nn.torch_networks import PreActivation, ResNet, lenet, randomise  # noqa: E402

NETWORKS = {
    "lenet": (lenet, (1, 1, 28, 28)),
    "preactivation": (PreActivation, (1, 3, 16, 16)),
    "resnet": (lambda: ResNet((1, 1), 16), (1, 3, 32, 32)),
}


def run(artifact: Any, x: Any, folder: Path) -> np.ndarray:
    artifact.save(folder / "network.so")
    session = abc_tvm.load(folder / "network.so", threads=1)
    (name,) = (port.name for port in artifact.info.inputs)
    (found,) = session.run({name: x.numpy()}).values()
    return found


def check(network: nn.Module, model: Any) -> Any:
    """All ABC layers run as bits, and ``verify`` passes; returns the compiled network."""
    rows = summary(network)
    layers = [m for m in network.modules() if isinstance(m, ABCConv2d | ABCLinear)]
    outcome = verify(model, lowering="bitserial")
    binary = [layer for layer in outcome.report.layers if layer.lowering == "bitserial"]
    assert len(binary) == len(layers) == sum(row.converted for row in rows)
    assert len(outcome.report.layers) == len(rows)
    assert {layer.M for layer in binary} == {layer.M for layer in layers}
    assert outcome.passed, outcome.json()
    return outcome.artifact


@pytest.mark.sweep(
    "exporter, name, M, N, per_channel",
    short=[
        ("dynamo", "lenet", 3, 2, False),
        ("dynamo_unoptimised", "resnet", 2, 3, True),
        ("torchscript", "resnet", 3, 3, False),
        ("torchscript", "preactivation", 1, 1, True),
        ("program", "preactivation", 5, 5, False),
    ],
    full=[
        (exporter, name, M, N, per_channel)
        for exporter in EXPORTERS
        for name in NETWORKS
        for M, N in ((1, 1), (2, 3), (3, 3), (5, 5))
        for per_channel in (False, True)
    ],
)
def test_every_exporter(
    exporter: str, name: str, M: int, N: int, per_channel: bool, tmp_path: Path
) -> None:
    make, shape = NETWORKS[name]
    network = binarize(randomise(make()).eval(), M, N, per_channel=per_channel, verbose=False)
    randomise(network, 1)
    network.eval()
    x = torch.randn(shape, generator=torch.Generator().manual_seed(3))
    artifact = check(network, EXPORTERS[exporter](network, x))
    found = run(artifact, x, tmp_path)
    with torch.no_grad():
        wanted = network(x).numpy()
    assert found.argmax() == wanted.argmax()
    # A bit within rounding of its threshold may fall on the other side (contract, rule 4).
    assert np.abs(found - wanted).max() <= 0.05 * np.abs(wanted).max()


@pytest.mark.slow
@pytest.mark.sweep(
    "exporter, M, N",
    short=[("dynamo", 1, 1), ("torchscript", 2, 3), ("program", 3, 3)],
    full=[(e, m, n) for e in EXPORTERS for m, n in ((1, 1), (2, 3), (3, 3), (5, 5))],
)
def test_resnet18(exporter: str, M: int, N: int) -> None:
    # Random weights let one flipped bit grow through 20 layers, so onnxruntime judges, with the
    # bits forced to agree, and torch does not.
    network = binarize(randomise(ResNet()).eval(), M, N, verbose=False)
    rows = summary(network)
    assert [row.name for row in rows if not row.converted] == ["conv1", "fc"]
    x = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(3))
    check(network, EXPORTERS[exporter](network, x))


@pytest.mark.parametrize("dynamic_batch", [False, True])
def test_export_onnx(dynamic_batch: bool, tmp_path: Path) -> None:
    network = binarize(randomise(lenet()), 3, 2, verbose=False).train()
    path = tmp_path / "network.onnx"
    x = torch.randn(2, 1, 28, 28)
    report = export_onnx(network, path, x, dynamic_batch=dynamic_batch)
    assert [(layer.M, layer.N) for layer in report.layers][1:3] == [(3, 2), (3, 2)]
    assert all(module.training for module in network.modules())
    model = onnx.load(path)
    assert [v.name for v in model.graph.input] == ["input"]
    assert [v.name for v in model.graph.output] == ["output"]
    assert b"stack_trace" not in path.read_bytes() and b".py" not in path.read_bytes()
    first = model.graph.input[0].type.tensor_type.shape.dim[0]
    assert (first.dim_value == 0) == dynamic_batch
    images = torch.randn(5 if dynamic_batch else 2, 1, 28, 28)
    found = run(abc_tvm.compile(path), images, tmp_path)
    wanted = network.eval()(images).detach().numpy()
    assert np.array_equal(found.argmax(1), wanted.argmax(1))


def test_layers_without_binarize(tmp_path: Path) -> None:
    """Networks written with the layers, with shared activations and a grouped convolution."""
    network = nn.Sequential(
        nn.Conv2d(3, 33, 3), nn.MaxPool2d(2), nn.BatchNorm2d(33),
        ABCConv2d(33, 66, 3, M=2, N=3, groups=3, padding=1), nn.BatchNorm2d(66),
        ABCConv2d(66, 31, 3, M=3, N=1, dilation=2, per_channel=True), nn.BatchNorm2d(31),
        nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.BatchNorm1d(124),
        ABCLinear(124, 65, M=5, N=2), nn.BatchNorm1d(65), ABCLinear(65, 10, M=1, N=4),
    )  # fmt: skip
    randomise(network)
    report = export_onnx(network, tmp_path / "n.onnx", torch.randn(1, 3, 20, 20))
    assert [(layer.M, layer.N) for layer in report.layers] == [
        (None, None), (2, 3), (3, 1), (5, 2), (1, 4)
    ]  # fmt: skip
    assert verify(tmp_path / "n.onnx", lowering="bitserial").passed


def test_ties_go_up_in_torch_and_in_the_compiled_network(tmp_path: Path) -> None:
    """R + v = 0.5 exactly is +1 (the paper's ≥), also where R is −0.0; Sign(0) would be 0."""
    layer = ABCConv2d(1, 4, 1, M=1, N=1, bias=False)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([1.0, -1.0, 1.0, -1.0]).reshape(4, 1, 1, 1))
        assert layer.activation is not None
        layer.activation.v.fill_(0.5)
    below = float(np.nextafter(np.float32(0), np.float32(-1)))
    x = torch.tensor([0.0, -0.0, 1e-30, below, -1.0, 2.0]).reshape(1, 1, 2, 3)
    export_onnx(layer, tmp_path / "tie.onnx", x)
    found = run(abc_tvm.compile(tmp_path / "tie.onnx", lowering="bitserial"), x, tmp_path)
    assert np.array_equal(found, layer.eval()(x).detach().numpy())
    # −1.4e-45 + 0.5 rounds to 0.5 in float32: the sum decides, not R alone.
    assert np.sign(found[0, 0]).ravel().tolist() == [1, 1, 1, 1, -1, 1]


def test_a_lost_layer_is_named_and_no_file_is_written(tmp_path: Path) -> None:
    class Noisy(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = ABCConv2d(3, 4, 3, M=2, N=None)

        def forward(self, x: Any) -> Any:
            return self.layer(x)  # N=None, and nobody binarized x

    path = tmp_path / "n.onnx"
    with pytest.raises(ModelError, match="1 of 1 ABC layers are not recognised"):
        export_onnx(Noisy(), path, torch.randn(1, 3, 8, 8))
    assert not path.exists()
    with pytest.raises(UserError, match="does not exist"):
        export_onnx(Noisy(), tmp_path / "no" / "n.onnx", torch.randn(1, 3, 8, 8))


def test_what_torch_cannot_export_is_one_line(tmp_path: Path) -> None:
    class Branches(nn.Module):
        def forward(self, x: Any) -> Any:
            return x if bool(x.sum() > 0) else -x

    with pytest.raises(ModelError, match=r"Branches: torch.onnx.export failed: .+") as caught:
        export_onnx(Branches(), tmp_path / "n.onnx", torch.randn(1, 3))
    assert "\n" not in str(caught.value)
