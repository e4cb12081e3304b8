"""Which operators of a graph run as one kernel.

Bindings are taken in order. Each of

1. an anchor (the convolution of a lowering, NHWC ``nn.max_pool2d`` of a small window) starts a
   kernel;
2. an operator that a kernel can compute behind its anchor (steps, encodings, element-wise
   operators on images of float32) joins the kernel of the latest of its inputs, so that everything
   else it reads has been computed: a residual addition joins the branch that finishes last;
3. such an operator starts a kernel without an anchor where the latest of its inputs is no
   kernel's, is of another image or, for an encoding, has its channels in other bits, and where the
   expression of one element would become too long;
4. any other operator is left alone.

A kernel may have several results: the floats that a residual needs, and the bits that the next
convolution reads.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from tvm import relax

from abc_tvm.compute.geometry import WORD
from abc_tvm.relay_passes.analysis.pointwise import TABLE
from abc_tvm.relay_passes.emit.anchor import Anchor
from abc_tvm.relay_passes.ops import LEVELS
from abc_tvm.relay_passes.rewrite import (
    Binding,
    Shape,
    bindings,
    constant,
    dtype_of,
    op_name,
    operands,
    shape_of,
)

from .table import anchors, encodings

MOST_TERMS = 256
"""Operators in the expression of one element. A tensor that is read twice is written out twice:
``x + x``, forty times over, would be a kernel of 2**40 terms."""


@dataclass
class Group:
    """Bindings that run as one kernel (``fused``) or one operator left alone.

    ``shape`` is the NHWC image that a kernel computes over. ``layout`` are the groups of channels
    that the bits lie in which it reads or writes; ``None``: it has neither, or floats alone.
    """

    fused: bool
    members: list[Binding] = field(default_factory=list)
    shape: Shape = ()
    layout: int | None = None

    def takes(self, var: relax.Var, call: relax.Call) -> bool:
        """Whether it can compute one more operator: same image, channels in the same lanes."""
        if not self.fused or not _same_image(self.shape, _image(var, call)):
            return False
        if op_name(call) not in encodings() or self.layout is None:
            return True
        return same_slots(int(self.shape[3]), self.layout, int(call.attrs["layout_groups"]))


def groups_of(func: relax.Function) -> list[Group]:
    """All bindings of a function in groups, in an order in which they can run."""
    groups: list[Group] = []
    owner: dict[relax.Var, int] = {}
    terms: dict[relax.Var, int] = {}  # of the expression that a kernel computes a tensor by

    def start(var: relax.Var, value: relax.Expr, fused: bool) -> None:
        owner[var], terms[var] = len(groups), 1
        group = Group(fused, [(var, value)])
        if fused:
            group.shape, group.layout = _image(var, value), _layout(value)
        groups.append(group)

    for var, value in bindings(func):
        if is_anchor(value):
            start(var, value, True)  # case 1
        elif is_joining(var, value):
            latest = max((owner.get(a, -1) for a in operands(value)), default=-1)
            size = 1 + sum(terms.get(a, 0) for a in value.args if owner.get(a, -1) == latest)
            if latest < 0 or size > MOST_TERMS or not groups[latest].takes(var, value):
                start(var, value, True)  # case 3
                continue
            group = groups[latest]  # case 2
            owner[var], terms[var] = latest, size
            group.members.append((var, value))
            if op_name(value) in encodings() and group.layout is None:
                group.layout = int(value.attrs["layout_groups"])
        else:
            start(var, value, False)  # case 4
    return groups


def read_outside(func: relax.Function, groups: Sequence[Group]) -> set[relax.Var]:
    """Variables that something outside their own group reads."""
    read: set[relax.Var] = set(operands(func.body.body))
    for group in groups:
        own = {var for var, _ in group.members}
        for _, value in group.members:
            read.update(a for a in operands(value) if a not in own)
    return read


def is_anchor(call: relax.Expr) -> bool:
    """Whether a kernel is made around an operator."""
    return anchor_of(call) is not None


def anchor_of(call: relax.Expr) -> Anchor | None:
    """What a kernel that begins with a call begins with; ``None``: it begins no kernel."""
    anchor = anchors().get(op_name(call) or "")
    return anchor if anchor is not None and anchor.fits(call) else None


def is_joining(var: relax.Var, value: relax.Expr) -> bool:
    """Whether a kernel can compute an operator behind others."""
    name = op_name(value)
    if name in LEVELS or name in encodings():
        return True
    row = TABLE.get(name or "")
    if row is None or row.te is None or not hasattr(var.ty, "shape"):
        return False
    tensors = [var, *list(value.args)]
    images = [t for t in tensors if constant(t) is None]
    return all(_is_image(shape_of(t)) for t in images) and all(
        dtype_of(t) == "float32" for t in tensors
    )


def same_slots(channels: int, a: int, b: int) -> bool:
    """Whether two groupings of channels put them in the same bits."""
    return a == b or ((channels // a) % WORD == 0 and (channels // b) % WORD == 0)


def _is_image(shape: Shape) -> bool:
    """Four extents, of which the first may be open."""
    return len(shape) == 4 and all(isinstance(extent, int) for extent in shape[1:])


def _image(var: relax.Var, value: relax.Call) -> Shape:
    """NHWC shape that a member computes over."""
    return shape_of(value.args[0] if op_name(value) in encodings() else var)


def _same_image(a: Shape, b: Shape) -> bool:
    return a[1:] == b[1:] and str(a[0]) == str(b[0])


def _layout(call: relax.Call) -> int | None:
    if op_name(call) in encodings():
        return int(call.attrs["layout_groups"])
    anchor = anchor_of(call)
    return None if anchor is None else anchor.groups(call)
