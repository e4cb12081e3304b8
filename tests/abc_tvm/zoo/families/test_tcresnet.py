"""TC-ResNet8: convolutions over time."""

from __future__ import annotations

from tests.abc_tvm.zoo.families.judge import check, small


def test_every_binarized_layer_leaves_float() -> None:
    check("tcresnet8", layers=9)


def test_windows_have_one_axis() -> None:
    model = small("tcresnet8")
    assert [d.dim_value for d in model.graph.input[0].type.tensor_type.shape.dim] == [1, 40, 32]
    taps = [list(a.ints) for n in model.graph.node if n.op_type == "Conv"
            for a in n.attribute if a.name == "kernel_shape"]  # fmt: skip
    assert taps == [[3], *[[1], [9], [9]] * 3]
