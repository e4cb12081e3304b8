"""Which kernels a compiled network runs, in their order, and which layer each of them is.

The artifact itself knows only symbols, and equal kernels share one. So the plan is taken on the
way, from the module that the pass "fuse" leaves: each of its private functions becomes one call.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from abc_tvm.artifact import Artifact
from abc_tvm.compilation import Compilation
from abc_tvm.stages import Model, Progress
from abc_tvm.targets import Device

if TYPE_CHECKING:
    from abc_tvm.relay_passes.context import Context

Kind = Literal["bits", "float", "bytes", "other"]
"""What a kernel computes with: xor and popcount, float32, int8 dot products; or no convolution."""

ANCHORS: dict[str, Kind] = {
    "abc.bitconv2d": "bits",
    "nn.conv2d": "float",
    "abc.dotconv2d": "bytes",
}

PREFIX = "kernel_"
"""Beginning of the symbols of fused kernels (:func:`.passes.lower.call_kernel`)."""


@dataclass(frozen=True)
class Kernel:
    """One call of a fused kernel.

    ``macs`` are multiply-adds of the convolution for one image, ``pairs`` the pairs of planes by
    which a kernel on bits multiplies them (1 elsewhere); ``M``, ``N``, ``shape`` (of the weights)
    and ``lowering`` are those of its row in the report. A kernel without a convolution has 0
    multiply-adds, and goes by its operators.
    """

    name: str
    kind: Kind = "other"
    macs: int = 0
    pairs: int = 1
    M: int | None = None
    N: int | None = None
    shape: tuple[int, ...] = ()
    lowering: str = ""


@dataclass(frozen=True)
class Plan:
    """A compiled network and its kernels; ``tuned`` of them were built from tuning records."""

    artifact: Artifact
    kernels: tuple[Kernel, ...]
    device: Device
    tuned: int


def compile_plan(
    model: Model,
    target: str | Device = "native",
    *,
    batch: int | None = None,
    lowering: str = "auto",
    allow_int8: bool | float | None = None,
    records: str | os.PathLike[str] | None = None,
    progress: Progress | None = None,
) -> Plan:
    """Compile a network and keep account of its kernels; arguments as ``abc_tvm.compile``.

    Raises:
        UserError: As ``abc_tvm.compile`` does.
    """
    from abc_tvm.relay_passes.pipeline import Phase

    whole = Compilation(
        model,
        target,
        batch=batch,
        lowering=lowering,
        allow_int8=allow_int8,
        tuned=True,
        records=records,
        progress=progress,
    )
    fused = whole.until(Phase.FUSED)
    artifact = whole.artifact()
    used = 0 if whole.records is None else whole.records.used
    return Plan(artifact, kernels_of(fused, whole.context), whole.device, used)


def kernels_of(module: Any, context: Context) -> tuple[Kernel, ...]:
    """The fused kernels of a module after the pass "fuse", in the order of their calls."""
    from tvm.ir import Call

    from abc_tvm.relay_passes.analysis.kernel_groups import GROUP
    from abc_tvm.relay_passes.rewrite import bindings

    functions = {
        gvar: function
        for gvar, function in module.functions_items()
        if GROUP in (getattr(function, "attrs", None) or {})
    }
    return tuple(
        _kernel(functions[value.op], context)
        for _, value in bindings(module["main"])
        if isinstance(value, Call) and value.op in functions
    )


def _kernel(function: Any, context: Context) -> Kernel:
    from abc_tvm.relay_passes.rewrite import bindings, op_name, shape_of

    members = [call for _, call in bindings(function)]
    call = members[0]
    kind = ANCHORS.get(op_name(call) or "", "other")
    name = str(function.attrs["layer"])
    layer = context.layers.get(name)
    if kind == "other" or layer is None:
        operators = dict.fromkeys(op_name(member) for member in members)
        return Kernel(" + ".join(o.rpartition(".")[2] for o in operators if o))
    pairs = 1
    if kind == "bits":
        pairs = int(shape_of(call.args[1])[0]) * len(call.attrs["weights"])
    return Kernel(
        layer.name, kind, layer.macs, pairs, layer.M, layer.N, tuple(layer.shape), layer.lowering
    )
