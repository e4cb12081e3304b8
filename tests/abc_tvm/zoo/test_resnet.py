"""Residual plans: how many blocks, how wide, and where a shortcut needs a convolution."""

from __future__ import annotations

import numpy as np
import pytest

from abc_tvm.zoo.builder import GraphBuilder
from abc_tvm.zoo.resnet import PLANS, ResidualPlan, abc_resnet, blocks, stem


@pytest.mark.parametrize(
    ("name", "convs", "last"),
    [("resnet8", 6, 64), ("resnet18", 16, 512), ("resnet34", 32, 512), ("resnet50", 48, 2048)],
)
def test_blocks_of_a_plan(name: str, convs: int, last: int) -> None:
    """As the networks are named: convolutions, stem and classifier."""
    made = blocks(PLANS[name], 1.0)
    assert sum(len(block.convs) for block in made) == convs
    assert int(name.removeprefix("resnet")) == convs + 2
    assert made[-1].channels == last
    assert [block.stride for block in made].count(2) == len(PLANS[name].blocks) - 1
    assert len({block.name for block in made}) == len(made)


def test_width_scales_all_channels() -> None:
    narrow = blocks(ResidualPlan((1, 1), channels=10, bottleneck=True), 0.25)
    assert narrow[0].convs == ((2, 1, 1), (2, 3, 1), (8, 1, 1))
    assert narrow[1].convs == ((5, 1, 1), (5, 3, 2), (20, 1, 1))
    assert blocks(ResidualPlan((1,), channels=1), 0.01)[0].channels == 1


def test_a_shortcut_where_the_shape_changes() -> None:
    g = GraphBuilder((1, 4, 8, 8))
    plan = ResidualPlan((2, 1), channels=4, large_stem=False)
    changes = [block.changes_shape(g.input) for block in blocks(plan, 1.0)]
    assert changes == [False, False, True]


@pytest.mark.parametrize(("large", "size"), [(False, 32), (True, 8)])
def test_the_stem(large: bool, size: int) -> None:
    g = GraphBuilder((2, 3, 32, 32))
    out = stem(g, ResidualPlan((1,), channels=6, large_stem=large), 0.5)
    assert out.value.shape == (2, 3, size, size)


def test_shortcuts_of_the_whole_network() -> None:
    g = GraphBuilder((1, 3, 16, 16))
    out = abc_resnet(g, PLANS["resnet8"], M=1, N=1, width=0.5, classes=7)
    assert out.value.shape == (1, 7) and np.isfinite(out.value).all()
    names = [node.name for node in g.model(out, name="n").graph.node]
    shortcuts = {name.split(".shortcut")[0] for name in names if ".shortcut" in name}
    assert shortcuts == {"layer2.0", "layer3.0"}
