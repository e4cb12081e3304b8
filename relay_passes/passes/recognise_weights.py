"""Constant weights of few values become planes.

``nn.conv2d(x, W)`` with ``W = sum_m alpha_m B_m`` becomes ``abc.bconv2d(x, B, alpha, W)``; the
float weights stay as last argument for layers that later turn out to be better off in float.

Refuses, with the reason in the layer's row: weights that are no constant, weights of more than
sixteen values in one output channel.
"""

from __future__ import annotations

from collections.abc import Set as AbstractSet
from typing import Any

import tvm
from tvm import relax

from abc_tvm.relay_passes.analysis import weight_planes
from abc_tvm.relay_passes.context import Context, Layer
from abc_tvm.relay_passes.ops import conv_window, make, window_attrs
from abc_tvm.relay_passes.rewrite import array_of, const, dtype_of, hint, op_name, rebuild


class RecogniseWeights:
    """See the module's text. Fills ``context.layers`` with one row a convolution.

    ``dense`` are the names of the layers that the graph has as products of matrices (the pass
    before fills it), and of which the pass that joins layers calls the further ones ``name+1``.
    """

    def __init__(self, context: Context, dense: AbstractSet[str] = frozenset()) -> None:
        self.context, self.dense = context, dense

    def __call__(self, mod: tvm.IRModule) -> tvm.IRModule:
        return rebuild(mod, self.visit)

    def visit(self, builder: relax.BlockBuilder, var: Any, call: Any) -> Any:
        if op_name(call) != "nn.conv2d":
            return None
        name = hint(var)
        if str(call.attrs.data_layout) != "NHWC":
            self.context.layers[name] = Layer(
                name, "Conv", [], 0, reason="the weights are no constant"
            )
            return None
        window = conv_window(call)
        weight = array_of(call.args[1])
        layer = Layer(
            name,
            "Dense" if _base(name) in self.dense else "Conv",
            [window.out_channels, *window.kernel, window.group_in],
            window.macs,
            weight_bytes=weight.nbytes,
            float_weight_bytes=weight.nbytes,
        )
        self.context.layers[name] = layer
        if dtype_of(var) != "float32":
            layer.reason = f"it computes in {dtype_of(var)}, not in float32"
            return None
        if name in self.context.refused:
            layer.reason = self.context.refused[name]
            return None
        try:
            found = weight_planes.factor(weight)
        except weight_planes.NotPlanes as error:
            layer.reason = str(error)
            return None
        layer.M = len(found.planes)
        return make(
            "bconv2d",
            [call.args[0], const(found.planes), const(found.alpha), call.args[1]],
            **window_attrs(window),
        )


def _base(name: str) -> str:
    first, _, number = name.rpartition("+")
    return first if first and number.isdigit() else name
