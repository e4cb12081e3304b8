"""Group operators into kernels.

A kernel is an anchor (a convolution of any lowering, NHWC ``nn.max_pool2d``, or nothing) and the
element-wise operators, steps and encodings behind it. An operator joins the kernel of the latest of
its inputs, so that everything else it reads has been computed; a residual addition thus joins the
branch that finishes last. A kernel may have several results (the floats that a residual needs, and
the bits that the next convolution reads). Each becomes a private function ``fused_<layer>``;
operators with a kernel of their own stay in ``main``.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import tvm
from tvm import relax

from abc_tvm.compute.geometry import WORD
from abc_tvm.relay_passes.analysis import pointwise
from abc_tvm.relay_passes.emit.anchor import Anchor
from abc_tvm.relay_passes.emit.frame import GROUP
from abc_tvm.relay_passes.lowerings.table import anchors, encodings
from abc_tvm.relay_passes.rewrite import (
    bindings,
    completed,
    constant,
    dtype_of,
    hint,
    op_name,
    operands,
    shape_of,
    substitute,
)

MOST_TERMS = 256
"""Operators in the expression of one element. A tensor that is read twice is written out twice:
``x + x``, forty times over, would be a kernel of 2**40 terms."""

JOINING = ("abc.step", "abc.count_step")


@dataclass
class Group:
    """Bindings that run as one kernel (``fused``) or one operator left alone."""

    fused: bool
    members: list[tuple[Any, Any]] = field(default_factory=list)
    shape: tuple[Any, ...] = ()
    layout: int | None = None


class Fuse:
    """See the module's text."""

    def __call__(self, mod: tvm.IRModule) -> tvm.IRModule:
        func = mod["main"]
        groups = _groups(func)
        outside = _outside(func, groups)
        builder = relax.BlockBuilder()
        with builder.function("main", list(func.params), attrs=dict(func.attrs or {})):
            with builder.dataflow():
                env: dict[Any, Any] = {}
                for group in groups:
                    if group.fused:
                        _emit_group(builder, group, outside, env)
                    else:
                        var, value = group.members[0]
                        env[var] = builder.emit(substitute(value, env), hint(var))
                result = builder.emit_output(substitute(func.body.body, env))
            builder.emit_func_output(result)
        return completed(builder, mod)


def _groups(func: Any) -> list[Group]:
    groups: list[Group] = []
    owner: dict[Any, int] = {}
    terms: dict[Any, int] = {}  # of the expression that a kernel computes a tensor by

    def start(var: Any, value: Any, fused: bool) -> None:
        owner[var], terms[var] = len(groups), 1
        group = Group(fused, [(var, value)])
        if fused:
            group.shape = _image(var, value)
            group.layout = _layout(value)
        groups.append(group)

    for var, value in bindings(func):
        name = op_name(value)
        if _anchor(value) is not None:
            start(var, value, True)
        elif _joins(name, var, value):
            inputs = [owner.get(a, -1) for a in operands(value)]
            latest = max(inputs, default=-1)
            group = groups[latest] if latest >= 0 else None
            image = _image(var, value)
            size = 1 + sum(terms.get(a, 0) for a in value.args if owner.get(a, -1) == latest)
            if group is None or size > MOST_TERMS or not _takes(group, image, value):
                start(var, value, True)
                continue
            owner[var], terms[var] = latest, size
            group.members.append((var, value))
            if name in encodings() and group.layout is None:
                group.layout = int(value.attrs["layout_groups"])
        else:
            start(var, value, False)
    return groups


def _anchor(call: Any) -> Anchor | None:
    anchor = anchors().get(op_name(call) or "")
    return anchor if anchor is not None and anchor.fits(call) else None


def _joins(name: str | None, var: Any, value: Any) -> bool:
    if name in JOINING or name in encodings():
        return True
    row = pointwise.TABLE.get(name or "")
    if row is None or row.te is None or not hasattr(var.ty, "shape"):
        return False
    tensors = [var, *list(value.args)]
    images = [t for t in tensors if constant(t) is None]
    return all(_is_image(shape_of(t)) for t in images) and all(
        dtype_of(t) == "float32" for t in tensors
    )


def _is_image(shape: tuple[Any, ...]) -> bool:
    """Four extents, of which the first may be open."""
    return len(shape) == 4 and all(isinstance(extent, int) for extent in shape[1:])


def _image(var: Any, value: Any) -> tuple[Any, ...]:
    """NHWC shape that a member computes over."""
    return shape_of(value.args[0] if op_name(value) in encodings() else var)


def _same_image(a: tuple[Any, ...], b: tuple[Any, ...]) -> bool:
    return a[1:] == b[1:] and str(a[0]) == str(b[0])


def _layout(call: Any) -> int | None:
    if op_name(call) in encodings():
        return int(call.attrs["layout_groups"])
    anchor = _anchor(call)
    return None if anchor is None else anchor.groups(call)


def _takes(group: Group, image: tuple[Any, ...], call: Any) -> bool:
    """Whether a kernel can compute one more operator: same image, channels in the same lanes."""
    if not group.fused or not _same_image(group.shape, image):
        return False
    if op_name(call) not in encodings() or group.layout is None:
        return True
    return same_slots(int(group.shape[3]), group.layout, int(call.attrs["layout_groups"]))


def same_slots(channels: int, a: int, b: int) -> bool:
    """Whether two groupings of channels put them in the same bits."""
    return a == b or ((channels // a) % WORD == 0 and (channels // b) % WORD == 0)


def _outside(func: Any, groups: list[Group]) -> set[Any]:
    """Variables that something outside their own group reads."""
    read: set[Any] = set(operands(func.body.body))
    for group in groups:
        own = {var for var, _ in group.members}
        for _, value in group.members:
            read.update(a for a in operands(value) if a not in own)
    return read


def _emit_group(builder: Any, group: Group, outside: set[Any], env: dict[Any, Any]) -> None:
    own = {var for var, _ in group.members}
    inputs: list[Any] = []
    for _, value in group.members:
        for a in operands(value):
            if a not in own and a not in inputs:
                inputs.append(a)
    results = [var for var, _ in group.members if var in outside]
    if not results:
        return
    name = "fused_" + "".join(ch if ch.isalnum() else "_" for ch in hint(group.members[0][0]))
    inner = relax.BlockBuilder()
    params = [relax.Var(f"x{i}", a.ty) for i, a in enumerate(inputs)]
    local: dict[Any, Any] = dict(zip(inputs, params, strict=True))
    attrs = {GROUP: 1, "layer": hint(group.members[0][0])}
    with inner.function(name, params, attrs=attrs, private=True):
        with inner.dataflow():
            for var, value in group.members:
                local[var] = inner.emit(substitute(value, local), hint(var))
            outputs = [local[r] for r in results]
            out = inner.emit_output(relax.Tuple(outputs) if len(outputs) > 1 else outputs[0])
        inner.emit_func_output(out)
    function = next(f for g, f in inner.get().functions_items())
    gvar = builder.add_func(function, name)
    args = [env.get(a, a) for a in inputs]
    call = builder.emit(relax.Call(gvar, args), name)
    if len(results) == 1:
        env[results[0]] = call
        return
    for i, r in enumerate(results):
        env[r] = builder.emit(relax.TupleGetItem(call, i), hint(r))
