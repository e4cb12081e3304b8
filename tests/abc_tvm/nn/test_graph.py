"""What nodes of a traced network are, and chains of those that keep a tensor's meaning."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="needs the extra [torch]")

from torch import nn  # noqa: E402
from torch.nn import functional as F  # noqa: E402

from abc_tvm.errors import UnsupportedError  # noqa: E402
from abc_tvm.nn import ABCConv2d  # noqa: E402
from abc_tvm.nn.graph import chain, kind, source, trace  # noqa: E402


class Net(nn.Module):  # type: ignore[misc, name-defined]
    """A forward that is given."""

    def __init__(self, run: Callable[[Any, Any], Any]) -> None:
        super().__init__()
        self.conv, self.bn, self.abc = nn.Conv2d(3, 3, 3), nn.BatchNorm2d(3), ABCConv2d(3, 3, 3)
        self.act, self.pool, self.drop = nn.ReLU6(), nn.MaxPool2d(2), nn.Dropout()
        self.run = run

    def forward(self, x: Any) -> Any:
        return self.run(self, x)


def last(run: Callable[[Any, Any], Any]) -> tuple[Any, Any]:
    """The graph and the node before its output."""
    graph = trace(Net(run))
    return graph, source_of_output(graph)


def source_of_output(graph: Any) -> Any:
    (output,) = (node for node in graph.graph.nodes if node.op == "output")
    return output.args[0]


@pytest.mark.parametrize(
    ("run", "wanted"),
    [
        (lambda m, x: m.act(x), "rectifier"),
        (lambda m, x: F.relu(x), "rectifier"),
        (lambda m, x: x.relu_(), "rectifier"),
        (lambda m, x: m.pool(x), "pool"),
        (lambda m, x: F.dropout(x), "neutral"),
        (lambda m, x: x.flatten(1), "reshape"),
        (lambda m, x: m.bn(x), "norm"),
        (lambda m, x: m.conv(x), "linear"),
        (lambda m, x: x + 1, "other"),
        (lambda m, x: F.avg_pool2d(x, 2), "other"),
        (lambda m, x: x, "other"),
    ],
)
def test_kinds(run: Callable[[Any, Any], Any], wanted: str) -> None:
    assert kind(*last(run)) == wanted


def test_a_layer_of_ours_is_one_node() -> None:
    graph, node = last(lambda m, x: m.abc(x))
    assert node.op == "call_module" and node.target == "abc"
    assert kind(graph, node) == "linear"
    assert graph.get_submodule("abc") is not None


def test_a_chain_ends_at_what_changes_the_meaning() -> None:
    graph, node = last(lambda m, x: m.drop(m.pool(m.act(m.bn(m.conv(x))))))
    assert [kind(graph, one) for one in chain(graph, node)] == [
        "neutral", "pool", "rectifier", "norm",
    ]  # fmt: skip
    graph, node = last(lambda m, x: m.conv(x))
    assert chain(graph, node) == [node]
    graph, node = last(lambda m, x: m.act(x))
    assert [one.op for one in chain(graph, node)] == ["call_module", "placeholder"]


def test_sources() -> None:
    graph, node = last(lambda m, x: F.relu(input=x))
    assert source(node).op == "placeholder"
    assert source(source(node)) is None
    del graph


def test_a_forward_that_cannot_be_traced() -> None:
    def branching(m: Any, x: Any) -> Any:
        return x if x.sum() > 0 else -x

    with pytest.raises(UnsupportedError, match=r"^Net: torch\.fx cannot trace its forward \(") as e:
        trace(Net(branching))
    assert "without control flow on tensors" in str(e.value)
