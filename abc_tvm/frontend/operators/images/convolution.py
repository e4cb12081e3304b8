"""Conv and ConvTranspose: every form of padding becomes ``pads``.

1. ``auto_pad`` SAME_* of Conv: TVM's importer would pad the image by an operator of its own, which
   hides the padding from what follows.
2. Padding below zero of Conv cuts the image.
3. Conv of one axis, with stored weights, is one of images of one row, so that it may run on bits.
4. ConvTranspose of images, with stored weights, becomes ordinary convolutions
   (:mod:`.sub_pixel`).
5. ``output_shape`` of ConvTranspose, which the importer ignores, and its ``auto_pad``.
"""

from __future__ import annotations

import onnx

from abc_tvm.frontend.graph_edit import attributes
from abc_tvm.frontend.operators import spell
from abc_tvm.frontend.operators.images.rows import conv_as_image
from abc_tvm.frontend.operators.images.sub_pixel import sub_pixel
from abc_tvm.frontend.operators.images.windows import SAME, known_image, windows
from abc_tvm.frontend.operators.rewriter import Rewriter


def conv(edit: Rewriter, node: onnx.NodeProto) -> bool:
    """Cases 1 to 3."""
    attrs = attributes(node)
    pads = attrs.get("pads") or [0]
    x = node.input[0]
    plain = attrs.get("auto_pad") not in SAME and min(pads) >= 0
    if plain and not known_image(edit, x):
        return False
    at = windows(edit, node, x, _kernel(edit, node))
    if plain:
        return conv_as_image(edit, node)
    plain_node = onnx.NodeProto()
    plain_node.CopyFrom(node)
    if min(*at.before, *at.after) < 0:
        axes = range(2, 2 + len(at.size))
        starts = [max(-n, 0) for n in at.before]
        ends = [size + min(n, 0) for size, n in zip(at.size, at.after, strict=True)]
        plain_node.input[0] = spell.cut(edit, node, x, axes, starts, ends)
    widths = [max(n, 0) for n in (*at.before, *at.after)]
    spell.keep(edit, plain_node, ("auto_pad",), pads=widths)
    return True


def conv_transpose(edit: Rewriter, node: onnx.NodeProto) -> bool:
    """Cases 4 and 5.

    What the output lacks of its full size is padding, the larger half of an odd one before it, or
    behind it with SAME_UPPER.
    """
    attrs = attributes(node)
    auto_pad = attrs.get("auto_pad", "NOTSET")
    wanted = attrs.get("output_shape")
    implicit = bool(wanted) or auto_pad in SAME
    if not implicit and not known_image(edit, node.input[0]):
        return False
    kernel = _kernel(edit, node)
    count = len(kernel)
    pads = list(attrs.get("pads") or [0] * 2 * count)
    size = spell.extents(edit, node, node.input[0], range(2, 2 + count))
    strides = attrs.get("strides") or [1] * count
    dilations = attrs.get("dilations") or [1] * count
    adjust = list(attrs.get("output_padding") or [0] * count)
    if wanted and len(wanted) == count + 2:
        wanted = wanted[2:]
    lists = (size, strides, dilations, adjust, wanted or kernel, pads[::2])
    if any(len(values) != count for values in lists):
        raise edit.invalid(node, f"needs {count} values in each of its attributes")
    before, after = [], []
    for i, n in enumerate(size):
        full = (n - 1) * strides[i] + (kernel[i] - 1) * dilations[i] + 1 + adjust[i]
        if not implicit:
            if full - pads[i] - pads[i + count] < 1:
                raise edit.invalid(node, f"pads away all {full} of its output")
            continue
        target = wanted[i] if wanted else n * strides[i]
        total = full - target
        if total < 0 and wanted:
            adjust[i] -= total
            if adjust[i] >= max(strides[i], dilations[i]):
                raise edit.refuse(
                    node, f"has an output_shape of {target} where {full} are computed; give pads"
                )
        total = max(total, 0)
        small = total // 2
        before.append(small if auto_pad == "SAME_UPPER" else total - small)
        after.append(total - before[-1])
    if not implicit:
        return sub_pixel(edit, node, size, kernel)
    changed = {"output_padding": adjust} if any(adjust) else {}
    spell.keep(edit, node, ("auto_pad", "output_shape"), pads=[*before, *after], **changed)
    return True


def _kernel(edit: Rewriter, node: onnx.NodeProto) -> list[int]:
    given = attributes(node).get("kernel_shape")
    if given:
        return list(given)
    weight = node.input[1]
    return spell.extents(edit, node, weight, range(2, spell.rank_of(edit, node, weight)))


REWRITES = {"Conv": conv, "ConvTranspose": conv_transpose}
