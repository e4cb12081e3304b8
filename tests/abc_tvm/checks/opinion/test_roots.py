"""The root of an activation is found by its values, and refused where it may be several tensors."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx
import pytest

from abc_tvm.checks.graphs.not_checked import NotChecked
from abc_tvm.checks.graphs.relax_graph import FLOAT
from abc_tvm.checks.opinion import roots as module
from abc_tvm.checks.opinion.anchors import make_anchors
from abc_tvm.checks.opinion.codes import reading_of
from abc_tvm.checks.opinion.roots import Roots
from tests.abc_tvm.checks.opinion import networks
from tests.abc_tvm.checks.opinion.test_anchors import both
from tests.relay_passes.harness import Net


def behind_float() -> onnx.ModelProto:
    """A binary layer whose activation's root is what float operators make of the input."""
    net = Net((1, 4, 8, 8))
    x = net.op("Softplus", net.op("Mul", "input", net.constant(0.5)))
    first = net.conv(net.op("Sign", x), net.signs(4, 4, 1, 1))
    return net.model(net.op("Add", first, net.op("Exp", x)))


def prepared(model: onnx.ModelProto, whole: bool = False) -> tuple[Roots, object, list[str]]:
    """Both graphs computed for the last binary layer: its root, and what it reads."""
    graph, relax, layers = both(model)
    roots = Roots(graph, relax, make_anchors(graph, relax, layers, {}))
    layer = [one for one in relax.layers if one.kind != FLOAT][-1]
    root = reading_of(relax, layer).root
    data = [layers[layer.name].data]
    roots.compute([root], data, np.random.default_rng(0), whole)
    return roots, root, data


@pytest.mark.parametrize("whole", [False, True])
def test_an_input_is_an_anchor_itself(whole: bool) -> None:
    roots, root, _ = prepared(networks.levels(), whole)
    assert roots.direct(root) is not None
    assert roots.direct(object()) is None


@pytest.mark.parametrize("whole", [False, True])
@pytest.mark.parametrize("make", [behind_float, lambda: networks.padded_by(0.5)])
def test_a_root_has_the_values_of_its_tensor(
    make: Callable[[], onnx.ModelProto], whole: bool
) -> None:
    roots, root, data = prepared(make(), whole)
    assert roots.direct(root) is None
    names = [name for name, _ in roots.find(root, data)]
    assert names
    reads = {name for at in roots.graph.needed(data, names[:1]) for name in roots.graph.reads[at]}
    assert names[0] in reads or names[0] in data


def test_nothing_is_known_before_it_is_computed() -> None:
    graph, relax, layers = both(networks.levels())
    roots = Roots(graph, relax, make_anchors(graph, relax, layers, {}))
    with pytest.raises(NotChecked, match="operators before its activation are not known"):
        roots.find(relax.layers[0].data, ["input"])


def test_too_many_values_are_not_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_DRAWN", 3)
    roots, root, data = prepared(networks.padded_by())
    with pytest.raises(NotChecked, match="are not known to the checker"):
        roots.find(root, data)


def test_values_that_repeat_are_atoms() -> None:
    roots, _, _ = prepared(networks.padded_by(0.5))
    assert roots.atoms("input").everywhere
    padded = next(n.output[0] for n in roots.graph.nodes if n.op_type == "Pad")
    assert 0.5 in roots.atoms(padded).values
    assert roots.atoms("absent").values == frozenset()


def test_equal_but_for_rounding() -> None:
    a = np.float32([[1, 2], [3, -4]])
    near = a * np.float32(1 + 2.0**-20)
    assert module._alike(a, near) and module._alike(a, a)
    assert not module._alike(a, a * np.float32(1.001))
    assert not module._alike(a, a.T[:1]) and not module._alike(a, a.astype(np.int32))
    infinite = np.float32([[np.inf, 2], [3, -4]])
    assert module._alike(infinite, infinite)
    assert not module._alike(a, infinite)
    assert module._alike(np.array([1, 2]), np.array([1, 2]))
    assert not module._alike(np.array([1, 2]), np.array([1, 3]))
