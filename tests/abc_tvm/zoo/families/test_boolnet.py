"""BoolNet-18: four slices of signs, shortcuts of logic, padding by replication."""

from __future__ import annotations

from tests.abc_tvm.zoo.families.judge import check, kinds


def test_every_binarized_layer_leaves_float() -> None:
    check("boolnet18", layers=16)


def test_the_spelling() -> None:
    nodes = kinds("boolnet18")
    assert nodes["Pad"] == 16  # one in front of each binarized layer
    assert nodes["Unsqueeze"] >= 16 and nodes["Concat"] >= 1 and nodes["Slice"] >= 2
