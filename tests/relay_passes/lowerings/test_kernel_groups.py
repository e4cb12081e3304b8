"""Which operators run as one kernel, case by case."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from tvm import relax

from abc_tvm.relay_passes.lowerings.kernel_groups import (
    MOST_TERMS,
    groups_of,
    is_anchor,
    read_outside,
    same_slots,
)
from abc_tvm.relay_passes.ops import make
from abc_tvm.relay_passes.rewrite import hint
from tests.relay_passes.relax_graph import convolution, image, module, step, tensor

Bind = Callable[..., relax.Var]
WEIGHT = np.ones((4, 1, 1, 4), np.float32)


def conv(x: relax.Expr, **options: object) -> relax.Expr:
    return convolution(x, WEIGHT, **options)


def average(x: relax.Expr) -> relax.Expr:
    return relax.op.nn.avg_pool2d(x, (1, 1), layout="NHWC")


def main(body: Callable[[Bind, relax.Var], relax.Expr]) -> relax.Function:
    x = image("x", 4)
    return module([x], lambda bind: body(bind, x))["main"]


def grouped(body: Callable[[Bind, relax.Var], relax.Expr]) -> list[tuple[bool, list[str]]]:
    """Whether each group is fused, and its members by name; aliases left out."""
    found = [(g.fused, [hint(v) for v, _ in g.members]) for g in groups_of(main(body))]
    return [(fused, names) for fused, names in found if not names[0].startswith("gv")]


def test_case_1_each_anchor_starts_a_kernel() -> None:
    assert grouped(lambda bind, x: bind(conv(bind(conv(x), "a")), "b")) == [
        (True, ["a"]),
        (True, ["b"]),
    ]


def test_case_2_an_addition_joins_the_branch_that_finishes_last() -> None:
    def body(bind: Bind, x: relax.Var) -> relax.Expr:
        first, second = bind(conv(x), "first"), bind(conv(x), "second")
        total = bind(relax.op.add(second, first), "total")
        return bind(step(total, 4), "step")

    assert grouped(body) == [(True, ["first"]), (True, ["second", "total", "step"])]


def test_case_3_another_image_starts_a_kernel_without_anchor() -> None:
    """What is computed over 5x5x4 broadcasts to no kernel over 5x5x1."""

    def body(bind: Bind, x: relax.Var) -> relax.Expr:
        one = bind(convolution(x, WEIGHT[:1]), "one")
        return bind(relax.op.add(one, x), "wide")

    assert grouped(body) == [(True, ["one"]), (True, ["wide"])]


def test_case_3_behind_what_is_alone() -> None:
    def body(bind: Bind, x: relax.Var) -> relax.Expr:
        return bind(relax.op.nn.relu(bind(average(x), "pool")), "relu")

    assert grouped(body) == [(False, ["pool"]), (True, ["relu"])]


def test_case_3_expressions_do_not_grow_without_end() -> None:
    """``x + x``, ten times over, is 2**10 terms: kernels of at most 256."""

    def body(bind: Bind, x: relax.Var) -> relax.Expr:
        x = bind(conv(x), "conv")
        for i in range(10):
            x = bind(relax.op.add(x, x), f"double{i}")
        return x

    groups = grouped(body)
    assert len(groups) == 2 and all(fused for fused, _ in groups)
    assert len(groups[0][1]) == int(np.log2(MOST_TERMS))


def test_case_4_others_are_alone() -> None:
    def body(bind: Bind, x: relax.Var) -> relax.Expr:
        return bind(relax.op.permute_dims(bind(average(x), "pool"), (0, 3, 1, 2)), "turned")

    assert grouped(body) == [(False, ["pool"]), (False, ["turned"])]


def encoding(groups: int) -> Callable[[Bind, relax.Var], relax.Expr]:
    """Bits of a convolution of 12 channels in one group, written in ``groups``."""

    def body(bind: Bind, x: relax.Var) -> relax.Expr:
        wide = bind(convolution(x, np.ones((12, 1, 1, 4), np.float32)), "conv")
        facts = {"code": "thermometer", "planes": 1, "layout_groups": groups, "count": 0}
        return bind(make("encode_bitserial", step(wide, 12).args[:3], **facts), "bits")

    return body


@pytest.mark.parametrize(
    ("groups", "wanted"),
    [(1, [(True, ["conv", "bits"])]), (3, [(True, ["conv"]), (True, ["bits"])])],
)
def test_bits_join_where_channels_lie_in_the_same_lanes(
    groups: int, wanted: list[tuple[bool, list[str]]]
) -> None:
    assert grouped(encoding(groups)) == wanted


def test_same_slots() -> None:
    assert same_slots(12, 1, 1) and not same_slots(12, 1, 3) and same_slots(96, 1, 3)


def test_a_tensor_that_is_read_outside() -> None:
    def body(bind: Bind, x: relax.Var) -> relax.Expr:
        first = bind(conv(x), "first")
        inner = bind(relax.op.nn.relu(first), "inner")
        bind(relax.op.exp(inner), "last")
        return bind(relax.op.permute_dims(bind(average(inner)), (0, 3, 1, 2)), "turned")

    func = main(body)
    names = {hint(v) for v in read_outside(func, groups_of(func))}
    assert "inner" in names and not names & {"first", "last"}


def pool(**options: object) -> relax.Expr:
    plain = {"layout": "NHWC", "pool_size": (2, 2)}
    return relax.op.nn.max_pool2d(image("x", 4), **(plain | options))


@pytest.mark.parametrize(
    ("call", "anchor"),
    [
        (conv(image("x", 4)), True),
        (relax.op.nn.conv2d(tensor("x", 1, 4, 5, 5), tensor("w", 4, 4, 1, 1)), False),
        (pool(), True),
        (pool(ceil_mode=True), False),
        (pool(layout="NCHW"), False),
        (pool(pool_size=(17, 17), padding=(8, 8, 8, 8)), False),
        (average(image("x", 4)), False),
    ],
)
def test_anchors(call: relax.Call, anchor: bool) -> None:
    normal = relax.BlockBuilder().normalize(call)
    assert is_anchor(normal) == anchor
