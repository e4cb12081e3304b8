"""ReActNet-A: shifts and PReLUs of each channel, whose bias is expanded to the image."""

from __future__ import annotations

from tests.abc_tvm.zoo.families.judge import check, kinds


def test_every_binarized_layer_leaves_float() -> None:
    check("reactnet-a", layers=31)


def test_the_spelling() -> None:
    nodes = kinds("reactnet-a")
    assert nodes["Expand"] >= 26 and nodes["PRelu"] >= 26 and nodes["Sign"] >= 26
