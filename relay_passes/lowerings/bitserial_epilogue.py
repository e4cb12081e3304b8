"""Packed bits of a step: what ``abc.encode_bitserial`` writes."""

from __future__ import annotations

import numpy as np
from tvm import relax, tirx
from tvm.ir import Expr

from abc_tvm.compute import outputs
from abc_tvm.compute.geometry import words
from abc_tvm.compute.lanes import Index, Passes, Scalar
from abc_tvm.relay_passes.emit.anchor import Encoding
from abc_tvm.relay_passes.emit.frame import Frame, Produced
from abc_tvm.relay_passes.emit.step_epilogue import count_of, passes_of
from abc_tvm.relay_passes.rewrite import array_of

from .packing import pack_channels


def write_bits(frame: Frame, call: relax.Call) -> Produced:
    """uint32 ``[B, H, W, P, G, words]``: thermometer bits, or the bits of the index."""
    turned = array_of(call.args[2]) < 0
    binary = str(call.attrs["code"]) == "binary"
    flip = None
    if binary:
        bit = _index_bits(frame, count_of(frame, call), len(array_of(call.args[1])), turned)
    else:
        bit = passes_of(frame, call, turned)
    if not binary and turned.any():
        flip = frame.table(pack_channels(turned, frame.blocking), "flip")
    planes = int(call.attrs["planes"])
    name = str(len(frame.tables))
    head = (frame.batch, frame.height, frame.width)
    tensor = outputs.bit_output(name, *head, frame.blocking, bit, planes, flip)
    groups = int(call.attrs["layout_groups"])
    per_group = words(frame.blocking.channels // groups)
    return tensor, (*head, planes, groups, per_group)


def _index_bits(frame: Frame, passed: Scalar, n: int, turned: np.ndarray) -> Passes:
    """Bits of the number of thresholds passed, turned round where the sense is."""
    one, zero = tirx.const(1, "int32"), tirx.const(0, "int32")
    sign = offset = None
    if turned.any():
        sign = frame.per_slot(np.where(turned, -1, 1).astype(np.int32), "sign")
        offset = frame.per_slot(np.where(turned, n, 0).astype(np.int32), "offset")

    def index_of(index: Index) -> Expr:
        total = passed(index)
        if sign is not None and offset is not None:
            total = offset(index) + sign(index) * total
        return total

    count = frame.stage(index_of)
    return lambda p, index: ((count[index] >> tirx.Cast("int32", p)) & one) != zero


BITS = Encoding("abc.encode_bitserial", write_bits)
