"""Where the windows of a convolution or a pooling lie: ``auto_pad`` and ``ceil_mode`` as pads."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import onnx

from abc_tvm.frontend.graph_edit import attributes
from abc_tvm.frontend.operators.rewriter import Rewriter
from abc_tvm.frontend.operators.spell import extents, rank_of

SAME = ("SAME_UPPER", "SAME_LOWER")


@dataclass(frozen=True)
class Windows:
    """Windows along each spatial axis of ``x``.

    Attributes:
        size: Extents of the image.
        kernel: Taps of a window.
        strides: From a window to the next.
        dilations: From a tap to the next.
        before: Padding before the image, as the node has it or as ``auto_pad`` says: below zero
            where a pool's stride is longer than its kernel, which cuts the image.
        after: Padding behind it, likewise; a window may reach further with ``ceil_mode``.
        count: Windows along the axis.
    """

    size: tuple[int, ...]
    kernel: tuple[int, ...]
    strides: tuple[int, ...]
    dilations: tuple[int, ...]
    before: tuple[int, ...]
    after: tuple[int, ...]
    count: tuple[int, ...]

    @property
    def reach(self) -> tuple[int, ...]:
        """Padding behind the image up to the last tap of the last window, 0 or more."""
        return tuple(
            max((count - 1) * stride + _span(k, d) - n - before, 0)
            for count, stride, k, d, n, before in zip(
                self.count,
                self.strides,
                self.kernel,
                self.dilations,
                self.size,
                self.before,
                strict=True,
            )
        )

    def taps(self, axis: int, window: int) -> list[int]:
        """Places of a window's taps along ``axis``; 0 is the image's first, some lie outside."""
        start = window * self.strides[axis] - self.before[axis]
        return [start + k * self.dilations[axis] for k in range(self.kernel[axis])]


def windows(
    edit: Rewriter,
    node: onnx.NodeProto,
    x: str,
    kernel: Sequence[int],
    *,
    ceil_mode: bool = False,
    pool: bool = False,
) -> Windows:
    """The windows of ``node`` on ``x``, ``[N, C, spatial...]`` with spatial extents known.

    With ``ceil_mode`` a window that reaches over the padded end counts, unless it starts behind
    the image and the padding before it: onnxruntime and PyTorch drop that one. What ``auto_pad``
    means for a ``pool`` with dilations is read in two ways, and refused.
    """
    rank = rank_of(edit, node, x)
    axes = range(2, rank)
    size = extents(edit, node, x, axes)
    attrs = attributes(node)
    strides = list(attrs.get("strides") or [1] * len(size))
    dilations = list(attrs.get("dilations") or [1] * len(size))
    pads = list(attrs.get("pads") or [0] * 2 * len(size))
    auto_pad = attrs.get("auto_pad", "NOTSET")
    lists = (kernel, strides, dilations, pads[::2])
    if any(len(values) != len(size) for values in lists) or len(pads) != 2 * len(size):
        raise edit.invalid(node, f"needs {len(size)} values in kernel_shape, strides and dilations")
    if min((*kernel, *strides, *dilations), default=1) < 1:
        raise edit.invalid(node, "has a kernel, stride or dilation below 1")
    if pool and min(pads, default=0) < 0:
        raise edit.invalid(node, "has padding below 0; give 0 or more")
    if pool and auto_pad in SAME and any(d > 1 < k for d, k in zip(dilations, kernel, strict=True)):
        raise edit.refuse(
            node,
            f"has auto_pad {auto_pad} with dilations, on whose size onnx and onnxruntime differ; "
            "give pads",
        )
    before, after, count = [], [], []
    for axis, n in enumerate(size):
        k, stride = _span(kernel[axis], dilations[axis]), strides[axis]
        if auto_pad in SAME:
            outputs = -(-n // stride)
            total = (outputs - 1) * stride + k - n
            if not pool:
                total = max(total, 0)
            head = int((total if auto_pad == "SAME_UPPER" else total + 1) / 2)
            tail = total - head
        else:
            head, tail = (0, 0) if auto_pad == "VALID" else (pads[axis], pads[axis + len(size)])
            room = n + head + tail - k
            outputs = (math.ceil(room / stride) if ceil_mode else room // stride) + 1
            if ceil_mode and (outputs - 1) * stride >= n + head:
                outputs -= 1
            if room < 0 or outputs < 1:
                raise edit.invalid(
                    node, f"has a window of {k} on an axis of {n} with padding {head} and {tail}"
                )
        before.append(head)
        after.append(tail)
        count.append(outputs)
    return Windows(
        tuple(size),
        tuple(kernel),
        tuple(strides),
        tuple(dilations),
        tuple(before),
        tuple(after),
        tuple(count),
    )


def known_image(edit: Rewriter, x: str) -> bool:
    """Whether the spatial extents of ``x`` are numbers."""
    shape = edit.shapes.get(x)
    return shape is not None and all(isinstance(n, int) for n in shape[2:])


def _span(kernel: int, dilation: int) -> int:
    return (kernel - 1) * dilation + 1
