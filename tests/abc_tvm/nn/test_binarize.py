"""What ``binarize`` does to the graph of a network, and what it says of it."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs the extra [torch]")

from torch import nn  # noqa: E402

from abc_tvm.errors import InputError, UnsupportedError  # noqa: E402
from abc_tvm.nn import ABCActivation, ABCConv2d, ABCLinear, binarize, summary  # noqa: E402
from tests.abc_tvm.nn.torch_networks import PreActivation, ResNet, lenet, randomise  # noqa: E402


def calls(network: Any) -> list[str]:
    """Classes and functions in the order of execution."""
    names = []
    for node in network.graph.nodes:
        if node.op == "call_module":
            names.append(type(network.get_submodule(node.target)).__name__)
        elif node.op.startswith("call"):
            names.append(getattr(node.target, "__name__", node.target))
    return names


def test_plain_networks_get_the_papers_order() -> None:
    network = binarize(lenet(), 3, 2, verbose=False)
    assert calls(network) == [
        "Conv2d", "MaxPool2d", "BatchNorm2d", "ABCActivation",
        "ABCConv2d", "MaxPool2d", "BatchNorm2d", "ABCActivation", "Flatten",
        "ABCLinear", "ReLU", "Linear",
    ]  # fmt: skip
    rows = {row.name: row for row in summary(network)}
    assert [row.converted for row in rows.values()] == [False, True, True, False]
    assert rows["0"].reason == "first layer" and rows["12"].reason == "last layer"
    assert "max-pool moved before batch normalization" in rows["4"].reason
    assert "dropout removed" in rows["10"].reason
    x = torch.randn(4, 1, 28, 28)
    network.train()(x).sum().backward()
    assert all(p.grad is not None for p in network.parameters())


def test_batch_normalization_is_added_where_there_is_none() -> None:
    network = binarize(lenet(norm=False), 2, 3, verbose=False)
    assert calls(network)[:6] == [
        "Conv2d", "MaxPool2d", "BatchNorm2d", "ABCActivation", "ABCConv2d", "MaxPool2d",
    ]  # fmt: skip
    assert "batch normalization added" in summary(network)[1].reason
    assert network(torch.randn(2, 1, 28, 28)).shape == (2, 10)


def test_a_residual_sum_stays_rectified_for_the_shortcut() -> None:
    network = binarize(ResNet((1, 1), 8), 2, 2, verbose=False)
    names = calls(network)
    # Two blocks: both sums keep their ReLU, the stem too; the ReLUs between convolutions go.
    assert names.count("ReLU") == 3 and names.count("ABCConv2d") == 5
    # conv1 and downsample of the second block share one activation.
    assert names.count("ABCActivation") == 4
    by_name = dict(network.named_modules())
    assert isinstance(by_name["layer2.0.downsample.0"], ABCConv2d)
    assert isinstance(by_name["conv1"], nn.Conv2d) and not isinstance(by_name["conv1"], ABCConv2d)
    assert network(torch.randn(2, 3, 32, 32)).shape == (2, 1000)


def test_pre_activation_blocks_lose_their_rectifiers() -> None:
    network = binarize(PreActivation(), 1, 3, verbose=False)
    assert calls(network) == [
        "Conv2d", "BatchNorm2d", "ABCActivation", "ABCConv2d", "BatchNorm2d", "ABCActivation",
        "ABCConv2d", "ABCConv2d", "add", "mean", "Linear",
    ]  # fmt: skip


def test_weights_begin_as_the_float_ones() -> None:
    """Algorithm 1: B and α come from W, which stays the real weight of training."""
    plain = randomise(ResNet((1,), 8))
    before = copy.deepcopy(plain.state_dict())
    network = binarize(plain, 3, 1, verbose=False)
    layer = network.get_submodule("layer1.0.conv2")
    assert isinstance(layer, ABCConv2d)
    assert torch.equal(layer.weight, before["layer1.0.conv2.weight"])
    with torch.no_grad():
        layer.weight.zero_()
    assert all(torch.equal(a, before[name]) for name, a in plain.state_dict().items())


def test_skip_first_and_last() -> None:
    network = binarize(
        ResNet((1, 1), 8), 2, 2, skip=["layer2.*.downsample.*", "layer1.0.conv1"], verbose=False
    )
    rows = {row.name: row for row in summary(network)}
    assert rows["layer2.0.downsample.0"].reason == "in skip"
    assert not rows["layer1.0.conv1"].converted and rows["layer1.0.conv2"].converted
    everything = binarize(lenet(), 1, 1, keep_first=False, keep_last=False, verbose=False)
    assert all(row.converted for row in summary(everything))
    assert everything(torch.randn(2, 1, 28, 28)).shape == (2, 10)


def test_reasons_for_layers_that_have_no_binary_form() -> None:
    network = nn.Sequential(
        nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(),
        nn.Conv2d(8, 8, 3, padding=1, padding_mode="reflect"), nn.ReLU(),
        nn.ConvTranspose2d(8, 8, 2), nn.ReLU(),
        nn.Conv2d(8, 8, 3), nn.ReLU(),
        nn.Flatten(), nn.Linear(8 * 7 * 7, 10),
    )  # fmt: skip
    rows = summary(binarize(network, 2, 2, verbose=False))
    assert [row.converted for row in rows] == [False, False, False, True, False]
    assert "reflect" in rows[1].reason and "ConvTranspose2d" in rows[2].reason


def test_a_module_called_twice_is_converted_once() -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stem = nn.Conv2d(3, 8, 3, padding=1)
            self.conv = nn.Conv2d(8, 8, 3, padding=1)
            self.fc = nn.Linear(8, 10)

        def forward(self, x: Any) -> Any:
            x = self.conv(torch.relu(self.conv(torch.relu(self.stem(x)))))
            return self.fc(x.mean((2, 3)))

    network = binarize(Twice(), 2, 2, verbose=False)
    assert [row.converted for row in summary(network)] == [False, True, False]
    assert calls(network).count("ABCConv2d") == 2 and calls(network).count("ABCActivation") == 2
    assert network(torch.randn(1, 3, 8, 8)).shape == (1, 10)


def test_the_summary_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    binarize(lenet(), 3, 2)
    out, err = capsys.readouterr()
    assert out == "" and "2 of 4 layers have M=3, N=2" in err and "first layer" in err


def test_mode_and_options_carry_over() -> None:
    network = binarize(lenet().eval(), 3, 2, per_channel=True, train_u=True, verbose=False)
    layer = network.get_submodule("4")
    assert isinstance(layer, ABCConv2d) and not layer.training
    assert layer.per_channel and isinstance(layer.u, nn.Parameter)
    assert layer.alpha().shape == (3, 16)
    activation = next(m for m in network.modules() if isinstance(m, ABCActivation))
    assert activation.N == 2
    assert isinstance(network.get_submodule("10"), ABCLinear)


def test_binarized_twice_changes_nothing_more() -> None:
    once = binarize(lenet(), 3, 2, verbose=False)
    with pytest.raises(UnsupportedError, match="is an ABC layer already"):
        binarize(once, 3, 2, verbose=False)


@pytest.mark.parametrize(
    ("network", "options", "kind", "message"),
    [
        (lenet(), {"M": 0, "N": 1}, InputError, "M is 0"),
        (lenet(), {"M": 1, "N": 0}, InputError, "N is 0"),
        (lenet(), {"M": 1, "N": 1, "skip": ["nothing*"]}, InputError, "matches no layer"),
        (nn.Sequential(nn.Linear(3, 3)), {"M": 1, "N": 1}, UnsupportedError, "no layer to convert"),
        (nn.ReLU(), {"M": 1, "N": 1}, UnsupportedError, "no layer to convert"),
    ],
)
def test_refuses(
    network: nn.Module, options: dict[str, Any], kind: type[Exception], message: str
) -> None:
    with pytest.raises(kind, match=message):
        binarize(network, **options, verbose=False)


def test_control_flow_is_refused_with_a_reason() -> None:
    class Branches(nn.Module):
        def forward(self, x: Any) -> Any:
            return x if x.sum() > 0 else -x

    with pytest.raises(UnsupportedError, match="cannot trace"):
        binarize(Branches(), 1, 1)


def test_summary_of_another_network() -> None:
    with pytest.raises(InputError, match="binarize"):
        summary(lenet())


def test_large_m_and_n_keep_what_the_network_computes() -> None:
    """A pre-activation network without rectifiers is nearly the same function at M = N = 31."""
    torch.manual_seed(0)
    plain = nn.Sequential(
        nn.Conv2d(3, 16, 3), nn.BatchNorm2d(16), nn.Conv2d(16, 16, 3), nn.BatchNorm2d(16),
        nn.Conv2d(16, 8, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 10),
    )  # fmt: skip
    x = torch.randn(64, 3, 12, 12)
    plain(x)  # statistics
    for module in plain.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = None
            module.reset_running_stats()
    plain(x)
    errors = []
    for count in (1, 5, 31):
        network = binarize(plain.eval(), count, count, skip=["4"], verbose=False)
        found, wanted = network(x).detach().numpy(), plain(x).detach().numpy()
        errors.append(float(np.linalg.norm(found - wanted) / np.linalg.norm(wanted)))
    assert errors[0] > errors[1] > errors[2] and errors[2] < 0.35
