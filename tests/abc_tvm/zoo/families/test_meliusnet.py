"""MeliusNet22: dense blocks that grow by concatenation, and improvement blocks."""

from __future__ import annotations

from tests.abc_tvm.zoo.families.judge import check, kinds


def test_every_binarized_layer_leaves_float() -> None:
    check("meliusnet22", layers=34)


def test_the_spelling() -> None:
    nodes = kinds("meliusnet22")
    assert nodes["Concat"] >= 17 and nodes["Transpose"] >= 2
