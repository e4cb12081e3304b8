"""Padding of an image by a number: what an operator adds, and whether it is a level of a step.

Padding of levels by one of them gives levels again, so that a convolution behind it can read codes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import tvm
import tvm_ffi
from tvm import relax, s_tir, te, tirx, topi
from tvm.ir.expr import TensorLoad
from tvm.sym import Analyzer

from abc_tvm.relay_passes.rewrite import array_of, dtype_of, op_name

Functions = Mapping[tvm.ir.GlobalVar, tvm.ir.BaseFunc]


@dataclass(frozen=True)
class Padding:
    """``widths``: what is added before and behind each axis; ``value``: what stands there."""

    widths: tuple[tuple[int, int], ...]
    value: float

    @property
    def empty(self) -> bool:
        """Whether nothing is added."""
        return not any(n for pair in self.widths for n in pair)

    def moved(self, axes: tuple[int, ...]) -> Padding:
        """The same of the tensor whose axes are ``axes`` of this one's."""
        return Padding(tuple(self.widths[a] for a in axes), self.value)

    def of_image(self) -> list[int] | None:
        """Rows and columns (top, left, bottom, right) of NHWC; ``None``: it pads another axis."""
        if len(self.widths) != 4 or any(self.widths[0]) or any(self.widths[3]):
            return None
        (top, bottom), (left, right) = self.widths[1:3]
        return [top, left, bottom, right]


def padding_of(call: relax.Expr | None, functions: Functions | None = None) -> Padding | None:
    """What an ``nn.pad`` adds, by a finite number; ``None`` for any other operator.

    ``functions``: those of the module, where the importer's own function of padding may stand.
    """
    if call is None:
        return None
    name = op_name(call)
    if name == "nn.pad":
        if str(call.attrs.pad_mode) != "constant" or dtype_of(call.args[0]) != "float32":
            return None
        widths = [int(n) for n in call.attrs.pad_width]
        value = float(np.float32(call.attrs.pad_value))
        pairs = tuple(zip(widths[::2], widths[1::2], strict=True))
        return Padding(pairs, value) if np.isfinite(value) and min(widths) >= 0 else None
    if name != "call_tir" or functions is None:
        return None
    function = functions.get(call.args[0])
    return _imported(function) if isinstance(function, tirx.PrimFunc) else None


def level_index(value: float, levels: np.ndarray) -> int | None:
    """The index of the level float32 ``[N + 1]`` that a value is; ``None``: it is none."""
    (equal,) = np.nonzero(levels == np.float32(value))
    return int(equal[0]) if len(equal) else None


def unpadded(
    data: relax.Expr, defined: Mapping[relax.Expr, relax.Expr]
) -> tuple[relax.Expr, relax.Call | None]:
    """What an ``nn.pad`` pads to ``data``, and that call; ``data`` itself where none does."""
    call = defined.get(data)
    if call is None or op_name(call) != "nn.pad":
        return data, None
    return call.args[0], call


def pads_levels(call: relax.Call, step: relax.Call) -> bool:
    """Whether an ``nn.pad`` adds to rows and columns of NHWC what is a level of ``step``."""
    padding = padding_of(call)
    return (
        padding is not None
        and padding.of_image() is not None
        and level_index(padding.value, array_of(step.args[3])) is not None
    )


def pad(data: relax.Expr, padding: Padding) -> relax.Call:
    """The ``nn.pad`` that adds it."""
    widths = [n for pair in padding.widths for n in pair]
    return relax.op.nn.pad(data, widths, "constant", padding.value)


def _imported(function: tirx.PrimFunc) -> Padding | None:
    """What a function of ``topi.nn.pad`` adds to a tensor of float32.

    Widths and value are read from its one store, and the function that they give compared with it.
    """
    if len(function.params) != 2:
        return None
    buffers = [p.ty for p in function.params]
    if any(
        not isinstance(b, tirx.BufferType) or str(b.dtype).rsplit(".", 1)[-1] != "float32"
        for b in buffers
    ):
        return None
    store = function.body
    while isinstance(store, tirx.For | s_tir.SBlockRealize):
        store = store.body if isinstance(store, tirx.For) else store.block.body
    if not isinstance(store, tirx.BufferStore) or len(getattr(store.value, "args", ())) != 3:
        return None
    _, read, fill = store.value.args
    if not isinstance(fill, tirx.FloatImm) or not isinstance(read, TensorLoad):
        return None
    analyzer = Analyzer()
    shapes = zip(buffers[0].shape, buffers[1].shape, strict=True)
    before = [analyzer.simplify(at - i) for at, i in zip(store.indices, read.indices, strict=True)]
    added = [analyzer.simplify(wide - size) for size, wide in shapes]
    if not all(isinstance(n, tirx.IntImm) for n in [*before, *added]):
        return None
    widths = tuple((int(b), int(n) - int(b)) for b, n in zip(before, added, strict=True))
    if min(n for pair in widths for n in pair) < 0 or not np.isfinite(fill.value):
        return None
    again = te.placeholder(list(buffers[0].shape), "float32", name="x")
    padded = topi.nn.pad(again, [w[0] for w in widths], [w[1] for w in widths], fill)
    made = te.create_prim_func([again, padded], index_dtype_override="int64")
    same = tvm_ffi.structural_equal(_bare(function), _bare(made), map_free_vars=True)
    return Padding(widths, float(fill.value)) if same else None


def _bare(function: tirx.PrimFunc) -> tirx.PrimFunc:
    """A function without what says how it is called."""
    for name in ("global_symbol", "tirx.noalias", "private"):
        function = function.without_attr(name)
    return function
