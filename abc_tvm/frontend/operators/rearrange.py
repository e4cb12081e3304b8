"""Dropout, Col2Im, SpaceToDepth, RoiAlign and GridSample.

1. Dropout with a mask, or in training mode: inference keeps everything, and training is refused.
2. Col2Im is a transposed convolution that puts each column's taps where they came from.
3. SpaceToDepth with ``mode`` CRD, which the importer does not know.
4. RoiAlign in ``half_pixel`` mode: the importer subtracts half a pixel before it scales, ONNX
   after. Its maximum is taken over other values than onnxruntime's, and refused.
5. GridSample and AffineGrid in the forms that TVM's operators lack are refused.
"""

from __future__ import annotations

import math

import numpy as np
import onnx

from abc_tvm.frontend.graph_edit import attributes
from abc_tvm.frontend.operators import spell
from abc_tvm.frontend.operators.rewriter import Rewriter


def dropout(edit: Rewriter, node: onnx.NodeProto) -> bool:
    """Case 1."""
    x, mask = node.input[0], node.output[1] if len(node.output) > 1 else ""
    training = spell.stored(edit, node, 2, "training_mode")
    ratio = spell.stored(edit, node, 1, "ratio") if training is not None else None
    if training is not None and training.any() and (ratio is None or ratio.any()):
        raise edit.refuse(
            node, "is in training mode; export the network in inference mode (model.eval())"
        )
    if mask and edit.opset < 12:
        raise edit.refuse(
            node, "gives a mask, on which onnx and onnxruntime differ; do not read it"
        )
    edit.op(node, "Identity", x, out=node.output[0])
    if mask:
        shape = edit.static_shape(x)
        if shape is None:
            raise edit.refuse(node, "gives a mask of an open batch; compile with a fixed batch")
        ones = edit.constant(np.ones(shape, bool), f"{mask}/ones")
        edit.op(node, "Identity", ones, out=mask)
    return True


def col2im(edit: Rewriter, node: onnx.NodeProto) -> bool:
    """Case 2: ``[N, C * taps, L]`` to ``[N, C, image...]``."""
    attrs = attributes(node)
    x, out = node.input[0], node.output[0]
    image = spell.numbers(edit, node, 1, "image_shape") or []
    block = spell.numbers(edit, node, 2, "block_shape") or []
    count = len(image)
    strides = list(attrs.get("strides") or [1] * count)
    dilations = list(attrs.get("dilations") or [1] * count)
    pads = list(attrs.get("pads") or [0] * 2 * count)
    if any(len(v) != count for v in (block, strides, dilations, pads[::2])) or not count:
        raise edit.invalid(node, f"needs {count} values in each of its attributes")
    rows, adjust = [], []
    for i, n in enumerate(image):
        span = (block[i] - 1) * dilations[i] + 1
        room = n + pads[i] + pads[i + count] - span
        if room < 0 or min(strides[i], dilations[i], block[i]) < 1:
            raise edit.invalid(node, f"has blocks of {span} on an image of {n}")
        rows.append(room // strides[i] + 1)
        adjust.append(room % strides[i])
    taps = math.prod(block)
    columns, length = spell.extents(edit, node, x, [1, 2])
    if columns % taps or length != math.prod(rows):
        raise edit.invalid(node, f"needs {math.prod(rows)} columns of a multiple of {taps}")
    dtype = spell.real(edit, node, x)
    weight = np.eye(taps, dtype=dtype).reshape(taps, 1, *block)
    spread = spell.reshape(edit, node, x, [-1, taps, *rows])
    window = {"strides": strides, "dilations": dilations, "pads": pads}
    if any(adjust):
        window["output_padding"] = adjust
    held = edit.constant(weight, f"{out}/taps")
    folded = edit.op(node, "ConvTranspose", spread, held, out="", **window)
    spell.reshape(edit, node, folded, [-1, columns // taps, *image], out=out)
    return True


def space_to_depth(edit: Rewriter, node: onnx.NodeProto) -> bool:
    """Case 3: channels first, then the place in the block."""
    attrs = attributes(node)
    if attrs.get("mode", "DCR") == "DCR":
        return False
    x, size = node.input[0], attrs["blocksize"]
    c, h, w = spell.extents(edit, node, x, [1, 2, 3])
    if size < 1 or h % size or w % size:
        raise edit.invalid(node, f"has a blocksize of {size} on an image of {h} x {w}")
    split = spell.reshape(edit, node, x, [-1, c, h // size, size, w // size, size])
    turned = edit.op(node, "Transpose", split, perm=[0, 1, 3, 5, 2, 4])
    whole = [-1, c * size * size, h // size, w // size]
    spell.reshape(edit, node, turned, whole, out=node.output[0])
    return True


def roi_align(edit: Rewriter, node: onnx.NodeProto) -> bool:
    """Case 4."""
    attrs = attributes(node)
    if attrs.get("mode", "avg") == "max":
        raise edit.refuse(node, "has mode max, which is not supported; use avg")
    default = "half_pixel" if edit.opset >= 16 else "output_half_pixel"
    scale = float(attrs.get("spatial_scale", 1.0))
    half = attrs.get("coordinate_transformation_mode", default) == "half_pixel"
    if scale <= 0:
        raise edit.invalid(node, "has a spatial_scale that is not positive")
    if not half or scale == 1:
        return False
    dtype = spell.real(edit, node, node.input[1])
    rois = edit.op(node, "Mul", node.input[1], spell.like(edit, scale, dtype, "scale"))
    kept = onnx.NodeProto()
    kept.CopyFrom(node)
    kept.input[1] = rois
    spell.keep(edit, kept, spatial_scale=1.0)
    return True


def grid_sample(edit: Rewriter, node: onnx.NodeProto) -> bool:
    """Case 5."""
    attrs = attributes(node)
    x = node.input[0]
    if edit.dtypes.get(x, spell.FLOAT) != spell.FLOAT:
        raise edit.refuse(node, "takes another type than float32, which is not supported")
    size = spell.extents(edit, node, x, range(2, spell.rank_of(edit, node, x)))
    if len(size) == 3 and attrs.get("mode") == "cubic":
        raise edit.refuse(node, "samples volumes by cubic, which is not supported; use linear")
    reflects = attrs.get("padding_mode") == "reflection"
    if reflects and attrs.get("align_corners") and 1 in size:
        raise edit.refuse(node, "reflects at the corners of an axis of one pixel")
    return False


def affine_grid(edit: Rewriter, node: onnx.NodeProto) -> bool:
    """Case 5."""
    size = spell.numbers(edit, node, 1, "size") or []
    if attributes(node).get("align_corners") and 1 in size[2:]:
        raise edit.refuse(node, "aligns the corners of an axis of one pixel; use align_corners=0")
    return False


REWRITES = {
    "AffineGrid": affine_grid,
    "Dropout": dropout,
    "Col2Im": col2im,
    "SpaceToDepth": space_to_depth,
    "RoiAlign": roi_align,
    "GridSample": grid_sample,
}
