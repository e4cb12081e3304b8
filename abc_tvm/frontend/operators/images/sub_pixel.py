"""ConvTranspose as ordinary convolutions, whose kernels run on bits and fast in float.

Output ``o`` of a transposed convolution of stride ``s`` reads input ``i`` through tap
``k = o + pad - i * s``. So outputs of one *phase* ``r = (o + pad) mod s`` read the taps
``r, r + s, …`` alone, and each phase is a convolution of stride 1 (a sub-pixel convolution, Shi
et al. 2016). Their results are put together as pixels of squares, and what padding takes away is
cut off.

1. Where every phase has as many taps, all are one convolution of ``s * s`` times the channels, with
   the layer's own name.
2. Else each is one of its own: a tap that is none would be a weight of 0, which costs a plane.

It stays a ConvTranspose where its weights are computed, it is dilated, has more strides than taps,
or is of one axis or three.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx

from abc_tvm.frontend.graph_edit import attributes
from abc_tvm.frontend.operators import spell
from abc_tvm.frontend.operators.rewriter import Rewriter


def sub_pixel(
    edit: Rewriter, node: onnx.NodeProto, size: Sequence[int], kernel: Sequence[int]
) -> bool:
    """Rewrite a ConvTranspose with explicit pads; ``size`` is the image's, ``kernel`` the taps'."""
    attrs = attributes(node)
    weight = edit.value(node.input[1])
    bias = edit.value(node.input[2]) if len(node.input) > 2 and node.input[2] else None
    strides = list(attrs.get("strides") or [1, 1])
    pads = list(attrs.get("pads") or [0] * 4)
    if weight is None or weight.ndim != 4 or weight.dtype != np.float32:
        return False
    if (len(node.input) > 2 and node.input[2] and bias is None) or min(pads) < 0:
        return False
    dilated = any(d != 1 for d in attrs.get("dilations") or [])
    if dilated or any(k < s for k, s in zip(kernel, strides, strict=True)):
        return False
    groups = int(attrs.get("group", 1))
    channels = weight.shape[1] * groups
    shape = edit.shapes.get(node.input[0], (None, None))
    fits = len(weight) % groups == 0 and shape[1] in (len(weight), None)
    if not fits or (bias is not None and bias.shape != (channels,)):
        return False  # what contradicts itself is refused as it stands
    extra = list(attrs.get("output_padding") or [0, 0])
    lengths = [
        (n - 1) * s + k + e - before - after
        for n, s, k, e, before, after in zip(
            size, strides, kernel, extra, pads[:2], pads[2:], strict=True
        )
    ]
    # Squares of one pixel of each phase, from the first that is not cut away on.
    squares = [-(-(n + p) // s) for n, p, s in zip(lengths, pads[:2], strides, strict=True)]
    phases = [(i, j) for i in range(strides[0]) for j in range(strides[1])]
    taps = [_taps(weight, groups, phase, strides) for phase in phases]
    name = node.name or node.output[0]
    even = groups == 1 and len({one.shape for one in taps}) == 1
    if even:
        taps = [np.concatenate(taps)]
    parts = []
    for k, one in enumerate(taps):
        given = [node.input[0], edit.constant(one, f"{node.input[1]}/taps")]
        if bias is not None:
            given.append(edit.constant(np.tile(bias, len(one) // len(bias)), f"{name}/bias"))
        before = [n - 1 for n in one.shape[2:]]
        after = [max(0, q - n) for q, n in zip(squares, size, strict=True)]
        conv = edit.op(
            node, "Conv", *given, pads=[*before, *after], group=groups, kernel_shape=one.shape[2:]
        )
        edit.is_layer(node, k)
        edit.settled.add(conv)
        longer = any(q < n for q, n in zip(squares, size, strict=True))
        parts.append(spell.cut(edit, node, conv, [2, 3], [0, 0], squares) if longer else conv)
    joined = parts[0] if len(parts) == 1 else edit.op(node, "Concat", *parts, axis=1)
    if len(phases) > 1:
        wide = spell.reshape(edit, node, joined, [-1, *strides, channels, *squares])
        turned = edit.op(node, "Transpose", wide, perm=[0, 3, 4, 1, 5, 2])
        whole = [q * s for q, s in zip(squares, strides, strict=True)]
        joined = spell.reshape(edit, node, turned, [-1, channels, *whole])
    ends = [p + n for p, n in zip(pads[:2], lengths, strict=True)]
    last = spell.cut(edit, node, joined, [2, 3], pads[:2], ends)
    edit.op(node, "Identity", last, out=node.output[0])
    return True


def _taps(
    weight: np.ndarray, groups: int, phase: tuple[int, int], strides: Sequence[int]
) -> np.ndarray:
    """``[OC, IC/g, …]`` of one phase: its taps, the last one first."""
    mine = weight[:, :, phase[0] :: strides[0], phase[1] :: strides[1]][:, :, ::-1, ::-1]
    inside = len(weight) // groups
    split = mine.reshape(groups, inside, *mine.shape[1:])
    turned = split.swapaxes(1, 2)
    return np.ascontiguousarray(turned.reshape(-1, inside, *mine.shape[2:]))
