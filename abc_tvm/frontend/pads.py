"""Zero padding written as a Pad node moves into the convolutions that read it."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import helper, numpy_helper


def fold_pads(model: onnx.ModelProto) -> onnx.ModelProto:
    """Add the ``pads`` of constant zero Pad nodes to the Conv nodes behind them, in place.

    Only spatial padding of rank-4 NCHW tensors by a constant zero moves; any other Pad stays.
    Returns ``model``.
    """
    graph = model.graph
    constants = {t.name: t for t in graph.initializer}
    pads = {}
    for node in graph.node:
        if node.op_type == "Pad" and node.domain == "":
            widths = _widths(node, constants)
            if widths is not None:
                pads[node.output[0]] = (node.input[0], widths)
    for node in graph.node:
        if node.op_type == "Conv" and node.domain == "" and node.input[0] in pads:
            source, widths = pads[node.input[0]]
            if _widen(node, widths):
                node.input[0] = source
    used = {name for node in graph.node for name in node.input}
    used |= {output.name for output in graph.output}
    unused = [n for n in graph.node if n.op_type == "Pad" and n.output[0] not in used]
    for node in unused:
        graph.node.remove(node)
    return model


def _widths(
    node: onnx.NodeProto, constants: dict[str, onnx.TensorProto]
) -> tuple[int, int, int, int] | None:
    """(top, left, bottom, right) of a Pad node that may move, else ``None``."""
    attributes = {a.name: helper.get_attribute_value(a) for a in node.attribute}
    if attributes.get("mode", b"constant") != b"constant":
        return None
    if len(node.input) > 3 and node.input[3]:
        return None
    if "pads" in attributes:  # before opset 11
        values, fill = list(attributes["pads"]), float(attributes.get("value", 0.0))
    else:
        if len(node.input) < 2 or node.input[1] not in constants:
            return None
        values = numpy_helper.to_array(constants[node.input[1]]).tolist()
        fill = 0.0
        if len(node.input) > 2 and node.input[2]:
            if node.input[2] not in constants:
                return None
            fill = float(np.asarray(numpy_helper.to_array(constants[node.input[2]])).reshape(-1)[0])
    if fill != 0 or len(values) != 8 or min(values) < 0 or any(values[i] for i in (0, 1, 4, 5)):
        return None
    return int(values[2]), int(values[3]), int(values[6]), int(values[7])


def _widen(node: onnx.NodeProto, widths: tuple[int, int, int, int]) -> bool:
    for attribute in node.attribute:
        if attribute.name == "auto_pad" and attribute.s not in (b"", b"NOTSET"):
            return False
    for attribute in node.attribute:
        if attribute.name == "pads":
            attribute.ints[:] = [a + b for a, b in zip(attribute.ints, widths, strict=True)]
            return True
    node.attribute.append(helper.make_attribute("pads", list(widths)))
    return True
