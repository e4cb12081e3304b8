"""What lies behind a tensor, element by element, and what it is determined by."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from tvm import relax

from abc_tvm.relay_passes.analysis.steps import chains
from abc_tvm.relay_passes.analysis.steps.chains import chain_behind, roots
from abc_tvm.relay_passes.rewrite import const, definitions, hint
from tests.relay_passes.relax_graph import image, module

Bind = Callable[..., relax.Var]
TWO = const(np.float32(2))


def graph(body: Callable[[Bind, relax.Var], relax.Var]) -> dict[str, object]:
    """Variables by name, beside ``defined``, of a function of the image ``x``."""
    x = image("x", 4)
    mod = module([x], lambda bind: body(bind, x))
    defined = definitions(mod["main"])
    named = {hint(var): var for var in [*mod["main"].params, *defined]}
    return {"defined": defined, **named}


def names(pairs: list[tuple[relax.Var, relax.Expr]]) -> list[str]:
    return [hint(var) for var, _ in pairs]


def diamond(bind: Bind, x: relax.Var) -> relax.Var:
    """``exp`` of a pool, read by two branches that are added; the first one twice."""
    pooled = bind(relax.op.nn.avg_pool2d(x, (1, 1), layout="NHWC"), "pooled")
    base = bind(relax.op.exp(pooled), "base")
    left = bind(relax.op.sign(base), "left")
    right = bind(relax.op.add(base, TWO), "right")
    both = bind(relax.op.add(left, right), "both")
    return bind(relax.op.multiply(both, left), "end")


def test_a_chain_is_in_an_order_of_computation() -> None:
    g = graph(diamond)
    chain, leaves = chain_behind(g["defined"], g["end"])
    order = names(chain)
    assert sorted(order) == ["base", "both", "end", "left", "right"]
    assert order.index("base") < order.index("left") < order.index("both") < order.index("end")
    assert [hint(v) for v in leaves] == ["pooled"]


def test_roots_are_single_tensors_the_deepest_first() -> None:
    """``left`` and ``both`` are read side by side: neither determines the end alone."""
    g = graph(diamond)
    found = list(roots(g["defined"], g["end"]))
    assert [hint(root) for root, _ in found] == ["pooled", "base", "end"]
    assert sorted(names(found[0][1])) == ["base", "both", "end", "left", "right"]
    assert sorted(names(found[1][1])) == ["both", "end", "left", "right"]
    assert found[2][1] == []


def test_a_chain_from_a_root_holds_what_is_needed_alone() -> None:
    g = graph(lambda bind, x: bind(relax.op.sign(bind(relax.op.exp(x), "inner")), "end"))
    (_, whole), (inner, rest), _ = roots(g["defined"], g["end"])
    assert names(whole) == ["inner", "end"] and hint(inner) == "inner" and names(rest) == ["end"]


def test_two_tensors_have_no_root_but_the_end() -> None:
    def body(bind: Bind, x: relax.Var) -> relax.Var:
        other = bind(relax.op.nn.avg_pool2d(x, (1, 1), layout="NHWC"), "other")
        return bind(relax.op.add(bind(relax.op.sign(x), "left"), other), "end")

    g = graph(body)
    assert [hint(root) for root, _ in roots(g["defined"], g["end"])] == ["end"]


def test_long_chains_have_their_ends_tried() -> None:
    def body(bind: Bind, x: relax.Var) -> relax.Var:
        for i in range(100):
            x = bind(relax.op.add(x, TWO), f"v{i}")
        return x

    g = graph(body)
    tried = [hint(root) for root, _ in roots(g["defined"], g["v99"])]
    assert len(tried) == chains.MOST_ROOTS + 1
    assert tried[:3] == ["x", "v0", "v1"] and tried[-2:] == ["v98", "v99"]
