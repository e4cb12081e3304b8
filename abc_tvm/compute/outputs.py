"""What a kernel stores: float tensors, and packed bits."""

from __future__ import annotations

from collections.abc import Callable

from tvm import te, tirx
from tvm.tirx import Expr

from .geometry import WORD, Dim
from .lanes import Blocking, Index, Scalar, stage
from .roles import notes


def float_output(
    name: str, batch: Dim, height: int, width: int, blocking: Blocking, value: Scalar
) -> te.Tensor:
    """Store float32 lanes.

    Returns ``[B, H, W, G, O, L]``, the same memory as ``[B, H, W, C]`` where the blocking is
    aligned; otherwise ``[B, H, W, C]`` copied out of the padded lanes.
    """
    shape = blocking.shape(batch, height, width)
    if blocking.aligned:
        return stage(f"out_{name}", shape, value)
    lanes = stage(f"wide_{name}", shape, value)
    n = blocking.group_channels

    def crop(b: Expr, h: Expr, w: Expr, c: Expr) -> Expr:
        r = tirx.indexmod(c, n)
        return lanes[
            b,
            h,
            w,
            tirx.indexdiv(c, n),
            tirx.indexdiv(r, blocking.lanes),
            tirx.indexmod(r, blocking.lanes),
        ]

    return te.compute(
        (batch, height, width, blocking.channels), crop, name=f"crop_{name}", attrs=notes("crop")
    )


def code_output(
    name: str,
    batch: Dim,
    height: int,
    width: int,
    blocking: Blocking,
    codes: te.Tensor,
    dtype: str,
) -> te.Tensor:
    """Store int32 ``codes`` as bytes.

    Returns uint8 or int8 ``[B, H, W, G, O, L]``, the same memory as
    ``[B, H, W, G, S]`` of :func:`abc_tvm.compute.int8_products.int8_products`.
    """
    shape = blocking.shape(batch, height, width)
    return stage(f"code_{name}", shape, lambda index: codes[index].astype(dtype), "code")


def bit_output(
    name: str,
    batch: Dim,
    height: int,
    width: int,
    blocking: Blocking,
    bit: Callable[[Expr, Index], Expr],
    planes: int,
    flip: te.Tensor | None = None,
) -> te.Tensor:
    """Pack ``planes`` truth values a slot into words, channel ``c`` at bit ``c % 32``.

    ``bit(p, index)`` is a boolean expression; ``flip`` uint32 ``[G, O]`` inverts whole channels.
    Returns uint32 ``[B, H, W, P, G, O]``. Needs ``blocking.lanes == 32``.
    """
    if blocking.lanes != WORD:
        raise ValueError(f"bits pack {WORD} lanes, not {blocking.lanes}")
    head = (batch, height, width, planes, blocking.groups, blocking.blocks)
    raw = te.compute(
        (*head, WORD),
        lambda b, h, w, p, g, o, l: bit(p, (b, h, w, g, o, l)).astype("uint8"),
        name=f"bit_{name}",
        attrs=notes("truth"),
    )
    lane = te.reduce_axis((0, WORD), name="lane")
    packed = te.compute(
        head,
        lambda *at: te.sum(raw[(*at, lane)].astype("uint32") << lane.astype("uint32"), axis=lane),
        name=f"pack_{name}",
        attrs=notes("pack"),
    )

    def word(b: Expr, h: Expr, w: Expr, p: Expr, g: Expr, o: Expr) -> Expr:
        value = packed[b, h, w, p, g, o]
        return value if flip is None else value ^ flip[g, o]

    return te.compute(head, word, name=f"word_{name}", attrs=notes("word"))
