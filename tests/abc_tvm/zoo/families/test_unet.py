"""A binary U-Net: signs are pooled, repeated and joined."""

from __future__ import annotations

from tests.abc_tvm.zoo.families.judge import check, kinds, small


def test_every_binarized_layer_leaves_float() -> None:
    check("unet", layers=14)


def test_the_spelling() -> None:
    nodes = kinds("unet")
    assert nodes["Resize"] == nodes["Concat"] == nodes["MaxPool"] == 3


def test_the_result_is_an_image() -> None:
    dims = small("unet").graph.output[0].type.tensor_type.shape.dim
    assert [d.dim_value for d in dims] == [1, 7, 16, 16]
