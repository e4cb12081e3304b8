"""Codes of a step, one byte a channel: what ``abc.encode_int8`` writes."""

from __future__ import annotations

import numpy as np
from tvm import relax, te, tirx
from tvm.ir import Expr

from abc_tvm.compute import outputs
from abc_tvm.compute.int8_products import code_slots
from abc_tvm.compute.lanes import Index, Scalar
from abc_tvm.relay_passes.emit.anchor import Encoding
from abc_tvm.relay_passes.emit.frame import Frame, Produced
from abc_tvm.relay_passes.emit.step_epilogue import passes_of
from abc_tvm.relay_passes.rewrite import array_of


def write_codes(frame: Frame, call: relax.Call) -> Produced:
    """``[B, H, W, G, S]``: the code of the first level, and a difference for each threshold."""
    blocking = frame.blocking
    turned = array_of(call.args[2]) < 0
    passes = passes_of(frame, call)
    codes = np.array([int(n) for n in call.attrs["codes"]], np.int32)
    steps = np.diff(codes)
    first = tirx.const(int(codes[0]), "int32")
    rising = [tirx.const(int(n), "int32") for n in steps]
    table: te.Tensor | None = None
    start: Scalar | None = None
    if turned.any():
        edge = np.where(turned, codes[-1], codes[0]).astype(np.int32)
        start = frame.per_slot(edge, "start")
        both = np.where(turned[None], -steps[::-1, None], steps[:, None]).astype(np.int32)
        table = frame.table(blocking.spread(both), "rise")
    zero = tirx.const(0, "int32")

    def code(index: Index) -> Expr:
        total = first if start is None else start(index)
        for p, rise in enumerate(rising):
            by = rise if table is None else table[p, blocking.slot(index)]
            total = total + tirx.Select(passes(p, index), by, zero)
        return total

    kept = frame.stage(code)
    name = str(len(frame.tables))
    head = (frame.batch, frame.height, frame.width)
    tensor = outputs.code_output(name, *head, blocking, kept, str(call.attrs["dtype"]))
    groups = int(call.attrs["layout_groups"])
    return tensor, (*head, groups, code_slots(blocking.channels // groups))


CODES = Encoding("abc.encode_int8", write_codes)
