"""Windows over one axis as windows over images of one row, so that one set of kernels serves both.

``[B, C, L]`` becomes ``[B, C, 1, L]`` before the operator, and ``[B, C, L]`` again behind it.
"""

from __future__ import annotations

import numpy as np
import onnx

from abc_tvm.frontend.graph_edit import attributes
from abc_tvm.frontend.operators import spell
from abc_tvm.frontend.operators.rewriter import Rewriter


def conv_as_image(edit: Rewriter, node: onnx.NodeProto) -> bool:
    """A Conv of one axis with stored weights; others stay. The layer keeps its name."""
    weight = edit.value(node.input[1])
    if weight is None or weight.ndim != 3:
        return False
    row = edit.constant(np.expand_dims(weight, 2), f"{node.input[1]}/row")
    _as_image(edit, node, {"kernel_shape": [1, weight.shape[2]]}, {1: row})
    return True


def pool_as_image(edit: Rewriter, node: onnx.NodeProto) -> bool:
    """A pooling of one axis; others stay."""
    if len(edit.shapes.get(node.input[0], ())) != 3:
        return False
    _as_image(edit, node, {}, {})
    return True


def _as_image(
    edit: Rewriter, node: onnx.NodeProto, changed: dict[str, list[int]], inputs: dict[int, str]
) -> None:
    attrs = attributes(node)
    for name in ("kernel_shape", "strides", "dilations"):
        if attrs.get(name) and name not in changed:
            changed[name] = [1, *attrs[name]]
    if attrs.get("pads"):
        before, after = attrs["pads"]
        changed["pads"] = [0, before, 0, after]
    image = onnx.NodeProto()
    image.CopyFrom(node)
    image.name = node.name or node.output[0]
    image.input[0] = edit.axes_op(node, "Unsqueeze", node.input[0], [2])
    for place, name in inputs.items():
        image.input[place] = name
    image.output[0] = edit.fresh(f"{node.output[0]}/row")
    spell.keep(edit, image, (), **changed)
    edit.settled.add(image.output[0])
    edit.axes_op(node, "Squeeze", image.output[0], [2], out=node.output[0])
