"""Constant weights of few values become planes.

Of every ``nn.conv2d``, which gets a row of the report:

1. ``nn.conv2d(x, W)`` with ``W = sum_m alpha_m B_m`` becomes ``abc.bconv2d(x, B, alpha, W)``; the
   float weights stay as last argument for layers that later turn out to be better off in float.

It stays, with the reason in its row, where

2. the weights are no constant: that alone is not NHWC here;
3. it computes in another type than float32;
4. ``context.refused`` names it;
5. the weights take more than sixteen values in one output channel, and are no bytes times a scale
   of it; or are too different in size.

A row, too,

6. has a product of two computed tensors, whose factors may be step functions.

Example: ``nn.conv2d(x, [0.5, -0.5, ...])`` becomes ``abc.bconv2d(x, [[1, -1, ...]], [[0.5]], W)``.
"""

from __future__ import annotations

from collections.abc import Set as AbstractSet
from math import prod

import tvm
from tvm import relax

from abc_tvm.relay_passes.analysis.weights import weight_planes
from abc_tvm.relay_passes.context import Context, LayerRow
from abc_tvm.relay_passes.contracts import binary, canonical, contract
from abc_tvm.relay_passes.ops import conv_window, make, window_attrs
from abc_tvm.relay_passes.rewrite import (
    array_of,
    const,
    constant,
    dtype_of,
    hint,
    op_name,
    rebuild,
    shape_of,
)


class RecogniseWeights(contract.Rewrite):
    """Fills ``context.layers`` with one row a convolution, and makes planes of its weights.

    ``dense`` are the names of the layers that the graph has as products of matrices (the pass
    before fills it), and of which the pass that joins layers calls the further ones ``name+1``.
    """

    requires = (canonical.convolutions_are_nhwc, contract.layers_have_their_own_names)
    ensures = (
        contract.well_formed,
        canonical.convolutions_are_nhwc,
        contract.layers_have_their_own_names,
        binary.planes_are_signs,
        binary.planes_give_the_weights,
        contract.nothing_is_dead,
    )

    def __init__(self, context: Context, dense: AbstractSet[str] = frozenset()) -> None:
        self.context, self.dense = context, dense

    def __call__(self, mod: tvm.IRModule) -> tvm.IRModule:
        return rebuild(mod, self.visit)

    def visit(
        self, builder: relax.BlockBuilder, var: relax.Var, call: relax.Expr
    ) -> relax.Call | None:
        name = hint(var)
        if op_name(call) == "matmul":  # case 6
            if not any(constant(a) is not None for a in call.args):
                self.context.layers[name] = _product_row(name, var, call)
            return None
        if op_name(call) != "nn.conv2d":
            return None
        if str(call.attrs.data_layout) != "NHWC":  # case 2
            self.context.layers[name] = LayerRow(
                name, "Conv", [], 0, reason="the weights are no constant"
            )
            return None
        window = conv_window(call)
        weight = array_of(call.args[1])
        layer = LayerRow(
            name,
            "Dense" if _base(name) in self.dense else "Conv",
            [window.out_channels, *window.kernel, window.group_in],
            window.macs,
            weight_bytes=weight.nbytes,
            float_weight_bytes=weight.nbytes,
        )
        self.context.layers[name] = layer
        if dtype_of(var) != "float32":  # case 3
            layer.reason = f"it computes in {dtype_of(var)}, not in float32"
            return None
        if name in self.context.refused:  # case 4
            layer.reason = self.context.refused[name]
            return None
        try:
            factored = weight_planes.factor(weight)
        except weight_planes.NotPlanes as error:  # case 5
            layer.reason = str(error)
            return None
        layer.M = len(factored.planes)
        return make(  # case 1
            "bconv2d",
            [call.args[0], const(factored.planes), const(factored.alpha), call.args[1]],
            **window_attrs(window),
        )


def _product_row(name: str, var: relax.Var, call: relax.Call) -> LayerRow:
    depth = shape_of(call.args[0])[-1:]
    rows = shape_of(var)
    macs = prod(n if isinstance(n, int) else 1 for n in (*rows, *depth))
    if len(rows) > 2 and isinstance(rows[0], int):
        macs //= rows[0] or 1
    width = [n if isinstance(n, int) else 0 for n in (rows[-1:] + depth)]
    return LayerRow(name, "MatMul", width, macs, reason="both of its factors are computed")


def _base(name: str) -> str:
    """The layer of the graph that a joined one is the first or a further one of."""
    first, _, number = name.rpartition("+")
    return first if first and number.isdigit() else name
