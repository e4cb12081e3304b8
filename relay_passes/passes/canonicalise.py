"""Imported Relax to the form that recognition reads: NHWC, convolutions alone, no Transposes.

One walk visits every operator once and knows how each tensor of the graph lies in the new one
(:mod:`.analysis.layout`). For a call, in this order:

1. Operators of constants become constants (:mod:`.fold_constants`).
2. Element-wise operators are written in the layout of what they read (:mod:`.elementwise`), PReLU
   (:mod:`.prelu`) and batch normalisation (:mod:`.batch_norm`) as such.
3. Convolutions (:mod:`.convolution`), pools (:mod:`.pools`) and padding (:mod:`.padding`) become
   NHWC, with weights OHWI.
4. Dense layers become convolutions (:mod:`.dense`).
5. Stacked bases become single ones (:mod:`.stacked_bases`).
6. Transposes, flattenings and the like are remembered, and not done (:mod:`.moves`).
7. Any other operator, and what these refuse, stays, on the graph's own tensors.

Example: ``permute_dims(sign(permute_dims(x, NHWC)), NCHW) -> conv2d NCHW`` becomes
``conv2d(sign(x))`` in NHWC with no permutation left.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import tvm
from tvm import relax

from abc_tvm.relay_passes.analysis import pointwise
from abc_tvm.relay_passes.analysis.layout import Value
from abc_tvm.relay_passes.passes.canonical import moves, pools, stacked_bases
from abc_tvm.relay_passes.passes.canonical.batch_norm import batch_norm
from abc_tvm.relay_passes.passes.canonical.convolution import convolution
from abc_tvm.relay_passes.passes.canonical.dense import dense
from abc_tvm.relay_passes.passes.canonical.elementwise import elementwise, named
from abc_tvm.relay_passes.passes.canonical.fold_constants import fold_constants
from abc_tvm.relay_passes.passes.canonical.padding import padded
from abc_tvm.relay_passes.passes.canonical.prelu import prelu
from abc_tvm.relay_passes.passes.canonical.walk import LayerNames, Rewrite, Walk
from abc_tvm.relay_passes.rewrite import Builder, completed, drop_dead, op_name, unless_same

REWRITES: Mapping[str, tuple[Rewrite, ...]] = {
    **dict.fromkeys(pointwise.TABLE, (elementwise,)),  # 2
    "nn.prelu": (prelu,),
    "nn.leakyrelu": (prelu,),
    "nn.batch_norm": (batch_norm,),
    "nn.conv2d": (stacked_bases.convolution, convolution),  # 5, 3
    "nn.max_pool2d": (pools.pool,),
    "nn.avg_pool2d": (pools.pool,),
    "nn.adaptive_avg_pool2d": (pools.average_of_image,),
    "matmul": (stacked_bases.weighted, dense),  # 5, 4
    **dict.fromkeys(("call_tir", "nn.pad"), (padded,)),  # 3
    "stack": (stacked_bases.stacked,),  # 5
    "expand_dims": (stacked_bases.unsqueezed, moves.unsqueezed),
    "sum": (stacked_bases.added_up,),
    "mean": (stacked_bases.added_up, pools.mean_of_image),
    **dict.fromkeys(("max", "min"), (stacked_bases.extreme,)),
    "squeeze": (stacked_bases.squeezed, moves.squeezed),  # 5, 6
    "reshape": (stacked_bases.reshaped, moves.reshaped),
    "concat": (stacked_bases.concatenated, moves.concatenated),
    "permute_dims": (stacked_bases.transposed, moves.transposed),  # 5, 6
    "split": (stacked_bases.split, moves.split),  # 5, 6
    "take": (stacked_bases.taken, moves.taken),
    "strided_slice": (stacked_bases.sliced, moves.sliced),
    "broadcast_to": (moves.broadcast,),
}
"""By operator, what may write it: the first that has something to say."""


class Canonicalise:
    """The normal form of an imported graph. The names are of layers, in graph order.

    ``dense`` are those of the layers that were products of matrices, once the pass ran.
    """

    def __init__(
        self, conv_names: Sequence[str] | None = None, dense_names: Sequence[str] | None = None
    ) -> None:
        self.conv_names = list(conv_names or [])
        self.dense_names = list(dense_names or [])
        self.dense: set[str] = set()

    def __call__(self, mod: tvm.IRModule) -> tvm.IRModule:
        func = mod["main"]
        names = LayerNames(conv=self.conv_names, dense=self.dense_names)
        builder = Builder({*self.conv_names, *self.dense_names})
        with builder.function("main", list(func.params), attrs=dict(func.attrs or {})):
            with builder.dataflow():
                walk = Walk(builder, func, names, rewritten, dict(mod.functions_items()))
                result = builder.emit_output(walk.run())
            builder.emit_func_output(result)
        self.dense |= walk.dense
        return unless_same(mod, drop_dead(completed(builder, mod)))


def rewritten(walk: Walk, var: relax.Var, call: relax.Call) -> Value | None:
    """One call in normal form; ``None`` (7) if it is to stay."""
    call = named(call)
    folded = fold_constants(walk, var, call)  # 1
    if folded is not None:
        return folded
    for rewrite in REWRITES.get(op_name(call) or "", ()):
        value = rewrite(walk, var, call)
        if value is not None:
            return value
    return None
